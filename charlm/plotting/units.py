"""Pictures of an inspection: passages of text coloured by hidden units, and histograms of the gates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from charlm.analysis.inspection import OPEN, SHUT, Gate, Inspection, Unit, best_passage
from charlm.arrays import Floats
from charlm.plotting.colours import MIDDLE, SIGNED_LIGHT, signed_level, text_colour
from charlm.plotting.passages import FONT, ROWS, SYMBOLS, WIDTH, Passage, glyph, passages_of
from charlm.plotting.picture import COLOURS, figure_class, picture_path, write_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

COLUMNS = 3  # of panels
FIGURE_WIDTH, PANEL_HEIGHT, GATES_HEIGHT, TITLE_HEIGHT = 16.0, 1.8, 1.6, 1.0  # inches
ADVANCE = 0.602  # the width of a character of FONT, as a share of the font size
TITLE_CHARACTERS = 100  # that fit into a line
GREY = "#444444"
LEGEND_ROW, LEGEND_MARGIN, LEGEND_LIMIT = 0.22, 0.1, 0.8  # shares of a histogram's height


def plot_units(inspection: Inspection, output: str | Path, title: str = "") -> None:
    """Draw an inspection into the picture `output` (.png, .svg or .pdf).

    Raises SpecError for an unknown suffix, StorageError if the disk refuses.
    """
    output = picture_path(output)
    write_picture(draw_units(inspection, title), output)


def draw_units(inspection: Inspection, title: str = "") -> Figure:
    """The figure of `plot_units`, not yet written: for a notebook, or to add to it."""
    rows = max(1, math.ceil(len(inspection.units) / COLUMNS))
    below = GATES_HEIGHT if inspection.gates else 0.01
    height = TITLE_HEIGHT + rows * PANEL_HEIGHT + below
    figure = figure_class()(figsize=(FIGURE_WIDTH, height), dpi=100)
    _draw_title(figure, height, title, inspection.characters)
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[height - below, below], hspace=0).flat
    top = 1 - TITLE_HEIGHT / (height - below)
    panels = upper.subplots(
        rows,
        COLUMNS,
        squeeze=False,
        gridspec_kw={"left": 0.02, "right": 0.98, "top": top, "bottom": 0.02, "wspace": 0.06, "hspace": 0.3},
    )
    passages = passages_of(inspection.text)
    for index, axes in enumerate(panels.flat):
        axes.set_axis_off()
        if index < len(inspection.units):
            _draw_unit(axes, inspection.units[index], inspection.text, passages)
    if inspection.gates:
        _draw_gates(lower, inspection.gates)
    return figure


def _draw_title(figure: Figure, height: float, title: str, characters: int) -> None:
    """The title, what the picture shows, and the colour scale. height: of the figure in inches."""
    short = title if len(title) <= TITLE_CHARACTERS else f"{title[: TITLE_CHARACTERS - 1]}…"
    figure.text(0.02, 1 - 0.28 / height, short, fontsize=18, weight="bold", va="center", parse_math=False)
    subtitle = f"For each unit the passage that shows it best, in its colours. r: over {characters:,} characters."
    figure.text(0.02, 1 - 0.6 / height, subtitle, fontsize=12, color=GREY, va="center")
    axes = figure.add_axes((0.75, 1 - 0.68 / height, 0.15, 0.16 / height))
    axes.set_axis_off()
    axes.imshow(_pixels([SIGNED_LIGHT]), aspect="auto", extent=(-1, 1, 0, 1), interpolation="nearest")
    for x, side, label in ((-1.05, "right", "most negative"), (1.05, "left", "most positive")):
        axes.text(x, 0.45, label, ha=side, va="center", fontsize=12, color=GREY)


def _draw_unit(axes: Axes, unit: Unit, text: str, passages: Sequence[Passage]) -> None:
    starts = np.array([passage.rows[0][0] for passage in passages])
    ends = np.array([passage.rows[-1][1] for passage in passages])
    _draw_passage(axes, unit, text, passages[best_passage(unit, starts, ends)])
    axes.set_title(unit.feature, loc="left", fontsize=12, weight="bold", pad=4)
    r = f"{unit.correlation:+.2f}".replace("-", "\N{MINUS SIGN}")
    axes.set_title(f"{unit.name}   r {r}", loc="right", fontsize=11, color=GREY, pad=4)


def _draw_passage(axes: Axes, unit: Unit, text: str, passage: Passage) -> None:
    """A passage of a text, every character on the colour of the unit's value after it."""
    peak = float(np.abs(unit.values).max()) or 1.0
    colours = [[SIGNED_LIGHT[MIDDLE]] * WIDTH for _ in range(ROWS)]
    font_size = axes.get_position().width * FIGURE_WIDTH * 72 / WIDTH / ADVANCE * 0.96
    for y, (start, end) in enumerate(passage.rows):
        for x, index in enumerate(range(start, end)):
            character = text[index]
            colours[y][x] = SIGNED_LIGHT[signed_level(float(unit.values[index]) / peak)]
            if character.isspace() and character not in SYMBOLS:
                continue
            axes.text(
                x + 0.5,
                y + 0.54,
                glyph(character),
                color=text_colour(colours[y][x]),
                alpha=0.4 if character in SYMBOLS else 1,
                size=font_size,
                family=FONT,
                ha="center",
                va="center_baseline",
                parse_math=False,
            )
    axes.imshow(_pixels(colours), extent=(0, WIDTH, ROWS, 0), aspect="auto", interpolation="nearest")


