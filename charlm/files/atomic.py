"""Atomic writes: whatever fails, a file is the old one or the new one, whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from charlm.errors import StorageError

FREE_SPACE = "free some space or choose another place, and try again"
TEMPORARY_FILES = ".*.tmp"  # pattern for what a killed process leaves of a StagedFile


@contextmanager
def storage_errors(action: str, path: Path, advice: str = FREE_SPACE) -> Iterator[None]:
    """Raise StorageError for an OSError in the `with` block: what could not be done, where, why, and what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"cannot {action} {path}: {reason}; {advice}") from error


class StagedFile:
    """A file under a temporary name, open for reading and writing as `file`, until `commit` gives it its final name.

    As a context manager it removes the file unless it was committed.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f".{name}.{os.getpid()}.tmp"
        self.file: BinaryIO = open(self._path, "w+b")  # noqa: SIM115 - closed on exit

    def __enter__(self) -> StagedFile:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # on a full disk, flushing the rest fails again
            self.file.close()
        self._path.unlink(missing_ok=True)

    def commit(self, path: Path) -> None:
        """Rename the file to `path`, which is replaced; afterwards data and name are on the disk.

        The file is synced before the rename, and the folder after it, because the folder holds the name.
        """
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        os.replace(self._path, path)
        _sync_folder(path.parent)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace the file at `path` by one that holds `data`; afterwards it is on the disk.

    Raises StorageError; then the old file is unchanged and no temporary file is left.
    """
    with storage_errors("write", path), StagedFile(path.parent, path.name) as staged:
        staged.file.write(data)
        staged.commit(path)


def require_folder(path: Path) -> None:
    """Raise StorageError if the folder of a file does not exist: to be called before the work for that file."""
    if not path.absolute().parent.is_dir():
        raise StorageError(f"no folder {path.parent} to write {path.name} in: make it, or choose another place")


def append(path: Path, data: bytes) -> None:
    """Add `data` to the end of a file; afterwards it is on the disk. Raises StorageError."""
    with storage_errors("write", path), open(path, "ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder to sync it; NTFS journals renames
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
