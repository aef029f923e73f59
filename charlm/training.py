"""Train: truncated backpropagation through time, in one visible loop.

A run is trained from where it stands: a new one from its first step, one that has a checkpoint from there, to the
same bits as if it had never stopped.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from charlm.budget import Clock
from charlm.errors import DivergenceError, RunError
from charlm.journal import MOST_ROLLBACKS, Journal, Progress, Tally
from charlm.learner import Team, follow
from charlm.nn.model import CharLM
from charlm.nn.stack import Masks
from charlm.optim.optimizers import takes
from charlm.optim.schedules import Schedule
from charlm.parallel.blas import blas_thread_count, blas_threads
from charlm.parallel.local import start
from charlm.parallel.workers import Workers
from charlm.plan import (
    MOST_SCORING,
    TrainSpec,
    model_spec,
    require_memory_for,
    split,
    steps_per_epoch,
    train_spec,
    training_budget,
)
from charlm.scoring import score_ids
from charlm.store.checkpoint import Checkpoint, save_checkpoint
from charlm.store.corpus import Corpus
from charlm.store.run import Run
from charlm.text.streams import Ids, Window, streams, with_escape, with_gaps

INITIAL, DROPOUT, GAPS = 1, 2, 3  # what random numbers are for; with 0 for streams, one seed gives independent rows
SAVE_SECONDS = 60.0  # a crash loses at most this much work, or what lies between two evaluations


def train(run: Run, corpus: Corpus, workers: Workers | None = None) -> Generator[Progress, None, None]:
    """Train a run to the end of its budget, yielding after every update.

    workers: those of an MPI job; left out, processes of this machine, as many as the run's configuration says.

    The run is saved whenever it is evaluated, at least every minute, and when the caller stops iterating: closing
    the generator (leaving the `for` loop, or `.close()`) saves it as it stands. Raises CorpusError where the corpus
    is not the run's, DivergenceError where the loss explodes, and StorageError where the disk refuses; the last
    checkpoint stays good in every case.
    """
    spec = train_spec(run)
    run.require(corpus)
    return _hold_and_train(run, corpus, spec, workers)


def _hold_and_train(
    run: Run, corpus: Corpus, spec: TrainSpec, workers: Workers | None
) -> Generator[Progress, None, None]:
    count = workers.count if workers else spec.workers or 1
    threads = blas_thread_count()
    each = max(1, threads // count) if count > 1 else threads
    with run.held(), workers or start(count, each, follow) as all_workers, blas_threads(each):
        yield from _train(run, corpus, spec, all_workers, threads)


def _train(
    run: Run, corpus: Corpus, spec: TrainSpec, workers: Workers, threads: int
) -> Generator[Progress, None, None]:
    training_ids, validation_ids = split(corpus.ids, spec.val_fraction, spec.val_limit)
    require_memory_for(model_spec(run), spec)  # another machine than the one where the run began may have less
    budget = training_budget(spec, len(training_ids))
    team = Team(model_spec(run), spec.rule, spec.batch, workers)
    tally = _begin(run, team, spec)
    run.forget_metrics_after(tally.step)
    reading = with_escape(corpus.once, corpus.vocabulary.escape)
    windows_from = partial(streams, training_ids, spec.window, spec.batch, spec.rng_seed, reading=reading)
    schedule = Schedule(spec.peak_learning_rate, spec.schedule)
    journal = Journal(run, tally, spec.window * spec.batch, steps_per_epoch(spec, len(training_ids)))
    windows = windows_from(start=tally.step)
    clock = Clock(tally.seconds)
    share, rested = budget.share(tally.step, tally.seconds), 0.0
    saved_step, saved_seconds = tally.step, tally.seconds

    def save(*paths: Path) -> None:
        nonlocal saved_step, saved_seconds
        now = Checkpoint(team.model.spec, corpus.vocabulary, team.params, team.memory, team.state, asdict(tally))
        for path in paths:
            save_checkpoint(path, now)
        run.prune(spec.keep)
        saved_step, saved_seconds = tally.step, tally.seconds

    try:
        while share < 1 and not tired(spec, tally):
            window = next(windows)
            learning_rate = schedule(tally.step, share) / 2**tally.rollbacks
            masks = _dropout_masks(team.model, spec, tally.step)
            inputs = _read_inputs(window, spec, tally.step, corpus.vocabulary.escape)
            nats, norm = team.learn(inputs, window.targets, masks, window.starts_epoch, learning_rate)

            journal.count(nats, clock.seconds)
            before, share = share, budget.share(tally.step, tally.seconds)
            evaluated = _passes(before, share, spec.evaluations) and (share == 1 or clock.seconds >= rested)
            loss = 0.0
            if evaluated:
                began = clock.seconds
                with blas_threads(threads):  # the other workers have nothing to do meanwhile
                    loss = score_ids(team.model, team.params, validation_ids, corpus.vocabulary.start).nats_per_char
                if budget.seconds is not None:
                    rested = clock.seconds + (clock.seconds - began) * (1 / MOST_SCORING - 1)
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


def tired(spec: TrainSpec, tally: Tally) -> bool:
    """Whether so many validations were no better than the best one that no better one is to be expected."""
    return spec.patience is not None and tally.since_best >= spec.patience


def _begin(run: Run, team: Team, spec: TrainSpec, from_best: bool = False) -> Tally:
    """Bring the team to where a run stands: fresh, or as its last (or best) checkpoint has it; returns its tally."""
    state, tally = team.model.zero_state(spec.batch), Tally()
    point = run.resume_point(only_best=from_best)
    if point.checkpoint is not None:
        memory = point.checkpoint.memory
        fits = point.checkpoint.spec == team.model.spec and takes(team.optimizer, memory)
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


def _dropout_masks(model: CharLM, spec: TrainSpec, step: int) -> Masks | None:
    """The masks of one update; a function of the seed and the step, so a resumed run draws the same ones."""
    if not spec.dropout:
        return None
    return model.dropout_masks(np.random.default_rng([spec.rng_seed, DROPOUT, step]), spec.dropout, spec.batch)


def _read_inputs(window: Window, spec: TrainSpec, step: int, escape: int) -> Ids:
    """A window's inputs, with gaps where the run has input dropout; as the masks, a function of the seed and step."""
    if not spec.input_dropout:
        return window.inputs
    return with_gaps(window.inputs, spec.input_dropout, escape, np.random.default_rng([spec.rng_seed, GAPS, step]))


def _passes(before: float, share: float, marks: int) -> bool:
    """Whether the used share of the budget went past one of `marks` evenly spaced marks, the last at its end."""
    return int(share * marks + 1e-9) > int(before * marks + 1e-9)  # 29 / 200 * 200 is a little less than 29
