"""Train: truncated backpropagation through time, in one visible loop.

A run is trained from where it stands: a new one from its first step, one that has a checkpoint from there, to the
same bits as if it had never stopped.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from charlm.budget import Budget, Clock
from charlm.errors import CorpusError, DivergenceError, RunError, SpecError
from charlm.journal import Journal, Progress, Tally
from charlm.nn.arrays import Ids, NamedArrays
from charlm.nn.loss import cross_entropy
from charlm.nn.model import CharLM, ModelSpec
from charlm.nn.stack import State
from charlm.optim.clip import clip_by_global_norm, clip_by_value, global_norm
from charlm.optim.optimizers import LEARNING_RATES, Optimizer, make_optimizer
from charlm.optim.schedules import SHAPES, Schedule
from charlm.parallel import blas_name
from charlm.scoring import score_ids
from charlm.store.checkpoint import Checkpoint, save_checkpoint
from charlm.store.corpus import Corpus
from charlm.store.run import Run, free_run_path
from charlm.text.streams import fitting_window, streams, windows_per_epoch
from charlm.version import __version__

EXPLODED = 1000.0  # nats per character: no text costs as much
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
    evaluations: int = 20
    reports: int = 200

    def __post_init__(self) -> None:
        for name in ("batch", "window", "evaluations", "reports"):
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
        is_seed = isinstance(self.rng_seed, int) and self.rng_seed >= 0
        _require(is_seed, "rng_seed", "a whole number of at least 0", self.rng_seed)
        _require(self.steps is None or isinstance(self.steps, int), "steps", "a whole number", self.steps)
        _require(self.steps is None or self.epochs is None, "budget", "steps or epochs, not both", "both")

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate that was given, or the optimizer's own."""
        return LEARNING_RATES[self.optimizer] if self.learning_rate is None else self.learning_rate


def new_run(
    corpus: Corpus,
    out: str | Path | None = None,
    spec: TrainSpec | None = None,
    **network: Any,
) -> Run:
    """Make a run directory for a corpus, with everything resolved in its config.json.

    out: a directory that does not exist yet; left out, `checkpoints/NAME`, numbered when taken. network: fields of
    ModelSpec (`hidden=128, layers=2`). A text that is too short for a whole window gets a smaller one.
    Raises CorpusError, SpecError, RunError or StorageError.
    """
    spec = spec or TrainSpec()
    model = ModelSpec(len(corpus.vocabulary), **network)
    if model.bidirectional:
        raise SpecError(
            "a bidirectional network has read the character that it is to predict, so it can neither be trained to "
            "predict the next one nor sample: leave bidirectional out, or see charlm.nn.sequence for its uses"
        )
    training_ids, _ = split(corpus.ids, spec.val_fraction)
    window, batch = fitting_window(len(training_ids), spec.window, spec.batch)
    config = {
        "charlm": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas_name(),
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "corpus": {
            "name": corpus.name,
            "sources": list(corpus.sources),
            "sha256": corpus.sha256,
            "characters": len(corpus.ids),
        },
        "model": asdict(model),
        "training": asdict(replace(spec, window=window, batch=batch, learning_rate=spec.peak_learning_rate)),
    }
    return Run.create(Path(out) if out is not None else free_run_path(corpus.name), config)


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
            f"expected {run.config['corpus']['sha256'][:12]}): restore that text, or start a new run"
        )
    return _train(run, corpus, spec)


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


def change_budget(
    run: Run, *, minutes: float | None = None, steps: int | None = None, epochs: float | None = None
) -> None:
    """Give a run another budget in all, in place of the one it has; the schedule follows it. Raises SpecError."""
    spec = replace(train_spec(run), steps=steps, epochs=epochs)
    if minutes is not None:
        spec = replace(spec, minutes=minutes)
    run.config["training"] = asdict(spec)
    run.save_config()


def split(ids: Ids, val_fraction: float) -> tuple[Ids, Ids]:
    """The ids to train on, and the last `val_fraction` of them, to be scored only.

    Raises CorpusError where a part would be too short to say anything: at least 2 characters and 1.
    """
    validation = max(1, round(len(ids) * val_fraction))
    if len(ids) - validation < 2:
        raise CorpusError(
            f"a text of {len(ids)} characters is too short: "
            f"at least 2 are needed to train on and 1 to score, beside {val_fraction:.0%} for validation"
        )
    return ids[:-validation], ids[-validation:]


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


