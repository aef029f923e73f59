"""What rank 0 does around the training loop: it deals out batches, evaluates, finds divergence, saves and decides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from charlm.arrays import Flags, Ids, NamedArrays
from charlm.config import MOST_EVALUATION, TrainSpec, planned_evaluations, steps_per_epoch, training_budget
from charlm.corpus.corpus import Corpus
from charlm.errors import DivergenceError, RunError, StorageError
from charlm.nn.model import CharLM, ModelSpec
from charlm.nn.stack import BATCH_AXIS, Masks, State
from charlm.optim.optimizers import Optimizer, takes
from charlm.optim.schedules import Schedule
from charlm.parallel.blas import blas_threads
from charlm.parallel.workers import Workers
from charlm.predict.network import Network
from charlm.runs.checkpoint import Checkpoint, save_checkpoint
from charlm.runs.figures import Divergence
from charlm.runs.resume import find_resume_point, restore_damaged_files
from charlm.runs.run import Run
from charlm.scoring.score import score_ids
from charlm.text.batches import Window, batches, input_dropout, rare_as_unknown
from charlm.training.memory import require_memory_for
from charlm.training.progress import MOST_ROLLBACKS, Clock, MetricsLog, Progress, Tally

INITIAL, DROPOUT, INPUT_DROPOUT = 1, 2, 3  # uses of random numbers, beside those of charlm.text.batches
SAVE_SECONDS = 60.0  # a crash loses at most this much work, or what lies between two evaluations


@dataclass(frozen=True)
class WorkerWindow:
    """A window of one worker's own sequences. weight: their share of the batch."""

    inputs: Ids  # (T, B')
    targets: Ids  # (T, B')
    begins: Flags | None  # (T, B'): where a record begins
    masks: Masks | None
    starts_epoch: bool
    learning_rate: float
    weight: float


@dataclass(frozen=True)
class Decision:
    """What all workers do after an update. roll_back: go back to the best checkpoint. save: hand in the states."""

    roll_back: bool = False
    save: bool = False


