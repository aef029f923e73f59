"""Learning-rate schedules: functions of where training stands, and of nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass

SHAPES = ("cosine", "linear", "constant", "steps")


@dataclass(frozen=True)
class Schedule:
    """A linear rise over the first `warm_up` updates to the peak, and then a fall of some shape:

    cosine      half a cosine, down to `final` of the peak (Loshchilov & Hutter 2017, without restarts)
    linear      a straight line to the same place
    steps       the peak, multiplied with `drop` at each of `drops` evenly spaced places
    constant    no fall

    The rise counts updates and the fall counts the share of the budget that is used (steps, epochs or minutes), so
    the rate is a function of (step, progress) alone: how often a clock is read does not enter.
    """

    peak: float
    shape: str = "cosine"
    warm_up: int = 50
    final: float = 0.02
    drop: float = 0.3
    drops: int = 3

    def __call__(self, step: int, progress: float) -> float:
        """The learning rate of update number `step` (from 0), with `progress` in 0..1 of the budget used."""
        return self.peak * self.rise(step) * self.fall(min(max(progress, 0.0), 1.0))

    def rise(self, step: int) -> float:
        """The warm-up's factor, up to 1."""
        return min(1.0, (step + 1) / (self.warm_up + 1))

    def fall(self, progress: float) -> float:
        """The shape's factor, from 1 downwards."""
        match self.shape:
            case "cosine":
                return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))
            case "linear":
                return 1 - (1 - self.final) * progress
            case "steps":
                return self.drop ** min(self.drops, int(progress * (self.drops + 1)))
            case "constant":
                return 1.0
        raise ValueError(f"a schedule is one of {', '.join(SHAPES)}, not {self.shape!r}")