def _train(run: Run, corpus: Corpus, spec: TrainSpec) -> Generator[Progress, None, None]:
    training_ids, validation_ids = split(corpus.ids, spec.val_fraction)
    model = CharLM(model_spec(run))
    params, optimizer, state, tally = _begin(run, model, spec)
    grads = NamedArrays.like(params)
    schedule = Schedule(spec.peak_learning_rate, spec.schedule)
    budget = training_budget(spec, len(training_ids))
    journal = Journal(run, tally, spec.window * spec.batch, steps_per_epoch(spec, len(training_ids)))
    clock = Clock(tally.seconds)
    share = budget.share(tally.step, tally.seconds)
    saved_step, saved_seconds = tally.step, tally.seconds

    def save(*paths: Path) -> None:
        nonlocal saved_step, saved_seconds
        if not np.isfinite(params.flat).all():
            raise _divergence(run, tally)
        now = Checkpoint(model.spec, corpus.vocabulary, params, optimizer.memory, state, asdict(tally))
        for path in paths:
            save_checkpoint(path, now)
        saved_step, saved_seconds = tally.step, tally.seconds

    try:
        for window in streams(training_ids, spec.window, spec.batch, spec.rng_seed, start=tally.step):
            if share >= 1:
                break
            if window.starts_epoch:
                state = model.zero_state(spec.batch)
            learning_rate = schedule(tally.step, share)

            masks = model.dropout_masks(np.random.default_rng([spec.rng_seed, tally.step]), spec.dropout, spec.batch)

            with np.errstate(over="ignore", invalid="ignore"):  # what that leads to is told as divergence
                logits, state, tape = model.forward(params, window.inputs, state, masks=masks)
                nats, dlogits = cross_entropy(logits, window.targets)
                model.backward(params, tape, dlogits, grads)
                norm = _clip(grads, spec)
                if not (nats < EXPLODED and norm < math.inf):
                    raise _divergence(run, tally)
                optimizer.update(params, grads, learning_rate)

            journal.count(nats, clock.seconds)
            before, share = share, budget.share(tally.step, tally.seconds)
            if _passes(before, share, spec.reports):
                journal.report(learning_rate, norm)
            if evaluated := _passes(before, share, spec.evaluations):
                with np.errstate(over="ignore", invalid="ignore"):
                    loss = score_ids(model, params, validation_ids, corpus.vocabulary.start).nats_per_char
                if not loss < EXPLODED:
                    raise _divergence(run, tally)
                is_best = journal.evaluation(loss, learning_rate, norm)
                save(*[run.best_path] * is_best, run.last_path)
            elif tally.seconds - saved_seconds > SAVE_SECONDS:
                save(run.last_path)
            yield journal.progress(share, nats, learning_rate, norm, evaluated)
    except GeneratorExit:
        if tally.step > saved_step:
            save(run.last_path)
        raise


def _begin(run: Run, model: CharLM, spec: TrainSpec) -> tuple[NamedArrays, Optimizer, State, Tally]:
    """Params, optimizer, state and tally of a run: fresh, or as its last checkpoint has them."""
    params = model.initial_params(np.random.default_rng(spec.rng_seed))
    optimizer = make_optimizer(spec.optimizer, params, momentum=spec.momentum, weight_decay=spec.weight_decay)
    state, tally = model.zero_state(spec.batch), Tally()
    if (checkpoint := run.last()) is not None:
        if checkpoint.spec != model.spec or optimizer.memory.keys() != checkpoint.memory.keys():
            raise RunError(f"{run.last_path} does not belong to the configuration of {run.path}: start a new run")
        params.copy_from(checkpoint.params)
        for name, array in optimizer.memory.items():
            array[...] = checkpoint.memory[name]
        if [array.shape for array in checkpoint.state] != [array.shape for array in state]:
            raise RunError(f"{run.last_path} was trained with another batch than {run.path} says: start a new run")
        state, tally = checkpoint.state, Tally(**checkpoint.progress)
    run.forget_metrics_after(tally.step)
    return params, optimizer, state, tally


def _clip(grads: NamedArrays, spec: TrainSpec) -> float:
    """Clip as the spec says; returns the global norm before clipping by norm."""
    if spec.clip_value is not None:
        clip_by_value(grads, spec.clip_value)
    return global_norm(grads) if spec.clip_norm is None else clip_by_global_norm(grads, spec.clip_norm)


def _divergence(run: Run, tally: Tally) -> DivergenceError:
    kept = f" (the checkpoints in {run.path} are from before and good)" if tally.best_step else ""
    return DivergenceError(
        f"training diverged: after {tally.step} updates the loss has exploded or is no longer a number; "
        f"start again with a lower --lr or --clip-norm{kept}"
    )


def _passes(before: float, share: float, marks: int) -> bool:
    """Whether the used share of the budget went past one of `marks` evenly spaced marks, the last at its end."""
    return int(share * marks) > int(before * marks)


def _require(holds: bool, name: str, expected: str, came: object) -> None:
    if not holds:
        raise SpecError(f"{name.replace('_', '-')} must be {expected}, not {came}")
