"""How a network is trained, and what follows from it for a text: the split, the updates per epoch, the budget.

Plain values and arithmetic: this module knows no disk, no run and no network.
"""

from __future__ import annotations

import math
import sys
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

from charlm.errors import SpecError, UnsuitableError
from charlm.optim.optimizers import OPTIMIZERS
from charlm.optim.schedules import SHAPES
from charlm.text.batches import windows_per_epoch

MINUTES = 3.0  # the budget if none is set
MOST_MINUTES = 1e9
EVALUATIONS = 20  # over a whole budget, if they take no more than MOST_EVALUATION of it; LEAST_EVALUATIONS at least
MOST_EVALUATION, LEAST_EVALUATIONS = 0.05, 2
EVALUATION = 1 / 3  # time to evaluate a character, relative to training on it
MOST_FLOAT = sys.float_info.max  # whole numbers beyond it are valid JSON, but arithmetic overflows
MOST_STEPS = 2.0**62


@dataclass(frozen=True)
class TrainSpec:
    """How a network is trained. The defaults are plain values; charlm.training.auto_config chooses what suits a text.

    batch: B, parallel sequences. window: T, time steps of truncated backpropagation. learning_rate: the peak of the
    schedule, which is reached after `warmup` updates. momentum: of muon and sgd, Nesterov's form, 0 for none.
    weight_decay: of muon and adamw. For these three, None is the default of the optimizer, see optim.optimizers.
    clip_norm, clip_value: see optim.clip; None is off. dropout: the share of every layer's outputs that is set to zero,
    one mask per window and sequence. input_dropout: the share of characters that are read as unknown. Both act in
    training only. loss_reduction: gradients are those of the "mean" loss over a window and the batch, or of its "sum".
    rare_as_unknown: characters that occur once are read as unknown in every second epoch, so the network learns when to
    expect an unknown one. minutes, steps, epochs: the budget; training ends when the first of them is used up; without
    any it is MINUTES. patience: training also ends after so many evaluations in a row without a better loss; None is
    off. precision: of the arithmetic of training; float64 takes twice the time and agrees with other programs to
    more digits. validation: which part is kept for validation, see charlm.corpus.validation; with "records" every line
    is a text of its own, which training reads from a zero state and in another random order in each epoch.
    val_fraction: the share that is kept, but at most `val_limit` characters. rng_seed: all random numbers follow from
    it. workers: processes that share the batch; None chooses a number that suits the network, the batch and this
    machine. keep: numbered checkpoints to keep beside the last and the best, one per evaluation. evaluations, reports:
    how many validation losses and how many training losses are recorded over a whole budget; without a number there are
    EVALUATIONS, or fewer if they would take more than a twentieth of the time. evaluate_every: updates from one
    evaluation to the next, in place of a number of them.
    """

    REDUCTIONS: ClassVar = ("mean", "sum")
    PRECISIONS: ClassVar = ("float32", "float64")
    VALIDATIONS: ClassVar = ("tail", "blocks", "records", "files")
    EVALUATIONS: ClassVar = EVALUATIONS
    MOST_EVALUATION: ClassVar = MOST_EVALUATION

    batch: int = 32
    window: int = 100
    learning_rate: float | None = None
    optimizer: str = "muon"
    schedule: str = "cosine"
    warmup: int = 50
    momentum: float | None = None
    clip_norm: float | None = 0.2
    clip_value: float | None = None
    weight_decay: float | None = None
    dropout: float = 0.0
    input_dropout: float = 0.0
    loss_reduction: str = "mean"
    rare_as_unknown: bool = True
    minutes: float | None = None
    steps: int | None = None
    epochs: float | None = None
    patience: int | None = None
    precision: str = "float32"
    validation: str = "tail"
    val_fraction: float = 0.1
    val_limit: int = 2**18
    rng_seed: int = 0
    workers: int | None = None
    keep: int = 0
    evaluations: int | None = None
    evaluate_every: int | None = None
    reports: int = 200

    def __post_init__(self) -> None:
        for name in ("batch", "window", "val_limit", "reports", "evaluations", "evaluate_every"):
            value = getattr(self, name)
            is_left_open = value is None and name in ("evaluations", "evaluate_every")
            _require(is_left_open or (_is_count(value) and value >= 1), name, "a whole number of at least 1", value)
        for name in ("learning_rate", "clip_norm", "clip_value", "minutes", "steps", "epochs", "patience"):
            value = getattr(self, name)
            _require(value is None or 0 < value <= MOST_FLOAT, name, "a number above 0", value)
        _require((self.minutes or 0) <= MOST_MINUTES, "minutes", f"at most {MOST_MINUTES:g}", self.minutes)
        _require(self.optimizer in OPTIMIZERS, "optimizer", f"one of {', '.join(OPTIMIZERS)}", self.optimizer)
        _require(self.schedule in SHAPES, "schedule", f"one of {', '.join(SHAPES)}", self.schedule)
        for name, choices in (
            ("loss_reduction", self.REDUCTIONS),
            ("precision", self.PRECISIONS),
            ("validation", self.VALIDATIONS),
        ):
            _require(getattr(self, name) in choices, name, f"one of {', '.join(choices)}", getattr(self, name))
        _require(isinstance(self.rare_as_unknown, bool), "rare_as_unknown", "true or false", self.rare_as_unknown)
        for name in ("dropout", "input_dropout"):
            _require(0 <= getattr(self, name) < 1, name, "at least 0 and below 1", getattr(self, name))
        for name in ("weight_decay", "momentum"):
            value = getattr(self, name)
            _require(value is None or 0 <= value < 1, name, "at least 0 and below 1", value)
        least = "between 0 and 1 (0.01 keeps a hundredth; --validation FILE validates on another text)"
        _require(0 < self.val_fraction < 1, "val_fraction", least, self.val_fraction)
        for name in ("keep", "rng_seed", "warmup"):
            _require(_is_count(getattr(self, name)), name, "a whole number of at least 0", getattr(self, name))
        is_number = self.workers is None or (_is_count(self.workers) and self.workers >= 1)
        _require(is_number, "workers", "a whole number of at least 1", self.workers)
        most = f"at most the batch, {self.batch}, since each needs a sequence (see --batch)"
        _require(self.workers is None or self.workers <= self.batch, "workers", most, self.workers)
        for name in ("steps", "patience"):
            value = getattr(self, name)
            _require(value is None or _is_count(value), name, "a whole number", value)

    @property
    def resolved(self) -> TrainSpec:
        """The same with the optimizer's defaults in place of None, and with a budget."""
        usual = asdict(OPTIMIZERS[self.optimizer])
        if self.steps is None and self.epochs is None:
            usual["minutes"] = MINUTES
        names = usual.keys() & asdict(self).keys()
        return replace(self, **{name: usual[name] for name in names if getattr(self, name) is None})

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate if it is set, else the optimizer's default."""
        rate = self.resolved.learning_rate
        assert rate is not None
        return rate


