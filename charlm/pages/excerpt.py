"""The beginning of texts of any length, kept for a page while other code reads the texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from charlm.text.pieces import Source

MOST_CHARACTERS = 50_000  # on one page; a telephone is slow with many more


@dataclass
class ShownText:
    """The part of one text that is shown."""

    source: str
    text: str


class Excerpt:
    """The first `most` characters of some texts."""

    def __init__(self, most: int = MOST_CHARACTERS) -> None:
        self.most = most
        self.texts: list[ShownText] = []
        self.characters = 0  # read so far, kept or not

    @property
    def kept(self) -> int:
        """The number of characters that are kept."""
        return min(self.characters, self.most)

    def of(self, texts: Iterable[Source]) -> Iterator[Source]:
        """The same texts; their beginning is kept while they are read."""
        return (_Kept(text, self._add) for text in texts)

    def _add(self, shown: ShownText, piece: str) -> None:
        if kept := piece[: max(0, self.most - self.characters)]:
            if not shown.text:
                self.texts.append(shown)
            shown.text += kept
        self.characters += len(piece)


class _Kept:
    """A text that passes every piece on to an excerpt as well."""

    def __init__(self, text: Source, add: Callable[[ShownText, str], None]) -> None:
        self.source = text.source
        self._text = text
        self._add = add

    def __iter__(self) -> Iterator[str]:
        shown = ShownText(self.source, "")
        for piece in self._text:
            self._add(shown, piece)
            yield piece
