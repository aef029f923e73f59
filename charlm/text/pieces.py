"""Texts that come in pieces: their lines, and groups of pieces that are worth processing together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Protocol, TypeVar

from charlm.arrays import Ids

Piece = TypeVar("Piece", bound=Sized)
Block = TypeVar("Block", str, Ids)
Item = TypeVar("Item")
Result = TypeVar("Result")


class Source(Protocol):
    """A text that is read once, in pieces, and the name of where it came from."""

    source: str

    def __iter__(self) -> Iterator[str]:
        """The pieces of the text."""


def lines_of(pieces: Iterable[str]) -> Iterator[str]:
    """The lines of a text, each with its line end; the last one may have none. Only "\\n" ends a line."""
    begun: list[str] = []
    for piece in pieces:
        *whole, rest = piece.split("\n")
        for line in whole:
            begun.append(line)
            yield "".join(begun) + "\n"
            begun.clear()
        if rest:
            begun.append(rest)
    if begun:
        yield "".join(begun)


def grouped(pieces: Iterable[Piece], size: int) -> Iterator[list[Piece]]:
    """Pieces in groups of `size` elements or a little more, the last group perhaps of fewer; none is empty.

    Every piece counts one element more than its length, so a group of empty pieces ends, too.
    """
    group: list[Piece] = []
    elements = 0
    for piece in pieces:
        group.append(piece)
        elements += len(piece) + 1
        if elements >= size:
            yield group
            group, elements = [], 0
    if group:
        yield group


def in_blocks(pieces: Iterable[Block], size: int) -> Iterator[Block]:
    """The pieces of a text, characters or ids, each cut into blocks of at most `size` elements."""
    return (piece[at : at + size] for piece in pieces for at in range(0, len(piece), size))


def paired(
    items: Iterable[Item], function: Callable[[Iterator[Item]], Iterable[Result]]
) -> Iterator[tuple[Item, Result]]:
    """Each item with its result, where `function` maps an iterator over all items to one result for each.

    Only items whose results are still to come are held in memory. (itertools.tee releases them 57 at a time.)
    """
    waiting: deque[Item] = deque()

    def remembered() -> Iterator[Item]:
        for item in items:
            waiting.append(item)
            yield item

    for result in function(remembered()):
        yield waiting.popleft(), result
