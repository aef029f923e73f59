"""What a run is to do: how a network is trained, and what that means for a text and for this machine."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, replace

from charlm.budget import Budget
from charlm.errors import CorpusError, RunError, SpecError, in_short
from charlm.learner import Rule
from charlm.memory import require_memory, training_bytes
from charlm.nn.arrays import Ids
from charlm.nn.model import ModelSpec
from charlm.optim.optimizers import OPTIMIZERS
from charlm.optim.schedules import SHAPES
from charlm.store.run import Run
from charlm.text.streams import windows_per_epoch

MINUTES = 3.0  # of a budget that nobody has said anything about
MOST_MINUTES = 1e9
MOST_SCORING = 0.25  # of a time that somebody gave goes into validations; more of them are left out, but for the last
MOST_FLOAT = sys.float_info.max  # beyond it are whole numbers that JSON can hold and arithmetic cannot


@dataclass(frozen=True)
class TrainSpec:
    """How a network is trained. What suits a text is chosen by charlm.recipe; these are plain values for all texts.

    batch: B parallel streams. window: T steps of truncated backpropagation. learning_rate: the peak of the schedule.
    momentum: muon's and sgd's, Nesterov's kind, 0 for none. weight_decay: muon's and adamw's. None, for these three, is
    what suits the optimizer: see optim.optimizers. clip_norm, clip_value: see optim.clip; None leaves the gradient
    alone. dropout: the share of every layer's outputs that is left out, one choice per window and stream.
    input_dropout: the share of characters that are read as unknown. Both are for training only.
    minutes, steps, epochs: the budget; the first that is used up ends the training. None of them is MINUTES.
    patience: so many validations in a row without a better one end it, too; None goes on.
    val_fraction: share of the text, at its end, that is only scored; val_limit: and how many characters at most, lest
    the validation of a large text take the time that its training needs. rng_seed: all randomness follows from it.
    workers: processes that share the streams; None is as many as suit the network, the batch and this machine.
    keep: how many numbered checkpoints stay beside the last and the best, one per evaluation.
    evaluations, reports: how many validation losses, and how many training losses, a whole budget gives; fewer
    validations where they would take more than a quarter of the minutes.
    """

    batch: int = 32
    window: int = 100
    learning_rate: float | None = None
    optimizer: str = "muon"
    schedule: str = "cosine"
    momentum: float | None = None
    clip_norm: float | None = 0.2
    clip_value: float | None = None
    weight_decay: float | None = None
    dropout: float = 0.0
    input_dropout: float = 0.0
    minutes: float | None = None
    steps: int | None = None
    epochs: float | None = None
    patience: int | None = None
    val_fraction: float = 0.1
    val_limit: int = 2**18
    rng_seed: int = 0
    workers: int | None = None
    keep: int = 0
    evaluations: int = 20
    reports: int = 200

    def __post_init__(self) -> None:
        for name in ("batch", "window", "val_limit", "evaluations", "reports"):
            value = getattr(self, name)
            _require(_is_count(value) and value >= 1, name, "a whole number of at least 1", value)
        for name in ("learning_rate", "clip_norm", "clip_value", "minutes", "steps", "epochs", "patience"):
            value = getattr(self, name)
            _require(value is None or 0 < value <= MOST_FLOAT, name, "a number above 0", value)
        _require((self.minutes or 0) <= MOST_MINUTES, "minutes", f"at most {MOST_MINUTES:g}", self.minutes)
        _require(self.optimizer in OPTIMIZERS, "optimizer", f"one of {', '.join(OPTIMIZERS)}", self.optimizer)
        _require(self.schedule in SHAPES, "schedule", f"one of {', '.join(SHAPES)}", self.schedule)
        for name in ("dropout", "input_dropout"):
            _require(0 <= getattr(self, name) < 1, name, "at least 0 and below 1", getattr(self, name))
        for name in ("weight_decay", "momentum"):
            value = getattr(self, name)
            _require(value is None or 0 <= value < 1, name, "at least 0 and below 1", value)
        _require(0 < self.val_fraction < 1, "val_fraction", "between 0 and 1", self.val_fraction)
        for name in ("keep", "rng_seed"):
            _require(_is_count(getattr(self, name)), name, "a whole number of at least 0", getattr(self, name))
        is_number = self.workers is None or (_is_count(self.workers) and self.workers >= 1)
        _require(is_number, "workers", "a whole number of at least 1", self.workers)
        fewest = f"at most the number of streams, {self.batch}, since each needs one (see --batch)"
        _require(self.workers is None or self.workers <= self.batch, "workers", fewest, self.workers)
        for name in ("steps", "patience"):
            value = getattr(self, name)
            _require(value is None or _is_count(value), name, "a whole number", value)

    @property
    def settled(self) -> TrainSpec:
        """This, with what suits its optimizer where nothing was given, and some budget."""
        usual = asdict(OPTIMIZERS[self.optimizer])
        if self.steps is None and self.epochs is None:
            usual["minutes"] = MINUTES
        return replace(self, **{name: value for name, value in usual.items() if getattr(self, name) is None})

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate that was given, or the one that suits the optimizer."""
        rate = self.settled.learning_rate
        assert rate is not None
        return rate

    @property
    def rule(self) -> Rule:
        """What every worker needs of this."""
        return Rule(self.optimizer, self.momentum, self.weight_decay, self.clip_norm, self.clip_value)


