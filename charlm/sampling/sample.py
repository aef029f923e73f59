"""Sample: from a seed text to the characters that follow it, one by one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from charlm.arrays import Floats, Ids
from charlm.errors import DivergenceError, SpecError
from charlm.nn.softmax import shifted
from charlm.parallel.blas import blas_thread_count, blas_threads
from charlm.predict.predictor import Predictor, Reader
from charlm.text.vocabulary import Vocabulary

DRAWN_AT_ONCE = 256
STEPS = 64  # that a thread makes before all threads can be interrupted
LEAST_SAMPLES = 16  # per thread
COLDEST = 1e-30  # lower temperatures behave as this one does: only the likeliest character is left
BELOW_1 = 1 - 2.0**-52  # so that the product with a random number never rounds up to the total


@dataclass(frozen=True)
class SampleSpec:
    """How characters are chosen.

    length: how many to generate after the seed text. temperature: logits are divided by it; below 1 is more
    cautious, above 1 more daring, 0 always takes the likeliest. top_k: only among the k likeliest. top_p: only
    among the likeliest that together reach this probability (Holtzman et al. 2020). stop: end before this string.
    """

    length: int = 500
    temperature: float = 0.8
    top_k: int | None = None
    top_p: float | None = None
    stop: str | None = None

    def __post_init__(self) -> None:
        if self.length < 0:
            raise SpecError(f"length must be 0 or more characters, not {self.length}")
        if not 0 <= self.temperature <= 100:
            raise SpecError(f"temperature must be from 0 to 100 (0.8 is usual), not {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise SpecError(f"top-k must be 1 or more characters, not {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise SpecError(f"top-p must be a probability above 0 and up to 1, not {self.top_p}")
        if self.stop == "":
            raise SpecError("stop must be one character or more: leave it out to go on to the full length")


def sample(
    predictor: Predictor, vocabulary: Vocabulary, seed: str, spec: SampleSpec, rng: np.random.Generator
) -> Iterator[str]:
    """Yield the characters that follow the seed text, as they are chosen.

    The seed text is read from a zero state and after a newline, as every text is; a character that the model does not
    know is read as unknown. Raises DivergenceError if the predictor's numbers are not finite.
    """
    chosen = _choices(predictor, vocabulary, seed, spec, rng)
    return _until(spec.stop, (vocabulary.characters[one] for one in chosen))


@dataclass(frozen=True)
class Sample:
    """One of several samples: what follows the seed text, and why it ended there: "stop" or "length"."""

    text: str
    ended: str
    number: int = 0


def samples(
    predictor: Predictor, vocabulary: Vocabulary, seed: str, spec: SampleSpec, rngs: Sequence[np.random.Generator]
) -> list[Sample]:
    """What follows the seed text, once for every generator, numbered from 0.

    Each is what `sample` gives for its generator, up to rounding. All are written side by side, on as many threads as
    matrix products use, which takes far less time than one by one; samples that have ended leave the others to go on.
    """
    if not rngs:
        return []
    threads = max(1, min(blas_thread_count(), len(rngs) // LEAST_SAMPLES))
    edges = [len(rngs) * thread // threads for thread in range(threads + 1)]
    shares = [_SideBySide(predictor, vocabulary, seed, spec, rngs[start:end]) for start, end in pairwise(edges)]
    with blas_threads(1), ThreadPoolExecutor(threads) as pool:
        while any(list(pool.map(_SideBySide.go_on, shares))):  # in parts, so that all threads can be interrupted
            pass
    found = (one for share in shares for one in share.texts())
    return [Sample(text, ended, number) for number, (text, ended) in enumerate(found)]


class _SideBySide:
    """Samples that are written side by side, in lanes."""

    def __init__(
        self,
        predictor: Predictor,
        vocabulary: Vocabulary,
        seed: str,
        spec: SampleSpec,
        rngs: Sequence[np.random.Generator],
    ) -> None:
        B = len(rngs)
        self._vocabulary, self._spec, self._rngs = vocabulary, spec, list(rngs)
        self._reader = predictor.reader(vocabulary.encode(seed, unknown=True)).rows(np.zeros(B, np.intp))
        self._randoms = _randoms(rngs)
        self._written: list[list[int]] = [[] for _ in rngs]
        self._lanes = np.arange(B)  # the sample of each lane
        self._goes_on = np.ones(B, bool)  # of each sample
        self._step = 0
        stop = spec.stop or ""
        can_stop = stop and set(stop) <= set(vocabulary.characters)
        self._stop = vocabulary.encode(stop) if can_stop else None
        self._recent = np.full((B, len(stop)), -1)  # of each lane, the last ids

    def go_on(self) -> bool:
        """Write up to STEPS characters more of each; returns whether any sample goes on."""
        for _ in range(min(STEPS, self._spec.length - self._step)):
            if not self._goes_on.any():
                return False
            if np.count_nonzero(self._goes_on) <= len(self._lanes) // 2:
                self._leave_ended()
            self._write(_chosen(self._reader, self._vocabulary, self._spec, next(self._randoms)[self._lanes]))
            self._step += 1
        return self._step < self._spec.length and bool(self._goes_on.any())

    def _write(self, ids: Ids) -> None:
        """Add the ids (B,) to the samples of the lanes, and find out which end there."""
        for lane, one in zip(self._lanes.tolist(), ids.tolist(), strict=True):
            if self._goes_on[lane]:
                self._written[lane].append(one)
        if self._stop is not None:
            self._recent = np.concatenate([self._recent[:, 1:], ids[:, None]], axis=1)
            self._goes_on[self._lanes[(self._recent == self._stop).all(axis=1)]] = False
        self._reader.read(ids)

    def _leave_ended(self) -> None:
        """Keep the lanes of samples that go on."""
        places = np.flatnonzero(self._goes_on[self._lanes])
        self._lanes, self._recent = self._lanes[places], self._recent[places]
        self._reader = self._reader.rows(places)

    def texts(self) -> Iterator[tuple[str, str]]:
        """The samples without their stop, and why each ended."""
        for ids, goes_on in zip(self._written, self._goes_on, strict=True):
            text = self._vocabulary.decode(ids)
            yield (text, "length") if goes_on else (text.removesuffix(self._spec.stop or ""), "stop")


def _choices(
    predictor: Predictor, vocabulary: Vocabulary, seed: str, spec: SampleSpec, rng: np.random.Generator
) -> Iterator[int]:
    """The ids that are chosen for one sample, step after step."""
    reader = predictor.reader(vocabulary.encode(seed, unknown=True))
    randoms = _randoms([rng])
    for _ in range(spec.length):
        ids = _chosen(reader, vocabulary, spec, next(randoms))
        yield int(ids[0])
        reader.read(ids)


def _chosen(reader: Reader, vocabulary: Vocabulary, spec: SampleSpec, randoms: Floats) -> Ids:
    """The next ids (B,) of the texts of a reader. Raises DivergenceError if its numbers are not finite."""
    logits = reader.logits()
    if not math.isfinite(np.vdot(logits, logits)):
        raise DivergenceError(
            "the model diverged: its numbers are not finite, so there is no next character; sample from another "
            "checkpoint, or train it again with a lower --lr"
        )
    return choose(logits[:, : len(vocabulary)], spec, randoms)  # the unknown character is never written


def _randoms(rngs: Sequence[np.random.Generator]) -> Iterator[Floats]:
    """Random numbers in [0, 1), (B,), one from every generator, without end; drawn in blocks, which takes less time."""
    while True:
        yield from np.stack([rng.random(DRAWN_AT_ONCE) for rng in rngs], axis=1)


def choose(logits: Floats, spec: SampleSpec, randoms: Floats) -> Ids:
    """Choose an id for each of B samples, (B,), by probability, under the temperature, top_k and top_p of `spec`.

    logits: (B, V). randoms: (B,), in [0, 1): the choice is the id at which the cumulative probability exceeds the
    random number. At temperature 0 it is the likeliest id, whatever the random number.
    """
    if spec.temperature == 0:
        likeliest: Ids = logits.argmax(axis=1)
        return likeliest
    p = shifted(logits.astype(np.float64))
    p *= 1 / max(spec.temperature, COLDEST)
    np.exp(p, out=p)
    if spec.top_k is not None or spec.top_p is not None:
        for row in p:
            row[...] = _truncated(row, spec.top_k or len(row), spec.top_p or 1.0)
    cumulative = np.add.accumulate(p, axis=1)
    marks = randoms * (BELOW_1 * cumulative[:, -1])
    alone = len(marks) == 1
    chosen: Ids = cumulative[0].searchsorted(marks, "right") if alone else (cumulative > marks[:, None]).argmax(axis=1)
    return chosen


def _truncated(p: Floats, top_k: int, top_p: float) -> Floats:
    """p (V,) with zeros for all but the `top_k` likeliest, and of these all but the first that reach `top_p`."""
    order = np.argsort(-p, kind="stable")[:top_k]
    mass = np.cumsum(p[order])
    kept = order[: int(np.searchsorted(mass, top_p * mass[-1])) + 1]
    result = np.zeros_like(p)
    result[kept] = p[kept]
    return result


def _until(stop: str | None, characters: Iterator[str]) -> Iterator[str]:
    """Pass characters on up to the first `stop`, holding back only what may turn out to be its beginning."""
    if stop is None:
        yield from characters
        return
    held = ""
    for character in characters:
        held += character
        if held == stop:
            return
        while held and not stop.startswith(held):
            yield held[0]
            held = held[1:]
    yield from held
