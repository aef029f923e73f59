"""Choose: what suits a text, a budget and this machine, so that training is right where nobody says how.

What is chosen follows from four numbers: the characters to train on, the alphabet, the work that the budget buys, and
so the passes over the text. docs/recipes.md has the study that the constants come from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from charlm.errors import SpecError
from charlm.nn.model import ModelSpec
from charlm.parallel.workers import processors, usual_count
from charlm.plan import MINUTES, MOST_FLOAT, MOST_SCORING, TrainSpec, split
from charlm.speed import cost, operations, update_cost, work_per_second
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
SEEN_PER_PARAMETER = 20.0  # of the layers: characters to be read; with fewer a smaller network comes further
CAPACITY_PER_CHARACTER = 1.0  # parameters of the layers, of the text; more only remember it
LARGE_ALPHABET, VECTOR = 512, 128  # from here on characters are vectors: most are too rare to learn each its own gates
STREAMS, STEPS = (64, 32, 16, 8, 4, 2), 100
UPDATES = 3000  # at least, where fewer streams make as many of the same characters
FEW_STREAMS = 16  # are not made fewer where it is time that ends a training
LEAST_UPDATES = 300  # however short the text; the first 50 warm up
WINDOWS = 75  # of an epoch at least; a short text is read in fewer streams, and then in shorter windows
EVERY_WORKER = 0.75  # does of the work of one alone: they share the memory, and wait for each other
SCORING = 1 / 3  # of the time of training on as many characters
PASSES = 18.0  # over a text; more would learn it by heart
PATIENCE = 6  # of 20 validations
EASE, STRESS = 2.0, 25.0  # strain from which on input characters, and outputs of layers, are left out
TRAINING = {field.name for field in fields(TrainSpec)}
BUDGET = {"minutes", "steps", "epochs"}


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
    fixed = {**_preset(preset, given), **given}
    left_open = {name for name in BUDGET if fixed.get(name) is None}
    training = {name: value for name, value in fixed.items() if name in TRAINING - left_open}
    network = {name: value for name, value in fixed.items() if name not in TRAINING}
    asked = TrainSpec(**{**training, "workers": None})
    characters, scored = map(len, split(corpus.ids, asked.val_fraction, asked.val_limit))
    _sized(min(SIZES), len(corpus.vocabulary) + 1, network)  # what cannot be is refused before anything is measured
    work = None if asked.settled.minutes is None else 60 * asked.settled.minutes * work_per_second()
    ends_by_passes = asked.steps is None and asked.epochs is None  # unless its time is used up before
    for most_streams in STREAMS:
        batch, window = streams_for(characters, most_streams, training.get("workers") or 1, training.get("window"))
        chosen: dict[str, Any] = {"batch": batch, "window": window}
        spec = TrainSpec(**{**chosen, **training})
        readable = _Readable(spec, characters, scored, work)
        model = size_for(characters, len(corpus.vocabulary) + 1, readable, network)
        passes = readable(model) / characters
        if ends_by_passes:
            most = most_passes(characters, spec.batch * spec.window)
            passes = min(passes, most)
            chosen |= {"minutes": spec.minutes or MINUTES, "epochs": most, "patience": PATIENCE}
        in_time = work is not None and not (ends_by_passes and passes == most)
        if spec.steps is not None or passes * characters >= UPDATES * spec.batch * spec.window:
            break
        if in_time and spec.batch <= FEW_STREAMS:  # fewer would be slower, too
            break
    chosen |= regularisation_for(passes * capacity(model) / characters)
    spec = TrainSpec(**{**chosen, **training})
    sizes = {name: getattr(model, name) for name in ("hidden", "layers", "embedding")}
    count = f"{passes:,.0f}" if passes >= 10 else f"{passes:.2g}"
    plural = "" if count == "1" else "es"
    sentence = f"Recipe: {in_words(model, spec)}; about {count} pass{plural} over the text"
    return Recipe(network | sizes, spec, sentence)


def _preset(name: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a preset; another optimizer than its own comes with what suits that one."""
    if name is None:
        return {}
    if name not in PRESETS:
        raise SpecError(f"a preset is one of {', '.join(PRESETS)}, not {name!r}")
    own = dict(PRESETS[name])
    if given.get("optimizer", own["optimizer"]) != own["optimizer"]:
        del own["learning_rate"], own["momentum"], own["clip_norm"], own["clip_value"]
    return own


