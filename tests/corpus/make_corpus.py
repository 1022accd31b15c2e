#!/usr/bin/env python3
"""Makes the decoder test files, from the rules of the formats: tests/corpus/make_corpus.py FOLDER

good-* must decode, bad-* must be refused, unsupported-* are well formed and ask for what liblzma does
not have. The cases are those of XZ Utils' own test files and some more. Nothing of the program under
test is used: `xz` and Python's lzma encode, xzformat.py and this put the parts together. The same
bytes each time.
"""

import hashlib
import lzma
import os
import struct
import subprocess
import sys
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mount"))
import xzformat  # pylint: disable=wrong-import-position
from xzformat import Block, crc32, vli  # pylint: disable=wrong-import-position

HELLO = b"Hello\nWorld!\n"
TEXT = xzformat.text(1, 500)
LZMA2, DELTA, X86, ARM64 = 0x21, 0x03, 0x04, 0x0A
NONE, CRC32, CRC64, SHA256 = lzma.CHECK_NONE, lzma.CHECK_CRC32, lzma.CHECK_CRC64, lzma.CHECK_SHA256


# LZMA2.

def stored_chunk(content, reset=True):
    """As it is; with or without a reset of the dictionary."""
    return bytes((1 if reset else 2,)) + struct.pack(">H", len(content) - 1) + content


