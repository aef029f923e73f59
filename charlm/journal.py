"""What training counts, tells its caller, and writes into metrics.jsonl."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from typing import Any

from charlm.errors import CheckpointError, in_short
from charlm.store.run import Run
from charlm.store.strict_json import MOST_NUMBER

MOST_ROLLBACKS = 3


@dataclass
class Tally:
    """All that training counts. A checkpoint keeps it whole, so that nothing is counted anew after a resume."""

    step: int = 0
    seconds: float = 0.0
    report_nats: float = 0.0  # sum over the updates since the last report
    report_steps: int = 0
    report_seconds: float = 0.0  # when the last report was made
    evaluation_nats: float = 0.0  # sum over the updates since the last evaluation
    evaluation_steps: int = 0
    chars_per_second: float = 0.0  # between the last two reports
    train_nats: float | None = None  # mean over the updates between the last two evaluations
    validation_nats: float | None = None  # at the last evaluation
    best_nats: float | None = None  # the lowest validation_nats, and when it was reached
    best_step: int | None = None
    rollbacks: int = 0  # how often training exploded and went back

    @classmethod
    def of(cls, progress: Mapping[str, Any]) -> Tally:
        """The tally that a checkpoint kept. Raises CheckpointError where it is none."""
        known = {field.name: field for field in fields(cls)}
        for name, value in progress.items():
            if name not in known or not _counts(known[name], value):
                said = in_short(f"{name} is {value!r}")
                raise CheckpointError(f"the checkpoint's {said}, which training does not count: use another checkpoint")
        return cls(**progress)


def _counts(field: Field[Any], value: Any) -> bool:
    """Whether a tally can have come to that value."""
    if value is None:
        return field.default is None
    if str(field.type).startswith("int"):
        most = MOST_ROLLBACKS + 1 if field.name == "rollbacks" else MOST_NUMBER
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < most
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST_NUMBER


@dataclass(frozen=True)
class Progress:
    """Where training stands after one update. Losses are in nats per character; None before there is one."""

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
    rollbacks: int  # how often the loss exploded; each time training went back and halved the learning rate
    evaluated: bool  # after this update the validation part was scored and a checkpoint was written


class Journal:
    """Keeps the tally of a run and logs it: every report is the mean training loss since the one before."""

    def __init__(self, run: Run, tally: Tally, characters_per_step: int, steps_per_epoch: int) -> None:
        self.run = run
        self.tally = tally
        self._characters_per_step = characters_per_step
        self._steps_per_epoch = steps_per_epoch

    def beginning(self) -> None:
        """Log the validation loss that a run begins with, where it has one before its first update."""
        if self.tally.validation_nats is not None:
            self._log("validation", self.tally.validation_nats, 0.0, 0.0)

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
        """Log the training loss."""
        tally = self.tally
        elapsed = max(tally.seconds - tally.report_seconds, 1e-9)
        tally.chars_per_second = tally.report_steps * self._characters_per_step / elapsed
        self._log("train", tally.report_nats / tally.report_steps, learning_rate, norm)
        tally.report_nats, tally.report_steps, tally.report_seconds = 0.0, 0, tally.seconds

    def evaluation(self, nats: float, learning_rate: float, norm: float) -> bool:
        """Log a validation loss; returns whether it is the best so far."""
        tally = self.tally
        tally.train_nats = tally.evaluation_nats / tally.evaluation_steps
        tally.evaluation_nats, tally.evaluation_steps = 0.0, 0
        tally.validation_nats = nats
        self._log("validation", nats, learning_rate, norm)
        if tally.best_nats is not None and nats >= tally.best_nats:
            return False
        tally.best_nats, tally.best_step = nats, tally.step
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

    def _log(self, split: str, nats: float, learning_rate: float, norm: float) -> None:
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
