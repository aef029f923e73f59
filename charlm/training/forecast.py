"""The passes over the text that were expected when training began, corrected once if training shows others."""

from __future__ import annotations

from charlm.training.auto_config import Recipe, passes_in_words, rounded
from charlm.training.progress import Progress

FACTOR = 1.5  # by which an expected number of passes must be wrong to be corrected
SLOW = ": other programs may be using the processor"
LEAST_SHARE, LEAST_SECONDS = 0.1, 5.0  # of training, before its speed is known


class Forecast:
    """Compares the passes that a recipe expects with those that training will come to at its present speed.

    Only time makes them differ: a budget of steps or epochs has the passes that it has.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._expected = recipe.passes if recipe.training.minutes is not None else None

    def correction(self, progress: Progress) -> str:
        """One sentence if the expected number is wrong by FACTOR; empty otherwise, and ever after."""
        if self._expected is None or progress.share < LEAST_SHARE or progress.seconds < LEAST_SECONDS:
            return ""
        found, expected = progress.passes, self._expected
        if expected / FACTOR <= found <= expected * FACTOR:
            return ""
        self._expected = None
        reason = SLOW if found < expected else ""
        return f"At the present speed this will be about {passes_in_words(found)}, not {rounded(expected)}{reason}"