class Coordinator:
    """Rank 0's part of training one run. threads: of the matrix arithmetic while the other workers wait."""

    def __init__(self, run: Run, corpus: Corpus, spec: TrainSpec, workers: Workers, threads: int) -> None:
        self.run, self.spec, self.model_spec = run, spec, run.model
        self._vocabulary = corpus.vocabulary
        self._training_ids, self._validation_ids = corpus.split(spec)
        require_memory_for(self.model_spec, spec)  # this machine may have less than the one where the run began
        self._shares = workers.shares(spec.batch)
        self._threads = threads
        self._budget = training_budget(spec, len(self._training_ids))
        self._evaluations = planned_evaluations(spec, self._budget, len(self._validation_ids))
        self._schedule = Schedule(spec.peak_learning_rate, spec.schedule, spec.warmup)
        self._read_as = rare_as_unknown(corpus.once, corpus.vocabulary.unknown) if spec.rare_as_unknown else None
        self._tally = Tally()
        characters_per_step = spec.window * spec.batch
        self._log = MetricsLog(run, self._tally, characters_per_step, steps_per_epoch(spec, len(self._training_ids)))
        self._share = 0.0  # of the budget
        self._paused_until = 0.0  # seconds; no evaluation before, except the last
        self._saved_step, self._saved_seconds = 0, 0.0
        self._save_to: list[Path] = []
        self._has_begun = self._has_stopped = self._rolls_back = False

    @property
    def specs(self) -> tuple[ModelSpec, TrainSpec]:
        """The sizes of the network, and how it is trained."""
        return self.model_spec, self.spec

    def restore(self, model: CharLM, params: NamedArrays, optimizer: Optimizer) -> list[State]:
        """Fill params and memory with what the run has: of its last checkpoint at the beginning, later of its best.

        Returns the states of every worker's sequences.
        """
        self._model, self._params, self._optimizer = model, params, optimizer
        before = self._tally
        state, tally = self._restored(only_best=self._has_begun)
        if self._has_begun:  # everything goes back, except the time that was spent; the learning rate is halved
            tally.seconds, tally.evaluation_seconds = before.seconds, before.evaluation_seconds
            tally.rollbacks = before.rollbacks + 1
        vars(self._tally).update(asdict(tally))
        if not self._has_begun:
            self.run.forget_metrics_after(tally.step)
            self._clock = Clock(tally.seconds)
            self._saved_step, self._saved_seconds = tally.step, tally.seconds
            self._has_begun = True
        self._batches = batches(
            self._training_ids, self.spec.window, self.spec.batch, self.spec.rng_seed, tally.step, self._read_as
        )
        self._share = self._budget.share(tally.step, tally.seconds)
        return [tuple(layer[..., share, :] for layer in state) for share in self._shares]

    def next_windows(self) -> Sequence[WorkerWindow | None]:
        """The next window of every worker; None for each at the end of training."""
        if self._has_stopped or self._share >= 1 or is_patience_exhausted(self.spec, self._tally):
            return [None] * len(self._shares)
        step, window = self._tally.step, next(self._batches)
        self._learning_rate = self._schedule(step, self._share) / 2**self._tally.rollbacks
        masks, inputs = self._dropout_masks(step), self._inputs(window, step)
        return [
            WorkerWindow(
                inputs=inputs[:, share],
                targets=window.targets[:, share],
                begins=None if window.begins is None else window.begins[:, share],
                masks=masks and tuple(mask[share] for mask in masks),
                starts_epoch=window.starts_epoch,
                learning_rate=self._learning_rate,
                weight=(share.stop - share.start) / self.spec.batch,
            )
            for share in self._shares
        ]

    def after_update(self, nats: float, norm: float) -> Decision:
        """Count an update, evaluate if it is time, log the losses, and decide what to do.

        nats: mean loss of the batch, per character. norm: of its gradient. Raises DivergenceError if training diverges
        after going back MOST_ROLLBACKS times.
        """
        self._nats, self._norm = nats, norm
        self._log.count(nats, self._clock.seconds)
        before, self._share = self._share, self._budget.share(self._tally.step, self._tally.seconds)
        self._is_evaluated = self._is_due(before)
        loss = self._evaluate() if self._is_evaluated else 0.0
        self._rolls_back = self._has_diverged(loss)
        if self._rolls_back:
            self._require_rollbacks_left()
            self._save_to = [self.run.last_path]  # at once: the present one may be newer than the best
            return Decision(roll_back=True, save=True)
        if _passes(before, self._share, self.spec.reports):
            self._log.report(self._learning_rate, norm)
        self._save_to = []
        if self._is_evaluated:
            best = [self.run.best_path] if self._log.evaluation(loss, self._learning_rate, norm) else []
            kept = [self.run.numbered_path(self._tally.step)] if self.spec.keep else []
            self._save_to = [*best, *kept, self.run.last_path]
        elif self._tally.seconds - self._saved_seconds > SAVE_SECONDS:
            self._save_to = [self.run.last_path]
        return Decision(save=bool(self._save_to))

    def save(self, states: Sequence[State]) -> None:
        """Write the checkpoints that are due, with the states of all workers."""
        state = tuple(np.concatenate(layers, axis=BATCH_AXIS) for layers in zip(*states, strict=True))
        checkpoint = Checkpoint(
            self.model_spec, self._vocabulary, self._params, self._optimizer.memory, state, asdict(self._tally)
        )
        for path in self._save_to or [self.run.last_path]:
            save_checkpoint(path, checkpoint)
        self.run.prune(self.spec.keep)
        self._saved_step, self._saved_seconds = self._tally.step, self._tally.seconds
        if self._rolls_back:
            self.run.forget_metrics_after(self._tally.step)

    def progress(self) -> Progress:
        """What the caller of training sees now."""
        return self._log.progress(self._share, self._nats, self._learning_rate, self._norm, self._is_evaluated)

    def stop(self) -> None:
        """End training before the next update."""
        self._has_stopped, self._save_to = True, []

    @property
    def has_unsaved_steps(self) -> bool:
        """Whether there were updates since the last checkpoint."""
        return self._tally.step > self._saved_step

    def _restored(self, only_best: bool) -> tuple[State, Tally]:
        """Fill params and memory from a checkpoint, or as at the beginning; returns the state of the batch, the tally.

        Raises RunError if the checkpoint does not fit the run's configuration.
        """
        state, memory = self._model.zero_state(self.spec.batch), self._optimizer.memory
        point = find_resume_point(self.run, only_best)
        if point.checkpoint is None:
            self._params.copy_from(self._model.initial_params(np.random.default_rng([self.spec.rng_seed, INITIAL])))
            for array in memory.values():
                array[...] = 0
            return state, Tally()
        kept = point.checkpoint
        fits = kept.spec == self.model_spec and takes(self._optimizer, kept.memory)
        if not fits or [layer.shape for layer in kept.state] != [layer.shape for layer in state]:
            raise RunError(f"{point.path} does not belong to the configuration of {self.run.path}: start a new run")
        self._params.copy_from(kept.params)
        for name, array in memory.items():
            array[...] = kept.memory[name]
        tally = Tally.of(kept.progress)
        is_best = tally.best_step == tally.step
        if not point.best_is_whole and not is_best:
            tally.best_nats = tally.best_step = None  # so the next evaluation writes a best checkpoint
        if not only_best:  # after a roll-back the last one is written at once, with the new rate
            restore_damaged_files(self.run, point, is_best)
        return kept.state, tally

    def _is_due(self, before: float) -> bool:
        """Whether it is time to evaluate; before: the used share of the budget before this update."""
        if self._share == 1:
            return True
        if self.spec.evaluate_every is not None:
            return self._tally.step % self.spec.evaluate_every == 0
        return _passes(before, self._share, self._evaluations) and self._clock.seconds >= self._paused_until

    def _evaluate(self) -> float:
        """The loss on the validation part."""
        began = self._clock.seconds
        with blas_threads(self._threads):  # the other workers wait meanwhile
            network = Network(self._model, self._params, self._vocabulary.start)
            loss = score_ids(network, self._validation_ids).nats_per_char
        taken = self._clock.seconds - began
        self._tally.evaluation_seconds += taken
        if self._budget.seconds is not None and self.spec.evaluations is None:
            self._paused_until = self._clock.seconds + taken * (1 / MOST_EVALUATION - 1)
        return loss

    def _has_diverged(self, loss: float) -> bool:
        """Whether a loss has exploded or a number is not finite; checked before anything is saved.

        A uniform guess costs ln V; twice that and 8 more is beyond any normal loss.
        """
        exploded = 2 * math.log(self.model_spec.vocabulary) + 8
        all_finite = all(np.isfinite(array).all() for array in (self._params.flat, *self._optimizer.memory.values()))
        return not (max(self._nats, loss) < exploded and math.isfinite(self._norm + loss) and all_finite)

    def _require_rollbacks_left(self) -> None:
        if self._tally.rollbacks >= MOST_ROLLBACKS:
            with suppress(StorageError):  # without it, only a warning is missing later
                Divergence(self._tally.step).save(self.run)
            clip = "a lower --lr or --clip-norm" if self.spec.clip_norm else "a lower --lr, or with --clip-norm"
            raise DivergenceError(
                f"training diverged at step {self._tally.step}, after going back and halving the learning rate "
                f"{MOST_ROLLBACKS} times: start again with {clip}; the files in {self.run.path} are from before and "
                "good"
            )

    def _dropout_masks(self, step: int) -> Masks | None:
        """The masks of one update, from the seed and the step: a resumed run draws the same ones."""
        if not self.spec.dropout:
            return None
        rng = np.random.default_rng([self.spec.rng_seed, DROPOUT, step])
        return self._model.dropout_masks(rng, self.spec.dropout, self.spec.batch)

    def _inputs(self, window: Window, step: int) -> Ids:
        """A window's inputs, after input dropout if the run has it: as the masks, from the seed and the step."""
        if not self.spec.input_dropout:
            return window.inputs
        rng = np.random.default_rng([self.spec.rng_seed, INPUT_DROPOUT, step])
        return input_dropout(window.inputs, self.spec.input_dropout, self._vocabulary.unknown, rng)


def is_patience_exhausted(spec: TrainSpec, tally: Tally) -> bool:
    """Whether so many evaluations in a row were no better than the best one that training ends."""
    return spec.patience is not None and tally.since_best >= spec.patience


def _passes(before: float, share: float, marks: int) -> bool:
    """Whether the used share of the budget passed one of `marks` evenly spaced marks, the last at its end."""
    return int(share * marks + 1e-9) > int(before * marks + 1e-9)  # 29 / 200 * 200 is a little less than 29
