"""What training counts, yields to its caller, and writes into metrics.jsonl."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from typing import Any

from charlm.config import MOST_STEPS
from charlm.errors import CheckpointError, in_short
from charlm.runs.run import Run

MOST_ROLLBACKS = 3


class Clock:
    """Seconds of training so far, those before a resume included."""

    def __init__(self, already: float = 0.0) -> None:
        self._start = time.monotonic() - already

    @property
    def seconds(self) -> float:
        """Seconds now."""
        return time.monotonic() - self._start


@dataclass
class Tally:
    """All that training counts. A checkpoint keeps it whole, so a resumed run goes on with the same numbers."""

    step: int = 0
    seconds: float = 0.0
    evaluation_seconds: float = 0.0  # of them, spent on evaluations
    report_nats: float = 0.0  # sum over the updates since the last report
    report_steps: int = 0
    report_seconds: float = 0.0  # spent on updates until the last report
    evaluation_nats: float = 0.0  # sum over the updates since the last evaluation
    evaluation_steps: int = 0
    chars_per_second: float = 0.0  # between the last two reports
    train_nats: float | None = None  # mean over the updates between the last two evaluations
    validation_nats: float | None = None  # at the last evaluation
    best_nats: float | None = None  # the lowest validation_nats, and the step at which it was reached
    best_step: int | None = None
    since_best: int = 0  # evaluations since then
    rollbacks: int = 0  # how often training diverged and went back

    @classmethod
    def of(cls, progress: Mapping[str, Any]) -> Tally:
        """The tally that a checkpoint holds. Raises CheckpointError if it is not one."""
        known = {field.name: field for field in fields(cls)}
        if new := sorted(progress.keys() - known.keys()):
            found = in_short(new[0])
            raise CheckpointError(f"the checkpoint counts {found}, which this charlm does not know: update charlm")
        for name, value in progress.items():
            if not _is_possible(known[name], value):
                found = in_short(f"{name} is {value!r}")
                raise CheckpointError(f"the checkpoint's {found}, which is not possible: use another checkpoint")
        return cls(**progress)


def _is_possible(field: Field[Any], value: Any) -> bool:
    """Whether training can have counted up to that value."""
    if value is None:
        return field.default is None
    if str(field.type).startswith("int"):
        most = MOST_ROLLBACKS + 1 if field.name == "rollbacks" else MOST_STEPS
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < most
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST_STEPS


@dataclass(frozen=True)
class Progress:
    """Where training stands after one update. Losses are in nats per character; None before the first one."""

    step: int
    epoch: float
    characters: int
    seconds: float
    share: float  # of the budget, 0 to 1
    nats: float  # of this update's window
    learning_rate: float
    gradient_norm: float  # before clipping by norm, after clipping by value
    chars_per_second: float
    train_nats: float | None
    validation_nats: float | None
    best_nats: float | None
    best_step: int | None
    rollbacks: int  # how often training diverged; each time it went back and halved the learning rate
    evaluated: bool  # after this update there was an evaluation, and a checkpoint was written

    @property
    def passes(self) -> float:
        """How many passes over the text the whole budget will give, at the speed so far."""
        return self.epoch / self.share


class MetricsLog:
    """Counts updates and evaluations in a tally, and writes metrics.jsonl: every training loss in it is the mean since
    the one before.
    """

    def __init__(self, run: Run, tally: Tally, characters_per_step: int, steps_per_epoch: int) -> None:
        self.run = run
        self.tally = tally
        self._characters_per_step = characters_per_step
        self._steps_per_epoch = steps_per_epoch

    def initial_evaluation(self) -> None:
        """Write the validation loss of a run that begins with a trained model."""
        if self.tally.validation_nats is not None:
            self._write("validation", self.tally.validation_nats, 0.0, 0.0)

    def count(self, nats: float, seconds: float) -> None:
        """One update more: its window's loss, and the clock after it."""
        tally = self.tally
        tally.step += 1
        tally.seconds = seconds
        tally.report_nats += nats
        tally.report_steps += 1
        tally.evaluation_nats += nats
        tally.evaluation_steps += 1

    def report(self, learning_rate: float, norm: float) -> None:
        """Write the training loss."""
        tally = self.tally
        updating = tally.seconds - tally.evaluation_seconds
        elapsed = max(updating - tally.report_seconds, 1e-9)
        tally.chars_per_second = tally.report_steps * self._characters_per_step / elapsed
        self._write("train", tally.report_nats / tally.report_steps, learning_rate, norm)
        tally.report_nats, tally.report_steps, tally.report_seconds = 0.0, 0, updating

    def evaluation(self, nats: float, learning_rate: float, norm: float) -> bool:
        """Write a validation loss; returns whether it is the best so far."""
        tally = self.tally
        tally.train_nats = tally.evaluation_nats / tally.evaluation_steps
        tally.evaluation_nats, tally.evaluation_steps = 0.0, 0
        tally.validation_nats = nats
        self._write("validation", nats, learning_rate, norm)
        if tally.best_nats is not None and nats >= tally.best_nats:
            tally.since_best += 1
            return False
        tally.best_nats, tally.best_step, tally.since_best = nats, tally.step, 0
        return True

    def progress(self, share: float, nats: float, learning_rate: float, norm: float, evaluated: bool) -> Progress:
        """What the caller of training sees now."""
        tally = self.tally
        return Progress(
            epoch=self._epoch,
            characters=self._characters,
            share=share,
            nats=nats,
            learning_rate=learning_rate,
            gradient_norm=norm,
            evaluated=evaluated,
            **{name: getattr(tally, name) for name in _SHARED},
        )

    @property
    def _characters(self) -> int:
        return self.tally.step * self._characters_per_step

    @property
    def _epoch(self) -> float:
        return self.tally.step / self._steps_per_epoch

    def _write(self, split: str, nats: float, learning_rate: float, norm: float) -> None:
        record: dict[str, Any] = {
            "step": self.tally.step,
            "characters": self._characters,
            "epoch": round(self._epoch, 4),
            "seconds": round(self.tally.seconds, 3),
            "split": split,
            "nats": nats,
            "bpc": nats / math.log(2),
            "learning_rate": learning_rate,
            "gradient_norm": norm,
            "chars_per_second": round(self.tally.chars_per_second),
        }
        self.run.log([record])


_SHARED = {field.name for field in fields(Tally)} & {field.name for field in fields(Progress)}
