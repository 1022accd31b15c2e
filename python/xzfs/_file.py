"""LZMAFile, and open."""

import builtins
import io
import lzma
import operator
import os
import threading
from typing import Any, BinaryIO, NoReturn, Optional, TextIO, Union

from . import _xzfs
from ._reader import BlockMap, Reader, StrOrBytesPath

_MAGIC = b"\xfd7zXZ\x00"
DEFAULT_BLOCK_SIZE = 1 << 20


def writer_options(check: int, preset: Optional[int], block_size: Optional[int],
                   threads: int) -> "dict[str, Any]":
    """The options of _xzfs, from those of lzma, with lzma's exceptions."""
    preset = lzma.PRESET_DEFAULT if preset is None else operator.index(preset)
    if not 0 <= preset < 1 << 32:
        raise OverflowError("preset %d is no unsigned int" % preset)
    level, flags = preset & 0x1F, preset & ~0x1F
    if level > 9 or flags not in (0, lzma.PRESET_EXTREME):
        raise lzma.LZMAError("Invalid or unsupported options")
    check = operator.index(check)
    if check == -1:
        check = lzma.CHECK_CRC64
    if not 0 <= check <= lzma.CHECK_ID_MAX or not lzma.is_check_supported(check):
        raise lzma.LZMAError("Unsupported integrity check")
    return {"preset": level, "extreme": flags != 0, "check": check, "threads": threads,
            "block_size": DEFAULT_BLOCK_SIZE if block_size is None else block_size}


def refuse_blocks(block_size: Optional[int], threads: int) -> None:
    """For what is encoded as one piece."""
    if block_size is not None or threads != 0:
        raise ValueError("block_size and threads are for FORMAT_XZ without filters")


class _StreamWriter:
    """Writes what has no Blocks of a given size: with the compressor of lzma."""

    def __init__(self, file: Any, compressor: lzma.LZMACompressor) -> None:
        self._file = file
        self._compressor = compressor

    def write(self, data: Any) -> None:
        self._file.write(self._compressor.compress(data))

    def close(self) -> None:
        self._file.write(self._compressor.flush())


