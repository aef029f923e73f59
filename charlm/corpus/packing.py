"""Unpack files of gzip, bzip2, xz and Zstandard in pieces of bounded size."""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import zlib
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, Protocol

UNPACKED_RATIO, UNPACKED_EXTRA = 200, 2**20  # a file may unpack to so many times its size, and to so many bytes more
MOST_MEMORY = 2**27  # bytes for unpacking xz; its highest preset takes half of that
PACKINGS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".lzma": "lzma", ".zst": "Zstandard"}


class Source(Protocol):
    """A file that counts the bytes that were read from it."""

    size: int

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most `size`."""


class PackingError(Exception):
    """A packed file that is damaged, or that cannot be unpacked here; the message follows the name of the file."""


def packing_of(name: str) -> str | None:
    """The ending of a packed file's name, in small letters; None for any other name."""
    return next((ending for ending in PACKINGS if name.lower().endswith(ending)), None)


def read(file: Source | gzip.GzipFile, size: int) -> Iterator[bytes]:
    """A file in chunks, up to the first short one: to read on would make a terminal wait for a second end of input."""
    length = size
    while length == size:
        chunk = file.read(size)
        length = len(chunk)
        if chunk:
            yield chunk


def unpacked(raw: Source, ending: str, disk_size: int, size: int) -> Iterator[bytes]:
    """The content of a packed file, in chunks of at most `size` bytes; disk_size: its size, 0 for a pipe.

    Raises PackingError if it is damaged, and for a ratio that no text has: text packs to a few per cent.
    """
    content = _gzip(raw, size) if ending == ".gz" else _streams(raw, ending, size)
    count = 0
    for chunk in content:
        count += len(chunk)
        if count > UNPACKED_EXTRA + UNPACKED_RATIO * max(disk_size, raw.size):
            raise PackingError(
                f"unpacks to more than {UNPACKED_RATIO} times its size, as no text does: if you trust it, unpack it "
                "yourself and name the text file"
            )
        yield chunk


def _gzip(raw: Source, size: int) -> Iterator[bytes]:
    try:
        for chunk in chain(read(gzip.GzipFile(fileobj=raw, mode="rb"), size), [b""]):  # type: ignore[call-overload]
            if not raw.size:
                raise EOFError("it has 0 bytes")  # GzipFile accepts it as an empty text
            if chunk:
                yield chunk
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _damaged(".gz", error) from None


def _streams(raw: Source, ending: str, size: int) -> Iterator[bytes]:
    """The content of one or more packed streams, one after the other. The standard library's files of them would
    ignore anything else that follows the first."""
    make = _decompressor(ending)
    decompressor, data = make(), raw.read(size)
    while True:
        try:
            chunk = decompressor.decompress(data, size)
        except (OSError, ValueError, lzma.LZMAError, zlib.error, _zstd_error()) as error:
            if "memory usage limit" in str(error).lower():
                raise PackingError(
                    f"needs more than {MOST_MEMORY // 2**20} MiB of memory to unpack: if you trust it, unpack it "
                    "yourself and name the text file"
                ) from None
            raise _damaged(ending, error) from None
        if chunk:
            yield chunk
        data = b""
        if decompressor.eof:
            data = decompressor.unused_data
            while not (data := data.lstrip(b"\0") if ending == ".xz" else data):  # xz allows padding
                if not (data := raw.read(size)):
                    return
            decompressor = make()
        elif decompressor.needs_input and not (data := raw.read(size)):
            raise _damaged(ending, "it ends too early")


def _decompressor(ending: str) -> Callable[[], Any]:
    if ending == ".bz2":
        return bz2.BZ2Decompressor
    if ending == ".zst":
        if (zstd := _zstd()) is None:
            raise PackingError(
                "is Zstandard, which charlm reads with Python 3.14 or newer: unpack it, for example with zstd -d"
            )
        return zstd.ZstdDecompressor  # type: ignore[no-any-return]
    kind = lzma.FORMAT_XZ if ending == ".xz" else lzma.FORMAT_ALONE
    return lambda: lzma.LZMADecompressor(kind, MOST_MEMORY)


def _zstd() -> Any:
    try:
        return importlib.import_module("compression.zstd")
    except ImportError:
        return None


def _zstd_error() -> type[Exception]:
    error: type[Exception] = getattr(_zstd(), "ZstdError", ValueError)
    return error


def _damaged(ending: str, reason: object) -> PackingError:
    return PackingError(f"is not a whole {PACKINGS[ending]} file ({reason}): download or compress it again")