@dataclass(frozen=True)
class Budget:
    """Updates, seconds, or both: training ends when the first of them is used up."""

    steps: int | None
    seconds: float | None

    @classmethod
    def of(cls, *, steps: int | None, epochs: float | None, minutes: float | None, steps_per_epoch: int) -> Budget:
        """The smallest of those that are set; at least one is."""
        counts = [] if steps is None else [steps]
        if epochs is not None:
            counts.append(max(1, math.ceil(min(epochs * steps_per_epoch, MOST_STEPS))))
        return cls(min(counts, default=None), None if minutes is None else 60.0 * minutes)

    def share(self, steps: int, seconds: float) -> float:
        """The share of the budget, 0 to 1, that is used after so many updates and seconds."""
        used = [0.0]
        if self.steps is not None:
            used.append(steps / self.steps)
        if self.seconds is not None:
            used.append(seconds / self.seconds)
        return min(1.0, max(used))


def training_length(characters: int, val_fraction: float, val_limit: int) -> int:
    """How many characters of a text are trained on if its tail is kept for validation; at least one is."""
    return characters - min(max(1, round(characters * val_fraction)), val_limit)


def steps_per_epoch(spec: TrainSpec, training_characters: int) -> int:
    """Updates per epoch. Raises UnsuitableError for a text that does not fill one window."""
    count = windows_per_epoch(training_characters, spec.window, spec.batch)
    if count < 1:
        raise UnsuitableError(
            f"a batch of {spec.batch} windows of {spec.window} steps is more than {training_characters} characters to "
            "train on: start a new run with a smaller --batch or --window"
        )
    return count


def training_budget(spec: TrainSpec, training_characters: int) -> Budget:
    """The budget that a TrainSpec gives for a text of that many characters."""
    return Budget.of(
        steps=spec.steps,
        epochs=spec.epochs,
        minutes=spec.resolved.minutes,
        steps_per_epoch=steps_per_epoch(spec, training_characters),
    )


def planned_evaluations(spec: TrainSpec, budget: Budget, validation_characters: int) -> int:
    """How many evaluations a budget has room for.

    It follows from characters and not from the clock, so that a resumed run evaluates at the same updates. Of a budget
    in minutes alone the clock takes its share away.
    """
    if spec.evaluations is not None:
        return spec.evaluations
    if budget.steps is None:
        return EVALUATIONS
    affordable = MOST_EVALUATION * budget.steps * spec.batch * spec.window / (EVALUATION * validation_characters)
    return max(LEAST_EVALUATIONS, int(min(EVALUATIONS, affordable)))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_FLOAT


def _require(holds: bool, name: str, expected: str, came: object) -> None:
    if not holds:
        option = name.replace("_", "-").replace("learning-rate", "learning-rate (--lr)")
        raise SpecError(f"{option} must be {expected}, not {came}")
