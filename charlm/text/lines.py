"""Cut a text that comes in pieces into its lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


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
