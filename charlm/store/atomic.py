"""Files that are either the old one or the new one, whole, whatever happens in between."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from charlm.errors import StorageError

OTHER_PLACE = "free or choose another place and try again"
TEMPORARY = ".*.tmp"  # what write_atomic leaves when the machine dies in it


@contextmanager
def told_in_one_line(action: str, path: Path, advice: str = OTHER_PLACE) -> Iterator[None]:
    """Turn what the operating system refuses into a StorageError that says what was tried, where, and what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"cannot {action} {path}: {reason}; {advice}") from error


def write_atomic(path: Path, data: bytes) -> None:
    """Replace the file at `path` by one that holds `data`, and return when the disk has it.

    Written beside its target under a temporary name, flushed to the disk, then renamed over it; the folder is
    flushed too, because a rename lives there. Raises StorageError and leaves the old file and no temporary one.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with told_in_one_line("write", path):
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _flush_folder(path.parent)


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
