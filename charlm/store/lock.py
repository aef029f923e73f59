"""One training at a time in one run directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
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
