"""Choose unset options automatically: what suits a text, a budget and this machine.

The choice follows from the number of characters to train on, the size of the vocabulary, and the work that the budget
allows. docs/recipes.md has the rules and the study that the constants come from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any

from charlm.config import EVALUATION, EVALUATIONS, MINUTES, MOST_EVALUATION, MOST_FLOAT, TrainSpec
from charlm.corpus.corpus import Corpus
from charlm.errors import SpecError
from charlm.nn.model import ModelSpec
from charlm.parallel.workers import processors, suitable_count
from charlm.training.cost_model import cost, operations, update_cost, work_per_second
from charlm.training.validation_choice import AUTO, choose_validation

TEXTBOOK: Mapping[str, Any] = MappingProxyType(
    {
        "hidden": 64,
        "layers": 1,
        "embedding": 0,
        "batch": 1,
        "window": 25,
        "dropout": 0.0,
        "input_dropout": 0.0,
        "rare_as_unknown": False,
        "loss_reduction": "sum",
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "momentum": 0.0,
        "schedule": "constant",
        "warmup": 0,
        "clip_norm": None,
        "clip_value": 5.0,
        "precision": "float64",
    }
)
PRESETS: Mapping[str, Mapping[str, Any]] = {"textbook": TEXTBOOK, "classic": TEXTBOOK}
"""Options that belong together. textbook: network and training of charlm/textbook.py; classic is its old name."""
OF_AN_OPTIMIZER = ("learning_rate", "momentum", "clip_norm", "clip_value", "loss_reduction")
ALL = "all"  # as a window: the whole training part is one window

SIZES = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 640, 768, 1024)
SEEN_PER_PARAMETER = 20.0  # characters to read per parameter of the capacity; with fewer, a smaller network is better
CAPACITY_PER_CHARACTER = 1.0  # of the text; more parameters only memorise it
LARGE_VOCABULARY, EMBEDDING = 512, 128  # from here on characters are embedded: most are too rare for own gate rows
BATCHES, STEPS = (64, 32, 16, 8, 4, 2), 100
UPDATES = 3000  # at least; a smaller batch makes more updates of the same characters
SMALL_BATCH = 16  # the smallest if time ends training, because a smaller one trains more slowly
LEAST_UPDATES = 300  # for texts of any length; the first 50 warm up
WINDOWS = 75  # per epoch, at least; a short text gets a smaller batch, and then shorter windows
PER_WORKER = 0.75  # speed of each of several workers, relative to one: they share the memory and synchronise
PASSES = 18.0  # over a text; more passes overfit
PATIENCE = 6  # of EVALUATIONS, 20
EASE, STRESS = 2.0, 25.0  # strain from which input dropout, and dropout, are used
TRAINING = {field.name for field in fields(TrainSpec)}
BUDGET = {"minutes", "steps", "epochs"}


@dataclass(frozen=True)
class Recipe:
    """All options: network, the fields of a ModelSpec without the vocabulary; training; both in words; and notes.

    passes: over the text, as many as the budget is expected to give.
    """

    network: dict[str, Any]
    training: TrainSpec
    sentence: str
    passes: float
    notes: tuple[str, ...] = ()  # about the validation part, one sentence each


def choose(corpus: Corpus, preset: str | None = None, **given: Any) -> Recipe:
    """Choose all options for a text: those given, then those of the preset, then what suits the text and the budget.

    preset: one of PRESETS. given: fields of ModelSpec and TrainSpec; window may be ALL, validation AUTO. For a budget
    in minutes, the speed of this machine is measured for half a second; for a budget in steps or epochs, the choice is
    the same everywhere. Raises CorpusError if the text is too short, SpecError if options are impossible.
    """
    fixed = {**_preset(preset, given), **given}
    left_open = {name for name in BUDGET if fixed.get(name) is None}
    training = {name: value for name, value in fixed.items() if name in TRAINING - left_open}
    network = {name: value for name, value in fixed.items() if name not in TRAINING}
    asked = TrainSpec(**{**training, "workers": None, "window": 1, "validation": TrainSpec.validation})
    kept = choose_validation(corpus, asked, training.pop("validation", None) or AUTO)
    training["validation"] = kept.validation
    asked = replace(asked, validation=kept.validation)
    characters, validation = map(len, corpus.split(asked))
    if training.get("window") == ALL:
        training["window"] = characters - 1
    _sized(min(SIZES), len(corpus.vocabulary) + 1, network)  # refuses impossible options before measuring
    work = None if asked.resolved.minutes is None else 60 * asked.resolved.minutes * work_per_second()
    ends_by_passes = asked.steps is None and asked.epochs is None  # or by time, if that is used up first
    for most in BATCHES:
        batch, window = batch_for(characters, most, training.get("workers") or 1, training.get("window"))
        chosen: dict[str, Any] = {"batch": batch, "window": window}
        spec = TrainSpec(**{**chosen, **training})
        readable = _Readable(spec, characters, validation, work)
        model = size_for(characters, len(corpus.vocabulary) + 1, readable, network)
        passes = readable(model) / characters
        if ends_by_passes:
            limit = most_passes(characters, spec.batch * spec.window)
            passes = min(passes, limit)
            chosen |= {
                "minutes": spec.minutes or MINUTES,
                "epochs": limit,
                "patience": PATIENCE if kept.is_like else None,
            }
        in_time = work is not None and not (ends_by_passes and passes == limit)
        if spec.steps is not None or passes * characters >= UPDATES * spec.batch * spec.window:
            break
        if in_time and spec.batch <= SMALL_BATCH:
            break
    chosen |= regularisation_for(passes * capacity(model) / characters)
    spec = TrainSpec(**{**chosen, **training})
    sizes = {name: getattr(model, name) for name in ("hidden", "layers", "embedding")}
    sentence = f"Recipe: {in_words(model, spec)}; about {passes_in_words(passes)} over the text"
    return Recipe(network | sizes, spec, sentence, passes, tuple(kept.notes))


def _preset(name: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a preset; if another optimizer is given, without those of the preset's own optimizer."""
    if name is None:
        return {}
    if name not in PRESETS:
        raise SpecError(f"a preset is one of {', '.join(PRESETS)}, not {name!r}")
    own = dict(PRESETS[name])
    if given.get("optimizer", own["optimizer"]) != own["optimizer"]:
        own = {setting: value for setting, value in own.items() if setting not in OF_AN_OPTIMIZER}
    return own