def lzma_chunks(content, **options):
    """LZMA chunks, without the end marker."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 16, **options}]
    return lzma.compress(content, format=lzma.FORMAT_RAW, filters=filters)[:-1]


def with_control(chunk, control):
    """The same chunk with another control byte."""
    return bytes((control,)) + chunk[1:]


HELLO_LZMA2 = stored_chunk(b"Hello\n") + stored_chunk(b"World!\n", reset=False) + b"\0"


# .xz: every field can lie.

def block_header(filters=((LZMA2, b"\x08"),), packed=None, plain=None, reserved=0, more=0, pad=0,
                 crc_xor=0):
    """`more` are words of Header Padding, `pad` is what its last byte is."""
    body = bytes((len(filters) - 1 | reserved | (0x40 if packed is not None else 0)
                  | (0x80 if plain is not None else 0),))
    body += b"".join(vli(size) if isinstance(size, int) else size
                     for size in (packed, plain) if size is not None)
    body += b"".join(vli(number) + vli(len(properties)) + properties
                     for number, properties in filters)
    body += bytes(-(len(body) + 1) % 4 + 4 * more)
    if pad:
        body = body[:-1] + bytes((pad,))
    body = bytes((len(body) // 4 + 1,)) + body
    return body + struct.pack("<I", zlib.crc32(body) ^ crc_xor)


def check_of(content, check):
    if check == SHA256:
        return hashlib.sha256(content).digest()
    if check == CRC64:
        # The last eight bytes of the Block that Python makes with it.
        return xzformat.blocks_of(content, check=CRC64)[0].stored[-8:]
    return crc32(content) if check == CRC32 else b""


def block(payload=HELLO_LZMA2, content=HELLO, check=CRC32, head=None, pad=b"\0", value=None,
          plain_size=None):
    head = block_header() if head is None else head
    value = check_of(content, check) if value is None else value
    stored = head + payload + pad * (-len(payload) % 4) + value
    return Block(stored, len(head) + len(payload) + len(value),
                 len(content) if plain_size is None else plain_size)


def xz(*blocks, check=CRC32, **index):
    return xzformat.stream(blocks, check, **index)


def encoded(content, check=CRC32, *chain):
    """By Python's encoder."""
    filters = [*chain, {"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 16}]
    return lzma.compress(content, check=check, filters=filters)


def by_xz(content, *options):
    return subprocess.run(["xz", "-c", *options], input=content, stdout=subprocess.PIPE,
                          check=True).stdout


def patched(data, place, new):
    place = place if place >= 0 else len(data) + place
    return data[:place] + new + data[place + len(new):]


def flipped(data, place, bits=1):
    return patched(data, place, bytes((data[place] ^ bits,)))


def flags_of(data, header=None, footer=None):
    """With other Stream Flags, and CRC32s that are right."""
    if header is not None:
        data = data[:6] + header + crc32(header) + data[12:]
    if footer is not None:
        tail = data[-8:-4] + footer
        data = data[:-12] + crc32(tail) + tail + data[-2:]
    return data


EMPTY = xz()
GOOD = xz(block())


def good_xz():
    yield "0-empty", EMPTY
    yield "0pad-empty", EMPTY + bytes(4)
    yield "0cat-empty", EMPTY * 2
    yield "0catpad-empty", EMPTY + bytes(4) + EMPTY
    for name, check in (("none", NONE), ("crc32", CRC32), ("crc64", CRC64), ("sha256", SHA256)):
        yield f"1-check-{name}", xz(block(check=check), check=check)
    yield "1-block_header-1", xz(block(head=block_header(packed=len(HELLO_LZMA2), plain=len(HELLO))))
    yield "1-block_header-2", xz(block(head=block_header(packed=len(HELLO_LZMA2))))
    yield "1-block_header-3", xz(block(head=block_header(plain=len(HELLO), more=7)))
    long = xzformat.text(2, 300_000)  # several LZMA chunks
    for number, (payload, content) in enumerate((
            (lzma_chunks(TEXT), TEXT),
            # What precedes such a chunk ends with a control character, as the encoder took it.
            (stored_chunk(HELLO) + with_control(lzma_chunks(TEXT), 0xC0), HELLO + TEXT),
            (lzma_chunks(long), long),
            (lzma_chunks(TEXT) + stored_chunk(HELLO) + with_control(lzma_chunks(TEXT), 0xC0),
             TEXT + HELLO + TEXT),
            (b"", b"")), 1):
        yield f"1-lzma2-{number}", xz(block(payload + b"\0", content))
    yield "1-lclppb", xz(block(lzma_chunks(TEXT, lc=0, lp=4, pb=0) + b"\0", TEXT))
    yield "1-delta-lzma2", encoded(TEXT, CRC32, {"id": lzma.FILTER_DELTA, "dist": 256})
    yield "1-3delta-lzma2", encoded(TEXT, CRC64, *({"id": lzma.FILTER_DELTA, "dist": dist}
                                                   for dist in (1, 2, 7)))
    for name in ("X86", "IA64", "ARM", "ARMTHUMB", "SPARC", "POWERPC"):
        yield (f"1-{name.lower()}-lzma2",
               encoded(bytes(range(256)) * 40, CRC32, {"id": getattr(lzma, "FILTER_" + name)}))
    for number, preset in enumerate(("0", "9"), 1):
        yield (f"1-arm64-lzma2-{number}",
               by_xz(bytes(range(256)) * 40, "--arm64", f"--lzma2=preset={preset}"))
    yield "1-empty-bcj-lzma2", xz(block(b"\0", b"", head=block_header(((X86, b""), (LZMA2, b"\0")))))
    yield "2-lzma2", xz(block(stored_chunk(b"Hello\n") + b"\0", b"Hello\n"),
                        block(stored_chunk(b"World!\n") + b"\0", b"World!\n"))
    yield "2-checks", GOOD + bytes(8) + xz(block(lzma_chunks(TEXT) + b"\0", TEXT, SHA256),
                                           check=SHA256)
    yield "40-lzma2", xz(*(block(lzma_chunks(line) + b"\0", line) for line in TEXT.split(b"\n") * 8))


def bad_ends():
    """What lies around the Blocks."""
    yield "0-header_magic", patched(EMPTY, 5, b"\1")
    yield "0-footer_magic", patched(EMPTY, -1, b"X")
    yield "0-empty-truncated", EMPTY[:-1]
    tail = struct.pack("<I", 7) + b"\0" + bytes((CRC32,))
    yield "0-backward_size", EMPTY[:-12] + crc32(tail) + tail + b"YZ"
    yield "0-nonempty_index", xz(records=[(20, 0)])
    yield "0-index-1", flipped(EMPTY, 16)
    yield "0pad-empty", EMPTY + bytes(5)
    yield "0catpad-empty", EMPTY + bytes(5) + EMPTY
    yield "0cat-alone", EMPTY + lzma_alone(None)
    yield "0cat-header_magic", EMPTY + patched(EMPTY, 4, b"Y")
    yield "1-stream_flags-1", flags_of(GOOD, footer=bytes((0, CRC64)))
    yield "1-stream_flags-2", flipped(GOOD, 8)
    yield "1-stream_flags-3", flipped(GOOD, -12)
    yield "1-index-huge-uncomp", xz(block(), records=[(block().unpadded_size, (1 << 62) + 13)])
    size = block().unpadded_size
    yield "3-index-uncomp-overflow", xz(block(), block(), block(),
                                        records=[(size, (1 << 62) - 1), (size, (1 << 62) - 1),
                                                 (size, (1 << 62) - 1)])
    two, one = (block(), block()), (block().unpadded_size, len(HELLO))
    yield "2-index-1", xz(*two, records=[one])
    yield "2-index-2", xz(*two, records=[one] * 3)
    yield "2-index-3", xz(*two, records=[one, (one[0] + 4, one[1])])
    yield "2-index-4", xz(*two, records=[one, (one[0], one[1] + 1)])
    yield "2-index-5", xz(*two, records=[(one[0], one[1] + 1), (one[0], one[1] - 1)])
    yield "2-index-6", xz(*two, claimed_count=1 << 40)
    padded = xzformat.index([one, one])[:-5] + b"\1"  # Index Padding that isn't 0
    yield "2-index-7", xz(*two)[:-16 - len(padded)] + padded + crc32(padded) + xz(*two)[-12:]


def bad_blocks():
    """What liblzma's decoder of a Block has to find; the Index is right."""
    yield "1-block_header-1", block(head=block_header(crc_xor=1))
    yield "1-block_header-2", block(head=block_header(pad=1, more=1))
    yield "1-block_header-3", block(head=block_header(packed=len(HELLO_LZMA2) + 1))
    yield "1-block_header-4", block(head=block_header(packed=len(HELLO_LZMA2) - 1))
    yield "1-block_header-5", block(head=block_header(plain=len(HELLO) + 1))
    yield "1-block_header-6", block(head=block_header(plain=len(HELLO) - 1))
    yield "1-vli-1", block(head=block_header(plain=bytes((0x80 | len(HELLO), 0))))
    yield "1-vli-2", block(head=block_header(plain=bytes((0x80 | len(HELLO),)) + b"\x80" * 9 + b"\1"))
    for name, check in (("crc32", CRC32), ("crc64", CRC64), ("sha256", SHA256)):
        yield f"1-check-{name}", block(check=check, value=flipped(check_of(HELLO, check), -1)), check
    yield "1-check-crc32-2", block(HELLO_LZMA2.replace(b"World", b"world"))
    yield "1-check-crc32-3", block(lzma_chunks(TEXT) + b"\0", TEXT, value=bytes(4))
    yield "1-block_padding", block(lzma_chunks(TEXT[:401]) + b"\0", TEXT[:401], pad=b"\1")
    chunk = lzma_chunks(TEXT)
    for number, (payload, content) in enumerate((
            (b"\x03" + HELLO_LZMA2[1:], HELLO),                      # no such control byte
            (b"\x7f" + HELLO_LZMA2[1:], HELLO),
            (stored_chunk(HELLO, reset=False) + b"\0", HELLO),       # begins with an old dictionary
            (with_control(chunk, 0xC0) + b"\0", TEXT),
            (stored_chunk(HELLO) + with_control(chunk, 0xA0)[:5] + chunk[6:] + b"\0", HELLO + TEXT),
            (stored_chunk(HELLO) + with_control(chunk, 0x80)[:5] + chunk[6:] + b"\0", HELLO + TEXT),
            (patched(chunk, 5, b"\xe1") + b"\0", TEXT),              # lc, lp and pb that can't be
            (patched(chunk, 5, bytes((4 * 45 + 4 * 9 + 8,))) + b"\0", TEXT),
            (patched(chunk, 2, bytes((chunk[2] + 1,))) + b"\0", TEXT),  # a size that is not so
            (patched(chunk, 4, bytes((chunk[4] - 1,))) + b"\0", TEXT),
            (flipped(chunk, 6) + b"\0", TEXT),                       # LZMA data begins with 0
            (flipped(chunk, len(chunk) // 2, 0xFF) + b"\0", TEXT),
            (HELLO_LZMA2 + b"\0" * 4, HELLO),                        # bytes behind the end
            (HELLO_LZMA2[:-1], HELLO),                               # no end
            (stored_chunk(HELLO)[:-2], HELLO)), 1):
        yield f"1-lzma2-{number}", block(payload, content)
    # Their Block Headers ask for what can't be.
    yield "1-bcj-last", block(head=block_header(((X86, b""),)))
    yield "1-lzma2-first", block(head=block_header(((LZMA2, b"\x08"), (LZMA2, b"\x08"))))


# The older formats.

def raw_lzma(content):
    """LZMA with its end marker."""
    return lzma.compress(content, format=lzma.FORMAT_RAW, filters=[
        {"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16, "lc": 3, "lp": 0, "pb": 2}])


def lzma_alone(size, content=TEXT, marker=True):
    """`size` None: unknown."""
    data = raw_lzma(content) if marker else lzma_chunks(content)[6:]  # an LZMA2 chunk has no marker
    return (b"\x5d" + struct.pack("<I", 1 << 16)
            + struct.pack("<q", -1 if size is None else size) + data)


def lzip(content=HELLO, version=1, dictionary=0x10, crc_xor=0, plain=0, member=0, magic=b"LZIP"):
    """`plain` and `member` are by how much the sizes are wrong."""
    head = magic + bytes((version, dictionary))
    data = raw_lzma(content)
    foot = struct.pack("<IQ", zlib.crc32(content) ^ crc_xor, len(content) + plain)
    if version == 0:
        return head + data + foot
    return head + data + foot + struct.pack("<Q", len(head) + len(data) + len(foot) + 8 + member)


def older():
    size = len(TEXT)
    yield "good-unknown_size-with_eopm.lzma", lzma_alone(None)
    yield "good-known_size-with_eopm.lzma", lzma_alone(size)
    yield "good-known_size-without_eopm.lzma", lzma_alone(size, marker=False)
    yield "bad-unknown_size-without_eopm.lzma", lzma_alone(None, marker=False)
    yield "bad-too_big_size-with_eopm.lzma", lzma_alone(size + 1)
    yield "bad-too_big_size-without_eopm.lzma", lzma_alone(size + 1, marker=False)[:-2]
    yield "bad-too_small_size-with_eopm.lzma", lzma_alone(size - 1)
    yield "bad-first-byte.lzma", flipped(lzma_alone(size), 13)
    yield "good-1-v0.lz", lzip(version=0)
    yield "good-1-v1.lz", lzip()
    yield "good-1-v0-trailing-1.lz", lzip(version=0) + b"trailing garbage"
    yield "good-1-v1-trailing-1.lz", lzip() + b"trailing garbage"
    yield "good-1-v1-trailing-2.lz", lzip() + b"LZ trailing"[2:]
    yield "good-2-v0-v1.lz", lzip(version=0) + lzip(TEXT)
    yield "good-2-v1-v0.lz", lzip() + lzip(TEXT, version=0)
    yield "good-2-v1-v1.lz", lzip() * 2
    yield "bad-1-v0-uncomp-size.lz", lzip(version=0, plain=1)
    yield "bad-1-v1-uncomp-size.lz", lzip(plain=-1)
    yield "bad-1-v1-member-size.lz", lzip(member=1)
    yield "bad-1-v1-crc32.lz", lzip(crc_xor=1)
    yield "bad-1-v1-dict-1.lz", lzip(dictionary=0x0B)
    yield "bad-1-v1-dict-2.lz", lzip(dictionary=0xFF)
    yield "bad-1-v1-magic-1.lz", lzip(magic=b"LZIq")
    yield "bad-1-v1-trailing-magic.lz", lzip() + b"LZIP"
    yield "bad-1-v1-truncated.lz", lzip()[:-1]
    yield "unsupported-1-v234.lz", patched(lzip(), 4, b"\xea")


def unsupported():
    yield "block_header", xz(block(head=block_header(reserved=0x10)))
    yield "check", xz(block(value=bytes(4)), check=2)
    yield "filter_flags-1", xz(block(head=block_header(((0x7F, b""), (LZMA2, b"\x08")))))
    yield "filter_flags-2", xz(block(head=block_header(((DELTA, b"\0\0"), (LZMA2, b"\x08")))))
    yield "filter_flags-3", xz(block(head=block_header(((LZMA2, b"\x29"),))))
    yield "stream_flags", flags_of(GOOD, bytes((1, CRC32)), bytes((1, CRC32)))


def corpus():
    """(name, bytes) of all files."""
    for name, data in good_xz():
        yield f"good-{name}.xz", data
    for name, data in bad_ends():
        yield f"bad-{name}.xz", data
    for name, stored, *check in bad_blocks():
        yield f"bad-{name}.xz", xz(stored, check=check[0] if check else CRC32)
        # And between two that are good.
        if not check:
            yield f"bad-3-{name[2:]}.xz", xz(block(), stored, block())
    for name, data in unsupported():
        yield f"unsupported-{name}.xz", data
    yield from older()


def make(folder):
    os.makedirs(folder, exist_ok=True)
    for name, data in corpus():
        with open(os.path.join(folder, name), "wb") as out:
            out.write(data)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make_corpus.py FOLDER")
    make(sys.argv[1])
