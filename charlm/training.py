"""Train: truncated backpropagation through time, in one visible loop.

A run is trained from where it stands: a new one from its first step, one that has a checkpoint from there, to the
same bits as if it had never stopped.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Generator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from charlm.budget import Budget, Clock
from charlm.errors import CorpusError, DivergenceError, RunError, SpecError, in_short
from charlm.journal import MOST_ROLLBACKS, Journal, Progress, Tally
from charlm.nn.arrays import Ids, NamedArrays
from charlm.nn.loss import cross_entropy
from charlm.nn.model import CharLM, ModelSpec
from charlm.nn.stack import Masks, State
from charlm.optim.clip import clip_by_global_norm, clip_by_value, global_norm
from charlm.optim.optimizers import LEARNING_RATES, Optimizer, make_optimizer, takes
from charlm.optim.schedules import SHAPES, Schedule
from charlm.scoring import score_ids
from charlm.store.checkpoint import Checkpoint, save_checkpoint
from charlm.store.corpus import Corpus
from charlm.store.run import Run
from charlm.text.streams import streams, windows_per_epoch

INITIAL, DROPOUT = 1, 2  # what random numbers are for; with 0 for streams, one seed gives three independent rows
MOST_FLOAT = sys.float_info.max  # beyond it are whole numbers that JSON can hold and arithmetic cannot
SAVE_SECONDS = 60.0  # a crash loses at most this much work, or what lies between two evaluations


@dataclass(frozen=True)
class TrainSpec:
    """How a network is trained. Every default of `charlm train` is one of these.

    batch: B parallel streams. window: T steps of truncated backpropagation. learning_rate: the peak of the schedule;
    None is the optimizer's own, see optim.optimizers. momentum: sgd's, Nesterov's kind, 0 for plain SGD.
    weight_decay: adamw's. clip_norm, clip_value: see optim.clip; None leaves the gradient alone. dropout: the share
    of every layer's outputs that is left out, one choice per window and stream, in training only.
    minutes, steps, epochs: the budget; steps or epochs, where given, take the place of minutes.
    val_fraction: share of the text, at its end, that is only scored. rng_seed: all randomness follows from it.
    keep: how many numbered checkpoints stay beside the last and the best, one per evaluation.
    evaluations, reports: how many validation losses, and how many training losses, a whole budget gives.
    """

    batch: int = 32
    window: int = 100
    learning_rate: float | None = None
    optimizer: str = "sgd"
    schedule: str = "cosine"
    momentum: float = 0.9
    clip_norm: float | None = 0.2
    clip_value: float | None = None
    weight_decay: float = 0.01
    dropout: float = 0.0
    minutes: float = 3.0
    steps: int | None = None
    epochs: float | None = None
    val_fraction: float = 0.1
    rng_seed: int = 0
    keep: int = 0
    evaluations: int = 20
    reports: int = 200

    def __post_init__(self) -> None:
        for name in ("batch", "window", "evaluations", "reports"):
            value = getattr(self, name)
            _require(_is_count(value) and value >= 1, name, "a whole number of at least 1", value)
        _require(0 < self.minutes <= MOST_FLOAT, "minutes", "a number above 0", self.minutes)
        for name in ("learning_rate", "clip_norm", "clip_value", "steps", "epochs"):
            value = getattr(self, name)
            _require(value is None or 0 < value <= MOST_FLOAT, name, "a number above 0", value)
        _require(self.optimizer in LEARNING_RATES, "optimizer", f"one of {', '.join(LEARNING_RATES)}", self.optimizer)
        _require(self.schedule in SHAPES, "schedule", f"one of {', '.join(SHAPES)}", self.schedule)
        _require(0 <= self.dropout < 1, "dropout", "at least 0 and below 1", self.dropout)
        _require(0 <= self.weight_decay < 1, "weight_decay", "at least 0 and below 1", self.weight_decay)
        _require(0 <= self.momentum < 1, "momentum", "at least 0 and below 1", self.momentum)
        _require(0 < self.val_fraction < 1, "val_fraction", "between 0 and 1", self.val_fraction)
        for name in ("keep", "rng_seed"):
            _require(_is_count(getattr(self, name)), name, "a whole number of at least 0", getattr(self, name))
        _require(self.steps is None or _is_count(self.steps), "steps", "a whole number", self.steps)
        _require(self.steps is None or self.epochs is None, "budget", "steps or epochs, not both", "both")

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate that was given, or the optimizer's own."""
        return LEARNING_RATES[self.optimizer] if self.learning_rate is None else self.learning_rate


