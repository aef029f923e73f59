"""A trained model with its vocabulary: what `charlm.load` gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from charlm.adapting import adapted_surprisal
from charlm.errors import SpecError
from charlm.inspecting import SHOWN_UNITS, Inspection, inspect
from charlm.nn.arrays import Floats, NamedArrays
from charlm.nn.model import CharLM, ModelSpec
from charlm.nn.stack import State
from charlm.predicting import activations, predictions
from charlm.sampling import SampleSpec, sample, samples
from charlm.scoring import Score, score, surprisal
from charlm.store.checkpoint import load_checkpoint
from charlm.store.run import checkpoint_path
from charlm.text.vocabulary import Vocabulary


class Reading(NamedTuple):
    """What a model knows of a text it has read so far."""

    layers: State  # per layer (1, H); for an LSTM (2, 1, H)
    logits: Floats  # (V,): of the next character


class TrainedModel:
    """A network with its parameters and vocabulary, ready to sample and to score.

    spec: the network's sizes. params: its named arrays, float32. vocabulary: V - 1 characters; their places are their
    ids, and the last id is the escape's. progress: where its training stood. path: the checkpoint file.
    """

    def __init__(
        self, spec: ModelSpec, params: NamedArrays, vocabulary: Vocabulary, progress: Mapping[str, Any], path: Path
    ) -> None:
        self.spec = spec
        self.params = params
        self.vocabulary = vocabulary
        self.progress = progress  # where its training stood: see charlm.journal.Tally
        self.path = path  # the checkpoint file
        self._network = CharLM(spec)

    @property
    def name(self) -> str:
        """What people call it: its checkpoint, in its run."""
        return f"{self.path.parent.name}/{self.path.name}"

    def sample(
        self, seed: str = "", spec: SampleSpec | None = None, *, rng_seed: int | Iterable[int] = 0, **choices: Any
    ) -> Iterator[str]:
        """Yield the characters that follow the seed text; the seed text itself is not repeated.

        seed: one character or many. spec, or its fields by name (`length=200, temperature=0.7`): how to choose.
        rng_seed: the same number gives the same sample. Raises SpecError.
        """
        rng = np.random.default_rng(rng_seed if isinstance(rng_seed, int) else list(rng_seed))
        spec = spec or SampleSpec(**choices)
        return sample(self._network, self.params, self.vocabulary, seed, spec, rng)

    def samples(
        self,
        seed: str = "",
        spec: SampleSpec | None = None,
        *,
        rng_seed: int = 0,
        numbers: Iterable[int] = range(1),
        **choices: Any,
    ) -> list[str]:
        """Several samples, written side by side: many at once take far less time than one by one.

        numbers: which ones; number n is that of `sample(rng_seed=(rng_seed, n))`, up to rounding. Returns one string
        for each. Raises SpecError.
        """
        rngs = [np.random.default_rng([rng_seed, number]) for number in numbers]
        spec = spec or SampleSpec(**choices)
        return samples(self._network, self.params, self.vocabulary, seed, spec, rngs)

    def score(self, text: str | Iterable[str]) -> Score:
        """How well the model predicts a text, or a text in pieces, at bounded memory: characters, nats and bits.

        It is read from its beginning, after a newline; every character has a probability, unknown ones, too.
        """
        return score(self._network, self.params, self.vocabulary, text)

    def surprisal(self, text: str) -> Floats:
        """The nats (N,), float64, that each character of a text costs: -ln of the probability it was given.

        The text is read from its beginning, after a newline. nats / ln 2 are bits; `score` is their sum.
        """
        (nats,) = self.surprisals([text])
        return nats

    def surprisals(self, pieces: Iterable[str], *, reset: bool = False, adapt: float = 0.0) -> Iterator[Floats]:
        """The nats (N,), float64, of the characters of every piece of a text, at bounded memory.

        The pieces are one text, read on from each to the next; with `reset`, each is a text of its own. adapt: the
        rate at which the model learns from what it has scored, see `charlm.adapting`; its weights stay as they are.
        Raises SpecError for a rate that makes no sense, or one together with `reset`.
        """
        if adapt and reset:
            raise SpecError("to adapt is to go on from line to line: leave reset out")
        if adapt:
            return adapted_surprisal(self._network, self.params, self.vocabulary, pieces, adapt)
        return surprisal(self._network, self.params, self.vocabulary, pieces, reset=reset)

    def predictions(self, text: str | Iterable[str], *, reset: bool = False) -> Iterator[Floats]:
        """Before each character of a text, the log-probabilities (n, V), float64, of what could come; n at a time.

        The place of a character is its id; see `next_probs`. text: one, or the pieces of one; with `reset`, each
        piece is a text of its own.
        """
        pieces = [text] if isinstance(text, str) else text
        return predictions(self._network, self.params, self.vocabulary, pieces, reset=reset)

    def activations(self, text: str) -> Iterator[tuple[dict[str, Floats], ...]]:
        """What the units did when they read each character of a text, n at a time: per layer, arrays (n, H) by name.

        "h" is the state; of a GRU there are z, r and c, too, of an LSTM c, tanh_c, i, f, o and g: see the equations.
        """
        return activations(self._network, self.params, self.vocabulary, text)

    def inspect(self, text: str | Iterable[str], units: int = SHOWN_UNITS) -> Inspection:
        """The units that follow something that can be named in a text, and the gates: see `charlm.inspecting`.

        Raises SpecError, and CorpusError for a text that is too short.
        """
        return inspect(self._network, self.params, self.vocabulary, [text] if isinstance(text, str) else text, units)

    def read(self, text: str, state: Reading | None = None) -> Reading:
        """Read a text, from its beginning or on from where `state` is: what the model then knows of it.

        Returns the states of the layers, (1, H) each or (2, 1, H), and the logits (V,) of the next character. A `state`
        that is given stays as it is.
        """
        ids = self.vocabulary.encode(text, escape=True)
        if state is None:
            ids, layers = np.concatenate(([self.vocabulary.start], ids)), self._network.zero_state(1)
        elif len(ids):
            layers = state.layers
        else:
            return state
        logits, layers, _ = self._network.forward(self.params, ids[:, None], layers, weights=self._weights)
        return Reading(layers, logits[-1, 0].copy())

    def next_probs(self, state: Reading | None = None) -> Floats:
        """The probabilities of the next character, (V,), float64; their sum is 1.

        The place of a character is its id in `vocabulary`; the last, `vocabulary.escape`, is that of all characters
        the vocabulary does not have, taken together. state: of `read`; left out, that of an empty text.
        """
        logits = (state or self.read("")).logits.astype(np.float64)
        p: Floats = np.exp(logits - logits.max())
        p /= p.sum()
        return p

    @cached_property
    def _weights(self) -> tuple[Any, ...]:
        return self._network.prepare(self.params)


def load(target: str | Path | None = None) -> TrainedModel:
    """Load a model from a run directory (its best checkpoint) or a checkpoint file; left out, from the newest run.

    Raises RunError or CheckpointError.
    """
    path = checkpoint_path(target)
    checkpoint = load_checkpoint(path)
    params = NamedArrays(checkpoint.spec.shapes)
    params.copy_from(checkpoint.params)
    return TrainedModel(checkpoint.spec, params, checkpoint.vocabulary, checkpoint.progress, path)
