"""How many threads the matrix arithmetic uses, and which library does it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from charlm.errors import SpecError


@contextmanager
def blas_threads(count: int | None) -> Iterator[None]:
    """Let matmuls use `count` threads inside the `with` block; None leaves the library's choice.

    More threads than processors would only wait for each other: there are at most as many as these. The number is one
    for the whole process. Of several blocks that are open, in one thread or in many, the one that was entered last
    sets it; when all have ended, it is as before the first.
    """
    if count is None:
        yield
        return
    if count < 1:
        raise SpecError(f"threads must be a whole number of at least 1, not {count}")
    block = _Block(min(count, os.cpu_count() or 1))
    _enter(block)
    try:
        yield
    finally:
        _leave(block)


@dataclass(eq=False)
class _Block:
    threads: int


_lock = threading.Lock()
_open_blocks: list[_Block] = []
_before: list[Any] = []  # what to go back to, if any block is open


def _enter(block: _Block) -> None:
    with _lock:
        if not _open_blocks:
            _before.append(limit_blas(None))
        _open_blocks.append(block)
        limit_blas(block.threads)


def _leave(block: _Block) -> None:
    with _lock:
        _open_blocks.remove(block)
        if _open_blocks:
            limit_blas(_open_blocks[-1].threads)
        else:
            _before.pop().restore_original_limits()


def asked_threads() -> int | None:
    """How many threads the `blas_threads` block that was entered last asks for; None outside of all blocks."""
    with _lock:
        return _open_blocks[-1].threads if _open_blocks else None


def blas_name() -> str:
    """The BLAS that numpy calls: library, version and kernel. Bits may differ between two of them."""
    words = (_blas().get(key) for key in ("internal_api", "version", "architecture"))
    return " ".join(str(word) for word in words if word) or "unknown"


def blas_thread_count() -> int:
    """How many threads matmuls use now."""
    return int(_blas().get("num_threads", 1))


def limit_blas(threads: int | None) -> Any:
    """The limit, from now on; as a context manager, until its end."""
    return _libraries().limit(limits=threads, user_api="blas")


def _blas() -> dict[str, Any]:
    return next((library for library in _libraries().info() if library["user_api"] == "blas"), {})


@cache
def _libraries() -> Any:
    """The loaded libraries that have threads. To find them takes a millisecond: once, when numpy's are loaded."""
    import numpy  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