class LZMAFile(io.BufferedIOBase):
    """A compressed file as a file object for bytes, like lzma.LZMAFile.

    A .xz file that is whole and seekable is read by its Index: seeking costs nothing, and reading
    decodes the Blocks that are touched, on several processors, without the GIL. All others are read
    as lzma does: damaged and truncated ones as far as they go, pipes, .lzma files, raw streams.
    A .xz file is written as Blocks of `block_size` bytes, encoded on several processors.
    """

    _fp: Any = None  # None: it is closed

    def __init__(self, filename: Union[StrOrBytesPath, int, BinaryIO, None] = None,
                 mode: str = "r", *, format: Optional[int] = None, check: int = -1,
                 preset: Optional[int] = None,
                 filters: Optional["list[dict[str, Any]]"] = None,
                 block_size: Optional[int] = None, threads: int = 0) -> None:
        """Open a file.

        The arguments up to `filters` are those of lzma.LZMAFile. `filename` may also be a
        descriptor, which is closed with the file.

        block_size: when writing .xz, the plain bytes of a Block, 4 KiB to 1 GiB; 1 MiB by default.
        Smaller ones are read faster at an offset, larger ones compress smaller.
        threads: the threads that encode or decode; 0: one for each processor.
        """
        self._closefp = False
        self._buffer: Any = None
        self._writer: Any = None
        self._reader: Optional[Reader] = None
        self._threads = threads
        self._lock = threading.Lock()
        self._writes = mode not in ("r", "rb")
        if not self._writes:
            if check != -1:
                raise ValueError("Cannot specify an integrity check when opening a file for reading")
            if preset is not None:
                raise ValueError(
                    "Cannot specify a preset compression level when opening a file for reading")
            if block_size is not None:
                raise ValueError("Cannot specify a Block size when opening a file for reading")
            self._format = lzma.FORMAT_AUTO if format is None else format
            self._filters = filters
            self._open_file(filename, mode)
        elif mode in ("w", "wb", "a", "ab", "x", "xb"):
            format = lzma.FORMAT_XZ if format is None else format
            self._position = 0
            # Wrong options are found before a file is made.
            if format == lzma.FORMAT_XZ and filters is None:
                options = writer_options(check, preset, block_size, threads)
                self._open_file(filename, mode)
                self._writer = _xzfs.Writer(self._fp.write, **options)
            else:
                refuse_blocks(block_size, threads)
                compressor = lzma.LZMACompressor(format, check, preset, filters)
                self._open_file(filename, mode)
                self._writer = _StreamWriter(self._fp, compressor)
        else:
            raise ValueError("Invalid mode: %r" % (mode,))

    def _open_file(self, filename: Any, mode: str) -> None:
        if isinstance(filename, (str, bytes, int, os.PathLike)):
            self._fp = builtins.open(filename, mode if "b" in mode else mode + "b")
            self._closefp = True
        elif hasattr(filename, "read") or hasattr(filename, "write"):
            self._fp = filename
        else:
            raise TypeError("filename must be a str, bytes, int, file or PathLike object")

    # Reading. What the file is, is looked at when it is read first, as lzma does.

    def _reading(self) -> Any:
        self._check_can_read()
        if self._buffer is None:
            with self._lock:
                if self._buffer is None:
                    self._buffer = self._open_buffer()
        return self._buffer

    def _open_buffer(self) -> Any:
        if self._format in (lzma.FORMAT_AUTO, lzma.FORMAT_XZ) and self._filters is None:
            self._reader = self._open_reader()
            if self._reader is not None:
                return self._reader.stream()
        return lzma.LZMAFile(self._fp, format=self._format, filters=self._filters)

    def _open_reader(self) -> Optional[Reader]:
        """None if it can't be read by an Index. The file object is where it was, then."""
        file = self._fp
        try:
            if not file.seekable():
                return None
            begin = file.tell()
        except (AttributeError, io.UnsupportedOperation):
            return None
        magic = file.read(len(_MAGIC))
        file.seek(begin)
        if magic != _MAGIC:
            return None
        try:
            return Reader(file, threads=self._threads)
        except lzma.LZMAError:
            file.seek(begin)
            return None

    @property
    def blocks(self) -> BlockMap:
        """Where the Blocks are. io.UnsupportedOperation if the file isn't read by its Index."""
        self._reading()
        if self._reader is None:
            raise io.UnsupportedOperation("there is no whole .xz file, or it isn't seekable")
        return self._reader.blocks

    def peek(self, size: int = -1) -> bytes:
        """Bytes that come next: at least one, except at the end. The position stays."""
        return self._reading().peek(size)

    def read(self, size: Optional[int] = -1) -> bytes:
        """Up to `size` bytes; all that are left if it is negative. b"" at the end."""
        return self._reading().read(size)

    def read1(self, size: int = -1) -> bytes:
        """Up to `size` bytes, as many as are there without much work. b"" at the end."""
        return self._reading().read1(io.DEFAULT_BUFFER_SIZE if size < 0 else size)

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer. Returns how many bytes that are, fewer only at the end."""
        return self._reading().readinto(buffer)

    def readinto1(self, buffer: Any) -> int:
        """As readinto, with as many bytes as are there without much work."""
        return self._reading().readinto1(buffer)

    def readline(self, size: Optional[int] = -1) -> bytes:
        """A line with its end; at most `size` bytes of it. b"" at the end."""
        return self._reading().readline(-1 if size is None else size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to an offset from the beginning, or as `whence` says. Returns the new position, which is
        never outside of the file."""
        self._check_not_closed()
        if self._writes:
            raise io.UnsupportedOperation("Seeking is only supported on files open for reading")
        if not self.seekable():
            raise io.UnsupportedOperation("The underlying file object does not support seeking")
        return self._reading().seek(offset, whence)

    def tell(self) -> int:
        """The position in the plain bytes."""
        self._check_not_closed()
        if self._writes:
            return self._position
        return 0 if self._buffer is None else self._buffer.tell()

    # Writing.

    def write(self, data: Any) -> int:
        """Takes all of `data`. What is on the disk follows later, at the latest with close()."""
        self._check_not_closed()
        if not self._writes:
            raise io.UnsupportedOperation("File not open for writing")
        length = memoryview(data).nbytes
        self._writer.write(data)
        self._position += length
        return length

    def close(self) -> None:
        """Completes what was written. May be called more than once."""
        if self._fp is None:
            return
        file, self._fp = self._fp, None
        try:
            if self._writer is not None:
                self._writer.close()
            if self._buffer is not None:
                self._buffer.close()
            if self._reader is not None:
                self._reader.close()
        finally:
            self._writer = self._buffer = self._reader = None
            if self._closefp:
                file.close()

    # What it is.

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._fp is None

    @property
    def name(self) -> Any:
        """The name of the underlying file."""
        self._check_not_closed()
        return self._fp.name

    @property
    def mode(self) -> str:
        """"rb" or "wb"."""
        return "wb" if self._writes else "rb"

    def fileno(self) -> int:
        """The descriptor of the underlying file."""
        self._check_not_closed()
        return self._fp.fileno()

    def readable(self) -> bool:
        """Whether it was opened for reading."""
        self._check_not_closed()
        return not self._writes

    def writable(self) -> bool:
        """Whether it was opened for writing."""
        self._check_not_closed()
        return self._writes

    def seekable(self) -> bool:
        """Whether it can be read at any offset."""
        return self.readable() and self._fp.seekable()

    def _check_not_closed(self) -> None:
        if self._fp is None:
            raise ValueError("I/O operation on closed file")

    def _check_can_read(self) -> None:
        if not self.readable():
            raise io.UnsupportedOperation("File not open for reading")

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot pickle %r object: open the file again" % type(self).__name__)


def open(filename: Union[StrOrBytesPath, int, BinaryIO], mode: str = "rb", *,
         format: Optional[int] = None, check: int = -1, preset: Optional[int] = None,
         filters: Optional["list[dict[str, Any]]"] = None, encoding: Optional[str] = None,
         errors: Optional[str] = None, newline: Optional[str] = None,
         block_size: Optional[int] = None, threads: int = 0) -> Union[LZMAFile, TextIO]:
    """Open a compressed file, like lzma.open: an LZMAFile, or for the text modes "rt", "wt", "xt" and
    "at" an io.TextIOWrapper of one with this encoding, error handling and line ends.

    The arguments are those of lzma.open; for `block_size` and `threads` see LZMAFile.
    """
    if "t" in mode:
        if "b" in mode:
            raise ValueError("Invalid mode: %r" % (mode,))
    else:
        for argument, value in (("encoding", encoding), ("errors", errors), ("newline", newline)):
            if value is not None:
                raise ValueError("Argument %r not supported in binary mode" % argument)
    file = LZMAFile(filename, mode.replace("t", ""), format=format, check=check, preset=preset,
                    filters=filters, block_size=block_size, threads=threads)
    if "t" not in mode:
        return file
    return io.TextIOWrapper(file, io.text_encoding(encoding), errors, newline)  # type: ignore
