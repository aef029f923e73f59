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
    among the likeliest that together reach this probability (Holtzman et al. 2020). stop: end before this string; it is
    not a part of the sample.
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


class Sample(str):
    """The text of a sample, which also knows how it ended.

    ended: "stop" if it ended before the stop of its SampleSpec, "length" if it has its whole length. seed: the text
    that it continues.
    """

    __slots__ = ("ended", "seed")
    ended: str
    seed: str

    def __new__(cls, text: str, ended: str, seed: str = "") -> Sample:
        """A text with its end."""
        made = super().__new__(cls, text)
        made.ended, made.seed = ended, seed
        return made

    @property
    def record(self) -> str:
        """The line that it completes: the last line of the seed text, and the sample, without a line end."""
        return (self.seed.rpartition("\n")[2] + self).removesuffix("\n")


def sample(
    predictor: Predictor, vocabulary: Vocabulary, seed: str, spec: SampleSpec, rng: np.random.Generator
) -> Iterator[str]:
    """Yield the characters that follow the seed text, as they are chosen.

    The seed text is read from a zero state and after a newline, as every text is; a character that the model does not
    know is read as unknown. Raises DivergenceError if the predictor's numbers are not finite.
    """
    reader, randoms = _reader(predictor, vocabulary, seed, 1), _Randoms([rng])

    def characters() -> Iterator[str]:
        for _ in range(spec.length):
            ids = _next_ids(reader, vocabulary, spec, randoms)
            yield vocabulary.characters[ids[0]]
            reader.read(ids)

    return _until(spec.stop, characters())


def samples(
    predictor: Predictor, vocabulary: Vocabulary, seed: str, spec: SampleSpec, rngs: Sequence[np.random.Generator]
) -> list[Sample]:
    """What follows the seed text, once for every generator.

    Each is what `sample` gives for its generator, up to rounding. All are written side by side, on as many threads as
    matrix products use, which takes far less time than one by one.
    """
    if not rngs:
        return []
    threads = max(1, min(blas_thread_count(), len(rngs) // LEAST_SAMPLES))
    edges = [len(rngs) * thread // threads for thread in range(threads + 1)]
    batches = [_Batch(predictor, vocabulary, seed, spec, rngs[start:end]) for start, end in pairwise(edges)]
    with blas_threads(1), ThreadPoolExecutor(threads) as pool:
        while any(batch.is_going for batch in batches):
            list(pool.map(_Batch.go_on, batches))
    return [found for batch in batches for found in batch.samples()]


class _Batch:
    """Samples that are written side by side. Those that have stopped leave, so that the others take less time."""

    def __init__(
        self,
        predictor: Predictor,
        vocabulary: Vocabulary,
        seed: str,
        spec: SampleSpec,
        rngs: Sequence[np.random.Generator],
    ) -> None:
        self._vocabulary, self._seed, self._spec = vocabulary, seed, spec
        self._stop = [] if spec.stop is None else vocabulary.encode(spec.stop, unknown=True).tolist()
        self._ids: list[list[int]] = [[] for _ in rngs]  # of every sample, without the stop
        self._has_stopped = np.zeros(len(rngs), bool)
        self._steps = 0
        self._places = np.arange(len(rngs))  # of the samples that the reader has
        self._reader, self._randoms = _reader(predictor, vocabulary, seed, len(rngs)), _Randoms(rngs)

    @property
    def is_going(self) -> bool:
        """Whether a sample has neither stopped nor reached its length."""
        return self._steps < self._spec.length and not self._has_stopped.all()

    def go_on(self) -> None:
        """Write up to STEPS characters of every sample."""
        for _ in range(STEPS):
            if not self.is_going:
                return
            ids = _next_ids(self._reader, self._vocabulary, self._spec, self._randoms)
            self._steps += 1
            self._append(ids)
            self._reader.read(ids)
            self._let_leave()

    def samples(self) -> list[Sample]:
        """All, in their order."""
        ends = ("stop" if stopped else "length" for stopped in self._has_stopped)
        return [Sample(self._vocabulary.decode(ids), end, self._seed) for ids, end in zip(self._ids, ends, strict=True)]

    def _append(self, ids: Ids) -> None:
        for place, one in zip(self._places.tolist(), ids.tolist(), strict=True):
            if self._has_stopped[place]:
                continue
            written = self._ids[place]
            written.append(one)
            if self._stop and one == self._stop[-1] and written[-len(self._stop) :] == self._stop:
                del written[-len(self._stop) :]
                self._has_stopped[place] = True

    def _let_leave(self) -> None:
        """Once half have stopped: a reader of fewer texts takes some steps' time to make."""
        going = np.flatnonzero(~self._has_stopped[self._places])
        if 0 < 2 * len(going) <= len(self._places):
            self._places, self._reader = self._places[going], self._reader.rows(going)
            self._randoms.keep(going)


def _reader(predictor: Predictor, vocabulary: Vocabulary, seed: str, count: int) -> Reader:
    """A reader of `count` texts that all begin with the seed text."""
    return predictor.reader(vocabulary.encode(seed, unknown=True)).rows(np.zeros(count, np.intp))


def _next_ids(reader: Reader, vocabulary: Vocabulary, spec: SampleSpec, randoms: _Randoms) -> Ids:
    """The ids (B,) that are chosen for the next character of B samples."""
    logits = reader.logits()
    if not math.isfinite(np.vdot(logits, logits)):
        raise DivergenceError(
            "the model diverged: its numbers are not finite, so there is no next character; sample from another "
            "checkpoint, or train it again with a lower --lr"
        )
    return choose(logits[:, : len(vocabulary)], spec, randoms.draw())  # the unknown character is never written


class _Randoms:
    """Random numbers in [0, 1), one from every generator; drawn in blocks, which takes less time."""

    def __init__(self, rngs: Sequence[np.random.Generator]) -> None:
        self._rngs = list(rngs)
        self._block: Floats = np.empty((0, len(self._rngs)))
        self._used = 0

    def draw(self) -> Floats:
        """The next of each, (B,)."""
        if self._used == len(self._block):
            self._block, self._used = np.stack([rng.random(DRAWN_AT_ONCE) for rng in self._rngs], axis=1), 0
        self._used += 1
        row: Floats = self._block[self._used - 1]
        return row

    def keep(self, places: Ids) -> None:
        """Go on with some of the generators."""
        self._rngs = [self._rngs[place] for place in places]
        self._block = self._block[:, places]


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
