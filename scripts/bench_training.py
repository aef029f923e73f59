"""How fast charlm trains beside PyTorch and JAX: characters per second, as ratios of interleaved runs.

    python scripts/bench_training.py                              all shapes, the peers that are installed
    python scripts/bench_training.py --shapes gru,256,1,64,100 --repeats 9 --json training.json --picture training.png

All do the same work on the same cores: forward, backward, clip by global norm, Nesterov update, in float32, on ids
and targets that stay the same. PyTorch is eager nn.GRU or nn.LSTM on one-hot inputs, JAX a scan inside one jit (of
the GRU with the reset gate before, which PyTorch has not). charlm runs with the workers it would choose by itself,
and once more as one worker with all threads. The last column is the share of the matrix products' peak that charlm
reaches; that peak is measured first. Peers come with `pip install -e '.[bench]'`.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rounds import Rounds, compare, free_the_kernel, machine, parser_of, rate_of, write_json

if TYPE_CHECKING:
    from charlm import CharLM, ModelSpec, TrainSpec, Workers
    from charlm.arrays import NamedArrays
    from charlm.nn.stack import State
    from charlm.optim.optimizers import Optimizer
    from charlm.training.coordinator import Coordinator, Decision, WorkerWindow

VOCABULARY = 65
CLIP, RATE, MOMENTUM = 0.2, 0.01, 0.9

Step = Callable[[], object]


class Shape(NamedTuple):
    """What is trained: cell "gru", "after" (a GRU with the reset gate after the product) or "lstm", and its sizes."""

    cell: str
    H: int
    L: int
    B: int
    T: int

    @classmethod
    def of(cls, text: str) -> Shape:
        """From `gru,256,1,64,100`."""
        cell, *sizes = text.split(",")
        return cls(cell, *map(int, sizes))

    def __str__(self) -> str:
        return f"{self.cell} H{self.H} L{self.L} B{self.B} T{self.T}"

    @property
    def reset(self) -> str:
        """Where a GRU's reset gate is."""
        return "after" if self.cell == "after" else "before"

    @property
    def operations(self) -> int:
        """Floating-point operations in the matrix products of one character, forward and twice as many back."""
        gates = 4 if self.cell == "lstm" else 3
        recurrent = gates * self.H * self.H * (2 * self.L - 1)  # the first layer's input product is a look-up
        return 6 * (recurrent + self.H * VOCABULARY)


SIZES = ((128, 1, 32, 64), (256, 1, 64, 100), (256, 2, 64, 100), (512, 1, 64, 100))
SHAPES = [
    *(Shape("gru", *sizes) for sizes in (*SIZES, (64, 1, 1, 100))),
    *(Shape("after", *sizes) for sizes in SIZES),
    *(Shape("lstm", *sizes) for sizes in SIZES),
]


