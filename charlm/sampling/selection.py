"""Samples that are new, or different from each other, until there are enough of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from charlm.errors import SpecError
from charlm.sampling.sample import Sample

AT_ONCE = 64  # samples that are written side by side
MOST_TRIES = 100  # per sample that is wanted
MOST_IN_VAIN = 20 * AT_ONCE  # samples in a row of which none is wanted


class Selection:
    """Iterates over (number, sample) of the samples that are wanted, in the order of their numbers.

    write: gives the samples of some numbers, see `TrainedModel.samples`. count: how many are wanted. is_known: those
    whose record it knows are left out, and so are empty ones. unique: so are those whose record came before. Iteration
    ends when there are `count`, or after MOST_TRIES samples for each that is wanted, or MOST_IN_VAIN in a row of which
    none is wanted; `found` and `tries` count. Which samples come depends on `write` alone.

    Raises SpecError for an impossible count.
    """

    def __init__(
        self,
        write: Callable[[range], list[Sample]],
        count: int,
        *,
        is_known: Callable[[str], bool] | None = None,
        unique: bool = False,
    ) -> None:
        if count < 1:
            raise SpecError(f"count must be a whole number of at least 1, not {count}")
        self.count = count
        self.found = self.tries = 0
        self._write, self._is_known, self._unique = write, is_known, unique
        self._seen: set[str] = set()

    @property
    def is_complete(self) -> bool:
        """Whether there are as many as wanted."""
        return self.found == self.count

    def __iter__(self) -> Iterator[tuple[int, Sample]]:
        in_vain = 0
        while not self.is_complete and self.tries < self.count * MOST_TRIES and in_vain < MOST_IN_VAIN:
            size = min(AT_ONCE, max(self.count - self.found, self.tries), self.count * MOST_TRIES - self.tries)
            numbers = range(self.tries, self.tries + size)
            for number, sample in zip(numbers, self._write(numbers), strict=True):
                self.tries += 1
                in_vain += 1
                if self._is_wanted(sample):
                    in_vain = 0
                    self.found += 1
                    yield number, sample
                if self.is_complete:
                    return

    def _is_wanted(self, sample: Sample) -> bool:
        record = sample.record
        if self._is_known and (not sample.strip("\n") or self._is_known(record)):
            return False
        if self._unique and record in self._seen:
            return False
        self._seen.add(record)
        return True
