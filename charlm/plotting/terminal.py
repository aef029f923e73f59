"""The loss curves of a run as a few lines of text, for a terminal.

Each row of characters shows two levels. The validation loss is drawn in blocks, the training loss in dots, the n-gram
as a dashed line and the best point as a star, so they can be told apart without colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from charlm.arrays import Floats
from charlm.errors import RunError
from charlm.plotting.curves import AXES, AXIS, loss_curve, require_axis
from charlm.runs.figures import Baselines
from charlm.runs.find import run_of
from charlm.runs.run import Run

ROWS, COLUMNS = 8, 80
LEAST_COLUMNS = 40
EARLY = 0.1  # share of the x axis; losses there that are higher than all later ones are not shown
MARGIN = 7  # columns for the labels of the y axis


class Marks(NamedTuple):
    """The characters to draw with. Of two, the first is for the upper half of a row."""

    validation: str
    training: str
    ngram: str
    best: str
    axis: str
    corner: str
    floor: str


BLOCKS = Marks("▀▄", "˙.", "╌", "*", "┤", "└", "─")
ASCII = Marks("##", "'.", "-", "*", "|", "+", "-")


def terminal_curve(run: str | Path | Run, *, against: str = AXIS, columns: int = COLUMNS, marks: Marks = BLOCKS) -> str:
    """The training and validation loss of a run as lines of text, at most `columns` wide (but at least 40).

    against: "steps", "characters" or "minutes". Raises RunError if a run has no metrics yet, SpecError for an
    unknown `against`.
    """
    require_axis(against)
    run = run if isinstance(run, Run) else run_of(run)
    metrics = run.metrics()
    training, validation = (np.array(loss_curve(metrics, split, against)) for split in ("train", "validation"))
    if not training.size + validation.size:
        raise RunError(f"{run.path} has no metrics to draw yet: train it for longer")
    baselines = Baselines.of(run)
    levels = [baselines.ngram_nats] if baselines else []
    canvas = _Canvas(max(columns, LEAST_COLUMNS) - MARGIN, [training, validation], levels)
    for nats in levels:
        canvas.horizontal(nats, marks.ngram)
    canvas.dots(training, marks.training)
    canvas.polyline(validation, marks.validation)
    legend = [f"{marks.validation} validation", f"{marks.training} training"]
    if validation.size:
        x, best = min(validation.T, key=lambda point: (point[1], point[0]))
        canvas.point(x, best, marks.best)
        legend.append(f"{marks.best} best, {best:.3f}")
    if baselines:
        legend.append(f"{marks.ngram * 2} {baselines.ngram_name}, {baselines.ngram_nats:.3f}")
    lines = [*canvas.lines(marks, AXES[against].label), *_legend_lines(legend, max(columns, LEAST_COLUMNS))]
    return "".join(f"{line}\n" for line in lines)


def _legend_lines(entries: Sequence[str], columns: int) -> list[str]:
    """The entries of the legend side by side, in as few lines as they fit into."""
    first, *others = entries
    lines = [" " * MARGIN + first]
    for entry in others:
        if len(lines[-1]) + 3 + len(entry) <= columns:
            lines[-1] += "   " + entry
        else:
            lines.append(" " * MARGIN + entry)
    return lines


class _Canvas:
    """A grid of characters (ROWS, columns), and the scales of its axes. Points are arrays (2, N): x and nats."""

    def __init__(self, columns: int, curves: Sequence[Floats], levels: Sequence[float]) -> None:
        """Set the scales so that `curves` and `levels` (nats) are in range, except for high losses at the beginning."""
        drawn = [points for points in curves if points.size]
        self.end = max(float(points[0].max()) for points in drawn) or 1.0
        late = [points[1][points[0] >= EARLY * self.end] for points in drawn]
        shown = np.concatenate([*late, *(points[1][-1:] for points in drawn), levels])
        lowest = min(float(points[1].min()) for points in drawn)
        self.low, self.high = min(lowest, float(shown.min())), float(shown.max())
        self.cells = np.full((ROWS, columns), " ")

    def point(self, x: float, nats: float, marks: str) -> None:
        """Draw one mark; of two marks, the one for that half of the row. Points above the canvas are skipped."""
        level = round((self.high - nats) / (self.high - self.low or 1.0) * (2 * ROWS - 1))
        if 0 <= level < 2 * ROWS:
            self.cells[level // 2, self._column(x)] = marks[level % 2 % len(marks)]

    def horizontal(self, nats: float, mark: str) -> None:
        """Draw a horizontal line."""
        for x in np.linspace(0, self.end, self.cells.shape[1]):
            self.point(x, nats, mark)

    def dots(self, points: Floats, marks: str) -> None:
        """Draw points; those that share a column become one, at their mean."""
        columns = np.array([self._column(x) for x in points[0]], int) if points.size else np.empty(0, int)
        for column in np.unique(columns):
            same = points[:, columns == column]
            self.point(float(same[0].mean()), float(same[1].mean()), marks)

    def polyline(self, points: Floats, marks: str) -> None:
        """Draw points, with straight lines between them."""
        for x, nats in points.T if points.size else ():
            self.point(x, nats, marks)
        for (x, _), (end, _) in pairwise(points.T if points.size else ()):
            for column in range(self._column(x) + 1, self._column(end)):
                between = column / (self.cells.shape[1] - 1) * self.end
                self.point(between, float(np.interp(between, points[0], points[1])), marks)

    def lines(self, marks: Marks, label: str) -> list[str]:
        """The canvas with its axes as lines of text. label: of the x axis."""
        ticks = {0: self.high, ROWS // 2: (self.high + self.low) / 2, ROWS - 1: self.low}
        rows = []
        for row, cells in enumerate(self.cells):
            tick = f"{ticks[row]:5{'.2f' if ticks[row] < 99 else '.0e'}}" if row in ticks else " " * 5
            rows.append(f"{tick} {marks.axis}{''.join(cells)}".rstrip())
        end = f"{self.end:,.0f} {label}" if self.end >= 10 else f"{self.end:.2g} {label}"
        floor = marks.corner + marks.floor * self.cells.shape[1]
        return ["nats per character", *rows, " " * 6 + floor, f"{'0':>{MARGIN + 1}}{end:>{self.cells.shape[1] - 1}}"]

    def _column(self, x: float) -> int:
        return round(x / self.end * (self.cells.shape[1] - 1))
