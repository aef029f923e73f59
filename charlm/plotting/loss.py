"""Pictures of the training and validation loss of runs, with their baselines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charlm.errors import RunError
from charlm.plotting.curves import AXES, AXIS, loss_curve, require_axis
from charlm.plotting.picture import COLOURS, load_matplotlib, picture_path, write_picture
from charlm.runs.figures import Baselines
from charlm.runs.find import run_of
from charlm.runs.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY, BASELINE_COLOUR = "#999999", "#B3470A"
EARLY = 0.08  # share of the x axis; losses there do not stretch the y axis


def plot(runs: Sequence[str | Path], output: str | Path, *, against: str = AXIS) -> None:
    """Draw the training and validation loss of some runs into the picture `output` (.png, .svg or .pdf).

    against: "steps", "characters" or "minutes". Raises RunError if a run has no metrics yet, SpecError for an
    unknown `against` or suffix, StorageError if the disk refuses.
    """
    require_axis(against)
    output = picture_path(output)
    write_picture(draw([run_of(run) for run in runs], against), output)


def draw(runs: Sequence[Run], against: str = AXIS) -> Figure:
    """The figure of `plot`, not yet written: for a notebook, or to add to it."""
    load_matplotlib()
    from matplotlib.figure import Figure

    # Without pyplot no window system is touched and no global figure stays open.
    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    metrics = [run.metrics() for run in runs]  # read once: they may be long
    single = len(runs) == 1
    for index, (run, records) in enumerate(zip(runs, metrics, strict=True)):
        name = run.path.name if len({other.path.name for other in runs}) == len(runs) else str(run.path)
        if not any(record["split"] in ("train", "validation") for record in records):
            raise RunError(f"{run.path} has no metrics to draw yet: train it for longer")
        colour = COLOURS[index % len(COLOURS)]
        label = "" if single else f" of {_printable(name)}"
        _draw_run(axes, records, against, colour, GREY if single else colour, label)
    low, high = _loss_range(metrics, against)
    if single:
        _set_title(axes, runs[0], metrics[0])
        if baselines := Baselines.of(runs[0]):
            low, high = min(low, baselines.ngram_nats), max(high, baselines.ngram_nats)
            _draw_baselines(axes, baselines, low, high)
    height = high - low or 1.0
    axes.set_ylim(low - 0.12 * height, high + 0.06 * height)
    _finish_axes(axes, against)
    return figure


def _draw_run(
    axes: Axes, metrics: list[dict[str, Any]], against: str, colour: str, training_colour: str, label: str
) -> None:
    """Both curves of a run, with a star and the loss at the best point."""
    train, validation = (loss_curve(metrics, split, against) for split in ("train", "validation"))
    axes.plot(*train, color=training_colour, linewidth=1, alpha=0.8, label=f"training{label}")
    if not validation[0]:
        return
    axes.plot(*validation, color=colour, linewidth=2, marker="o", markersize=3.5, label=f"validation{label}")
    best, x = min(zip(validation[1], validation[0], strict=True))
    star: dict[str, Any] = {
        "marker": "*",
        "markersize": 15,
        "linestyle": "none",
        "color": colour,
        "markeredgecolor": "white",
    }
    axes.plot([x], [best], **star, zorder=3, label=None if label else "best")
    axes.annotate(
        f"{best:.3f}",
        (x, best),
        xytext=(0, 9),
        textcoords="offset points",
        ha="center",
        color=colour,
        weight="bold",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
    )


def _draw_baselines(axes: Axes, baselines: Baselines, low: float, high: float) -> None:
    """Labelled lines for the n-gram and, if it is in range, for the better compressor."""
    lines = [(baselines.ngram_nats, baselines.ngram_name, "--")]
    if (compressed := baselines.compressed) and low <= compressed[0] <= high:
        lines.append((*compressed, ":"))
    for nats, name, style in lines:
        axes.axhline(nats, color=BASELINE_COLOUR, linestyle=style, linewidth=1.3, zorder=1)
        axes.annotate(
            f"{name} {nats:.3f}",
            (0, nats),
            xycoords=("axes fraction", "data"),
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=9,
            color=BASELINE_COLOUR,
        )


def _set_title(axes: Axes, run: Run, metrics: list[dict[str, Any]]) -> None:
    """The name of the corpus and the best validation loss."""
    name = _printable(run.config["corpus"]["name"])
    best = min(loss_curve(metrics, "validation", "steps")[1], default=None)
    result = "" if best is None else f": {best:.3f} nats per character ({best / math.log(2):.2f} bits) on unseen text"
    axes.set_title(f"{name}{result}", loc="left", parse_math=False)


def _finish_axes(axes: Axes, against: str) -> None:
    """Axes in nats and bits, a grid, the legend."""
    axes.set_xlabel(AXES[against].label)
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


def _loss_range(metrics: list[list[dict[str, Any]]], against: str) -> tuple[float, float]:
    """The lowest and the highest nats to show. Early losses, of an untrained network, would flatten the rest."""
    low, late = math.inf, [0.0]
    for records in metrics:
        curves = [loss_curve(records, split, against) for split in ("train", "validation")]
        end = max(max(x, default=0.0) for x, _ in curves)
        low = min([low, *(nats for _, losses in curves for nats in losses)])
        late += [nats for curve in curves for x, nats in zip(*curve, strict=True) if x >= EARLY * end]
        late += [losses[-1] for _, losses in curves if losses]
    return low, max(late)


def _printable(name: str) -> str:
    return name.encode("utf-8", "replace").decode()  # a file name need not be valid text


def _bits(nats: Any) -> Any:
    return nats / math.log(2)


def _nats(bits: Any) -> Any:
    return bits * math.log(2)
