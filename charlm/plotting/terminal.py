"""Plot: the loss of a run as a few lines of text, for a terminal.

Two levels a row: the validation loss in blocks, the training loss in dots, the n-gram as a dashed line and the best
point as a star, so that they are told apart without colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from charlm.baselines import Baselines
from charlm.errors import RunError
from charlm.nn.arrays import Floats
from charlm.plotting.loss import LABELS, curve, require_axis
from charlm.store.run import Run

ROWS, COLUMNS = 8, 80
LEAST_COLUMNS = 40
BEGINNING = 0.1  # of the x axis; what lies above all that comes later is left out, it would press the rest flat
MARGIN = 7  # columns that the labels of the y axis take


class Marks(NamedTuple):
    """What curves are drawn with; of a pair the first is for the upper half of a row."""

    validation: str
    training: str
    ngram: str
    best: str
    axis: str
    corner: str
    floor: str


BLOCKS = Marks("▀▄", "˙.", "╌", "*", "┤", "└", "─")
ASCII = Marks("##", "'.", "-", "*", "|", "+", "-")


def terminal_curve(
    run: str | Path | Run, *, against: str = "steps", columns: int = COLUMNS, marks: Marks = BLOCKS
) -> str:
    """The training and validation loss of a run as lines of text, each at most `columns` wide and ended by a line end.

    against: "steps", "characters" or "minutes". Raises RunError where a run has no metrics yet, SpecError for an
    unknown `against`.
    """
    require_axis(against)
    run = run if isinstance(run, Run) else Run.of(run)
    metrics = run.metrics()
    training, validation = (np.array(curve(metrics, split, against)) for split in ("train", "validation"))
    if not training.size + validation.size:
        raise RunError(f"{run.path} has no metrics to draw yet: train it for longer")
    baselines = Baselines.of(run)
    counting = [baselines.ngram_nats] if baselines else []
    canvas = _Canvas(max(columns, LEAST_COLUMNS) - MARGIN, [training, validation], counting)
    for nats in counting:
        canvas.line(nats, marks.ngram)
    canvas.dots(training, marks.training)
    canvas.joined(validation, marks.validation)
    legend = [f"{marks.validation} validation", f"{marks.training} training"]
    if validation.size:
        x, best = min(validation.T, key=lambda point: (point[1], point[0]))
        canvas.point(x, best, marks.best)
        legend.append(f"{marks.best} best, {best:.3f}")
    if baselines:
        legend.append(f"{marks.ngram * 2} {baselines.ngram_order}-gram, {baselines.ngram_nats:.3f}")
    packed = _packed(legend, max(columns, LEAST_COLUMNS))
    return "".join(f"{line}\n" for line in [*canvas.lines(marks, LABELS[against]), *packed])


def _packed(entries: Sequence[str], columns: int) -> list[str]:
    """Entries in as few lines as they fit in, side by side."""
    first, *others = entries
    lines = [" " * MARGIN + first]
    for entry in others:
        if len(lines[-1]) + 3 + len(entry) <= columns:
            lines[-1] += "   " + entry
        else:
            lines.append(" " * MARGIN + entry)
    return lines


class _Canvas:
    """Characters (ROWS, W), and what x and nats they stand for."""

    def __init__(self, columns: int, curves: Sequence[Floats], counting: Sequence[float]) -> None:
        drawn = [points for points in curves if points.size]
        self.end = max(float(points[0].max()) for points in drawn) or 1.0
        late = [points[1][points[0] >= BEGINNING * self.end] for points in drawn]
        shown = np.concatenate([*late, *(points[1][-1:] for points in drawn), counting])
        lowest = min(float(points[1].min()) for points in drawn)
        self.low, self.high = min(lowest, float(shown.min())), float(shown.max())
        self.cells = np.full((ROWS, columns), " ")

    def point(self, x: float, nats: float, marks: str) -> None:
        """One mark, or of two marks the one for the half of a row; nothing where it is above all that is shown."""
        level = round((self.high - nats) / (self.high - self.low or 1.0) * (2 * ROWS - 1))
        if 0 <= level < 2 * ROWS:
            self.cells[level // 2, self._column(x)] = marks[level % 2 % len(marks)]

    def line(self, nats: float, mark: str) -> None:
        """A horizontal line."""
        for x in np.linspace(0, self.end, self.cells.shape[1]):
            self.point(x, nats, mark)

    def dots(self, points: Floats, marks: str) -> None:
        """Points (2, N), the mean of those that share a column."""
        columns = np.array([self._column(x) for x in points[0]], int) if points.size else np.empty(0, int)
        for column in np.unique(columns):
            mine = points[:, columns == column]
            self.point(float(mine[0].mean()), float(mine[1].mean()), marks)

    def joined(self, points: Floats, marks: str) -> None:
        """Points (2, N), with straight lines between them."""
        for x, nats in points.T if points.size else ():
            self.point(x, nats, marks)
        for (x, _), (end, _) in pairwise(points.T if points.size else ()):
            for column in range(self._column(x) + 1, self._column(end)):
                at = column / (self.cells.shape[1] - 1) * self.end
                self.point(at, float(np.interp(at, points[0], points[1])), marks)

    def lines(self, marks: Marks, label: str) -> list[str]:
        """What was drawn, with its axes."""
        shown = {0: self.high, ROWS // 2: (self.high + self.low) / 2, ROWS - 1: self.low}
        rows = []
        for row, cells in enumerate(self.cells):
            tick = f"{shown[row]:5{'.2f' if shown[row] < 99 else '.0e'}}" if row in shown else " " * 5
            rows.append(f"{tick} {marks.axis}{''.join(cells)}".rstrip())
        end = f"{self.end:,.0f} {label}" if self.end >= 10 else f"{self.end:.2g} {label}"
        floor = marks.corner + marks.floor * self.cells.shape[1]
        return ["nats per character", *rows, " " * 6 + floor, f"{'0':>{MARGIN + 1}}{end:>{self.cells.shape[1] - 1}}"]

    def _column(self, x: float) -> int:
        return round(x / self.end * (self.cells.shape[1] - 1))
