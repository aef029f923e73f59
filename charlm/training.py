"""Train: truncated backpropagation through time, in one visible loop.

A run is trained from where it stands: a new one from its first step, one that has a checkpoint from there, to the
same bits as if it had never stopped.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from charlm.budget import Budget, Clock
from charlm.errors import CorpusError, DivergenceError, RunError, SpecError
from charlm.journal import Journal, Progress, Tally
from charlm.learner import Rule, Team, follow
from charlm.nn.arrays import Ids
from charlm.nn.model import CharLM, ModelSpec
from charlm.nn.stack import Masks
from charlm.optim.optimizers import LEARNING_RATES
from charlm.optim.schedules import SHAPES, Schedule
from charlm.parallel.blas import blas_thread_count, blas_threads
from charlm.parallel.local import start
from charlm.parallel.workers import Workers
from charlm.scoring import score_ids
from charlm.store.checkpoint import Checkpoint, save_checkpoint
from charlm.store.corpus import Corpus
from charlm.store.run import Run
from charlm.text.streams import streams, windows_per_epoch, with_escape

MOST_ROLLBACKS = 3
INITIAL, DROPOUT = 1, 2  # what random numbers are for; with 0 for streams, one seed gives three independent rows
SAVE_SECONDS = 60.0  # a crash loses at most this much work, or what lies between two evaluations


@dataclass(frozen=True)
class TrainSpec:
    """How a network is trained. Every default of `charlm train` is one of these.

    batch: B parallel streams. window: T steps of truncated backpropagation. learning_rate: the peak of the schedule;
    None is the optimizer's own, see optim.optimizers. momentum: sgd's, Nesterov's kind, 0 for plain SGD.
    weight_decay: adamw's. clip_norm, clip_value: see optim.clip; None leaves the gradient alone. dropout: the share
    of every layer's outputs that is left out, one choice per window and stream, in training only.
    minutes, steps, epochs: the budget; steps or epochs, where given, take the place of minutes.
    val_fraction: share of the text, at its end, that is only scored; val_limit: and how many characters at most, lest
    the validation of a large text take the time that its training needs. rng_seed: all randomness follows from it.
    workers: processes that share the streams; None is as many as suit the network, the batch and this machine.
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
    val_limit: int = 2**18
    rng_seed: int = 0
    workers: int | None = None
    keep: int = 0
    evaluations: int = 20
    reports: int = 200

    def __post_init__(self) -> None:
        for name in ("batch", "window", "val_limit", "evaluations", "reports"):
            value = getattr(self, name)
            _require(isinstance(value, int) and value >= 1, name, "a whole number of at least 1", value)
        _require(0 < self.minutes < math.inf, "minutes", "a number above 0", self.minutes)
        for name in ("learning_rate", "clip_norm", "clip_value", "steps", "epochs"):
            value = getattr(self, name)
            _require(value is None or 0 < value < math.inf, name, "a number above 0", value)
        _require(self.optimizer in LEARNING_RATES, "optimizer", f"one of {', '.join(LEARNING_RATES)}", self.optimizer)
        _require(self.schedule in SHAPES, "schedule", f"one of {', '.join(SHAPES)}", self.schedule)
        _require(0 <= self.dropout < 1, "dropout", "at least 0 and below 1", self.dropout)
        _require(0 <= self.weight_decay < 1, "weight_decay", "at least 0 and below 1", self.weight_decay)
        _require(0 <= self.momentum < 1, "momentum", "at least 0 and below 1", self.momentum)
        _require(0 < self.val_fraction < 1, "val_fraction", "between 0 and 1", self.val_fraction)
        _require(isinstance(self.keep, int) and self.keep >= 0, "keep", "a whole number of at least 0", self.keep)
        is_seed = isinstance(self.rng_seed, int) and self.rng_seed >= 0
        _require(is_seed, "rng_seed", "a whole number of at least 0", self.rng_seed)
        is_count = self.workers is None or (isinstance(self.workers, int) and self.workers >= 1)
        _require(is_count, "workers", "a whole number of at least 1", self.workers)
        _require(self.steps is None or isinstance(self.steps, int), "steps", "a whole number", self.steps)
        _require(self.steps is None or self.epochs is None, "budget", "steps or epochs, not both", "both")

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate that was given, or the optimizer's own."""
        return LEARNING_RATES[self.optimizer] if self.learning_rate is None else self.learning_rate

    @property
    def rule(self) -> Rule:
        """What every worker needs of this."""
        return Rule(self.optimizer, self.momentum, self.weight_decay, self.clip_norm, self.clip_value)


