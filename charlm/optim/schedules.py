"""Learning-rate schedules: functions of the progress of training alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

SHAPES = ("cosine", "linear", "constant", "steps")


@dataclass(frozen=True)
class Schedule:
    """A linear warm-up over the first `warm_up` updates to the peak, and then a decay:

    cosine      half a cosine, down to `final` of the peak (Loshchilov & Hutter 2017, without restarts)
    linear      a straight line to the same value
    steps       multiplied by `drop` at `drops` evenly spaced points
    constant    no decay

    The warm-up counts updates, the decay the share of the budget that is used (steps, epochs or minutes), so the rate
    is a function of (step, progress) alone.
    """

    peak: float
    shape: str
    warm_up: int
    final: float = 0.02
    drop: float = 0.3
    drops: int = 3

    def __call__(self, step: int, progress: float) -> float:
        """The learning rate of update number `step` (from 0), with the share `progress` (0 to 1) of the budget used.

        Raises ValueError for an unknown shape.
        """
        return self.peak * self.warm_up_factor(step) * self.decay_factor(min(max(progress, 0.0), 1.0))

    def warm_up_factor(self, step: int) -> float:
        """The factor of the warm-up, up to 1."""
        return min(1.0, (step + 1) / (self.warm_up + 1))

    def decay_factor(self, progress: float) -> float:
        """The factor of the decay, from 1 downwards."""
        match self.shape:
            case "cosine":
                return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))
            case "linear":
                return 1 - (1 - self.final) * progress
            case "steps":
                return self.drop ** min(self.drops, int(progress * (self.drops + 1)))
            case "constant":
                return 1.0
        raise ValueError(f"a schedule must be one of {', '.join(SHAPES)}, not {self.shape!r}")
