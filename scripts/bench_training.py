"""How fast charlm trains beside PyTorch and JAX: characters per second, as ratios of interleaved runs.

    python scripts/bench_training.py                       charlm and PyTorch on the standard shapes
    python scripts/bench_training.py --peers torch jax     both peers
    python scripts/bench_training.py --shapes 256,1,64,100 --repeats 9

Every measurement is a process of its own, so no library's threads disturb another's; all of them do the same work
on the same cores: forward, backward, clip by global norm, Nesterov update, in float32. Rounds go charlm, peer, peer,
charlm, ..., so a machine that slows down slows everyone; a ratio is the median of the rounds' ratios.
Peers come with `pip install charlm[bench]`; those that are not installed are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SHAPES = [(128, 1, 32, 64), (256, 1, 64, 100), (256, 2, 64, 100), (512, 1, 64, 100), (64, 1, 1, 100)]
VOCABULARY = 65
CLIP, RATE, MOMENTUM = 0.2, 0.01, 0.9
SECONDS = 2.0  # of measurement per process, after warm-up

Step = Callable[[], object]
Shape = tuple[int, int, int, int]  # H, L, B, T


def charlm_step(H: int, L: int, B: int, T: int) -> Step:
    """One training step of charlm."""
    import numpy as np

    from charlm.nn.arrays import NamedArrays
    from charlm.nn.loss import cross_entropy
    from charlm.nn.model import CharLM, ModelSpec
    from charlm.optim.clip import clip_by_global_norm
    from charlm.optim.optimizers import SGD

    rng = np.random.default_rng(0)
    model = CharLM(ModelSpec(VOCABULARY, H, L))
    params = model.initial_params(rng)
    grads, optimizer = NamedArrays.like(params), SGD(params, MOMENTUM)
    inputs, targets = rng.integers(0, VOCABULARY, (2, T, B))
    state = model.zero_state(B)

    def step() -> None:
        nonlocal state
        logits, state, tape = model.forward(params, inputs, state)
        _, dlogits = cross_entropy(logits, targets)
        model.backward(params, tape, dlogits, grads)
        clip_by_global_norm(grads, CLIP)
        optimizer.update(params, grads, RATE)

    return step


def torch_step(H: int, L: int, B: int, T: int) -> Step:
    """One training step of PyTorch's eager nn.GRU on one-hot inputs."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    gru, readout = torch.nn.GRU(VOCABULARY, H, L), torch.nn.Linear(H, VOCABULARY)
    parameters = [*gru.parameters(), *readout.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=RATE, momentum=MOMENTUM, nesterov=True)
    inputs, targets = torch.randint(0, VOCABULARY, (2, T, B))
    one_hot = torch.nn.functional.one_hot(inputs, VOCABULARY).float()
    state = torch.zeros(L, B, H)

    def step() -> None:
        nonlocal state
        optimizer.zero_grad(set_to_none=True)
        outputs, after = gru(one_hot, state)
        state = after.detach()
        loss: Any = torch.nn.functional.cross_entropy(readout(outputs).view(-1, VOCABULARY), targets.view(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()

    return step


def jax_step(H: int, L: int, B: int, T: int) -> Step:
    """One training step of JAX: a scan over time, the whole step compiled."""
    import jax
    import jax.numpy as jnp

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
    carried = params, jax.tree.map(jnp.zeros_like, params), [jnp.zeros((B, H)) for _ in range(L)]

    def step() -> None:
        nonlocal carried
        carried = jax.block_until_ready(compiled(*carried))

    return step


STEPS = {"charlm": charlm_step, "torch": torch_step, "jax": jax_step}


def measure(name: str, shape: Shape) -> float:
    """Characters per second of one library at one shape, in this process: median over its steps."""
    H, L, B, T = shape
    step = STEPS[name](H, L, B, T)
    for _ in range(3):
        step()
    durations: list[float] = []
    while sum(durations) < SECONDS or len(durations) < 5:
        start = time.perf_counter()
        step()
        durations.append(time.perf_counter() - start)
    return B * T / statistics.median(durations)


def measured_apart(name: str, shape: Shape) -> float:
    """`measure` in a fresh process."""
    command = [sys.executable, __file__, "--measure", name, "--shapes", ",".join(map(str, shape))]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def compare(shape: Shape, names: list[str], repeats: int) -> dict[str, Any]:
    """Interleaved rounds of every library at one shape."""
    speeds: dict[str, list[float]] = {name: [] for name in names}
    for round_ in range(repeats):
        for name in names if round_ % 2 == 0 else reversed(names):
            speeds[name].append(measured_apart(name, shape))
    ratios = {
        name: statistics.median(ours / theirs for ours, theirs in zip(speeds["charlm"], speeds[name], strict=True))
        for name in names[1:]
    }
    return {
        "shape": dict(zip("HLBT", shape, strict=True)),
        "chars_per_second": {name: statistics.median(values) for name, values in speeds.items()},
        "ratios": ratios,
        "all": speeds,
    }


def parsed(shape: str) -> Shape:
    """A shape from its four numbers."""
    H, L, B, T = map(int, shape.split(","))
    return H, L, B, T


def main() -> None:
    """Parse, measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="*", default=["torch"], choices=["torch", "jax"])
    parser.add_argument("--shapes", nargs="*", help="H,L,B,T each; left out, the standard ones")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--measure", choices=list(STEPS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    shapes = [parsed(shape) for shape in options.shapes] if options.shapes else SHAPES
    if options.measure:
        print(measure(options.measure, shapes[0]))
        return

    names = ["charlm", *(peer for peer in options.peers if importlib.util.find_spec(peer))]
    print(f"characters per second (ratio charlm / peer), median of {options.repeats} rounds")
    print(f"{'shape':>20}" + "".join(f"{name:>20}" for name in names))
    results = []
    for shape in shapes:
        result = compare(shape, names, options.repeats)
        results.append(result)
        cells = [f"{result['chars_per_second']['charlm']:,.0f}"]
        cells += [f"{result['chars_per_second'][name]:,.0f} ({result['ratios'][name]:.2f})" for name in names[1:]]
        print(f"{'H{} L{} B{} T{}'.format(*shape):>20}" + "".join(f"{cell:>20}" for cell in cells), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