def streams_for(
    characters: int, most: int = max(STREAMS), at_least: int = 1, window: int | None = None
) -> tuple[int, int]:
    """Streams and time steps of a window, (B, T), for a text of so many characters to train on.

    most: streams. at_least: streams that there are to be, where the text has so many characters. window: T, where
    somebody wants it.
    """
    T = window or min(STEPS, max(16, characters // (4 * WINDOWS)))
    B = max(min(most, characters // (WINDOWS * T)), min(at_least, max(1, characters // 2)))
    return B, T if window else max(1, min(T, (characters - 1) // B))


def size_for(
    characters: int, alphabet: int, readable: Callable[[ModelSpec], float], given: Mapping[str, Any]
) -> ModelSpec:
    """The largest network that the budget lets read enough, and that a text of so many characters can teach.

    readable: how many characters a network reads within the budget. given: what is not to be chosen. Raises SpecError
    where not even the smallest one can be.
    """
    smallest, *larger = SIZES
    size = _sized(smallest, alphabet, given)
    with suppress(SpecError):  # of sizes that nobody needs to have
        for hidden in larger:
            tried = _sized(hidden, alphabet, given)
            if capacity(tried) > CAPACITY_PER_CHARACTER * characters:
                break
            if readable(tried) < min(SEEN_PER_PARAMETER * capacity(tried), most_passes(characters) * characters):
                break
            size = tried
    return size


def _sized(hidden: int, alphabet: int, given: Mapping[str, Any]) -> ModelSpec:
    if given.get("tied"):
        hidden = vector = given.get("embedding", given.get("hidden", hidden))
    else:
        vector = VECTOR if alphabet >= LARGE_ALPHABET else 0
    return ModelSpec(alphabet, **{"layers": 1, "embedding": vector, "hidden": hidden, **given})


def capacity(model: ModelSpec) -> int:
    """The parameters that can remember what stands where: all but those that belong to one character."""
    of_characters = ("readout.W", "readout.b", "embedding.E", *(() if model.embedding else ("layer0.W",)))
    return sum(math.prod(shape) for name, shape in model.shapes.items() if name not in of_characters)


def most_passes(characters: int, update: int = 1) -> float:
    """After so many passes more would only learn a text by heart.

    update: characters of one; there are LEAST_UPDATES at least.
    """
    return max(PASSES, float(f"{LEAST_UPDATES * update / characters:.2g}"))


def regularisation_for(strain: float) -> dict[str, float]:
    """Dropout and input dropout for a text that is read often by a network that is large for it.

    strain: passes over the text, times parameters per character of it.
    """
    if strain < EASE:
        return {"dropout": 0.0, "input_dropout": 0.0}
    return {
        "dropout": round(min(0.5, max(0.0, 0.9 * math.log(strain / STRESS))), 2),
        "input_dropout": round(min(0.1, 0.02 * strain), 2),
    }


class _Readable:
    """How many characters a network of some size reads within a budget.

    characters: to train on. scored: those of one validation. work: that one worker does in that time, as charlm.speed
    counts; None without a time.
    """

    def __init__(self, spec: TrainSpec, characters: int, scored: int, work: float | None) -> None:
        self._spec = spec
        self._validations = SCORING * scored * spec.evaluations
        counts = [MOST_FLOAT]
        if spec.epochs is not None:
            counts.append(spec.epochs * characters)
        if spec.steps is not None:
            counts.append(float(spec.steps) * spec.batch * spec.window)
        self._most = min(counts)
        self._work = work

    def __call__(self, model: ModelSpec) -> float:
        if self._work is None:
            return self._most
        spec = self._spec
        workers = spec.workers or usual_count(spec.batch, operations(model, spec.batch, spec.window))
        together = min(workers, processors()) * (EVERY_WORKER if workers > 1 else 1)
        update = workers * update_cost(model, spec.optimizer) / (spec.batch * spec.window)  # every worker does it all
        characters = together * self._work / (cost(model, spec.batch / workers) + update)
        return min(self._most, max(characters - self._validations, (1 - MOST_SCORING) * characters))


def in_words(model: ModelSpec, spec: TrainSpec) -> str:
    """A network and its training in one line."""
    parts = [
        f"{model.layers} layer{_s(model.layers)} of {model.hidden} units",
        f"{spec.batch} stream{_s(spec.batch)} of {spec.window} steps",
        f"{spec.optimizer} at {spec.peak_learning_rate:g}",
    ]
    if model.embedding:
        parts[:1] = [f"vectors of {model.embedding}", parts[0]]
    if spec.dropout:
        parts.append(f"dropout {spec.dropout:g}")
    if spec.input_dropout:
        parts.append(f"input dropout {spec.input_dropout:g}")
    return ", ".join(parts)


def _s(count: int) -> str:
    return "" if count == 1 else "s"
