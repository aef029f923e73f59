"""Plot: metrics to pictures of the loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charlm.errors import RunError, SpecError
from charlm.plotting.picture import COLOURS, picture_place, write_picture
from charlm.store.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AXES = {"steps": ("step", 1.0), "characters": ("characters", 1.0), "minutes": ("seconds", 60.0)}
LABELS = {"steps": "updates", "characters": "characters seen", "minutes": "minutes of training"}


def plot(runs: Sequence[str | Path], output: str | Path, *, against: str = "steps") -> None:
    """Draw the training and validation loss of some runs into the picture `output` (.png, .svg or .pdf).

    against: "steps", "characters" or "minutes". Raises RunError where a run has no metrics yet, SpecError for an
    unknown `against` or ending, StorageError where the disk refuses.
    """
    if against not in AXES:
        raise SpecError(f"a loss is drawn against one of {', '.join(AXES)}, not {against!r}")
    output = picture_place(output)
    write_picture(draw([Run.of(run) for run in runs], against), output)


def draw(runs: Sequence[Run], against: str = "steps") -> Figure:
    """The figure of `plot`, not yet written: for a notebook, or to add to it."""
    from matplotlib.figure import Figure

    # Figure by itself, without pyplot: no window system is touched and nothing is left open.
    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    metrics = [run.metrics() for run in runs]  # read once: they may be long
    for number, (run, records) in enumerate(zip(runs, metrics, strict=True)):
        name = run.path.name if len({other.path.name for other in runs}) == len(runs) else str(run.path)
        if not any(record["split"] in ("train", "validation") for record in records):
            raise RunError(f"{run.path} has no metrics to draw yet: train it for longer")
        _draw_run(axes, records, COLOURS[number % len(COLOURS)], against, name, alone=len(runs) == 1)
    axes.set_xlabel(LABELS[against])
    axes.set_ylabel("nats per character")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    bits = axes.secondary_yaxis("right", functions=(_bits, _nats))
    bits.set_ylabel("bits per character")
    bits.spines["right"].set_visible(False)
    losses = [record["nats"] for records in metrics for record in records]
    validation = [record["nats"] for records in metrics for record in records if record["split"] == "validation"]
    high = max(*(_most([record["nats"] for record in records]) for records in metrics), *validation[-len(runs) :], 0)
    low = min(losses)
    height = high - low or 1.0
    axes.set_ylim(low - 0.12 * height, high + 0.04 * height)
    legend = axes.legend(loc="upper right", framealpha=0.85, edgecolor="none", fontsize=9)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name may hold dollar signs
    return figure


def _draw_run(axes: Axes, metrics: list[dict[str, Any]], colour: str, against: str, name: str, alone: bool) -> None:
    train, validation = (_curve(metrics, split, against) for split in ("train", "validation"))
    name = name.encode("utf-8", "replace").decode()  # a file name need not be text
    label = "" if alone else f" of {name}"

    axes.plot(*train, color=colour if not alone else "#999999", linewidth=1, alpha=0.8, label=f"training{label}")
    if not validation[0]:
        axes.set_title(name, loc="left", parse_math=False)
        return
    axes.plot(*validation, color=colour, linewidth=2, marker="o", markersize=3.5, label=f"validation{label}")
    best = min(zip(validation[1], validation[0], strict=True))
    axes.plot([best[1]], [best[0]], marker="*", markersize=13, color=colour, markeredgecolor="white", linestyle="none")
    axes.annotate(
        f"{best[0]:.3f}",
        (best[1], best[0]),
        xytext=(0, -19),
        textcoords="offset points",
        ha="center",
        color=colour,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
    )
    if alone:
        axes.set_title(
            f"{name}: {best[0]:.3f} nats per character ({best[0] / math.log(2):.2f} bits) on text it never saw",
            loc="left",
            parse_math=False,
        )


def _bits(nats: Any) -> Any:
    return nats / math.log(2)


def _nats(bits: Any) -> Any:
    return bits * math.log(2)


def _most(losses: list[float]) -> float:
    """The top of the picture: the first losses, of a network that knows nothing, would press the rest flat."""
    ordered = sorted(losses)
    return ordered[int(0.97 * (len(ordered) - 1))] * 1.02


def _curve(metrics: list[dict[str, Any]], split: str, against: str) -> tuple[list[float], list[float]]:
    key, unit = AXES[against]
    records = [record for record in metrics if record["split"] == split]
    return [record[key] / unit for record in records], [record["nats"] for record in records]
