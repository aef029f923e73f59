"""The ids of large texts on disk: encoded once, then mapped into memory by every later run.

One file per text, SIZE-KEY.ids: SIZE is the bytes of all sources, KEY a hash of their content. A file holds

    the ids, 1, 2 or 4 bytes each, little-endian
    the metadata, as JSON: vocabulary, sha256 of the text, what was cleaned
    the length of the metadata (8 bytes), "charlmid", and the CRC-32 (4 bytes) of everything before it

The metadata come last because they are known last. A damaged file counts as missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from charlm.arrays import UnsignedIds
from charlm.errors import StorageError
from charlm.files.atomic import StagedFile, storage_errors
from charlm.files.lock import shared_lock
from charlm.files.strict_json import parse_json
from charlm.text.vocabulary import Vocabulary

FORMAT = 1  # of the files, and of the clean-up of their text
MAGIC = b"charlmid"
TAIL = 8 + len(MAGIC) + 4  # bytes
CHUNK = 2**20  # bytes read at a time
ENTRIES, STAGED = f"*-{'[0-9a-f]' * 64}.ids", ".ids-*.tmp"  # patterns: the folder may hold other files
UNUSED_DAYS = 30  # until a file is removed
SET_CACHE = "set CHARLM_CACHE to a folder that you can write to, with enough space"


@dataclass(frozen=True)
class Metadata:
    """What is stored of a text beside its ids."""

    sha256: str  # of the text as UTF-8
    characters: int
    vocabulary: str
    once: tuple[int, ...]  # ids of the characters that occur once
    changes: tuple[tuple[int, ...], ...]  # per source: the facts of its Text; of older files the first two
    starts: tuple[int, ...] = ()  # per source: the character at which it begins


def cache_folder() -> Path:
    """Where ids are stored: $CHARLM_CACHE, else $XDG_CACHE_HOME/charlm, else ~/.cache/charlm.

    Raises StorageError if there is no home folder.
    """
    if chosen := os.environ.get("CHARLM_CACHE"):
        return Path(chosen).absolute()
    xdg_cache = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(xdg_cache):  # its specification says to ignore a relative path
        return Path(xdg_cache) / "charlm"
    try:
        return Path.home() / ".cache" / "charlm"
    except RuntimeError:
        raise StorageError("no home folder to store ids of large texts in: set CHARLM_CACHE to a folder") from None


def key_of(sources: Iterable[tuple[str, str]], known: str = "") -> str:
    """A hash of the content of sources, given as (how its characters follow from its bytes, sha256 of its bytes).

    known: characters that have ids beside those of the text.
    """
    kinds = [f"{kind} {sha256}\n" for kind, sha256 in sources]
    if known:
        kinds.append(f"known {known}\n")
    return hashlib.sha256(f"charlm ids {FORMAT}\n{''.join(kinds)}".encode()).hexdigest()


def may_hold(size: int) -> bool:
    """Whether there are ids of sources of that many bytes. If not, their key need not be computed."""
    with suppress(OSError, StorageError):  # storing ids raises the same error
        return any(cache_folder().glob(f"{size}-*.ids"))
    return False


def find(size: int, key: str) -> tuple[Metadata, UnsignedIds] | None:
    """The metadata and the ids (N,), mapped from the file; None if there is no file, or a damaged one."""
    path = _path(size, key)
    try:
        with path.open("rb") as file:
            metadata = _checked_metadata(file)
            ids = _mapped(file, metadata)
    except (OSError, ValueError, TypeError):
        return None
    with suppress(OSError):  # the folder may belong to another user
        os.utime(path)
    return metadata, ids


@contextmanager
def staged_entry() -> Iterator[StagedFile]:
    """A file in the cache folder to write ids to, for `store`. Stale files are removed first.

    Raises StorageError for any OSError in the `with` block.
    """
    folder = cache_folder()
    with storage_errors("write", folder, SET_CACHE):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # a text may be private
        with (
            shared_lock(folder, lambda: _remove_stale(folder)),
            StagedFile(folder, f"ids-{secrets.token_hex(8)}") as staged,
        ):
            yield staged


def store(staged: StagedFile, metadata: Metadata, checksum: int, size: int, key: str) -> UnsignedIds:
    """Complete and commit a file that holds the ids and is at its end; returns the ids (N,), mapped from the file.

    checksum: the CRC-32 of the ids.
    """
    text = json.dumps(asdict(metadata)).encode()
    end = text + len(text).to_bytes(8, "little") + MAGIC
    staged.file.write(end + zlib.crc32(end, checksum).to_bytes(4, "little"))
    path = _path(size, key)
    staged.commit(path)
    with path.open("rb") as file:
        return _mapped(file, metadata)


def _path(size: int, key: str) -> Path:
    return cache_folder() / f"{size}-{key}.ids"


def _checked_metadata(file: BinaryIO) -> Metadata:
    """The metadata of an undamaged file. Raises ValueError, TypeError or OSError for any other file."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    checksum, left = 0, size - 4
    while left > 0:
        chunk = file.read(min(CHUNK, left))
        checksum, left = zlib.crc32(chunk, checksum), left - (len(chunk) or left)
    if file.read() != checksum.to_bytes(4, "little"):
        raise ValueError("its content does not match its checksum")
    file.seek(size - TAIL)
    length, magic = int.from_bytes(file.read(8), "little"), file.read(len(MAGIC))
    file.seek(size - TAIL - length)
    metadata = Metadata(**parse_json(file.read(length)))
    itemsize = Vocabulary(metadata.vocabulary).dtype.itemsize
    if magic != MAGIC or metadata.characters * itemsize + length + TAIL != size:
        raise ValueError("it is not a file of ids")
    return metadata


def _mapped(file: BinaryIO, metadata: Metadata) -> UnsignedIds:
    """The ids in an open file. They stay valid while they are referenced, even if the file is replaced or removed."""
    dtype = Vocabulary(metadata.vocabulary).dtype.newbyteorder("<")
    return np.asarray(np.memmap(file, dtype, "r", shape=(metadata.characters,)))


def _remove_stale(folder: Path) -> None:
    """Remove unfinished files of dead processes, and files that have not been used for UNUSED_DAYS."""
    with suppress(OSError):
        for path in folder.glob(STAGED):
            path.unlink(missing_ok=True)
        for path in folder.glob(ENTRIES):
            if path.stat().st_mtime < time.time() - UNUSED_DAYS * 86400:
                path.unlink(missing_ok=True)
