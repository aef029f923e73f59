"""A text cut into passages of a few short rows, each of which can be shown in a panel of fixed size."""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import NamedTuple

from charlm.plotting.picture import load_matplotlib
from charlm.text.pieces import lines_of

ROWS, WIDTH = 7, 52  # of a passage, in characters
FONT = "DejaVu Sans Mono"  # comes with matplotlib
SYMBOLS = {"\n": "↵", "\t": "→"}


class Passage(NamedTuple):
    """At most ROWS rows of a text."""

    rows: list[tuple[int, int]]  # the start and end of each row in the text


def passages_of(text: str) -> list[Passage]:
    """One passage from the beginning of every line on; lines longer than WIDTH take several rows.

    Passages near the end of the text that would have fewer than ROWS rows are left out, unless there is no other.
    """
    rows: list[tuple[int, int]] = []
    first_rows: list[int] = []
    start = 0
    for line in lines_of([text]):
        first_rows.append(len(rows))
        shown = len(line.removesuffix("\n")) or 1  # the newline of a full row gets no row of its own
        rows += [(at, min(at + WIDTH, start + len(line))) for at in range(start, start + shown, WIDTH)]
        start += len(line)
    return [Passage(rows[first : first + ROWS]) for first in first_rows if first + ROWS <= len(rows) or first == 0]


@cache
def glyph(character: str) -> str:
    """A character as it is shown in a cell: a symbol for newline and tab, a box if the font cannot show it alone."""
    if character in SYMBOLS:
        return SYMBOLS[character]
    if unicodedata.category(character)[0] in "CM" or ord(character) not in _code_points_of_font():
        return "□"
    return character


@cache
def _code_points_of_font() -> frozenset[int]:
    """The code points of FONT: Latin, Greek, Cyrillic, Arabic, Georgian, Armenian and many symbols."""
    load_matplotlib()
    from matplotlib.font_manager import findfont
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(findfont(FONT)).get_charmap())
