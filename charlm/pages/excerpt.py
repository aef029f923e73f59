"""The beginnings of texts, kept while somebody else reads them: what a page shows of a text of any length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from charlm.text.source import Source

MOST_CHARACTERS = 50_000  # of a page; many more, and a telephone is slow to show it


@dataclass
class Passage:
    """The beginning of one text."""

    source: str
    text: str


class Excerpt:
    """The first `most` characters of some texts."""

    def __init__(self, most: int = MOST_CHARACTERS) -> None:
        self.most = most
        self.passages: list[Passage] = []
        self.characters = 0  # of all texts that have been read, kept or not

    @property
    def kept(self) -> int:
        """How many characters are kept."""
        return min(self.characters, self.most)

    def of(self, texts: Iterable[Source]) -> Iterator[Source]:
        """The texts, once more: whoever reads them fills this excerpt."""
        return (_Kept(text, self._add) for text in texts)

    def _add(self, passage: Passage, piece: str) -> None:
        if kept := piece[: max(0, self.most - self.characters)]:
            if not passage.text:
                self.passages.append(passage)
            passage.text += kept
        self.characters += len(piece)


class _Kept:
    def __init__(self, text: Source, add: Callable[[Passage, str], None]) -> None:
        self.source = text.source
        self._text = text
        self._add = add

    def __iter__(self) -> Iterator[str]:
        passage = Passage(self.source, "")
        for piece in self._text:
            self._add(passage, piece)
            yield piece