def _pixels(colours: Sequence[Sequence[str]]) -> Floats:
    """Rows of "#rrggbb" as an image, (rows, columns, 3)."""
    return np.array([[[int(one[at : at + 2], 16) / 255 for at in (1, 3, 5)] for one in row] for row in colours])


def _draw_gates(figure: SubFigure, gates: Sequence[Gate]) -> None:
    """One histogram for each gate; several layers are lines in the same histogram."""
    names = list(dict.fromkeys(gate.name for gate in gates))
    panels = figure.subplots(
        1,
        max(COLUMNS, len(names)),
        squeeze=False,
        gridspec_kw={"left": 0.02, "right": 0.98, "top": 0.8, "bottom": 0.2, "wspace": 0.06},
    )
    for axes in panels.flat[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(panels.flat, names, strict=False):
        _draw_gate(axes, [gate for gate in gates if gate.name == name])


def _draw_gate(axes: Axes, layers: Sequence[Gate]) -> None:
    """The histogram of one gate, of all its layers."""
    edges = np.linspace(0, 1, len(layers[0].counts) + 1)
    axes.axvspan(0, SHUT, color="#eeeeee")
    axes.axvspan(OPEN, 1, color="#eeeeee")
    for gate in layers:
        label = f"{'' if len(layers) == 1 else f'layer{gate.layer}: '}{gate.shut:.0%} shut, {gate.open:.0%} open"
        colour = COLOURS[gate.layer % len(COLOURS)]
        axes.stairs(gate.shares, edges, fill=len(layers) == 1, color=colour, label=label, linewidth=1.5)
    axes.set_title(layers[0].long_name, loc="left", fontsize=12, weight="bold", pad=4)
    axes.legend(loc="upper center", fontsize=10, frameon=False, handlelength=1, ncols=min(2, len(layers)))
    highest = max(gate.shares.max() for gate in layers)
    legend = LEGEND_MARGIN + LEGEND_ROW * math.ceil(len(layers) / 2)
    axes.set_ylim(0, highest / (1 - min(legend, LEGEND_LIMIT)))  # the legend stands above the bars
    axes.set_xlim(0, 1)
    axes.set_xticks([0, SHUT, 0.5, OPEN, 1], ["0", str(SHUT), "0.5", str(OPEN), "1"])
    axes.set_yticks([])
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