def train(run: Run, corpus: Corpus) -> Generator[Progress, None, None]:
    """Train a run to the end of its budget, yielding after every update.

    The run is saved whenever it is evaluated, at least every minute, and when the caller stops iterating: closing
    the generator (leaving the `for` loop, or `.close()`) saves it as it stands. Raises CorpusError where the corpus
    is not the run's, DivergenceError where the loss explodes, and StorageError where the disk refuses; the last
    checkpoint stays good in every case.
    """
    spec = train_spec(run)
    if corpus.sha256 != run.config["corpus"]["sha256"]:
        raise CorpusError(
            f"the text is not the one that {run.path} began with (sha256 {corpus.sha256[:12]}, "
            f"expected {in_short(run.config['corpus']['sha256'][:12])}): restore that text, or start a new run"
        )
    return _hold_and_train(run, corpus, spec)


def _hold_and_train(run: Run, corpus: Corpus, spec: TrainSpec) -> Generator[Progress, None, None]:
    with run.held():
        yield from _train(run, corpus, spec)


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


def split(ids: Ids, val_fraction: float) -> tuple[Ids, Ids]:
    """The ids to train on, and the last `val_fraction` of them, to be scored only.

    Raises CorpusError where a part would be too short to say anything: at least 2 characters and 1.
    """
    training = training_length(len(ids), val_fraction)
    if training < 2:
        raise CorpusError(
            f"a text of {len(ids)} characters is too short: "
            f"at least 2 are needed to train on and 1 to score, beside {val_fraction:.0%} for validation"
        )
    return ids[:training], ids[training:]


def training_length(characters: int, val_fraction: float) -> int:
    """How many characters of a text are trained on; at least one is kept for validation."""
    return characters - max(1, round(characters * val_fraction))


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
        minutes=spec.minutes,
        steps_per_epoch=steps_per_epoch(spec, training_characters),
    )


def _train(run: Run, corpus: Corpus, spec: TrainSpec) -> Generator[Progress, None, None]:
    training_ids, validation_ids = split(corpus.ids, spec.val_fraction)
    model = CharLM(model_spec(run))
    budget = training_budget(spec, len(training_ids))
    params, optimizer, state, tally = _begin(run, model, spec)
    grads = NamedArrays.like(params)
    schedule = Schedule(spec.peak_learning_rate, spec.schedule)
    journal = Journal(run, tally, spec.window * spec.batch, steps_per_epoch(spec, len(training_ids)))
    windows = streams(training_ids, spec.window, spec.batch, spec.rng_seed, start=tally.step)
    clock = Clock(tally.seconds)
    share = budget.share(tally.step, tally.seconds)
    saved_step, saved_seconds = tally.step, tally.seconds

    def save(*paths: Path) -> None:
        nonlocal saved_step, saved_seconds
        now = Checkpoint(model.spec, corpus.vocabulary, params, optimizer.memory, state, asdict(tally))
        for path in paths:
            save_checkpoint(path, now)
        run.prune(spec.keep)
        saved_step, saved_seconds = tally.step, tally.seconds

    try:
        while share < 1:
            window = next(windows)
            if window.starts_epoch:
                state = model.zero_state(spec.batch)
            learning_rate = schedule(tally.step, share) / 2**tally.rollbacks
            masks = _dropout_masks(model, spec, tally.step)

            with np.errstate(over="ignore", invalid="ignore"):  # what that leads to is seen and told as divergence
                logits, state, tape = model.forward(params, window.inputs, state, masks=masks)
                nats, dlogits = cross_entropy(logits, window.targets)
                model.backward(params, tape, dlogits, grads)
                norm = _clip(grads, spec)
                optimizer.update(params, grads, learning_rate)

            journal.count(nats, clock.seconds)
            before, share = share, budget.share(tally.step, tally.seconds)
            evaluated = _passes(before, share, spec.evaluations)
            loss = score_ids(model, params, validation_ids, corpus.vocabulary.start).nats_per_char if evaluated else 0.0
            if _has_diverged(model, params, nats, norm, loss):
                params, optimizer, state = _go_back(run, model, spec, tally)
                windows = streams(training_ids, spec.window, spec.batch, spec.rng_seed, start=tally.step)
                share = budget.share(tally.step, tally.seconds)
                continue
            if _passes(before, share, spec.reports):
                journal.report(learning_rate, norm)
            if evaluated:
                best = [run.best_path] if journal.evaluation(loss, learning_rate, norm) else []
                kept = [run.numbered_path(tally.step)] if spec.keep else []
                save(*best, *kept, run.last_path)
            elif tally.seconds - saved_seconds > SAVE_SECONDS:
                save(run.last_path)
            yield journal.progress(share, nats, learning_rate, norm, evaluated)
    except GeneratorExit:
        if tally.step > saved_step:
            save(run.last_path)
        raise


