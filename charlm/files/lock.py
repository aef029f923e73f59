"""Exclusive and shared locks of folders, held by the operating system."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from charlm.errors import RunError
from charlm.files.atomic import storage_errors

LOCK = ".lock"


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Lock a run's folder for this process during the `with` block. Raises RunError if another process holds it.

    The operating system releases the lock when the process ends, however it ends; the lock file alone locks nothing.
    """
    with storage_errors("lock", folder):
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _try_lock(handle):
            raise RunError(f"another process is training in {folder}: wait for it, stop it, or start a new run")
        yield
    finally:
        os.close(handle)


@contextmanager
def shared_lock(folder: Path, when_alone: Callable[[], None]) -> Iterator[None]:
    """Lock a folder together with other processes during the `with` block.

    when_alone: is called first, under an exclusive lock, if no other process holds the folder. Raises OSError.
    Windows has no such shared locks, so there the others hold nothing. That is safe, because an open file cannot be
    removed there.
    """
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if _try_lock(handle):
            when_alone()
        if os.name != "nt":
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    """Lock an open file exclusively, without waiting. False if another process has locked it."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
