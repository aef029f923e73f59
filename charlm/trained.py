"""A trained model with its vocabulary: what `charlm.load` gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from charlm.nn.arrays import NamedArrays
from charlm.nn.model import CharLM, ModelSpec
from charlm.sampling import SampleSpec, sample
from charlm.scoring import Score, score
from charlm.store.checkpoint import load_checkpoint
from charlm.store.run import checkpoint_path
from charlm.text.vocabulary import Vocabulary


class TrainedModel:
    """A network with its parameters and vocabulary, ready to sample and to score."""

    def __init__(
        self, spec: ModelSpec, params: NamedArrays, vocabulary: Vocabulary, progress: Mapping[str, Any], path: Path
    ) -> None:
        self.spec = spec
        self.params = params
        self.vocabulary = vocabulary
        self.progress = progress  # where its training stood: see charlm.journal.Tally
        self.path = path  # the checkpoint file
        self._network = CharLM(spec)

    def sample(
        self, seed: str = "", spec: SampleSpec | None = None, *, rng_seed: int | Iterable[int] = 0, **choices: Any
    ) -> Iterator[str]:
        """Yield the characters that follow the seed text; the seed text itself is not repeated.

        seed: one character or many. spec, or its fields by name (`length=200, temperature=0.7`): how to choose.
        rng_seed: the same number gives the same sample. Raises UnknownCharacterError, SpecError.
        """
        rng = np.random.default_rng(rng_seed if isinstance(rng_seed, int) else list(rng_seed))
        spec = spec or SampleSpec(**choices)
        return sample(self._network, self.params, self.vocabulary, seed, spec, rng)

    def score(self, text: str | Iterable[str]) -> Score:
        """How well the model predicts a text, or a text in pieces, at bounded memory.

        Raises UnknownCharacterError, with the place in the whole text.
        """
        pieces = self.vocabulary.known([text] if isinstance(text, str) else text)
        return score(self._network, self.params, self.vocabulary, pieces)


def load(target: str | Path | None = None) -> TrainedModel:
    """Load a model from a run directory (its best checkpoint) or a checkpoint file; left out, from the newest run.

    Raises RunError or CheckpointError.
    """
    path = checkpoint_path(target)
    checkpoint = load_checkpoint(path)
    params = NamedArrays(checkpoint.spec.shapes)
    params.copy_from(checkpoint.params)
    return TrainedModel(checkpoint.spec, params, checkpoint.vocabulary, checkpoint.progress, path)
