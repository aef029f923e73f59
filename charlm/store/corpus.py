"""A text as ids: small ones in memory, large ones in a file that is made once and mapped."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from charlm.errors import CorpusError
from charlm.store import cache
from charlm.store.ids import IdsWriter
from charlm.store.reading import STANDARD_INPUT, Text, Watch, bytes_in, clean_up_notes, read_texts
from charlm.text.vocabulary import Vocabulary

IN_MEMORY = 2**24  # bytes; more ids than this are kept in a file
BEGINNING = 2**20  # characters, which tell how lines begin in the whole text

Tell = Callable[[int, int | None], object]  # the bytes that were read so far, and all of them where that is known


@dataclass(frozen=True)
class Corpus:
    """A text as ids, with what is needed to know it again."""

    name: str
    sources: tuple[str, ...]
    sha256: str  # of the text as UTF-8, after all clean-up
    vocabulary: Vocabulary
    ids: NDArray[np.unsignedinteger]  # (N,), of a large text mapped from a file: use slices of it, not all of it
    once: tuple[int, ...]  # ids of the characters that it has once
    notes: tuple[str, ...] = ()  # what was changed in the text, for people to read

    @property
    def usual_start(self) -> str:
        """The character that most often begins a line: a natural seed text."""
        newline, ids = self.vocabulary.characters.find("\n"), self.ids[:BEGINNING]
        starts = np.concatenate((ids[:1], ids[1:][ids[:-1] == newline]))
        starts = starts[starts != newline]
        return self.vocabulary.characters[int(np.bincount(starts).argmax())] if len(starts) else "\n"


def read_corpus(
    sources: str | Path | Sequence[str | Path],
    name: str | None = None,
    progress: Tell | None = None,
    *,
    known: str = "",
) -> Corpus:
    """Read texts, join them in order, each starting on a new line, and give every character its id.

    sources: files, .gz files, folders (every .txt and .txt.gz below them, sorted by path), or "-" for standard input.
    progress: is called with the bytes read so far, and those in all where they are known (else None); where kept ids
    turn out to be of another text, it begins again. Ids of more than 16 MB are kept in a file (see
    charlm.store.cache) and found there the next time: the memory is bounded for texts of any size.
    known: characters that the vocabulary has beside those of the text, as a run that goes on from a model needs.
    Raises CorpusError where a source is missing, unreadable or not text, and where less than two distinct characters
    come together; StorageError where the ids cannot be written.
    """
    given = [sources] if isinstance(sources, str | Path) else list(sources)
    size = bytes_in(given)
    texts, head, ids = _kept(given, size, progress, known) or _encoded(given, size, progress, known)
    return Corpus(
        name=name or _name_of(given[0]),
        sources=tuple(str(source) if str(source) == STANDARD_INPUT else os.path.abspath(source) for source in given),
        sha256=head.sha256,
        vocabulary=Vocabulary(head.vocabulary),
        ids=ids,
        once=tuple(head.once),
        notes=clean_up_notes(texts),
    )


Encoded = tuple[list[Text], cache.Head, NDArray[np.unsignedinteger]]


def _kept(given: Sequence[str | Path], size: int | None, progress: Tell | None, known: str) -> Encoded | None:
    """The ids that were kept of the same sources, if there are any."""
    if size is None or not cache.may_hold(size):
        return None
    texts = list(read_texts(given, _watch(progress, size)))
    try:
        for text in texts:
            text.skim()
    except CorpusError:  # reading the text meets it again, or something that is told before it
        return None
    if (found := cache.find(size, _key(texts, known))) is None:
        return None
    head, ids = found
    for text, (had_mark, line_ends) in zip(texts, head.changes, strict=True):
        text.had_mark, text.line_ends = had_mark, line_ends
    return texts, head, ids


def _encoded(given: Sequence[str | Path], size: int | None, progress: Tell | None, known: str) -> Encoded:
    """The ids of a text in one pass over it; from memory to a file where they become many."""
    texts: list[Text] = []
    with ExitStack() as stack:
        memory, draft = BytesIO(), None
        writer = IdsWriter(memory, known)
        for piece in _joined(read_texts(given, _watch(progress, size)), texts):
            writer.add(piece)
            if draft is None and writer.size > IN_MEMORY:
                draft = stack.enter_context(cache.new_draft())
                writer.move_to(draft.file)
                memory.truncate(0)
        if not writer.characters:
            raise CorpusError(f"{_listed(given)} is empty: a text of at least a few lines is needed to train on")
        vocabulary, checksum = writer.finish()
        if len(vocabulary) < 2:
            raise CorpusError(
                f"{_listed(given)} holds one distinct character only, {vocabulary.characters!r}: "
                "there is nothing to predict; name a text with more"
            )
        changes = tuple((text.had_mark, text.line_ends) for text in texts)
        head = cache.Head(writer.sha256.hexdigest(), writer.characters, vocabulary.characters, writer.once, changes)
        if draft is None:
            return texts, head, np.frombuffer(memory.getbuffer(), vocabulary.dtype.newbyteorder("<"))
        return texts, head, cache.keep(draft, head, checksum, sum(text.size for text in texts), _key(texts, known))


def _joined(texts: Iterable[Text], read: list[Text]) -> Iterator[str]:
    """All texts as one, each starting on a new line; `read` lists them as they are met."""
    last = "\n"
    for text in texts:
        read.append(text)
        starts_line = last == "\n"
        for piece in text:
            yield piece if starts_line else "\n" + piece
            starts_line, last = True, piece[-1]


def _watch(progress: Tell | None, size: int | None) -> Watch:
    """What is told how much was read, and tells how much that is so far."""
    read = 0

    def watch(count: int) -> None:
        nonlocal read
        read += count
        if progress is not None:
            progress(read, size)

    return watch


def _key(texts: Iterable[Text], known: str) -> str:
    return cache.key_of(((text.is_packed, text.sha256) for text in texts), known)


def _name_of(source: str | Path) -> str:
    if str(source) == STANDARD_INPUT:
        return "stdin"
    name = os.fsencode(Path(os.path.abspath(source)).name).decode("utf-8", "surrogateescape")  # whatever the locale
    return re.sub(r"(\.txt)?(\.gz)?\Z", "", name, flags=re.IGNORECASE) or "text"


def _listed(sources: Sequence[str | Path]) -> str:
    return ", ".join("standard input" if str(source) == STANDARD_INPUT else str(source) for source in sources)
