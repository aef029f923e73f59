"""Sample: from a seed text to the characters that follow it, one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from charlm.errors import DivergenceError, SpecError
from charlm.nn.arrays import Floats, NamedArrays
from charlm.nn.model import CharLM
from charlm.text.vocabulary import Vocabulary


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
) -> Iterator[str]:
    """Yield the characters that follow the seed text, as they are chosen.

    Like every text, the seed text is read from a zero state and after a newline. Raises UnknownCharacterError for a
    character in it that is not in the vocabulary, before the first yield, and DivergenceError where the network
    explodes.
    """
    model.require_causal()
    prompt = np.concatenate(([vocabulary.start], vocabulary.encode(seed)))[:, None]
    return _until(spec.stop, _characters(model, params, vocabulary, prompt, spec, rng))


def _characters(
    model: CharLM,
    params: NamedArrays,
    vocabulary: Vocabulary,
    prompt: np.ndarray,
    spec: SampleSpec,
    rng: np.random.Generator,
) -> Iterator[str]:
    weights = model.prepare(params)
    state = model.zero_state(1)
    inputs = prompt
    for _ in range(spec.length):
        with np.errstate(over="ignore", invalid="ignore"):  # what that leads to is seen and told below
            logits, state, _ = model.forward(params, inputs, state, weights=weights)
        if not np.isfinite(logits[-1, 0]).all():
            raise DivergenceError(
                "the model's numbers grew beyond all bounds, so there is no next character: sample from another "
                "checkpoint, or train it anew with a lower --lr"
            )
        chosen = choose(logits[-1, 0], spec, rng)
        inputs = np.array([[chosen]])
        yield vocabulary.characters[chosen]


def choose(logits: Floats, spec: SampleSpec, rng: np.random.Generator) -> int:
    """Choose an id by its probability, from logits (V,), under the temperature, top_k and top_p of `spec`."""
    if spec.temperature == 0:
        return int(np.argmax(logits))
    with np.errstate(over="ignore"):  # at temperatures near 0, exp(-infinity) = 0 is what is meant
        p = np.exp((logits - logits.max()) / np.float64(spec.temperature))
    if spec.top_k is not None or spec.top_p is not None:
        p = _truncated(p, spec.top_k or len(p), spec.top_p or 1.0)
    cumulative = np.cumsum(p)
    below_total = np.nextafter(cumulative[-1], 0)  # the product may round up to the total, which belongs to no id
    return int(np.searchsorted(cumulative, min(rng.random() * cumulative[-1], below_total), side="right"))


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
