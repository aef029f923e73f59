"""Folders that are held: by one process alone, or by several together and cleared only when there is one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from charlm.errors import RunError
from charlm.store.atomic import told_in_one_line

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process inside the `with` block. Raises RunError where another process holds it.

    The lock is the operating system's: it goes with the process, however that ends. A lock file that lies about is
    no lock.
    """
    with told_in_one_line("lock", folder):
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _take(handle):
            raise RunError(f"another charlm is training in {folder}: wait for it, stop it, or start a new run")
        yield
    finally:
        os.close(handle)


@contextmanager
def shared(folder: Path, when_alone: Callable[[], None]) -> Iterator[None]:
    """Hold a folder together with others inside the `with` block; where there are none at its beginning, call first.

    Raises OSError. Windows does not share such locks: there the others hold nothing, which is well, because a file
    that is open cannot be removed there.
    """
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if _take(handle):
            when_alone()
        if os.name != "nt":
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


def _take(handle: int) -> bool:
    """Lock an open file without waiting; False where another process has it."""
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
