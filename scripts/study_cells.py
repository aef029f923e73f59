"""Compare initialisations, residual connections and learning rates of the cells: validation loss after equal work.

    python scripts/study_cells.py TEXT [--steps 600] [--seeds 2]

Trains every variant below for the same number of updates on the first nine tenths of a text and scores the rest.
The defaults of charlm/nn are the best ones, or simpler and no worse; docs/cells.md has the table.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

from charlm import CharLM, Corpus, ModelSpec, TrainSpec, read_corpus
from charlm.arrays import NamedArrays
from charlm.nn.initialisation import uniform_fan_in
from charlm.nn.loss import cross_entropy
from charlm.optim.clip import clip_by_global_norm
from charlm.optim.optimizers import SGD
from charlm.optim.schedules import Schedule
from charlm.predict.network import Network
from charlm.scoring.score import score_ids
from charlm.text.batches import batches

HIDDEN = 128
Change = Callable[[NamedArrays, np.random.Generator], None]


def as_it_is(params: NamedArrays, rng: np.random.Generator) -> None:
    """The initialisation of charlm/nn."""


def uniform_recurrence(params: NamedArrays, rng: np.random.Generator) -> None:
    """U uniform in +-1/sqrt(H), as in PyTorch, instead of orthogonal."""
    for name, array in params.items():
        if name.endswith(".U"):
            array[...] = uniform_fan_in(rng, array.shape, fan_in=len(array))


def gate_bias(gate: int, value: float) -> Change:
    """Another initial bias of one gate of every layer."""

    def change(params: NamedArrays, rng: np.random.Generator) -> None:
        for name, array in params.items():
            if name.endswith(".b") and name.startswith("layer"):
                array[gate * HIDDEN : (gate + 1) * HIDDEN] = value

    return change


VARIANTS: list[tuple[str, dict[str, Any], Change, float]] = [
    ("gru (default: orthogonal U, b_z = 0)", {}, as_it_is, 2.0),
    ("gru, uniform U", {}, uniform_recurrence, 2.0),
    ("gru, b_z = -1", {}, gate_bias(0, -1.0), 2.0),
    ("gru, b_z = -2", {}, gate_bias(0, -2.0), 2.0),
    ("gru, reset after", {"reset": "after"}, as_it_is, 2.0),
    ("lstm (default: orthogonal U, b_f = 1)", {"cell": "lstm"}, as_it_is, 2.0),
    ("lstm, uniform U", {"cell": "lstm"}, uniform_recurrence, 2.0),
    ("lstm, b_f = 0", {"cell": "lstm"}, gate_bias(1, 0.0), 2.0),
    ("lstm, b_f = 2", {"cell": "lstm"}, gate_bias(1, 2.0), 2.0),
    ("rnn tanh, rate 2", {"cell": "rnn"}, as_it_is, 2.0),
    ("rnn tanh, rate 0.5", {"cell": "rnn"}, as_it_is, 0.5),
    ("rnn relu, rate 2", {"cell": "rnn", "activation": "relu"}, as_it_is, 2.0),
    ("rnn relu, rate 0.5", {"cell": "rnn", "activation": "relu"}, as_it_is, 0.5),
    ("rnn relu, rate 0.2", {"cell": "rnn", "activation": "relu"}, as_it_is, 0.2),
    ("gru, 2 layers, not residual", {"layers": 2, "residual": False}, as_it_is, 2.0),
    ("gru, 2 layers, residual (default)", {"layers": 2}, as_it_is, 2.0),
    ("gru, 3 layers, not residual", {"layers": 3, "residual": False}, as_it_is, 2.0),
    ("gru, 3 layers, residual (default)", {"layers": 3}, as_it_is, 2.0),
]


def validation_loss(
    corpus: Corpus, network: dict[str, Any], change: Change, rate: float, steps: int, seed: int
) -> float:
    """Nats per character on the last tenth after `steps` updates; infinity where training diverged."""
    spec = TrainSpec(optimizer="sgd").resolved
    assert spec.clip_norm is not None and spec.momentum is not None
    training_ids, validation_ids = corpus.split(spec)
    rng = np.random.default_rng(seed)
    model = CharLM(ModelSpec(len(corpus.vocabulary), HIDDEN, **network))
    params = model.initial_params(rng)
    change(params, rng)
    grads, optimizer, schedule = (
        NamedArrays.like(params),
        SGD(params, spec.momentum),
        Schedule(rate, spec.schedule, spec.warmup),
    )
    state = model.zero_state(spec.batch)
    with np.errstate(over="ignore", invalid="ignore"):
        for step, window in zip(range(steps), batches(training_ids, spec.window, spec.batch, seed), strict=False):
            if window.starts_epoch:
                state = model.zero_state(spec.batch)
            logits, state, tape = model.forward(params, window.inputs, state)
            nats, dlogits = cross_entropy(logits, window.targets)
            if not nats < 20:
                return float("inf")
            model.backward(params, tape, dlogits, grads)
            clip_by_global_norm(grads, spec.clip_norm)
            optimizer.update(params, grads, schedule(step, step / steps))
        return score_ids(Network(model, params, corpus.vocabulary.start), validation_ids).nats_per_char


def main() -> None:
    """Train every variant and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    corpus = read_corpus(options.text)
    print(f"| {HIDDEN} units, {options.steps} updates of 32 x 100 characters, {options.seeds} seeds | nats | each |")
    print("| --- | --- | --- |")
    for name, network, change, rate in VARIANTS:
        losses = [validation_loss(corpus, network, change, rate, options.steps, seed) for seed in range(options.seeds)]
        print(f"| {name} | {statistics.mean(losses):.3f} | {', '.join(f'{x:.3f}' for x in losses)} |", flush=True)


if __name__ == "__main__":
    main()
