"""Choose among scored entries: the most surprising first, or those above or below a number of bits per character."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable

from charlm.errors import SpecError
from charlm.scoring.units import Entry

MEASURES = ("mean", "worst")
DIGITS = 4  # of bits per character that are compared: equal lines differ beyond them, by what was read beside them


def ranked(
    entries: Iterable[Entry],
    *,
    by: str = "mean",
    top: int | None = None,
    sort: bool = False,
    above: float | None = None,
    below: float | None = None,
) -> Iterable[Entry]:
    """The chosen entries, in their order, or the most surprising first; equal ones keep their order.

    by: "mean", bits per character of all characters; or "worst", of the tenth that cost most (lines only).
    top: the so many most surprising, at bounded memory. sort: all, sorted; they are held in memory. above, below:
    bounds in bits per character, exclusive, the first less than the second. Raises SpecError.
    """
    if by not in MEASURES:
        raise SpecError(f"by must be one of {', '.join(MEASURES)}, not {by!r}")
    if top is not None and top < 1:
        raise SpecError(f"top must be a whole number of at least 1, not {top}")
    low, high = (-math.inf if above is None else above), (math.inf if below is None else below)
    if not low < high:
        raise SpecError(f"nothing is above {low:g} and below {high:g}: --above must be less than --below")

    def measure(entry: Entry) -> float:
        score = entry.worst if by == "worst" else entry.score
        if score is None:
            raise SpecError('by "worst" compares lines: score per line')
        return score.bits_per_char if score.characters else 0.0

    chosen = (
        entry
        for entry in entries
        if (above is None or measure(entry) > low) and (below is None or measure(entry) < high)
    )
    if top is not None:
        return heapq.nlargest(top, chosen, key=lambda entry: round(measure(entry), DIGITS))
    return sorted(chosen, key=lambda entry: round(measure(entry), DIGITS), reverse=True) if sort else chosen