def charlm_rate(shape: Shape, workers: int | None) -> float:
    """Characters per second of charlm's training loop; workers None is its own choice."""
    from charlm import ModelSpec, TrainSpec
    from charlm.parallel.blas import blas_thread_count, blas_threads
    from charlm.parallel.local import start
    from charlm.parallel.workers import suitable_count
    from charlm.training.loop import WORKER, training_loop

    cell, reset = ("lstm", "before") if shape.cell == "lstm" else ("gru", shape.reset)
    model = ModelSpec(VOCABULARY, shape.H, shape.L, cell, reset)
    spec = TrainSpec(batch=shape.B, window=shape.T, optimizer="sgd", momentum=MOMENTUM, clip_norm=CLIP)
    count = workers or suitable_count(shape.B, 6.0 * model.parameters * shape.B * shape.T)
    threads = max(1, blas_thread_count() // count) if count > 1 else blas_thread_count()
    with (
        start(count, threads, WORKER) as all_workers,
        blas_threads(threads),
        closing(training_loop(all_workers, same_window(model, spec, all_workers))) as updates,
    ):
        return rate_of(lambda: next(updates), shape.B * shape.T)


def same_window(model: ModelSpec, spec: TrainSpec, workers: Workers) -> Coordinator:
    """A coordinator of training on one window, again and again, without evaluations and files."""
    import numpy as np

    from charlm.training.coordinator import Coordinator, Decision, WorkerWindow

    rng = np.random.default_rng(0)
    inputs, targets = rng.integers(0, VOCABULARY, (2, spec.window, spec.batch)).astype(np.uint8)
    shares = workers.shares(spec.batch)
    weights = [(share.stop - share.start) / spec.batch for share in shares]

    class SameWindow(Coordinator):
        specs = (model, spec)
        has_unsaved_steps = False

        def __init__(self) -> None:
            self.has_stopped = False

        def restore(self, model: CharLM, params: NamedArrays, optimizer: Optimizer) -> list[State]:
            params.copy_from(model.initial_params(rng))
            return [model.zero_state(share.stop - share.start) for share in shares]

        def next_windows(self) -> list[WorkerWindow | None]:
            if self.has_stopped:
                return [None] * len(shares)
            return [
                WorkerWindow(inputs[:, share], targets[:, share], None, None, False, RATE, weight)
                for share, weight in zip(shares, weights, strict=True)
            ]

        def after_update(self, nats: float, norm: float) -> Decision:
            return Decision()

        def progress(self) -> Any:
            return None

        def stop(self) -> None:
            self.has_stopped = True

    return SameWindow()


def torch_step(shape: Shape) -> Step:
    """One training step of PyTorch's eager nn.GRU or nn.LSTM on one-hot inputs."""
    import torch

    _, H, L, B, T = shape

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    layers = (torch.nn.LSTM if shape.cell == "lstm" else torch.nn.GRU)(VOCABULARY, H, L)
    readout = torch.nn.Linear(H, VOCABULARY)
    parameters = [*layers.parameters(), *readout.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=RATE, momentum=MOMENTUM, nesterov=True)
    inputs, targets = torch.randint(0, VOCABULARY, (2, T, B))
    one_hot = torch.nn.functional.one_hot(inputs, VOCABULARY).float()
    state: Any = (torch.zeros(L, B, H), torch.zeros(L, B, H)) if shape.cell == "lstm" else torch.zeros(L, B, H)

    def step() -> None:
        nonlocal state
        optimizer.zero_grad(set_to_none=True)
        outputs, after = layers(one_hot, state)
        state = tuple(part.detach() for part in after) if shape.cell == "lstm" else after.detach()
        loss: Any = torch.nn.functional.cross_entropy(readout(outputs).view(-1, VOCABULARY), targets.view(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()

    return step


def jax_step(shape: Shape) -> Step:
    """One training step of JAX: a scan over time, the whole step compiled."""
    import jax
    import jax.numpy as jnp

    _, H, L, B, T = shape

    keys = iter(jax.random.split(jax.random.PRNGKey(0), 4 * L + 4))

    def uniform(*shape: int) -> Any:
        return jax.random.uniform(next(keys), shape, minval=-(H**-0.5), maxval=H**-0.5)

    layers = [(uniform(VOCABULARY if i == 0 else H, 3 * H), uniform(H, 3 * H), jnp.zeros(3 * H)) for i in range(L)]
    params = (layers, uniform(H, VOCABULARY), jnp.zeros(VOCABULARY))
    inputs, targets = jax.random.randint(next(keys), (2, T, B), 0, VOCABULARY)

    def loss(params: Any, state: Any) -> Any:
        layers, W_y, b_y = params
        x, states = None, []
        for (W, U, b), h in zip(layers, state, strict=True):
            a = (W[inputs] if x is None else x @ W) + b

            def cell(h: Any, a: Any, U: Any = U) -> Any:
                zr = jax.nn.sigmoid(a[:, : 2 * H] + h @ U[:, : 2 * H])
                z, r = zr[:, :H], zr[:, H:]
                c = jnp.tanh(a[:, 2 * H :] + (r * h) @ U[:, 2 * H :])
                h = h + z * (c - h)
                return h, h

            h, x = jax.lax.scan(cell, h, a)
            states.append(h)
        logp = jax.nn.log_softmax(x @ W_y + b_y)
        return -jnp.take_along_axis(logp, targets[..., None], -1).mean(), states

    def update(params: Any, velocity: Any, state: Any) -> Any:
        (_, state), grads = jax.value_and_grad(loss, has_aux=True)(params, state)
        norm = jnp.sqrt(sum(jnp.vdot(g, g) for g in jax.tree.leaves(grads)))
        scale = jnp.minimum(1.0, CLIP / norm)
        velocity = jax.tree.map(lambda v, g: MOMENTUM * v + scale * g, velocity, grads)
        params = jax.tree.map(lambda p, v, g: p - RATE * (scale * g + MOMENTUM * v), params, velocity, grads)
        return params, velocity, state

    compiled: Any = jax.jit(update)
    wait: Any = jax.block_until_ready
    carried = params, jax.tree.map(jnp.zeros_like, params), [jnp.zeros((B, H)) for _ in range(L)]

    def step() -> None:
        nonlocal carried
        carried = wait(compiled(*carried))

    return step


def measure(name: str, shape: Shape) -> float:
    """Characters per second of one library at one shape, in this process."""
    if name.startswith("charlm"):
        return charlm_rate(shape, 1 if name == ONE_WORKER else None)
    step = torch_step(shape) if name == "torch" else jax_step(shape)
    return rate_of(step, shape.B * shape.T)


ONE_WORKER = "charlm-1-worker"


def candidates(shape: Shape, peers: list[str]) -> list[str]:
    """Who is measured at a shape."""
    return ["charlm", ONE_WORKER, *(peer for peer in peers if peer == "torch" or shape.cell == "gru")]


def draw(path: Path, results: dict[Shape, Rounds]) -> None:
    """Characters per second as bars, one group a shape, relative to PyTorch's (or charlm's with one worker)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    names = {"charlm": "charlm", ONE_WORKER: "charlm, one worker", "torch": "PyTorch", "jax": "JAX"}
    colors = {"charlm": "#0072B2", ONE_WORKER: "#56B4E9", "torch": "#D55E00", "jax": "#E69F00"}
    figure, axes = plt.subplots(figsize=(8, 0.55 * len(results) + 1.2), layout="constrained")
    for row, rounds in enumerate(results.values()):
        base = "torch" if "torch" in rounds.rates else ONE_WORKER
        for place, name in enumerate(rounds.rates):
            axes.barh(row + 0.2 * place, rounds.ratio(name, base), 0.18, color=colors[name])
    axes.set_yticks([row + 0.2 for row in range(len(results))], [str(shape) for shape in results])
    axes.invert_yaxis()
    axes.axvline(1, color="#999999", linewidth=0.8)
    axes.set_xlabel("training speed, PyTorch = 1")
    seen = {name for rounds in results.values() for name in rounds.rates}
    handles = [Patch(color=colors[name], label=label) for name, label in names.items() if name in seen]
    figure.legend(handles=handles, frameon=False, loc="outside upper center", ncols=len(handles))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Parse, measure, print a table, write JSON and a picture."""
    parser = parser_of(__doc__)
    parser.add_argument("--peers", nargs="*", default=["torch", "jax"], choices=["torch", "jax"])
    parser.add_argument("--shapes", nargs="*", type=Shape.of, default=SHAPES, help="cell,H,L,B,T each")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--picture", type=Path, help="draw them to this file")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    free_the_kernel(options.keep_kernel)
    if options.measure:
        print(measure(options.measure, options.shapes[0]))
        return

    here = machine()
    peak = here["sgemm_peak_gflops"]
    print(f"{here['processors']} processors, {here['blas']}, {peak} GFLOP/s; medians of {options.repeats} rounds")
    print(f"{'shape':<22}{'charlm':>10}{'one worker':>12}{'PyTorch':>18}{'JAX':>18}{'of peak':>9}")
    peers = [peer for peer in options.peers if importlib.util.find_spec(peer)]
    results = {}
    for shape in options.shapes:
        rounds = compare(__file__, candidates(shape, peers), ["--shapes", ",".join(map(str, shape))], options.repeats)
        results[shape] = rounds
        cells = [f"{rounds.median('charlm'):>10,.0f}{rounds.median(ONE_WORKER):>12,.0f}"]
        for peer in ("torch", "jax"):
            text = ""
            if peer in rounds.rates:
                text = f"{rounds.median(peer):,.0f} ({rounds.ratio('charlm', peer):.2f}x)"
            cells.append(f"{text:>18}")
        share = rounds.median("charlm") * shape.operations / peak / 1e9
        print(f"{shape!s:<22}{''.join(cells)}{share:>9.0%}", flush=True)
    if options.picture:
        draw(options.picture, results)
    write_json(options.json, {"machine": here, "shapes": {str(s): r.rates for s, r in results.items()}})


if __name__ == "__main__":
    main()
