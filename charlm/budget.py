"""How long training may go on, and the share of that which is used."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

MOST_STEPS = 2.0**62


@dataclass(frozen=True)
class Budget:
    """Updates or seconds; one of the two is None."""

    steps: int | None
    seconds: float | None

    @classmethod
    def of(cls, *, steps: int | None, epochs: float | None, minutes: float, steps_per_epoch: int) -> Budget:
        """The budget that is meant: steps before epochs before minutes."""
        if steps is not None:
            return cls(steps, None)
        if epochs is not None:
            return cls(max(1, math.ceil(min(epochs * steps_per_epoch, MOST_STEPS))), None)
        return cls(None, 60.0 * minutes)

    def share(self, steps: int, seconds: float) -> float:
        """The share that is used after so many updates and seconds, 0 to 1."""
        if self.steps is not None:
            return min(1.0, steps / self.steps)
        assert self.seconds is not None
        return min(1.0, seconds / self.seconds)


class Clock:
    """Seconds of training so far, those before a resume included."""

    def __init__(self, already: float = 0.0) -> None:
        self._start = time.monotonic() - already

    @property
    def seconds(self) -> float:
        """Seconds now; read at every call."""
        return time.monotonic() - self._start
