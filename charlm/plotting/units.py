"""Plot: what hidden units do, as passages of text in colours, and how far gates are open, in one picture."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from charlm.colours import HALF, SIGNED_DAY, ink_on, signed_level
from charlm.inspecting import GATES, OPEN, SHUT, Gate, Inspection, Unit, telling_place
from charlm.nn.arrays import Floats
from charlm.plotting.picture import COLOURS, picture_place, write_picture
from charlm.text.lines import lines_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

COLUMNS = 3  # of passages
ROWS, WIDTH = 7, 52  # characters of a passage, down and across
INCHES_ACROSS, INCHES_DOWN, INCHES_OF_GATES, INCHES_OF_TITLE = 16.0, 1.8, 1.6, 1.0
FONT = "DejaVu Sans Mono"  # comes with matplotlib
ADVANCE = 0.602  # the width of a character of the fixed-width font, in sizes of it
MOST_OF_TITLE = 100  # characters that fit
QUIET = "#444444"
ROW_OF_LEGEND, MARGIN_OF_LEGEND, MOST_OF_LEGEND = 0.22, 0.1, 0.8  # of the height above a histogram's bars
SYMBOLS = {"\n": "↵", "\t": "→"}


def plot_units(inspection: Inspection, output: str | Path, title: str = "") -> None:
    """Draw an inspection into the picture `output` (.png, .svg or .pdf).

    Raises SpecError for an unknown ending, StorageError where the disk refuses.
    """
    output = picture_place(output)
    write_picture(draw_units(inspection, title), output)


def draw_units(inspection: Inspection, title: str = "") -> Figure:
    """The figure of `plot_units`, not yet written: for a notebook, or to add to it."""
    from matplotlib.figure import Figure

    down = max(1, math.ceil(len(inspection.units) / COLUMNS))
    below = INCHES_OF_GATES if inspection.gates else 0.01
    height = INCHES_OF_TITLE + down * INCHES_DOWN + below
    figure = Figure(figsize=(INCHES_ACROSS, height), dpi=100)
    shown = title if len(title) <= MOST_OF_TITLE else f"{title[: MOST_OF_TITLE - 1]}…"
    figure.text(0.02, 1 - 0.28 / height, shown, fontsize=18, weight="bold", va="center", parse_math=False)
    said = (
        f"Passages that show it best, in the colours of the unit's value. r: over {inspection.characters:,} characters."
    )
    figure.text(0.02, 1 - 0.6 / height, said, fontsize=12, color=QUIET, va="center")
    _draw_legend(figure.add_axes((0.75, 1 - 0.68 / height, 0.15, 0.16 / height)))
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[height - below, below], hspace=0).flat
    top = 1 - INCHES_OF_TITLE / (height - below)
    cells = upper.subplots(
        down,
        COLUMNS,
        squeeze=False,
        gridspec_kw={"left": 0.02, "right": 0.98, "top": top, "bottom": 0.02, "wspace": 0.06, "hspace": 0.3},
    )
    passages = _passages(inspection.text)
    for place, axes in enumerate(cells.flat):
        axes.set_axis_off()
        if place < len(inspection.units):
            _draw_unit(axes, inspection.units[place], inspection.text, passages)
    if inspection.gates:
        _draw_gates(lower, inspection.gates)
    return figure


def _draw_legend(axes: Axes) -> None:
    axes.set_axis_off()
    axes.imshow(_pixels([SIGNED_DAY]), aspect="auto", extent=(-1, 1, 0, 1), interpolation="nearest")
    for at, side, said in ((-1.05, "right", "most negative"), (1.05, "left", "most positive")):
        axes.text(at, 0.45, said, ha=side, va="center", fontsize=12, color=QUIET)


class _Passage(NamedTuple):
    rows: list[tuple[int, int]]  # ROWS of them or fewer: where each begins and ends in the text


def _passages(text: str) -> list[_Passage]:
    """What could be shown of a text: ROWS rows from every line's beginning, long lines cut at WIDTH."""
    rows: list[tuple[int, int]] = []
    begins: list[int] = []
    at = 0
    for line in lines_of([text]):
        begins.append(len(rows))
        shown = len(line.removesuffix("\n")) or 1  # a line end alone gets no row
        rows += [(start, min(start + WIDTH, at + len(line))) for start in range(at, at + shown, WIDTH)]
        at += len(line)
    return [_Passage(rows[first : first + ROWS]) for first in begins if first + ROWS <= len(rows) or first == 0]


