"""Builds .xz files and splits them byte by byte, independently of the code under test.

It implements only the parts of the .xz format that the tests need: Streams of Blocks from elsewhere,
Indexes that lie, and one giant Block that costs nothing to make and little to decode.
"""

import dataclasses
import lzma
import random
import struct
import zlib

import support

HEADER_MAGIC = b"\xfd7zXZ\0"
CHECK_SIZES = {0: 0, 1: 4, 4: 8, 10: 32}


def vli(number):
    """A number in the format's variable-length encoding."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_vli(data, position):
    number = shift = 0
    while True:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, position


def crc32(data):
    return struct.pack("<I", zlib.crc32(data))


@dataclasses.dataclass(frozen=True)
class Block:
    """One Block as it is stored, from the Block Header to the Check, with Block Padding."""
    stored: bytes
    unpadded_size: int
    plain_size: int
    offset: int = 0  # of the Block Header in its file


@dataclasses.dataclass(frozen=True)
class Stream:
    check: int
    blocks: tuple


def stream_header(check):
    flags = bytes((0, check))
    return HEADER_MAGIC + flags + crc32(flags)


def index(records, claimed_count=None):
    """`records` of (unpadded_size, plain_size). `claimed_count` lets the Index lie."""
    body = b"\0" + vli(len(records) if claimed_count is None else claimed_count)
    body += b"".join(vli(unpadded) + vli(plain) for unpadded, plain in records)
    body += bytes(-len(body) % 4)
    return body + crc32(body)


def stream_footer(check, index_size):
    tail = struct.pack("<I", index_size // 4 - 1) + bytes((0, check))
    return crc32(tail) + tail + b"YZ"


def stream(blocks, check, records=None, claimed_count=None):
    """A Stream of `blocks`; `records` stands in for their true sizes in the Index."""
    if records is None:
        records = [(block.unpadded_size, block.plain_size) for block in blocks]
    tail = index(records, claimed_count)
    return b"".join((stream_header(check), *(block.stored for block in blocks), tail,
                     stream_footer(check, len(tail))))


def _parse_last_stream(data):
    """The last Stream of `data` and where it begins."""
    flags = data[-4:-2]
    if data[-2:] != b"YZ" or crc32(data[-8:-2]) != data[-12:-8]:
        raise ValueError("no Stream Footer")
    index_size = (struct.unpack("<I", data[-8:-4])[0] + 1) * 4
    index_at = len(data) - 12 - index_size
    if index_at < 12 or data[index_at] != 0:
        raise ValueError("no Index")
    if crc32(data[index_at:-16]) != data[-16:-12]:
        raise ValueError("Index CRC32")
    count, position = read_vli(data, index_at + 1)
    records = []
    for _ in range(count):
        unpadded, position = read_vli(data, position)
        plain, position = read_vli(data, position)
        records.append((unpadded, plain))
    begin = index_at - sum((unpadded + 3) // 4 * 4 for unpadded, _ in records) - 12
    if begin < 0 or data[begin:begin + 12] != stream_header(flags[1]):
        raise ValueError("no Stream Header")
    blocks, offset = [], begin + 12
    for unpadded, plain in records:
        size = (unpadded + 3) // 4 * 4
        blocks.append(Block(data[offset:offset + size], unpadded, plain, offset))
        offset += size
    return Stream(flags[1], tuple(blocks)), begin


def parse(data):
    """All Streams of a .xz file. Raises ValueError or IndexError where their Indexes can't be read."""
    streams = []
    while data:
        while data[-4:] == b"\0\0\0\0":
            data = data[:-4]
        found, begin = _parse_last_stream(data)
        streams.insert(0, found)
        data = data[:begin]
    return streams


def blocks_of(content, check=lzma.CHECK_CRC32, preset=0, filters=None):
    """Encodes `content` as one Block."""
    more = {"filters": filters} if filters is not None else {"preset": preset}
    (only,) = parse(lzma.compress(content, check=check, **more))
    return only.blocks


