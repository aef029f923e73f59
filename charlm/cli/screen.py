"""Any text in a terminal: without control sequences, and cut to the width of the terminal."""

from __future__ import annotations

import shutil
import sys
import unicodedata

NARROWEST = 20  # columns; rows are never cut shorter
WIDE = ("W", "F")  # of unicodedata.east_asian_width: two columns


def screen_width() -> int | None:
    """The columns of the terminal that standard output is; None if it is not one."""
    return max(NARROWEST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else None


def harmless(text: str) -> str:
    """A text whose unprintable characters are escaped, such as "\\x1b", which starts a control sequence."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def cut(text: str, columns: int) -> str:
    """The longest beginning of a harmless text that fits into `columns`."""
    used = 0
    for index, character in enumerate(text):
        used += columns_of(character)
        if used > columns:
            return text[:index]
    return text


def cut_left(text: str, columns: int) -> str:
    """The longest end of a harmless text that fits, after "…" if it is not all: the end of a path says more."""
    if sum(map(columns_of, text)) <= columns:
        return text
    return "…" + cut(text[::-1], columns - 1)[::-1]


def columns_of(character: str) -> int:
    """The columns of a printable character: two for a wide one, none for a combining mark, else one."""
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in WIDE else 1
