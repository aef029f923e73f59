"""Text of any kind on a terminal: nothing in it is obeyed, and no row is wider than the screen."""

from __future__ import annotations

import shutil
import sys
import unicodedata

NARROWEST = 20  # columns; a row is not cut shorter than that
WIDE = ("W", "F")  # of unicodedata.east_asian_width: two columns


def screen_width() -> int | None:
    """The columns of the terminal that standard output is; None where it is none."""
    return max(NARROWEST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else None


def harmless(text: str) -> str:
    """A text with all that is not printable written out, such as "\\x1b": a terminal would obey it."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def cut(text: str, columns: int) -> str:
    """As much of a harmless text as fits into so many columns, from its beginning."""
    used = 0
    for index, character in enumerate(text):
        used += columns_of(character)
        if used > columns:
            return text[:index]
    return text


def cut_left(text: str, columns: int) -> str:
    """The same from its end, with "…" for what is left out: the end of a path says more than its beginning."""
    if sum(map(columns_of, text)) <= columns:
        return text
    return "…" + cut(text[::-1], columns - 1)[::-1]


def columns_of(character: str) -> int:
    """How many columns a printable character takes: two for wide ones, none for a mark on the one before it."""
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in WIDE else 1
