"""How long training may go on, and the share of that which is used."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

MOST_STEPS = 2.0**62


@dataclass(frozen=True)
class Budget:
    """Updates, seconds, or both: the first that is used up ends a training."""

    steps: int | None
    seconds: float | None

    @classmethod
    def of(cls, *, steps: int | None, epochs: float | None, minutes: float | None, steps_per_epoch: int) -> Budget:
        """The smallest of all that are given; at least one is."""
        counts = [] if steps is None else [steps]
        if epochs is not None:
            counts.append(max(1, math.ceil(min(epochs * steps_per_epoch, MOST_STEPS))))
        return cls(min(counts, default=None), None if minutes is None else 60.0 * minutes)

    def share(self, steps: int, seconds: float) -> float:
        """The share that is used after so many updates and seconds, 0 to 1, of what is used the most."""
        used = [0.0]
        if self.steps is not None:
            used.append(steps / self.steps)
        if self.seconds is not None:
            used.append(seconds / self.seconds)
        return min(1.0, max(used))


class Clock:
    """Seconds of training so far, those before a resume included."""

    def __init__(self, already: float = 0.0) -> None:
        self._start = time.monotonic() - already

    @property
    def seconds(self) -> float:
        """Seconds now; read at every call."""
        return time.monotonic() - self._start