def batch_for(
    characters: int, most: int = max(BATCHES), at_least: int = 1, window: int | None = None
) -> tuple[int, int]:
    """The batch and the window, (B, T), that suit a text with this number of characters to train on.

    most, at_least: bounds of B; a short text may get fewer sequences. window: T, if it is given.
    """
    T = window or min(STEPS, max(16, characters // (4 * WINDOWS)))
    B = max(min(most, characters // (WINDOWS * T)), min(at_least, max(1, characters // 2)))
    return B, T if window else max(1, min(T, (characters - 1) // B))


def size_for(
    characters: int, vocabulary: int, readable: Callable[[ModelSpec], float], given: Mapping[str, Any]
) -> ModelSpec:
    """The largest network that reads enough characters within the budget and is not too large for the text.

    characters: to train on. vocabulary: with the unknown character. readable: how many characters a network reads
    within the budget. given: fields of ModelSpec that are not chosen. Raises SpecError if the smallest network is
    impossible.
    """
    smallest, *larger = SIZES
    size = _sized(smallest, vocabulary, given)
    with suppress(SpecError):  # a size can be impossible with the given options
        for hidden in larger:
            tried = _sized(hidden, vocabulary, given)
            if capacity(tried) > CAPACITY_PER_CHARACTER * characters:
                break
            if readable(tried) < min(SEEN_PER_PARAMETER * capacity(tried), most_passes(characters) * characters):
                break
            size = tried
    return size


def _sized(hidden: int, vocabulary: int, given: Mapping[str, Any]) -> ModelSpec:
    if given.get("tied"):
        hidden = vector = given.get("embedding", given.get("hidden", hidden))
    else:
        vector = EMBEDDING if vocabulary >= LARGE_VOCABULARY else 0
    return ModelSpec(vocabulary, **{"embedding": vector, "hidden": hidden, **given})


def capacity(model: ModelSpec) -> int:
    """The number of parameters that can memorise a text: all but those that belong to single characters."""
    of_characters = model.character_axes
    return sum(math.prod(shape) for name, shape in model.shapes.items() if name not in of_characters)


def most_passes(characters: int, update: int = 1) -> float:
    """The number of passes over a text: PASSES, or more if the text is so short that LEAST_UPDATES need them.

    characters: to train on. update: characters of one update.
    """
    return max(PASSES, float(f"{LEAST_UPDATES * update / characters:.2g}"))


def regularisation_for(strain: float) -> dict[str, float]:
    """Dropout and input dropout.

    strain: the number of passes over the text, times the capacity per character of it.
    """
    if strain < EASE:
        return {"dropout": 0.0, "input_dropout": 0.0}
    return {
        "dropout": round(min(0.5, max(0.0, 0.9 * math.log(strain / STRESS))), 2),
        "input_dropout": round(min(0.1, 0.02 * strain), 2),
    }


class _Readable:
    """A function of a network: how many characters it can train on within the budget.

    characters: to train on, in the text. validation: characters of one evaluation. work: what one worker does within
    the time, in the units of charlm.training.cost_model; None without a time limit.
    """

    def __init__(self, spec: TrainSpec, characters: int, validation: int, work: float | None) -> None:
        self._spec = spec
        self._evaluations = EVALUATION * validation * (spec.evaluations or EVALUATIONS)
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
        workers = spec.workers or suitable_count(spec.batch, operations(model, spec.batch, spec.window))
        in_parallel = min(workers, processors()) * (PER_WORKER if workers > 1 else 1)
        update = workers * update_cost(model, spec.optimizer) / (spec.batch * spec.window)  # by every worker
        characters = in_parallel * self._work / (cost(model, spec.batch / workers) + update)
        return min(self._most, max(characters - self._evaluations, (1 - MOST_EVALUATION) * characters))


def passes_in_words(passes: float) -> str:
    """For example "15 passes"."""
    count = rounded(passes)
    return f"{count} pass{'' if count == '1' else 'es'}"


def rounded(passes: float) -> str:
    """An estimated number, with as many digits as it is worth."""
    return f"{passes:,.0f}" if passes >= 10 else f"{passes:.2g}"


def in_words(model: ModelSpec, spec: TrainSpec) -> str:
    """A network and its training in one line."""
    parts = [
        f"{model.layers} layer{'' if model.layers == 1 else 's'} of {model.hidden} units",
        f"batch {spec.batch}",
        f"window {spec.window}",
        f"{spec.optimizer} with learning rate {spec.peak_learning_rate:g}",
    ]
    if model.embedding:
        parts.insert(0, f"embedding {model.embedding}")
    if spec.dropout:
        parts.append(f"dropout {spec.dropout:g}")
    if spec.input_dropout:
        parts.append(f"input dropout {spec.input_dropout:g}")
    return ", ".join(parts)
