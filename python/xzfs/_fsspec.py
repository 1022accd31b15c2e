"""The compression "xzfs" of fsspec."""

from typing import Any

from ._file import LZMAFile


def _open(file: Any, mode: str = "rb", **options: Any) -> LZMAFile:
    return LZMAFile(file, mode=mode, **options)


def register_fsspec(*, for_xz: bool = False) -> None:
    """Make fsspec know the compression "xzfs": fsspec.open("x.xz", compression="xzfs").

    for_xz: it takes the place of the standard library's for "xz", and for names with .xz and
    compression="infer".
    """
    from fsspec.compression import register_compression

    register_compression("xzfs", _open, [], force=True)
    if for_xz:
        register_compression("xz", _open, "xz", force=True)
