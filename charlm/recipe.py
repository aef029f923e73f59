"""Choose: what suits a text, a budget and this machine, so that training is right where nobody says how.

What is chosen follows from four numbers: the characters to train on, the alphabet, the work that the budget buys, and
so the passes over the text. docs/recipes.md has the study that the constants come from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any

from charlm.nn.model import ModelSpec
from charlm.parallel.workers import processors
from charlm.plan import MINUTES, MOST_FLOAT, TrainSpec, split
from charlm.speed import cost, work_per_second
from charlm.store.corpus import Corpus

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "classic": MappingProxyType(
        {
            "hidden": 64,
            "layers": 1,
            "embedding": 0,
            "batch": 1,
            "window": 25,
            "dropout": 0.0,
            "input_dropout": 0.0,
            "optimizer": "sgd",
            "learning_rate": 0.01,
            "momentum": 0.0,
            "schedule": "constant",
            "clip_norm": None,
            "clip_value": 5.0,
        }
    )
}
"""Settings that belong together. classic: the textbook's network, and its stochastic gradient descent."""

SIZES = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 640, 768, 1024)
SEEN_PER_PARAMETER = 16.0  # characters that a network needs to read; with fewer a smaller one comes further
PARAMETERS_PER_CHARACTER = 4.0  # of the text; more only remember it
LARGE_ALPHABET, VECTOR = 512, 128  # from here on characters are vectors: most are too rare to learn each its own gates
STREAMS, STEPS = 64, 100
WINDOWS = 75  # of an epoch at least; a short text is read in fewer streams, and then in shorter windows
EVERY_WORKER = 0.87  # does of the work of one alone
PASSES, MORE_PASSES = 60.0, 0.35  # over a million characters until they are known by heart; the fewer, the sooner
PATIENCE = 6  # of 20 validations
TRAINING = {field.name for field in fields(TrainSpec)}
SIZE = {"hidden", "layers"}


@dataclass(frozen=True)
class Recipe:
    """What was chosen, or given: fields of a ModelSpec without its vocabulary, the training, and it all in words."""

    network: dict[str, Any]
    training: TrainSpec
    sentence: str


def choose(corpus: Corpus, preset: str | None = None, **given: Any) -> Recipe:
    """How to train on a text: what is given, then what the preset says, then what suits the text and the budget.

    preset: one of PRESETS. given: fields of ModelSpec and TrainSpec. With a budget in minutes this machine's speed is
    measured, which takes half a second; with one in steps or epochs the same text gets the same recipe everywhere.
    Raises CorpusError or SpecError for what cannot be.
    """
    fixed = {**PRESETS.get(preset or "", {}), **given}
    asked = TrainSpec(**{name: value for name, value in fixed.items() if name in TRAINING})
    characters = len(split(corpus.ids, asked.val_fraction, asked.val_limit)[0])
    batch, window = streams_for(characters)
    batch, window = fixed.get("batch", batch), fixed.get("window", window)
    network = {name: value for name, value in fixed.items() if name not in TRAINING}
    readable = _Readable(asked, characters, batch * window)
    model = size_for(characters, len(corpus.vocabulary) + 1, readable, network)
    passes = min(readable(model) / characters, asked.epochs or most_passes(characters))
    chosen = {
        "batch": batch,
        "window": window,
        "epochs": None if asked.steps is not None else most_passes(characters),
        "patience": PATIENCE,
        **regularisation_for(passes * model.parameters / characters),
    }
    if asked.steps is None and asked.epochs is None:
        chosen["minutes"] = asked.minutes or MINUTES
    spec = replace(asked, **{name: value for name, value in chosen.items() if name not in fixed})
    sizes = {name: getattr(model, name) for name in ("hidden", "layers", "embedding")}
    return Recipe(network | sizes, spec, _sentence(model, spec, passes))


def streams_for(characters: int) -> tuple[int, int]:
    """Streams and time steps of a window, (B, T), for a text of so many characters to train on."""
    window = min(STEPS, max(16, characters // (4 * WINDOWS)))
    return min(STREAMS, max(1, characters // (WINDOWS * window))), window


def size_for(
    characters: int, alphabet: int, readable: Callable[[ModelSpec], float], given: Mapping[str, Any]
) -> ModelSpec:
    """The largest network that the budget lets read enough, and that a text of so many characters can teach.

    readable: how many characters a network reads within the budget. given: what is not to be chosen.
    """
    usual = {"layers": 1, "embedding": VECTOR if alphabet >= LARGE_ALPHABET else 0}
    sizes = [ModelSpec(alphabet, **{**usual, "hidden": hidden, **given}) for hidden in SIZES]
    suited = [
        size
        for size in sizes
        if size.parameters <= PARAMETERS_PER_CHARACTER * characters
        and readable(size) >= SEEN_PER_PARAMETER * size.parameters
    ]
    return suited[-1] if suited else sizes[0]


def most_passes(characters: int) -> float:
    """After so many passes a text has been learned by heart, whatever is left out."""
    return max(4.0, float(f"{PASSES * (characters / 1e6) ** MORE_PASSES:.2g}"))


def regularisation_for(strain: float) -> dict[str, float]:
    """Dropout and input dropout for a text that is read often by a network that is large for it.

    strain: passes over the text, times parameters per character of it.
    """
    if strain < 1:
        return {"dropout": 0.0, "input_dropout": 0.0}
    return {
        "dropout": round(min(0.6, 0.1 * math.log(1 + strain)), 2),
        "input_dropout": round(min(0.1, 0.02 * strain), 2),
    }


class _Readable:
    """How many characters a network of some size reads within a budget."""

    def __init__(self, spec: TrainSpec, characters: int, per_step: int) -> None:
        counts = [MOST_FLOAT]
        if spec.epochs is not None:
            counts.append(spec.epochs * characters)
        if spec.steps is not None:
            counts.append(spec.steps * per_step)
        self.most = min(counts)
        self.work: float | None = None
        minutes = spec.settled.minutes
        if minutes is not None:
            workers = spec.workers or processors()
            self.work = 60 * minutes * work_per_second() * workers * (EVERY_WORKER if workers > 1 else 1)

    def __call__(self, model: ModelSpec) -> float:
        return self.most if self.work is None else min(self.most, self.work / cost(model))


def _sentence(model: ModelSpec, spec: TrainSpec, passes: float) -> str:
    """The recipe in one line."""
    size = f"{model.layers} layer{'s' if model.layers > 1 else ''} of {model.hidden} units"
    dropped = f", dropout {spec.dropout:g}" if spec.dropout else ""
    return (
        f"Recipe: {size}, {spec.batch} streams of {spec.window}, {spec.optimizer} at {spec.peak_learning_rate:g}"
        f"{dropped}, about {passes:.2g} passes over the text"
    )
