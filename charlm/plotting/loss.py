"""Plot: metrics to pictures of the loss, with what counting comes to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charlm.baselines import Baselines
from charlm.errors import RunError, SpecError
from charlm.plotting.picture import COLOURS, picture_place, write_picture
from charlm.store.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AXES = {"steps": ("step", 1.0), "characters": ("characters", 1.0), "minutes": ("seconds", 60.0)}
QUIET, BASELINE = "#999999", "#B3470A"
BEGINNING = 0.08  # of the x axis; losses from there are off the picture where they are above all that come later
LABELS = {"steps": "updates", "characters": "characters seen", "minutes": "minutes of training"}


def plot(runs: Sequence[str | Path], output: str | Path, *, against: str = "steps") -> None:
    """Draw the training and validation loss of some runs into the picture `output` (.png, .svg or .pdf).

    against: "steps", "characters" or "minutes". Raises RunError where a run has no metrics yet, SpecError for an
    unknown `against` or ending, StorageError where the disk refuses.
    """
    require_axis(against)
    output = picture_place(output)
    write_picture(draw([Run.of(run) for run in runs], against), output)


def require_axis(against: str) -> None:
    """Raise SpecError for what a loss cannot be drawn against."""
    if against not in AXES:
        raise SpecError(f"a loss is drawn against one of {', '.join(AXES)}, not {against!r}")


def draw(runs: Sequence[Run], against: str = "steps") -> Figure:
    """The figure of `plot`, not yet written: for a notebook, or to add to it."""
    from matplotlib.figure import Figure

    # Figure by itself, without pyplot: no window system is touched and nothing is left open.
    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    metrics = [run.metrics() for run in runs]  # read once: they may be long
    alone = len(runs) == 1
    for number, (run, records) in enumerate(zip(runs, metrics, strict=True)):
        name = run.path.name if len({other.path.name for other in runs}) == len(runs) else str(run.path)
        if not any(record["split"] in ("train", "validation") for record in records):
            raise RunError(f"{run.path} has no metrics to draw yet: train it for longer")
        colour = COLOURS[number % len(COLOURS)]
        _draw_run(axes, records, against, colour, QUIET if alone else colour, "" if alone else f" of {_shown(name)}")
    low, high = _range(metrics, against)
    if alone:
        _set_title(axes, runs[0], metrics[0])
        if baselines := Baselines.of(runs[0]):
            low, high = min(low, baselines.ngram_nats), max(high, baselines.ngram_nats)
            _draw_baselines(axes, baselines, high)
    height = high - low or 1.0
    axes.set_ylim(low - 0.12 * height, high + 0.06 * height)
    _dress(axes, against)
    return figure


def _draw_run(
    axes: Axes, metrics: list[dict[str, Any]], against: str, colour: str, training_colour: str, label: str
) -> None:
    """Both curves, the star on the best point, and its loss."""
    train, validation = (curve(metrics, split, against) for split in ("train", "validation"))
    axes.plot(*train, color=training_colour, linewidth=1, alpha=0.8, label=f"training{label}")
    if not validation[0]:
        return
    axes.plot(*validation, color=colour, linewidth=2, marker="o", markersize=3.5, label=f"validation{label}")
    best, at = min(zip(validation[1], validation[0], strict=True))
    star: dict[str, Any] = {
        "marker": "*",
        "markersize": 15,
        "linestyle": "none",
        "color": colour,
        "markeredgecolor": "white",
    }
    axes.plot([at], [best], **star, zorder=3, label=None if label else "best")
    axes.annotate(
        f"{best:.3f}",
        (at, best),
        xytext=(0, 9),
        textcoords="offset points",
        ha="center",
        color=colour,
        weight="bold",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
    )


def _draw_baselines(axes: Axes, baselines: Baselines, high: float) -> None:
    """The n-gram, and the better compressor where it is not far off, as lines that say what they are."""
    lines = [(baselines.ngram_nats, baselines.ngram_name, "--")]
    if (compressed := baselines.compressed) and compressed[0] <= high:
        lines.append((*compressed, ":"))
    for nats, name, style in lines:
        axes.axhline(nats, color=BASELINE, linestyle=style, linewidth=1.3, zorder=1)
        axes.annotate(
            f"{name} {nats:.3f}",
            (0, nats),
            xycoords=("axes fraction", "data"),
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=9,
            color=BASELINE,
        )


def _set_title(axes: Axes, run: Run, metrics: list[dict[str, Any]]) -> None:
    """The corpus and the result."""
    name, best = _shown(run.config["corpus"]["name"]), min(curve(metrics, "validation", "steps")[1], default=None)
    result = "" if best is None else f": {best:.3f} nats per character ({best / math.log(2):.2f} bits) on unseen text"
    axes.set_title(f"{name}{result}", loc="left", parse_math=False)


def _dress(axes: Axes, against: str) -> None:
    """Axes in nats and bits, a grid, the legend."""
    axes.set_xlabel(LABELS[against])
    axes.set_ylabel("nats per character")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    bits = axes.secondary_yaxis("right", functions=(_bits, _nats))
    bits.set_ylabel("bits per character")
    bits.spines["right"].set_visible(False)
    legend = axes.legend(loc="upper right", framealpha=0.85, edgecolor="none", fontsize=9)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name may hold dollar signs


def _range(metrics: list[list[dict[str, Any]]], against: str) -> tuple[float, float]:
    """The least and the most nats to show: the first losses, of a network that knows nothing, press the rest flat."""
    low, late = math.inf, [0.0]
    for records in metrics:
        curves = [curve(records, split, against) for split in ("train", "validation")]
        end = max(max(when, default=0.0) for when, _ in curves)
        low = min([low, *(nats for _, losses in curves for nats in losses)])
        late += [nats for curve in curves for at, nats in zip(*curve, strict=True) if at >= BEGINNING * end]
        late += [losses[-1] for _, losses in curves if losses]
    return low, max(late)


def _shown(name: str) -> str:
    return name.encode("utf-8", "replace").decode()  # a file name need not be text


def _bits(nats: Any) -> Any:
    return nats / math.log(2)


def _nats(bits: Any) -> Any:
    return bits * math.log(2)


def curve(metrics: list[dict[str, Any]], split: str, against: str) -> tuple[list[float], list[float]]:
    """When, and how many nats: of every record of a split."""
    key, unit = AXES[against]
    records = [record for record in metrics if record["split"] == split]
    return [record[key] / unit for record in records], [record["nats"] for record in records]
