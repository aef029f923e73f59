"""Files that are either the old one or the new one, whole, whatever happens in between."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from charlm.errors import StorageError

OTHER_PLACE = "free or choose another place and try again"
TEMPORARY = ".*.tmp"  # what a draft leaves when its process is killed


@contextmanager
def told_in_one_line(action: str, path: Path, advice: str = OTHER_PLACE) -> Iterator[None]:
    """Turn what the operating system refuses into a StorageError that says what was tried, where, and what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"cannot {action} {path}: {reason}; {advice}") from error


class Draft:
    """A file under a temporary name beside its place, read and written as `file`; it counts only once it is kept.

    As a context manager it leaves nothing behind but what was kept.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f".{name}.{os.getpid()}.tmp"
        self.file: BinaryIO = open(self._path, "w+b")  # noqa: SIM115 - closed when the draft is left

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # a full disk refuses once more what is still to be written
            self.file.close()
        self._path.unlink(missing_ok=True)

    def keep_as(self, path: Path) -> None:
        """Rename it to `path`, replacing what is there, and return when the disk has both data and name.

        The file is flushed to the disk before it is renamed, and the folder after, because a rename lives there.
        """
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        os.replace(self._path, path)
        _flush_folder(path.parent)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace the file at `path` by one that holds `data`, and return when the disk has it.

    Raises StorageError and leaves the old file and no temporary one.
    """
    with told_in_one_line("write", path), Draft(path.parent, path.name) as draft:
        draft.file.write(data)
        draft.keep_as(path)


def require_folder(path: Path) -> None:
    """Raise StorageError where there is no folder to write a file in, before any work is done for it."""
    if not path.absolute().parent.is_dir():
        raise StorageError(f"no folder {path.parent} to write {path.name} in: make it, or choose another place")


def append(path: Path, data: bytes) -> None:
    """Add `data` at the end of a file and return when the disk has it."""
    with told_in_one_line("write", path), open(path, "ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows has no handle of a folder to flush; its renames are journalled
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
