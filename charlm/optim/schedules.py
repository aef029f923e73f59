"""Learning-rate schedules: functions of where training stands, and of nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class WarmUpCosine:
    """A linear rise over the first `warm_up` updates, and half a cosine down to `final` of the peak.

    The rise counts updates and the fall counts the share of the budget that is used (steps, epochs or minutes), so
    the rate is a function of (step, progress) alone: how often a clock is read does not enter.
    """

    peak: float
    warm_up: int = 50
    final: float = 0.02

    def __call__(self, step: int, progress: float) -> float:
        """The learning rate of update number `step` (from 0), with `progress` in 0..1 of the budget used."""
        rise = min(1.0, (step + 1) / (self.warm_up + 1))
        fall = 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
        return self.peak * rise * (self.final + (1 - self.final) * fall)
