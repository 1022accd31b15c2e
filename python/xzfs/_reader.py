"""Random access: Reader, and where its Blocks are."""

import collections.abc
import io
import os
import threading
from typing import Any, BinaryIO, Iterator, NamedTuple, NoReturn, Optional, Union, overload

from . import _xzfs

StrOrBytesPath = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]


class Block(NamedTuple):
    """A part of a file that can be decoded by itself. Offsets and sizes are in bytes."""

    number: int
    """From 0, over all Streams of the file."""
    offset: int
    """Where its content begins in the decompressed file."""
    size: int
    """How much that is."""
    compressed_offset: int
    """Where it begins in the compressed file."""
    compressed_size: int
    """How much that is, without padding."""
    check: int
    """The CHECK_ constant by which its content is verified."""


class BlockMap(collections.abc.Sequence):
    """The Blocks of a file, in their order. It costs nothing until it is asked for one."""

    def __init__(self, reader: "Reader") -> None:
        self._reader = reader

    def __len__(self) -> int:
        return self._reader._inside().block_count

    @overload
    def __getitem__(self, index: int) -> Block: ...
    @overload
    def __getitem__(self, index: slice) -> "list[Block]": ...

    def __getitem__(self, index: Any) -> Any:
        inside, count = self._reader._inside(), len(self)
        if isinstance(index, slice):
            return [Block(*inside.block(number)) for number in range(*index.indices(count))]
        number = index + count if index < 0 else index
        if not 0 <= number < count:
            raise IndexError("there is no Block %d: the file has %d" % (index, count))
        return Block(*inside.block(number))

    def __iter__(self) -> Iterator[Block]:
        inside = self._reader._inside()
        return (Block(*inside.block(number)) for number in range(inside.block_count))

    def find(self, offset: int) -> Block:
        """The Block that holds the byte at `offset` of the decompressed file, or IndexError."""
        inside = self._reader._inside()
        return Block(*inside.block(inside.find(offset)))


class Reader:
    """The decompressed bytes of a .xz, .lzma or .lz file, at any offset.

    Only the Blocks that a read touches are decoded, without the GIL, each once, and no byte of a
    Block is returned before its check was verified (of Blocks of more than an eighth of
    `cache_size`: before their end is reached). Any number of threads may use a Reader.

    file: a path, or a file object for bytes with `seek`, `read` and `tell`, from where it is to its
    end. Threads of the Reader use the object, one at a time, until `close`; it is not closed.
    threads: how many threads decode ahead and help with long reads; 0: one for each processor.
    cache_size: bytes for decoded Blocks; 64 MiB by default. A Reader of a path shares its cache and
    its threads with others, unless one of these options is given.
    memory_limit: the bytes that the decoder may need, for files of strangers; LZMAError if that is
    not enough.

    Raises LZMAError if the file is damaged or not compressed, and OSError.
    """

    def __init__(self, file: Union[StrOrBytesPath, BinaryIO], *, threads: int = 0,
                 cache_size: Optional[int] = None, memory_limit: Optional[int] = None) -> None:
        self._options = {"threads": threads, "cache_size": cache_size, "memory_limit": memory_limit}
        self._own: Optional[BinaryIO] = None
        self._lock = threading.Lock()
        self._closed = False
        if isinstance(file, (str, bytes, os.PathLike)):
            file = self._own = open(file, "rb")
        elif not (hasattr(file, "read") and hasattr(file, "seek") and hasattr(file, "tell")):
            raise TypeError("file must be a path, or a file object with read, seek and tell")
        self._file: Optional[BinaryIO] = file
        try:
            self._base = file.tell()
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        file = self._file
        assert file is not None
        name = getattr(file, "name", None)
        name = os.fsdecode(name) if isinstance(name, (str, bytes)) else repr(name or file)
        if self._base == 0 and _is_plain_file(file):
            self._reader = _xzfs.Reader.of_descriptor(file.fileno(), name, **self._options)
        else:
            size = file.seek(0, io.SEEK_END)
            size = (file.tell() if size is None else size) - self._base
            self._reader = _xzfs.Reader.of_file(file, self._base, max(size, 0), name, **self._options)
        self._process = os.getpid()

    def _inside(self) -> Any:
        # The child of a fork has none of our threads.
        if self._process != os.getpid() and not self._closed:
            with self._lock:
                if self._process != os.getpid():
                    self._open()
        return self._reader

    def read_at(self, offset: int, size: int = -1) -> bytes:
        """Up to `size` bytes from `offset`, fewer only at the end; all of them if it is negative."""
        if offset < 0:
            raise ValueError("negative offset %d" % offset)
        inside = self._inside()
        end = inside.size
        return inside.read_at(min(offset, end), min(end if size < 0 else size, end))

    def readinto_at(self, offset: int, buffer: Any) -> int:
        """Fills the buffer from `offset` on. Returns how many bytes that are, fewer only at the end."""
        if offset < 0:
            raise ValueError("negative offset %d" % offset)
        inside = self._inside()
        return inside.readinto_at(min(offset, inside.size), buffer)

    def stream(self) -> io.BufferedReader:
        """A file object for the decompressed bytes, with a position of its own. Closing it leaves the
        Reader open."""
        return io.BufferedReader(_RawStream(self))

    @property
    def size(self) -> int:
        """The number of decompressed bytes."""
        return self._inside().size

    @property
    def compressed_size(self) -> int:
        """The number of compressed bytes."""
        return self._inside().compressed_size

    @property
    def blocks(self) -> BlockMap:
        """Where the Blocks are. A .lzma file, and a member of a .lz file, is one Block."""
        self._inside()
        return BlockMap(self)

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Lets the file go. Reads that are under way end as if it were open. May be called more than
        once."""
        if self._closed:
            return
        self._closed = True
        try:
            if hasattr(self, "_reader"):
                self._reader.close()
        finally:
            if self._own is not None:
                self._own.close()
            self._own = self._file = None

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot pickle %r object: open the file again" % type(self).__name__)


def _is_plain_file(file: Any) -> bool:
    """Whether the object shows the bytes of its descriptor: others have one, and decode it, say."""
    raw = file.raw if type(file) is io.BufferedReader else file
    if type(raw) is not io.FileIO:
        return False
    return os.path.isfile(raw.fileno())


class _RawStream(io.RawIOBase):
    """The bytes of a Reader, with a position. It stays within the file, like that of lzma."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._reader.readinto_at(self._position, buffer)
        self._position += count
        return count

    def readall(self) -> bytes:
        data = self._reader.read_at(self._position)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_CUR:
            offset += self._position
        elif whence == io.SEEK_END:
            offset += self._reader.size
        elif whence != io.SEEK_SET:
            raise ValueError("Invalid value for whence: %r" % (whence,))
        self._position = min(max(offset, 0), self._reader.size)
        return self._position

    def tell(self) -> int:
        return self._position