def train(run: Run, corpus: Corpus, workers: Workers | None = None) -> Generator[Progress, None, None]:
    """Train a run to the end of its budget, yielding after every update.

    workers: those of an MPI job; left out, processes of this machine, as many as the run's configuration says.

    The run is saved whenever it is evaluated, at least every minute, and when the caller stops iterating: closing
    the generator (leaving the `for` loop, or `.close()`) saves it as it stands. Raises CorpusError where the corpus
    is not the run's, DivergenceError where the loss explodes, and StorageError where the disk refuses; the last
    checkpoint stays good in every case.
    """
    spec = train_spec(run)
    if corpus.sha256 != run.config["corpus"]["sha256"]:
        raise CorpusError(
            f"the text is not the one that {run.path} began with (sha256 {corpus.sha256[:12]}, "
            f"expected {run.config['corpus']['sha256'][:12]}): restore that text, or start a new run"
        )
    return _hold_and_train(run, corpus, spec, workers)


def _hold_and_train(
    run: Run, corpus: Corpus, spec: TrainSpec, workers: Workers | None
) -> Generator[Progress, None, None]:
    count = workers.count if workers else spec.workers or 1
    threads = blas_thread_count()
    each = max(1, threads // count) if count > 1 else threads
    with run.held(), workers or start(count, each, follow) as all_workers, blas_threads(each):
        yield from _train(run, corpus, spec, all_workers, threads)


def train_spec(run: Run) -> TrainSpec:
    """The TrainSpec in a run's configuration. Raises RunError where it is not one."""
    try:
        return TrainSpec(**run.config["training"])
    except (TypeError, SpecError) as error:
        raise RunError(f"the configuration of {run.path} does not fit this charlm ({error}): start a new run") from None


def model_spec(run: Run) -> ModelSpec:
    """The ModelSpec in a run's configuration. Raises RunError where it is not one."""
    try:
        return ModelSpec(**run.config["model"])
    except (TypeError, SpecError) as error:
        raise RunError(f"the configuration of {run.path} does not fit this charlm ({error}): start a new run") from None


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
    """Updates per epoch."""
    return windows_per_epoch(training_characters, spec.window, spec.batch)


def training_budget(spec: TrainSpec, training_characters: int) -> Budget:
    """The budget that a TrainSpec means for a text of that many characters."""
    return Budget.of(
        steps=spec.steps,
        epochs=spec.epochs,
        minutes=spec.minutes,
        steps_per_epoch=steps_per_epoch(spec, training_characters),
    )


def _train(
    run: Run, corpus: Corpus, spec: TrainSpec, workers: Workers, threads: int
) -> Generator[Progress, None, None]:
    training_ids, validation_ids = split(corpus.ids, spec.val_fraction, spec.val_limit)
    team = Team(model_spec(run), spec.rule, spec.batch, workers)
    tally = _begin(run, team, spec)
    run.forget_metrics_after(tally.step)
    reading = with_escape(corpus.once, corpus.vocabulary.escape)
    windows_from = partial(streams, training_ids, spec.window, spec.batch, spec.rng_seed, reading=reading)
    schedule = Schedule(spec.peak_learning_rate, spec.schedule)
    budget = training_budget(spec, len(training_ids))
    journal = Journal(run, tally, spec.window * spec.batch, steps_per_epoch(spec, len(training_ids)))
    windows = windows_from(start=tally.step)
    clock = Clock(tally.seconds)
    share = budget.share(tally.step, tally.seconds)
    saved_step, saved_seconds = tally.step, tally.seconds

    def save(*paths: Path) -> None:
        nonlocal saved_step, saved_seconds
        now = Checkpoint(team.model.spec, corpus.vocabulary, team.params, team.memory, team.state, asdict(tally))
        for path in paths:
            save_checkpoint(path, now)
        run.prune(spec.keep)
        saved_step, saved_seconds = tally.step, tally.seconds

    try:
        while share < 1:
            window = next(windows)
            learning_rate = schedule(tally.step, share) / 2**tally.rollbacks
            masks = _dropout_masks(team.model, spec, tally.step)
            nats, norm = team.learn(window.inputs, window.targets, masks, window.starts_epoch, learning_rate)

            journal.count(nats, clock.seconds)
            before, share = share, budget.share(tally.step, tally.seconds)
            evaluated = _passes(before, share, spec.evaluations)
            loss = 0.0
            if evaluated:
                with blas_threads(threads):  # the other workers have nothing to do meanwhile
                    loss = score_ids(team.model, team.params, validation_ids, corpus.vocabulary.start).nats_per_char
            if _has_diverged(team, nats, norm, loss):
                _go_back(run, team, spec, tally)
                save(run.last_path)  # at once: it may be newer than the best, and would be resumed from
                run.forget_metrics_after(tally.step)
                windows = windows_from(start=tally.step)
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


def _begin(run: Run, team: Team, spec: TrainSpec, from_best: bool = False) -> Tally:
    """Bring the team to where a run stands: fresh, or as its last (or best) checkpoint has it; returns its tally."""
    state, tally = team.model.zero_state(spec.batch), Tally()
    point = run.resume_point(only_best=from_best)
    if point.checkpoint is not None:
        memory = point.checkpoint.memory
        fits = point.checkpoint.spec == team.model.spec and _shapes(memory) == _shapes(team.memory)
        if not fits or [layer.shape for layer in point.checkpoint.state] != [layer.shape for layer in state]:
            raise RunError(f"{point.path} does not belong to the configuration of {run.path}: start a new run")
        team.params.copy_from(point.checkpoint.params)
        for name, array in team.memory.items():
            array[...] = memory[name]
        state, tally = point.checkpoint.state, Tally.of(point.checkpoint.progress)
        is_best = tally.best_step == tally.step
        if not point.best_is_whole and not is_best:
            tally.best_nats = tally.best_step = None  # so the next evaluation writes a whole one
        run.mend(point, is_best)
    else:
        team.params.copy_from(team.model.initial_params(np.random.default_rng([spec.rng_seed, INITIAL])))
        for array in team.memory.values():
            array[...] = 0
    team.begin(state)
    return tally


def _go_back(run: Run, team: Team, spec: TrainSpec, tally: Tally) -> None:
    """After a divergence: everything as at the best checkpoint, but for the time spent and a halved rate.

    Raises DivergenceError when that was done MOST_ROLLBACKS times already.
    """
    if tally.rollbacks >= MOST_ROLLBACKS:
        raise DivergenceError(
            f"training diverged at step {tally.step}, also after {MOST_ROLLBACKS} times going back and halving the "
            f"learning rate: start again with a lower --lr or --clip-norm; all in {run.path} is from before and good"
        )
    good = _begin(run, team, spec, from_best=True)
    vars(tally).update(asdict(good) | {"seconds": tally.seconds, "rollbacks": tally.rollbacks + 1})


def _has_diverged(team: Team, nats: float, norm: float, loss: float) -> bool:
    """Whether a loss has exploded or anything is no longer a number; seen before anything is saved.

    To know nothing costs ln V; twice that and 8 more is to be sure of what is wrong.
    """
    exploded = 2 * math.log(team.model.spec.vocabulary) + 8
    all_finite = all(np.isfinite(array).all() for array in (team.params.flat, *team.memory.values()))
    return not (max(nats, loss) < exploded and math.isfinite(norm + loss) and all_finite)


def _shapes(arrays: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}


def _dropout_masks(model: CharLM, spec: TrainSpec, step: int) -> Masks | None:
    """The masks of one update; a function of the seed and the step, so a resumed run draws the same ones."""
    if not spec.dropout:
        return None
    return model.dropout_masks(np.random.default_rng([spec.rng_seed, DROPOUT, step]), spec.dropout, spec.batch)


def _passes(before: float, share: float, marks: int) -> bool:
    """Whether the used share of the budget went past one of `marks` evenly spaced marks, the last at its end."""
    return int(share * marks + 1e-9) > int(before * marks + 1e-9)  # 29 / 200 * 200 is a little less than 29


def _require(holds: bool, name: str, expected: str, came: object) -> None:
    if not holds:
        option = name.replace("_", "-").replace("learning-rate", "learning-rate (--lr)")
        raise SpecError(f"{option} must be {expected}, not {came}")
