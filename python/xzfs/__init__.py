"""Compressed .xz files with fast random access: Python's lzma module over the library xzfs.

    import xzfs as lzma

has the functions, classes, constants and exceptions of lzma. Beside them there are Reader, which
many threads may read at any offset, and the map of the Blocks of a file. docs/python.md of xzfs says
what is different.
"""

import lzma as _lzma
from lzma import (
    CHECK_CRC32, CHECK_CRC64, CHECK_ID_MAX, CHECK_NONE, CHECK_SHA256, CHECK_UNKNOWN, FILTER_ARM,
    FILTER_ARMTHUMB, FILTER_DELTA, FILTER_IA64, FILTER_LZMA1, FILTER_LZMA2, FILTER_POWERPC,
    FILTER_SPARC, FILTER_X86, FORMAT_ALONE, FORMAT_AUTO, FORMAT_RAW, FORMAT_XZ, MF_BT2, MF_BT3,
    MF_BT4, MF_HC3, MF_HC4, MODE_FAST, MODE_NORMAL, PRESET_DEFAULT, PRESET_EXTREME, LZMACompressor,
    LZMADecompressor, LZMAError, is_check_supported)
# zipfile and others use these two of lzma.
from lzma import _decode_filter_properties, _encode_filter_properties  # type: ignore # noqa: F401
from typing import Any, Optional

from . import _xzfs
from ._file import DEFAULT_BLOCK_SIZE, LZMAFile, open, refuse_blocks, writer_options
from ._fsspec import register_fsspec
from ._reader import Block, BlockMap, Reader

__all__ = [
    "CHECK_NONE", "CHECK_CRC32", "CHECK_CRC64", "CHECK_SHA256", "CHECK_ID_MAX", "CHECK_UNKNOWN",
    "FILTER_LZMA1", "FILTER_LZMA2", "FILTER_DELTA", "FILTER_X86", "FILTER_IA64", "FILTER_ARM",
    "FILTER_ARMTHUMB", "FILTER_POWERPC", "FILTER_SPARC",
    "FORMAT_AUTO", "FORMAT_XZ", "FORMAT_ALONE", "FORMAT_RAW",
    "MF_HC3", "MF_HC4", "MF_BT2", "MF_BT3", "MF_BT4",
    "MODE_FAST", "MODE_NORMAL", "PRESET_DEFAULT", "PRESET_EXTREME",
    "LZMACompressor", "LZMADecompressor", "LZMAFile", "LZMAError",
    "open", "compress", "decompress", "is_check_supported",
    "Block", "BlockMap", "DEFAULT_BLOCK_SIZE", "Reader", "register_fsspec",
]


def compress(data: Any, format: int = FORMAT_XZ, check: int = -1, preset: Optional[int] = None,
             filters: "Optional[list[dict[str, Any]]]" = None, *,
             block_size: Optional[int] = None, threads: int = 0) -> bytes:
    """Compress bytes, like lzma.compress; for .xz as Blocks of `block_size` bytes on several
    processors, as LZMAFile does."""
    if format != FORMAT_XZ or filters is not None:
        refuse_blocks(block_size, threads)
        return _lzma.compress(data, format, check, preset, filters)
    return _xzfs.compress(data, **writer_options(check, preset, block_size, threads))


def decompress(data: Any, format: int = FORMAT_AUTO, memlimit: Optional[int] = None,
               filters: "Optional[list[dict[str, Any]]]" = None, *, threads: int = 0) -> bytes:
    """Decompress bytes, like lzma.decompress; those of a whole .xz file of several Blocks on several
    processors, if there is no `memlimit`."""
    if format in (FORMAT_AUTO, FORMAT_XZ) and memlimit is None and filters is None:
        plain = _xzfs.decompress(data, threads=threads)
        if plain is not None:
            return plain
    return _lzma.decompress(data, format, memlimit, filters)
