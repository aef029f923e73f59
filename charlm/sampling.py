"""Sample: from a seed text to the characters that follow it, one by one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from charlm.errors import DivergenceError, SpecError
from charlm.mixing import Mixture
from charlm.nn.arrays import Floats, Ids, NamedArrays
from charlm.nn.model import CharLM
from charlm.nn.stack import STREAMS
from charlm.parallel.blas import blas_thread_count, blas_threads
from charlm.text.vocabulary import Vocabulary

Chances: TypeAlias = NDArray[np.float64]

DRAWN_AT_ONCE = 256
STEPS = 64  # that a thread makes between two moments at which all can be stopped
LEAST_STREAMS = 16  # per thread
COLDEST = 1e-30  # temperatures below this one choose as it does: nothing but the likeliest is left
BELOW_1 = 1 - 2.0**-52  # so that the product with a chance never rounds up to the total, which belongs to no id


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
    model: CharLM,
    params: NamedArrays,
    vocabulary: Vocabulary,
    seed: str,
    spec: SampleSpec,
    rng: np.random.Generator,
    mixture: Mixture | None = None,
) -> Iterator[str]:
    """Yield the characters that follow the seed text, as they are chosen.

    Like every text, the seed text is read from a zero state and after a newline; a character in it that the model
    does not know is read as the escape. mixture: what the network's probabilities are mixed with, if anything.
    Raises DivergenceError where the network explodes.
    """
    chosen = _choices(model, params, vocabulary, seed, spec, [rng], mixture)
    return _until(spec.stop, (vocabulary.characters[ids[0]] for ids in chosen))


def samples(
    model: CharLM,
    params: NamedArrays,
    vocabulary: Vocabulary,
    seed: str,
    spec: SampleSpec,
    rngs: Sequence[np.random.Generator],
    mixture: Mixture | None = None,
) -> list[str]:
    """What follows the seed text, once for every generator, all written side by side.

    Each is what `sample` gives for its generator, up to rounding; many at once take far less time than one by one.
    They are shared out among as many threads as matrix products have.
    """
    if not rngs:
        return []
    threads = max(1, min(blas_thread_count(), len(rngs) // LEAST_STREAMS))
    edges = [len(rngs) * thread // threads for thread in range(threads + 1)]
    shares = [
        _choices(CharLM(model.spec, model.dtype), params, vocabulary, seed, spec, rngs[start:end], mixture)
        for start, end in pairwise(edges)
    ]
    with blas_threads(1), ThreadPoolExecutor(threads) as pool:
        blocks = [np.hstack(list(pool.map(_block, shares))) for _ in range(0, spec.length, STEPS)]
    streams = np.concatenate([np.empty((0, len(rngs)), np.intp), *blocks]).T
    return ["".join(_until(spec.stop, iter(vocabulary.decode(ids)))) for ids in streams]


def _block(choices: Iterator[Ids]) -> Ids:
    """The next STEPS choices, (STEPS, B), or as many as there are."""
    return np.array(list(islice(choices, STEPS)))


def _choices(
    model: CharLM,
    params: NamedArrays,
    vocabulary: Vocabulary,
    seed: str,
    spec: SampleSpec,
    rngs: Sequence[np.random.Generator],
    mixture: Mixture | None,
) -> Iterator[Ids]:
    """The ids (B,) that B streams choose, step after step."""
    model.require_causal()
    prompt = np.concatenate(([vocabulary.start], vocabulary.encode(seed, escape=True)))
    return _chosen(model, params, prompt, len(vocabulary), spec, rngs, mixture)


def _chosen(
    model: CharLM,
    params: NamedArrays,
    prompt: Ids,
    characters: int,
    spec: SampleSpec,
    rngs: Sequence[np.random.Generator],
    mixture: Mixture | None,
) -> Iterator[Ids]:
    weights = model.prepare(params)
    with np.errstate(over="ignore", invalid="ignore"):
        logits, state, _ = model.forward(params, prompt[:, None], model.zero_state(1), weights=weights)
    step = model.stepper(params, len(rngs), weights=weights)
    last = np.repeat(logits[-1], len(rngs), axis=0)
    state = tuple(np.repeat(layer, len(rngs), axis=STREAMS) for layer in state)
    chances = _chances(rngs)
    contexts = np.repeat(mixture.ngram.context(prompt)[None], len(rngs), axis=0) if mixture else None
    for _ in range(spec.length):
        if not math.isfinite(np.vdot(last, last)):
            raise DivergenceError(
                "the model's numbers grew beyond all bounds, so there is no next character: sample from another "
                "checkpoint, or train it anew with a lower --lr"
            )
        mixed = last if mixture is None or contexts is None else mixture.log_probabilities(last, contexts)
        ids = choose(mixed[:, :characters], spec, next(chances))  # the escape is not written
        yield ids
        if contexts is not None and contexts.size:
            contexts = np.concatenate([contexts[:, 1:], ids[:, None]], axis=1)
        with np.errstate(over="ignore", invalid="ignore"):  # what that leads to is seen and told above
            last, state = step(ids, state)


def _chances(rngs: Sequence[np.random.Generator]) -> Iterator[Chances]:
    """Random numbers in [0, 1), (B,), one from every generator, without end; drawn in blocks, which takes less time."""
    while True:
        yield from np.stack([rng.random(DRAWN_AT_ONCE) for rng in rngs], axis=1)


def choose(logits: Floats, spec: SampleSpec, chances: Chances) -> Ids:
    """Choose an id for each of B streams, (B,), by probability, under the temperature, top_k and top_p of `spec`.

    logits: (B, V). chances: (B,), random numbers in [0, 1): a stream's choice is where the sum of its probabilities
    passes its chance. At temperature 0 the likeliest is taken, whatever the chance.
    """
    if spec.temperature == 0:
        likeliest: Ids = logits.argmax(axis=1)
        return likeliest
    p = logits.astype(np.float64)
    p -= _largest(p)
    p *= 1 / max(spec.temperature, COLDEST)
    np.exp(p, out=p)
    if spec.top_k is not None or spec.top_p is not None:
        for row in p:
            row[...] = _truncated(row, spec.top_k or len(row), spec.top_p or 1.0)
    cumulative = np.add.accumulate(p, axis=1)
    marks = chances * (BELOW_1 * cumulative[:, -1])
    alone = len(marks) == 1
    chosen: Ids = cumulative[0].searchsorted(marks, "right") if alone else (cumulative > marks[:, None]).argmax(axis=1)
    return chosen


def _largest(p: Floats) -> Floats | float:
    """The largest of every row, (B, 1); of one row a number, which takes a quarter of the time."""
    return np.maximum.reduce(p, axis=1, keepdims=True) if len(p) > 1 else p[0, p.argmax()]


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
