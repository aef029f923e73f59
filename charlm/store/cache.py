"""Ids of large texts, kept from run to run and mapped into memory.

One file per text, SIZE-KEY.ids: the bytes of all sources, and what their content comes to. In it:

    the ids, 1, 2 or 4 bytes each, little end first
    the head, as JSON: vocabulary, sha256 of the text, what was cleaned
    the length of the head (8 bytes), "charlmid", and the CRC-32 (4 bytes) of all before it

The head comes last because it is known last. A file that is not whole to the bit counts as none.
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
from numpy.typing import NDArray

from charlm.errors import StorageError
from charlm.store.atomic import Draft, told_in_one_line
from charlm.store.lock import shared
from charlm.store.strict_json import parse_json
from charlm.text.vocabulary import Vocabulary

FORMAT = 1  # of the files, and of the clean-up that made their text
MAGIC = b"charlmid"
TAIL = 8 + len(MAGIC) + 4  # bytes
CHUNK = 2**20  # bytes read at a time
ENTRIES, DRAFTS = f"*-{'[0-9a-f]' * 64}.ids", ".ids-*.tmp"  # all that is ours, should the folder hold more
UNUSED_DAYS = 30  # after which a file is removed
ELSEWHERE = "set CHARLM_CACHE to a folder that you may write, with enough space"


@dataclass(frozen=True)
class Head:
    """All that is kept of a text beside its ids."""

    sha256: str  # of the text as UTF-8
    characters: int
    vocabulary: str
    once: tuple[int, ...]  # ids of the characters that the text has once
    changes: tuple[tuple[bool, int], ...]  # per source: whether it had a byte order mark, and line ends folded


def cache_folder() -> Path:
    """Where ids are kept: $CHARLM_CACHE, else $XDG_CACHE_HOME/charlm, else ~/.cache/charlm."""
    if chosen := os.environ.get("CHARLM_CACHE"):
        return Path(chosen).absolute()
    shared_by_all = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(shared_by_all):  # else it is to be ignored, as its specification has it
        return Path(shared_by_all) / "charlm"
    try:
        return Path.home() / ".cache" / "charlm"
    except RuntimeError:
        raise StorageError("no home folder to keep ids of large texts in: set CHARLM_CACHE to a folder") from None


def key_of(sources: Iterable[tuple[bool, str]], known: str = "") -> str:
    """What the content of sources comes to: for each, whether it is packed, and the sha256 of its bytes.

    known: characters that have ids beside those of the text.
    """
    kinds = [f"{'gz' if is_packed else 'text'} {sha256}\n" for is_packed, sha256 in sources]
    if known:
        kinds.append(f"known {known}\n")
    return hashlib.sha256(f"charlm ids {FORMAT}\n{''.join(kinds)}".encode()).hexdigest()


def may_hold(size: int) -> bool:
    """Whether ids of sources of that many bytes are kept: only then is it worth to know the key."""
    with suppress(OSError, StorageError):  # whoever has something to keep there meets that again
        return any(cache_folder().glob(f"{size}-*.ids"))
    return False


def find(size: int, key: str) -> tuple[Head, NDArray[np.unsignedinteger]] | None:
    """What is kept of sources, its ids mapped; None where there is nothing, or nothing whole."""
    path = _path(size, key)
    try:
        with path.open("rb") as file:
            head = _checked_head(file)
            ids = _mapped(file, head)
    except (OSError, ValueError, TypeError):
        return None
    with suppress(OSError):  # the folder may be somebody else's
        os.utime(path)
    return head, ids


@contextmanager
def new_draft() -> Iterator[Draft]:
    """A file to write ids into, in the folder where they are kept; what nobody needs there any more is swept first.

    Raises StorageError for what the operating system refuses inside the `with` block.
    """
    folder = cache_folder()
    with told_in_one_line("write", folder, ELSEWHERE):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # a text may be private
        with shared(folder, lambda: _sweep(folder)), Draft(folder, f"ids-{secrets.token_hex(8)}") as draft:
            yield draft


def keep(draft: Draft, head: Head, checksum: int, size: int, key: str) -> NDArray[np.unsignedinteger]:
    """Complete a draft that holds the ids, stands at its end, and has that checksum; gives the ids, mapped."""
    text = json.dumps(asdict(head)).encode()
    end = text + len(text).to_bytes(8, "little") + MAGIC
    draft.file.write(end + zlib.crc32(end, checksum).to_bytes(4, "little"))
    path = _path(size, key)
    draft.keep_as(path)
    with path.open("rb") as file:
        return _mapped(file, head)


def _path(size: int, key: str) -> Path:
    return cache_folder() / f"{size}-{key}.ids"


def _checked_head(file: BinaryIO) -> Head:
    """The head of a file that is whole. Raises ValueError, TypeError or OSError for any other file."""
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
    head = Head(**parse_json(file.read(length)))
    if magic != MAGIC or head.characters * Vocabulary(head.vocabulary).dtype.itemsize + length + TAIL != size:
        raise ValueError("it is no file of ids")
    return head


def _mapped(file: BinaryIO, head: Head) -> NDArray[np.unsignedinteger]:
    """The ids in an open file; they can be read as long as somebody holds them, whatever becomes of the file."""
    dtype = Vocabulary(head.vocabulary).dtype.newbyteorder("<")
    return np.asarray(np.memmap(file, dtype, "r", shape=(head.characters,)))


def _sweep(folder: Path) -> None:
    """Remove what dead processes left half written, and what was not used for long."""
    with suppress(OSError):
        for path in folder.glob(DRAFTS):
            path.unlink(missing_ok=True)
        for path in folder.glob(ENTRIES):
            if path.stat().st_mtime < time.time() - UNUSED_DAYS * 86400:
                path.unlink(missing_ok=True)
