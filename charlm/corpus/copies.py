"""Find sources that hold the same text: a file beside its packed form, a link to it, or a plain copy."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from itertools import groupby

from charlm.corpus.reader import STANDARD_INPUT, Text
from charlm.errors import CorpusError

BEGINNING = 2**16  # characters that are compared first


def without_copies(texts: Sequence[Text]) -> list[Text]:
    """The texts but those with the same characters as an earlier one, which knows them as its `copies`.

    Characters after all clean-up count. Only the beginnings of most texts are read, and all of those with the same one,
    at bounded memory. Empty texts, and sources that can be read only once, are kept.
    """
    if len(texts) < 2:
        return list(texts)
    numbered = sorted(
        (beginning, number) for number, text in enumerate(texts) if (beginning := _beginning(text)) is not None
    )
    left_out: set[int] = set()
    for _, group in groupby(numbered, key=lambda entry: entry[0]):
        members = [number for _, number in group]
        if len(members) > 1:
            left_out |= set(_copies(texts, members))
    return [text for number, text in enumerate(texts) if number not in left_out]


def _copies(texts: Sequence[Text], members: Sequence[int]) -> Iterator[int]:
    """Those of some texts that are copies of an earlier one of them."""
    first: dict[tuple[int, int] | str, int] = {}
    for number in members:
        text = texts[number]
        file = _file(text)
        assert file is not None
        original = first.get(file)
        if original is None and (whole := _whole(text)) is not None:
            original = first.setdefault(whole, number)
        if original is None or original == number:
            first[file] = number
            continue
        texts[original].copies += (text.source,)
        yield number


def _beginning(text: Text) -> str | None:
    """A hash of the beginning; None for an empty text and for one that cannot be read, or not twice."""
    if _file(text) is None:
        return None
    parts, length = [], 0
    try:
        for piece in text.anew():
            parts.append(piece)
            length += len(piece)
            if length >= BEGINNING:
                break
    except CorpusError:  # reading the text raises it again
        return None
    return hashlib.sha256("".join(parts)[:BEGINNING].encode()).hexdigest() if length else None


def _whole(text: Text) -> str | None:
    """A hash of all characters; None for a text that cannot be read whole."""
    sha256 = hashlib.sha256()
    try:
        for piece in text.anew():
            sha256.update(piece.encode())
    except CorpusError:  # reading the text raises it again
        return None
    return sha256.hexdigest()


def _file(text: Text) -> tuple[int, int] | None:
    """What identifies a regular file under any name."""
    try:
        status = os.stat(text.path) if text.path != STANDARD_INPUT else None
    except (OSError, ValueError):  # reading the text raises it again
        return None
    return (status.st_dev, status.st_ino) if status is not None and stat.S_ISREG(status.st_mode) else None