def train_spec(run: Run) -> TrainSpec:
    """The TrainSpec in a run's configuration. Raises RunError where it is not one."""
    try:
        return TrainSpec(**run.config["training"])
    except (TypeError, SpecError) as error:
        raise _misfit(run, error) from None


def model_spec(run: Run) -> ModelSpec:
    """The ModelSpec in a run's configuration. Raises RunError where it is not one."""
    try:
        return ModelSpec(**run.config["model"])
    except (TypeError, SpecError) as error:
        raise _misfit(run, error) from None


def _misfit(run: Run, error: Exception) -> RunError:
    reason = in_short(error)
    return RunError(f"the configuration of {run.path} does not fit this charlm ({reason}): start a new run")


def split(ids: Ids, val_fraction: float, val_limit: int = TrainSpec.val_limit) -> tuple[Ids, Ids]:
    """The ids to train on, and the last `val_fraction` of them, but at most `val_limit`, to be scored only.

    Raises CorpusError where a part would be too short to say anything: at least 2 characters and 1.
    """
    training = training_length(len(ids), val_fraction, val_limit)
    if training < 2:
        raise CorpusError(
            f"a text of {len(ids)} characters is too short: "
            f"at least 2 are needed to train on and 1 to score, beside {val_fraction:.0%} for validation"
        )
    return ids[:training], ids[training:]


def training_length(characters: int, val_fraction: float, val_limit: int = TrainSpec.val_limit) -> int:
    """How many characters of a text are trained on; at least one is kept for validation."""
    return characters - min(max(1, round(characters * val_fraction)), val_limit)


def steps_per_epoch(spec: TrainSpec, training_characters: int) -> int:
    """Updates per epoch. Raises SpecError for a text that does not fill one window: no run begins with such a one."""
    count = windows_per_epoch(training_characters, spec.window, spec.batch)
    if count < 1:
        raise SpecError(
            f"{spec.batch} streams of {spec.window} steps are more than {training_characters} characters to train on: "
            "start a new run with a smaller --batch or --window"
        )
    return count


def training_budget(spec: TrainSpec, training_characters: int) -> Budget:
    """The budget that a TrainSpec means for a text of that many characters."""
    return Budget.of(
        steps=spec.steps,
        epochs=spec.epochs,
        minutes=spec.settled.minutes,
        steps_per_epoch=steps_per_epoch(spec, training_characters),
    )


def require_memory_for(model: ModelSpec, spec: TrainSpec) -> None:
    """Raise SpecError where a training takes more memory than there is."""
    require_memory(
        training_bytes(
            model,
            window=spec.window,
            batch=spec.batch,
            optimizer=spec.optimizer,
            momentum=spec.settled.momentum,
            dropout=spec.dropout,
            workers=spec.workers or 1,
        )
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_FLOAT


def _require(holds: bool, name: str, expected: str, came: object) -> None:
    if not holds:
        option = name.replace("_", "-").replace("learning-rate", "learning-rate (--lr)")
        raise SpecError(f"{option} must be {expected}, not {came}")