def _begin(
    run: Run, model: CharLM, spec: TrainSpec, from_best: bool = False
) -> tuple[NamedArrays, Optimizer, State, Tally]:
    """Params, optimizer, state and tally of a run: fresh, or as its last (or best) checkpoint has them."""
    params = model.initial_params(np.random.default_rng([spec.rng_seed, INITIAL]))
    optimizer = make_optimizer(spec.optimizer, params, momentum=spec.momentum, weight_decay=spec.weight_decay)
    state, tally = model.zero_state(spec.batch), Tally()
    point = run.resume_point(only_best=from_best)
    if point.checkpoint is not None:
        memory = point.checkpoint.memory
        fits = point.checkpoint.spec == model.spec and takes(optimizer, memory)
        if not fits or [layer.shape for layer in point.checkpoint.state] != [layer.shape for layer in state]:
            raise RunError(f"{point.path} does not belong to the configuration of {run.path}: start a new run")
        params.copy_from(point.checkpoint.params)
        for name, array in optimizer.memory.items():
            array[...] = memory[name]
        state, tally = point.checkpoint.state, Tally.of(point.checkpoint.progress)
        if not point.best_is_whole:
            if tally.best_step == tally.step:  # what is whole was the best
                save_checkpoint(run.best_path, point.checkpoint)
            else:
                tally.best_nats = tally.best_step = None  # so the next evaluation writes a whole one
    run.forget_metrics_after(tally.step)
    return params, optimizer, state, tally


def _go_back(run: Run, model: CharLM, spec: TrainSpec, tally: Tally) -> tuple[NamedArrays, Optimizer, State]:
    """After a divergence: everything as at the best checkpoint, but for the time spent and a halved rate.

    Raises DivergenceError when that was done MOST_ROLLBACKS times already.
    """
    if tally.rollbacks >= MOST_ROLLBACKS:
        raise DivergenceError(
            f"training diverged at step {tally.step}, also after {MOST_ROLLBACKS} times going back and halving the "
            f"learning rate: start again with a lower --lr or --clip-norm; all in {run.path} is from before and good"
        )
    seconds, rollbacks = tally.seconds, tally.rollbacks + 1
    params, optimizer, state, good = _begin(run, model, spec, from_best=True)
    for field in fields(Tally):
        setattr(tally, field.name, getattr(good, field.name))
    tally.seconds, tally.rollbacks = seconds, rollbacks
    return params, optimizer, state


def _has_diverged(model: CharLM, params: NamedArrays, nats: float, norm: float, loss: float) -> bool:
    """Whether a loss has exploded or anything is no longer a number; seen before anything is saved.

    To know nothing costs ln V; twice that and 8 more is to be sure of what is wrong.
    """
    exploded = 2 * math.log(model.spec.vocabulary) + 8
    return not (max(nats, loss) < exploded and math.isfinite(norm + loss) and np.isfinite(params.flat).all())


def _dropout_masks(model: CharLM, spec: TrainSpec, step: int) -> Masks | None:
    """The masks of one update; a function of the seed and the step, so a resumed run draws the same ones."""
    if not spec.dropout:
        return None
    return model.dropout_masks(np.random.default_rng([spec.rng_seed, DROPOUT, step]), spec.dropout, spec.batch)


def _clip(grads: NamedArrays, spec: TrainSpec) -> float:
    """Clip as the spec says; returns the global norm before clipping by norm."""
    if spec.clip_value is not None:
        clip_by_value(grads, spec.clip_value)
    return global_norm(grads) if spec.clip_norm is None else clip_by_global_norm(grads, spec.clip_norm)


def _passes(before: float, share: float, marks: int) -> bool:
    """Whether the used share of the budget went past one of `marks` evenly spaced marks, the last at its end."""
    return int(share * marks) > int(before * marks)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_FLOAT


def _require(holds: bool, name: str, expected: str, came: object) -> None:
    if not holds:
        option = name.replace("_", "-").replace("learning-rate", "learning-rate (--lr)")
        raise SpecError(f"{option} must be {expected}, not {came}")
