"""Samples until enough of them are wanted: new ones, or different ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from charlm.errors import SamplingError
from charlm.sampling.sample import Sample

AT_ONCE = 64  # samples that are written side by side
TRIES = 100  # per sample that is wanted, before giving up


def wanted_samples(
    write: Callable[[range], Sequence[Sample]],
    count: int,
    *,
    is_new: Callable[[str], bool] | None = None,
    unique: bool = False,
) -> Iterator[Sample]:
    """Yield `count` samples in the order of their numbers, of all that are written, those that are wanted.

    write: gives the samples of some numbers. is_new: whether a text is wanted. unique: none that came before. Raises
    SamplingError when TRIES samples for each that is wanted were not enough.
    """
    seen: set[str] = set()
    found = tried = 0
    while found < count:
        if tried >= TRIES * count:
            kind = _in_words(is_new is not None, unique)
            raise SamplingError(
                f"only {found:,} of {count:,} {kind} came in {tried:,} tries: a higher --temperature gives more, or a "
                "shorter seed text"
            )
        numbers = range(tried, min(tried + AT_ONCE, TRIES * count) if is_new or unique else min(tried + AT_ONCE, count))
        for sample in write(numbers):
            if found < count and (is_new is None or is_new(sample.text)) and not (unique and sample.text in seen):
                seen.add(sample.text)
                found += 1
                yield sample
        tried = numbers.stop


def _in_words(new: bool, unique: bool) -> str:
    return " ".join(["new"] * new + ["different"] * unique + ["samples"])