def block_header(dict_bits):
    """A Block Header for one LZMA2 filter, without sizes. `dict_bits` 40 means 4 GiB - 1."""
    body = bytes((2, 0, 0x21, 1, dict_bits)) + bytes(3)
    return body + crc32(body)


def lzma2_block(chunks, plain_size, dict_bits, crc):
    """A Block with the given LZMA2 chunks and a CRC32 Check."""
    head = block_header(dict_bits)
    payload = b"".join((*chunks, b"\0"))
    padding = bytes(-len(payload) % 4)
    return Block(b"".join((head, payload, padding, struct.pack("<I", crc))),
                 len(head) + len(payload) + 4, plain_size)


class Giant:
    """One Block of any size that decodes at the speed of memcpy and is made in a moment.

    A period is a unique marker in a stored LZMA2 chunk and a compressible body that is the same
    everywhere; each period resets the dictionary. Its length is a prime, so a read from a wrong
    place can't match by chance when it holds a marker.
    """

    PERIOD = 65521
    MARKER = 16

    def __init__(self, size_bytes, seed=1):
        rng = random.Random(seed)
        line = bytes(rng.choice(b"abcdefghijklmnopqrstuvwxyz ") for _ in range(997))
        self._body = (line * 66)[:self.PERIOD - self.MARKER]
        encoded = lzma.compress(self._body, format=lzma.FORMAT_RAW, filters=[
            {"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20}])
        self._chunk = encoded[:-1]  # without the end marker
        self._periods = size_bytes // self.PERIOD
        self._seed = seed
        self.size = self._periods * self.PERIOD

    def _marker(self, number):
        return struct.pack("<IIII", 0xA5A5A5A5, number, self._seed, number ^ 0xFFFFFFFF)

    def at(self, offset, length):
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        first = offset // self.PERIOD
        parts = []
        for number in range(first, (end - 1) // self.PERIOD + 1):
            parts += (self._marker(number), self._body)
        return b"".join(parts)[offset - first * self.PERIOD:][:end - offset]

    def write(self, path):
        crc, chunks = 0, []
        stored_chunk = b"\x01" + struct.pack(">H", self.MARKER - 1)
        for number in range(self._periods):
            marker = self._marker(number)
            chunks += (stored_chunk, marker, self._chunk)
            crc = zlib.crc32(self._body, zlib.crc32(marker, crc))
        block = lzma2_block(chunks, self.size, 16, crc)  # 16: a dictionary of 1 MiB
        with open(path, "wb") as stored:
            stored.write(stream((block,), lzma.CHECK_CRC32))


_WORDS = None


def text(seed, size):
    """Deterministic text-like bytes: words of a skewed vocabulary in numbered lines."""
    global _WORDS
    if _WORDS is None:
        rng = random.Random(0)
        _WORDS = ["".join(rng.choices("etaoinshrdlucmfw", k=rng.randint(2, 11)))
                  for _ in range(3000)]
    rng = random.Random(seed)
    weights = [1.0 / (n + 3) for n in range(len(_WORDS))]
    out, length, line = [], 0, 0
    while length < size:
        words = rng.choices(_WORDS, weights, k=4000)
        for at in range(0, len(words), 10):
            out.append(f"{seed}:{line:07d} " + " ".join(words[at:at + 10]))
            length += len(out[-1]) + 1
            line += 1
    return "\n".join(out).encode()[:size]


def without_a_filter(plain):
    """The file `plain` as an .xz with a filter that no liblzma has: the ID of arm64's is changed."""
    packed = bytearray(support.xz_output(plain, ("xz", "-c", "--arm64", "--lzma2=preset=1")))
    size = (packed[12] + 1) * 4
    header = packed[12:8 + size]
    header[header.index(0x0A, 2)] = 0x3F
    packed[12:8 + size] = header
    packed[8 + size:12 + size] = struct.pack("<I", zlib.crc32(bytes(header)))
    return bytes(packed)
