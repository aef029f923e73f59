"""How cost grows: training speed against H, B, T and L, and a window's memory against T and B, beside their laws.

    python scripts/bench_scaling.py --picture scaling.png --json scaling.json

One size is varied at a time, the others stay at H256 B32 T100 L1. Every point is one worker of one thread, the best of
some updates, so that it shows the arithmetic and not the machine's other work. Law of time: the operations of the
matrix products, at the speed of the middle point: characters per second fall with H^2 and with 2L - 1, and do not
depend on B and T; where a point lies below its law, the calls, the element-wise passes or thin matrices cost more
than the products. Law of memory: what the cells' docstrings say, T B times 8H for a GRU layer, and V for the read-out.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from bench_training import VOCABULARY, Shape
from rounds import free_the_kernel, machine, parser_of, write_json

from charlm import CharLM, ModelSpec, blas_threads
from charlm.arrays import NamedArrays
from charlm.nn.loss import cross_entropy
from charlm.optim.clip import clip_by_global_norm
from charlm.optim.optimizers import SGD

MIDDLE = Shape("gru", 256, 1, 32, 100)
VARIED = {"H": (32, 64, 128, 256, 512, 1024), "B": (1, 4, 16, 32, 64, 128), "T": (10, 25, 50, 100, 200), "L": (1, 2, 3)}
OF_MEMORY = {"T": (10, 25, 50, 100, 200), "B": (1, 4, 16, 32, 64, 128)}
LEARN_SECONDS = 2.0


@dataclass(frozen=True)
class Point:
    """One measurement: the size that was varied and its value, what was measured, and what its law says."""

    size: str
    value: int
    measured: float
    law: float


def varied(size: str, value: int) -> Shape:
    """The middle shape with another size."""
    changed: dict[str, Any] = {size: value}
    return MIDDLE._replace(**changed)


def update_of(shape: Shape) -> Callable[[], None]:
    """An update of a network of that shape, on a window that stays the same."""
    rng = np.random.default_rng(0)
    model = CharLM(ModelSpec(VOCABULARY, shape.H, shape.L))
    params = model.initial_params(rng)
    grads, optimizer = NamedArrays.like(params), SGD(params, momentum=0.9)
    inputs, targets = rng.integers(0, VOCABULARY, (2, shape.T, shape.B)).astype(np.uint8)

    def update() -> None:
        logits, _, tape = model.forward(params, inputs, model.zero_state(shape.B))
        _, dlogits = cross_entropy(logits, targets)
        model.backward(params, tape, dlogits, grads)
        clip_by_global_norm(grads, 0.2)
        optimizer.update(params, grads, 0.01)

    return update


def speed(shape: Shape) -> float:
    """Characters per second, at the best of all updates in LEARN_SECONDS."""
    update = update_of(shape)
    update()
    best, end = float("inf"), time.perf_counter() + LEARN_SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        update()
        best = min(best, time.perf_counter() - start)
    return shape.B * shape.T / best


def memory(shape: Shape) -> float:
    """Bytes that an update holds, beyond what a window of one step and one sequence needs."""

    def held(shape: Shape) -> int:
        tracemalloc.start()
        update = update_of(shape)
        update()
        update()
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return size

    return held(shape) - held(shape._replace(T=1, B=1))


def speeds() -> list[Point]:
    """All points of speed, with the law's line through the middle one."""
    middle = speed(MIDDLE)
    points = []
    for size, values in VARIED.items():
        for value in values:
            shape = varied(size, value)
            measured = middle if shape == MIDDLE else speed(shape)
            points.append(Point(size, value, measured, middle * MIDDLE.operations / shape.operations))
            print(f"{shape!s:<24}{points[-1].measured:>12,.0f} char/s{points[-1].law:>12,.0f} by its law", flush=True)
    return points


def memories() -> list[Point]:
    """All points of memory."""
    points = []
    for size, values in OF_MEMORY.items():
        for value in values:
            shape = varied(size, value)
            law = 4 * shape.T * shape.B * (8 * shape.H * shape.L + VOCABULARY + shape.H)
            points.append(Point(size, value, memory(shape), law))
            print(f"{shape!s:<24}{points[-1].measured / 1e6:>12.1f} MB{law / 1e6:>16.1f} by its law", flush=True)
    return points


def draw(path: Path, speed_points: list[Point], memory_points: list[Point]) -> None:
    """One panel a size: measured points, and the law as a line."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = [("characters per second", size, speed_points) for size in VARIED]
    scaled = [replace(point, measured=point.measured / 1e6, law=point.law / 1e6) for point in memory_points]
    panels += [("megabytes", size, scaled) for size in OF_MEMORY]
    names = {"H": "hidden units H", "B": "batch B", "T": "time steps T", "L": "layers L"}
    figure, axes = plt.subplots(2, 3, figsize=(9, 5.4), layout="constrained")
    for panel, (unit, size, points) in zip(axes.flat, panels, strict=True):
        points = [point for point in points if point.size == size]
        values = [point.value for point in points]
        panel.plot(values, [point.law for point in points], color="#999999", linewidth=1.2, label="law")
        panel.plot(values, [point.measured for point in points], "o", color="#0072B2", label="measured")
        panel.set(xscale="log", yscale="log", xlabel=names[size], ylabel=unit)
        panel.set_xticks(values, [str(value) for value in values])
        panel.minorticks_off()
        low, high = panel.get_ylim()
        if high < 30 * low:  # a decade and a half, lest a difference of some per cent look like a cliff
            panel.set_ylim((low * high / 30) ** 0.5, (low * high * 30) ** 0.5)
        panel.spines[["top", "right"]].set_visible(False)
    axes[0, 0].legend(frameon=False)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Parse, measure, print tables, write JSON and a picture."""
    parser = parser_of(__doc__)
    parser.add_argument("--picture", type=Path, help="draw to this file")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    free_the_kernel(options.keep_kernel)
    with blas_threads(1):
        speed_points, memory_points = speeds(), memories()
    if options.picture:
        draw(options.picture, speed_points, memory_points)
    points = {"speed": [asdict(p) for p in speed_points], "memory": [asdict(p) for p in memory_points]}
    write_json(options.json, {"machine": machine(), **points})


if __name__ == "__main__":
    main()