def _draw_unit(axes: Axes, unit: Unit, text: str, passages: Sequence[_Passage]) -> None:
    starts = np.array([passage.rows[0][0] for passage in passages])
    ends = np.array([passage.rows[-1][1] for passage in passages])
    peak = float(np.abs(unit.values).max()) or 1.0
    cells = [[SIGNED_DAY[HALF]] * WIDTH for _ in range(ROWS)]
    width = axes.get_position().width * INCHES_ACROSS
    size = width * 72 / WIDTH / ADVANCE * 0.96
    for y, (start, end) in enumerate(passages[telling_place(unit, starts, ends)].rows):
        for x, at in enumerate(range(start, end)):
            colour = SIGNED_DAY[signed_level(float(unit.values[at]) / peak)]
            cells[y][x] = colour
            if not text[at].isspace() or text[at] in SYMBOLS:
                axes.text(
                    x + 0.5,
                    y + 0.54,
                    _glyph(text[at]),
                    color=ink_on(colour),
                    alpha=0.4 if text[at] in SYMBOLS else 1,
                    size=size,
                    family=FONT,
                    ha="center",
                    va="center_baseline",
                    parse_math=False,
                )
    axes.imshow(_pixels(cells), extent=(0, WIDTH, ROWS, 0), aspect="auto", interpolation="nearest")
    axes.set_title(unit.feature, loc="left", fontsize=12, weight="bold", pad=4)
    sign = f"{unit.correlation:+.2f}".replace("-", "\N{MINUS SIGN}")
    axes.set_title(f"{unit.name}   r {sign}", loc="right", fontsize=11, color=QUIET, pad=4)


def _pixels(colours: Sequence[Sequence[str]]) -> Floats:
    """Rows of "#rrggbb" as a picture."""
    return np.array([[[int(one[at : at + 2], 16) / 255 for at in (1, 3, 5)] for one in row] for row in colours])


@cache
def _glyph(character: str) -> str:
    """A character as it can stand alone in a cell: a box for what cannot, or what the font that comes along lacks."""
    if character in SYMBOLS:
        return SYMBOLS[character]
    if unicodedata.category(character)[0] in "CM" or ord(character) not in _font():
        return "□"
    return character


@cache
def _font() -> frozenset[int]:
    """The code points of the font: Latin, Greek, Cyrillic, Arabic, Georgian, Armenian and many symbols."""
    from matplotlib.font_manager import findfont
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(findfont(FONT)).get_charmap())


def _draw_gates(figure: SubFigure, gates: Sequence[Gate]) -> None:
    """One histogram a gate; its layers, where there are several, as lines in it."""
    names = list(dict.fromkeys(gate.name for gate in gates))
    cells = figure.subplots(
        1,
        max(COLUMNS, len(names)),
        squeeze=False,
        gridspec_kw={"left": 0.02, "right": 0.98, "top": 0.8, "bottom": 0.2, "wspace": 0.06},
    )
    for axes in cells.flat[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(cells.flat, names, strict=False):
        _draw_gate(axes, [gate for gate in gates if gate.name == name])


def _draw_gate(axes: Axes, layers: Sequence[Gate]) -> None:
    edges = np.linspace(0, 1, len(layers[0].counts) + 1)
    axes.axvspan(0, SHUT, color="#eeeeee")
    axes.axvspan(OPEN, 1, color="#eeeeee")
    for gate in layers:
        share, colour = gate.counts / gate.counts.sum(), COLOURS[gate.layer % len(COLOURS)]
        label = f"{'' if len(layers) == 1 else f'layer{gate.layer}: '}{gate.shut:.0%} shut, {gate.open:.0%} open"
        axes.stairs(share, edges, fill=len(layers) == 1, color=colour, label=label, linewidth=1.5)
    axes.set_title(f"{GATES[layers[0].name]} gate {layers[0].name}", loc="left", fontsize=12, weight="bold", pad=4)
    axes.legend(loc="upper center", fontsize=10, frameon=False, handlelength=1, ncols=min(2, len(layers)))
    highest = max(gate.counts.max() / gate.counts.sum() for gate in layers)
    legend = MARGIN_OF_LEGEND + ROW_OF_LEGEND * math.ceil(len(layers) / 2)
    axes.set_ylim(0, highest / (1 - min(legend, MOST_OF_LEGEND)))
    axes.set_xlim(0, 1)
    axes.set_xticks([0, SHUT, 0.5, OPEN, 1], ["0", str(SHUT), "0.5", str(OPEN), "1"])
    axes.set_yticks([])
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
