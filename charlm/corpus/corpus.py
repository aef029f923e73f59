"""A text as ids: short texts in memory, large ones in a file that is made once and mapped."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

import numpy as np

from charlm.arrays import UnsignedIds
from charlm.config import TrainSpec
from charlm.corpus import cache
from charlm.corpus.copies import without_copies
from charlm.corpus.encoding import UTF_8, known_encoding
from charlm.corpus.folder import PATTERNS
from charlm.corpus.ids import IdsWriter
from charlm.corpus.notes import clean_up_notes
from charlm.corpus.packing import PACKINGS
from charlm.corpus.reader import STANDARD_INPUT, OnRead, Text, read_texts, total_bytes
from charlm.corpus.validation import split
from charlm.errors import CorpusError
from charlm.text.joined import IdsLike
from charlm.text.vocabulary import Vocabulary

IN_MEMORY = 2**24  # bytes; more ids than this are stored in a file
BEGINNING = 2**20  # characters; `usual_start` looks no further, and so many are decoded at a time
SUSPICIOUS = re.compile("[\x80-\x84\x86-\x9f\ufffd]")  # a note says how many there are

ReadProgress: TypeAlias = Callable[[int, int | None], object]
"""Is called with the bytes read so far, and with all bytes, or None if their number is not known."""


@dataclass(frozen=True)
class Corpus:
    """A text as ids, and what identifies it."""

    name: str
    sources: tuple[str, ...]
    sha256: str  # of the text as UTF-8, after all clean-up
    vocabulary: Vocabulary
    ids: UnsignedIds  # (N,); of a large text mapped from a file: use slices of it, not all of it
    once: tuple[int, ...]  # ids of the characters that occur once
    notes: tuple[str, ...] = ()  # what was passed over, changed or is suspicious, one sentence each
    glob: tuple[str, ...] = PATTERNS  # with `encoding` and `duplicates`, how `read_corpus` reads it again
    encoding: str = UTF_8
    duplicates: bool = False
    starts: tuple[int, ...] = (0,)  # where each file begins
    held_out: Corpus | None = None  # another text to validate on
    _splits: dict[TrainSpec, tuple[IdsLike, IdsLike]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def usual_start(self) -> str:
        """The character that most often begins a line, a natural seed text; from the beginning of the text."""
        newline, ids = self.vocabulary.characters.find("\n"), self.ids[:BEGINNING]
        starts = np.concatenate((ids[:1], ids[1:][ids[:-1] == newline]))
        starts = starts[starts != newline]
        return self.vocabulary.characters[int(np.bincount(starts).argmax())] if len(starts) else "\n"

    def begins_with(self, characters: int, sha256: str) -> bool:
        """Whether the first so many characters are the text with that sha256, and more follow."""
        if not 0 < characters < len(self.ids):
            return False
        digest = hashlib.sha256()
        for at in range(0, characters, BEGINNING):
            digest.update(self.vocabulary.decode(self.ids[at : min(at + BEGINNING, characters)]).encode())
        return digest.hexdigest() == sha256

    def split(self, spec: TrainSpec) -> tuple[IdsLike, IdsLike]:
        """The ids to train on, and those for validation, by `spec.validation`: see charlm.corpus.validation.

        Raises CorpusError if the text is too short for both.
        """
        if spec not in self._splits:
            self._splits[spec] = split(self.ids, spec, self.vocabulary, self.starts, self._held_out_ids)
        return self._splits[spec]

    @property
    def _held_out_ids(self) -> UnsignedIds | None:
        """The text to validate on, in this vocabulary; other characters are unknown."""
        if self.held_out is None:
            return None
        own = self.vocabulary.encode(self.held_out.vocabulary.characters, unknown=True)
        return own[self.held_out.ids]


def read_corpus(
    sources: str | Path | Sequence[str | Path],
    name: str | None = None,
    progress: ReadProgress | None = None,
    *,
    known: str = "",
    validation: str | Path | Sequence[str | Path] = (),
    glob: Sequence[str] | None = None,
    encoding: str | None = None,
    duplicates: bool = False,
) -> Corpus:
    """Read texts, join them in order, each starting on a new line, and give every character its id.

    sources: files, packed files (.gz, .bz2, .xz, .zst), folders (every .txt, packed or not, below them, sorted by
    path), or "-" for standard input. progress: is called with the bytes read so far, and with all bytes, or None if
    their number is not known. It starts again from 0 if stored ids turn out to be of another text. More than 16 MB of
    ids are stored in a file (see charlm.corpus.cache) and found there the next time: the memory is bounded for texts of
    any size. known: characters that the vocabulary has beside those of the text, for a run that continues from a model.
    glob: patterns that choose the files of folders in place of .txt, `["*.md"]`. encoding: of all texts, by default
    UTF-8. duplicates: read a text that is the same as an earlier one again; without it a note says what was left out.
    validation: files of another text to validate on, read in the same way (`TrainSpec.validation` "files").
    Raises CorpusError if a source is missing, unreadable or not text, or if all sources together have fewer than two
    distinct characters; SpecError for an encoding that Python does not have; StorageError if the ids cannot be written.
    """
    paths = [sources] if isinstance(sources, str | Path) else list(sources)
    found = list(read_texts(paths, glob=glob, encoding=encoding))
    found = found if duplicates else without_copies(found)
    size = total_bytes([text.path for text in found])
    texts, metadata, ids = _cached(found, size, progress, known) or _encoded(paths, found, size, progress, known)
    held_out = read_corpus(validation, glob=glob, encoding=encoding) if validation else None
    return Corpus(
        name=name or _name_of(paths[0]),
        sources=tuple(str(path) if str(path) == STANDARD_INPUT else os.path.abspath(path) for path in paths),
        sha256=metadata.sha256,
        vocabulary=Vocabulary(metadata.vocabulary),
        ids=ids,
        once=tuple(metadata.once),
        notes=(*clean_up_notes(texts), *(held_out.notes if held_out else ())),
        starts=tuple(metadata.starts) or (0,),
        held_out=held_out,
        glob=PATTERNS if glob is None else tuple(glob),
        encoding=known_encoding(encoding),
        duplicates=duplicates,
    )


_Encoded: TypeAlias = tuple[list[Text], cache.Metadata, UnsignedIds]


def _cached(found: Sequence[Text], size: int | None, progress: ReadProgress | None, known: str) -> _Encoded | None:
    """The stored ids of the same sources, or None."""
    if size is None or not cache.may_hold(size):
        return None
    count = _counter(progress, size)
    texts = [text.anew(count) for text in found]
    try:
        for text in texts:
            text.read_sha256()
    except CorpusError:  # encoding raises it again, or another error of an earlier source
        return None
    if (entry := cache.find(size, _key(texts, known))) is None:
        return None
    metadata, ids = entry
    if len(texts) > 1 and len(metadata.starts) != len(texts):  # stored by a version that did not keep them
        return None
    for text, facts in zip(texts, metadata.changes, strict=True):
        if len(facts) > len(text.facts) or (len(facts) < len(text.facts) and SUSPICIOUS.search(metadata.vocabulary)):
            return None  # of a version that counted other things: encoding counts these
        text.recall((*facts, *text.facts[len(facts) :]))
    return texts, metadata, ids


def _encoded(
    paths: Sequence[str | Path], found: Sequence[Text], size: int | None, progress: ReadProgress | None, known: str
) -> _Encoded:
    """The ids of a text in one pass over it; they move from memory to a file when they are more than IN_MEMORY."""
    count = _counter(progress, size)
    texts: list[Text] = []
    with ExitStack() as stack:
        memory, staged = BytesIO(), None
        writer = IdsWriter(memory, known)
        for piece in _joined((text.anew(count) for text in found), texts):
            writer.add(piece)
            if staged is None and writer.size > IN_MEMORY:
                staged = stack.enter_context(cache.staged_entry())
                writer.move_to(staged.file)
                memory.truncate(0)
        if not writer.characters:
            raise CorpusError(f"{_listed(paths)} is empty: a text of at least a few lines is needed to train on")
        vocabulary, checksum = writer.finish()
        if len(vocabulary) < 2:
            raise CorpusError(
                f"{_listed(paths)} has only one distinct character, {vocabulary.characters!r}: "
                "there is nothing to predict; name a text with more"
            )
        changes = tuple(text.facts for text in texts)
        sha256 = writer.sha256.hexdigest()
        starts = tuple(text.start for text in texts)
        metadata = cache.Metadata(sha256, writer.characters, vocabulary.characters, writer.once, changes, starts)
        if staged is None:
            return texts, metadata, np.frombuffer(memory.getbuffer(), vocabulary.dtype.newbyteorder("<"))
        read = sum(text.size for text in texts)
        return texts, metadata, cache.store(staged, metadata, checksum, read, _key(texts, known))


def _joined(texts: Iterable[Text], read: list[Text]) -> Iterator[str]:
    """All texts as one, each starting on a new line. Each text is added to `read` before it is read."""
    last, characters = "\n", 0
    for text in texts:
        read.append(text)
        starts_line = last == "\n"
        text.start = characters + (not starts_line)
        for piece in text:
            whole = piece if starts_line else "\n" + piece
            yield whole
            starts_line, last = True, piece[-1]
            characters += len(whole)


def _counter(progress: ReadProgress | None, size: int | None) -> OnRead:
    """A function that adds up the bytes read and reports the sum."""
    total = 0

    def count(read: int) -> None:
        nonlocal total
        total += read
        if progress is not None:
            progress(total, size)

    return count


def _key(texts: Iterable[Text], known: str) -> str:
    return cache.key_of(((text.kind, text.sha256) for text in texts), known)


def _name_of(path: str | Path) -> str:
    if str(path) == STANDARD_INPUT:
        return "stdin"
    name = os.fsencode(Path(os.path.abspath(path)).name).decode("utf-8", "surrogateescape")  # in any locale
    return re.sub(rf"(\.txt)?({'|'.join(map(re.escape, PACKINGS))})?\Z", "", name, flags=re.IGNORECASE) or "text"


def _listed(paths: Sequence[str | Path]) -> str:
    return ", ".join("standard input" if str(path) == STANDARD_INPUT else str(path) for path in paths)
