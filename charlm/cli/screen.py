"""Any text in a terminal: without control sequences, and cut to the width of the terminal.

`for_terminal` decides what a terminal gets: charlm.cli.streams passes everything that is printed through it.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import unicodedata
from typing import Any

NARROWEST = 20  # columns; rows are never cut shorter
BYTES = re.compile("[\udc80-\udcff]+")  # of a file name that is not text in the locale, as Python reads them
LAYOUT = "\n\t"
JOINERS = "\u200c\u200d"  # Persian, Hindi and emoji are written with them, and a terminal does nothing at them
WIDE = ("W", "F")  # of unicodedata.east_asian_width: two columns


def screen_width() -> int | None:
    """The columns of the terminal that standard output is; None if it is not one."""
    return max(NARROWEST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else None


def for_terminal(text: str) -> str:
    """What a terminal gets of any text: line ends, tabs and blanks as they are, all else that is unprintable escaped.

    So no text can move the cursor, clear the screen, ring, or change the direction of writing.
    """
    if text.isprintable():
        return text
    text = _decoded(text)
    return "".join(c if c in LAYOUT or c in JOINERS or unicodedata.category(c) == "Zs" else harmless(c) for c in text)


def json_line(value: Any) -> str:
    """A value as JSON in one line that is valid UTF-8; in a terminal, unprintable characters are escaped.

    A byte of a file name that is not UTF-8 is "\\udc80" to "\\udcff", as in Python's names of files.
    """
    text = _decoded(json.dumps(value, ensure_ascii=False))
    if text.isprintable():
        return text
    in_terminal = sys.stdout.isatty()
    return "".join(
        json.dumps(c)[1:-1] if "\ud800" <= c <= "\udfff" or (in_terminal and not c.isprintable()) else c for c in text
    )


def _decoded(text: str) -> str:
    """The same with bytes of file names decoded where they are UTF-8, which they are not in the C locale."""
    return BYTES.sub(lambda found: found[0].encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape"), text)


def harmless(text: str) -> str:
    """A text whose unprintable characters are escaped, such as "\\x1b", which starts a control sequence."""
    if text.isprintable():
        return text
    text = _decoded(text)
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
