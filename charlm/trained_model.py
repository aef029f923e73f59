"""A trained model with its vocabulary: what `charlm.load` gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from charlm.analysis.inspection import SHOWN_UNITS, Inspection, inspect
from charlm.arrays import Floats, NamedArrays
from charlm.errors import SpecError
from charlm.nn.model import ModelSpec
from charlm.nn.softmax import log_softmax
from charlm.predict.dynamic_evaluation import MOST_RATE, USUAL_RATE, DynamicEvaluation
from charlm.predict.mixture import Mixture
from charlm.predict.network import Network
from charlm.predict.ngram import NGram
from charlm.predict.predictor import Predictor, Reader
from charlm.predict.run_mixture import mixture_for
from charlm.runs.checkpoint import load_checkpoint
from charlm.runs.figures import Mix
from charlm.runs.find import checkpoint_path, run_of
from charlm.sampling.sample import Sample, SampleSpec, sample, samples
from charlm.sampling.selection import Selection
from charlm.scoring.score import BLOCK, Score, surprisals, total
from charlm.text.pieces import in_blocks
from charlm.text.vocabulary import Vocabulary


class Reading:
    """What a model knows of a text that it has read so far: see `TrainedModel.read`."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    @property
    def probabilities(self) -> Floats:
        """Of the next character, (V,), float64; their sum is 1."""
        p: Floats = np.exp(log_softmax(self.reader.logits())[0])
        return p


class TrainedModel:
    """A network with its parameters and vocabulary, ready to sample and to score.

    spec: the network's sizes. params: its named arrays, float32. vocabulary: V - 1 characters; their places are their
    ids, and the last id is the unknown character's. progress: where its training stood, see
    charlm.training.progress.Tally. path: the checkpoint file. mixture: the n-gram that it is mixed with, if any, and
    mix: what mixing gives on the validation part; see `load`. RATES: the usual and the highest rate of adapting.
    """

    RATES: ClassVar = (USUAL_RATE, MOST_RATE)

    def __init__(self, network: Network, vocabulary: Vocabulary, progress: Mapping[str, Any], path: Path) -> None:
        self.vocabulary = vocabulary
        self.progress = progress
        self.path = path
        self.mixture: Mixture | None = None
        self.mix: Mix | None = None
        self._network = network

    @property
    def spec(self) -> ModelSpec:
        """The network's sizes."""
        return self._network.model.spec

    @property
    def params(self) -> NamedArrays:
        """The network's parameters."""
        return self._network.params

    @property
    def name(self) -> str:
        """The names of its run and its checkpoint."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def ngram_order(self) -> int | None:
        """The order of the n-gram that the network is mixed with; None for the network alone."""
        ngram = self.mixture.ngram if self.mixture else None
        return ngram.order if isinstance(ngram, NGram) else None

    def predictor(self, adapt: float = 0.0) -> Predictor:
        """The distribution of the next character, as scoring and sampling use it; see charlm.predict.

        adapt: above 0, the learning rate at which the network adapts while it reads. Raises SpecError.
        """
        network: Predictor = self._network.with_own_buffers()
        if adapt:
            network = DynamicEvaluation(self._network.model, self.params, self.vocabulary.start, adapt)
        return Mixture(network, self.mixture.ngram, self.mixture.weight) if self.mixture else network

    def sample(
        self, seed: str = "", spec: SampleSpec | None = None, *, rng_seed: int | Iterable[int] = 0, **choices: Any
    ) -> Iterator[str]:
        """Yield the characters that follow the seed text; the seed text itself is not repeated.

        seed: one character or many. spec, or its fields by name (`length=200, temperature=0.7`): how to choose.
        rng_seed: the same number gives the same sample. Raises SpecError.
        """
        rng = np.random.default_rng(rng_seed if isinstance(rng_seed, int) else list(rng_seed))
        return sample(self.predictor(), self.vocabulary, seed, spec or SampleSpec(**choices), rng)

    def samples(
        self,
        seed: str = "",
        spec: SampleSpec | None = None,
        *,
        rng_seed: int = 0,
        numbers: Iterable[int] = range(1),
        **choices: Any,
    ) -> list[Sample]:
        """Several samples, written side by side, which takes far less time than one by one.

        numbers: which ones; number n is that of `sample(rng_seed=(rng_seed, n))`, up to rounding. Returns one string
        for each, which knows how it `ended`. Raises SpecError.
        """
        rngs = [np.random.default_rng([rng_seed, number]) for number in numbers]
        return samples(self.predictor(), self.vocabulary, seed, spec or SampleSpec(**choices), rngs)

    def new_samples(
        self,
        count: int,
        seed: str = "",
        spec: SampleSpec | None = None,
        *,
        rng_seed: int = 0,
        is_known: Callable[[str], bool] | None = None,
        unique: bool = False,
        **choices: Any,
    ) -> Selection:
        """Samples that are new: iterate over (number, sample) until there are `count`, or too many tries were in vain.

        is_known: leave out those whose record, the line they complete, it knows: `TrainingText.has_line` for lines of
        the training text; empty ones, too. unique: leave out those that came before. Raises SpecError.
        """
        spec = spec or SampleSpec(**choices)

        def write(numbers: range) -> list[Sample]:
            return self.samples(seed, spec, rng_seed=rng_seed, numbers=numbers)

        return Selection(write, count, is_known=is_known, unique=unique)

    def score(self, text: str | Iterable[str]) -> Score:
        """How well the model predicts a text, or a text in pieces, at bounded memory: characters, nats and bits.

        It is read from its beginning, after a newline; every character has a probability, unknown ones too.
        """
        return total(self.surprisals(in_blocks([text] if isinstance(text, str) else text, BLOCK)))

    def surprisal(self, text: str) -> Floats:
        """The nats (N,), float64, that each character of a text costs: -ln of the probability it was given.

        The text is read from its beginning, after a newline. nats / ln 2 are bits; `score` is their sum.
        """
        (nats,) = self.surprisals([text])
        return nats

    def surprisals(self, pieces: Iterable[str], *, reset: bool = False, adapt: float = 0.0) -> Iterator[Floats]:
        """The nats (N,), float64, of the characters of every piece of a text, at bounded memory.

        Each piece is read on from the one before; with `reset`, each from its own beginning. adapt: the learning rate
        at which the model adapts to what it has scored, see charlm.predict.dynamic_evaluation; its weights stay.
        Raises SpecError for an impossible rate, or one together with `reset`.
        """
        if adapt and reset:
            raise SpecError("adapting goes on from line to line: leave reset out")
        return surprisals(self.predictor(adapt), self.vocabulary, pieces, reset=reset)

    def predictions(self, text: str | Iterable[str], *, reset: bool = False) -> Iterator[Floats]:
        """Before each character of a text, the log-probabilities (n, V), float64, of what could come; n at a time.

        The place of a character is its id; see `next_probs`. text: one, or the pieces of one; with `reset`, each
        piece is read from its own beginning.
        """
        pieces = [text] if isinstance(text, str) else text
        encoded = (self.vocabulary.encode(piece, unknown=True) for piece in pieces)
        return self.predictor().distributions(encoded, reset=reset)

    def activations(self, text: str) -> Iterator[tuple[dict[str, Floats], ...]]:
        """What the units are after each character of a text, n characters at a time: per layer, arrays (n, H) by name.

        "h" is the state; a GRU also has z, r and n, an LSTM c, tanh_c, i, f, o and g: see the equations.
        """
        return self._network.with_own_buffers().activations(self.vocabulary.encode(text, unknown=True))

    def inspect(self, text: str | Iterable[str], units: int = SHOWN_UNITS) -> Inspection:
        """The units that follow a feature of a text, and the gates: see charlm.analysis.inspection.

        Raises SpecError, and CorpusError for a text that is too short.
        """
        pieces = [text] if isinstance(text, str) else text
        return inspect(self._network.with_own_buffers(), self.vocabulary, pieces, units)

    def read(self, text: str, state: Reading | None = None) -> Reading:
        """Read a text, from its beginning or on from `state`, which stays as it is."""
        ids = self.vocabulary.encode(text, unknown=True)
        if state is None:
            return Reading(self.predictor().reader(ids))
        reader = state.reader.rows(np.zeros(1, np.intp))
        reader.read_window(ids[:, None])
        return Reading(reader)

    def next_probs(self, state: Reading | None = None) -> Floats:
        """The probabilities of the next character, (V,), float64; their sum is 1.

        The place of a character is its id in `vocabulary`; the last, `vocabulary.unknown`, is that of all characters
        that the vocabulary does not have, taken together. state: of `read`; by default, that of an empty text.
        """
        return (state or self.read("")).probabilities


def load(target: str | Path | None = None, *, mix: bool = False) -> TrainedModel:
    """Load a model from a run directory (its best checkpoint) or a checkpoint file; by default, from the newest run.

    mix: interpolate the network's probabilities with those of the run's n-gram when the model samples or scores, by
    the weight that was best on the validation part; the network stays alone if it is as good there.
    `TrainedModel.mix` has the figures. Raises RunError or CheckpointError.
    """
    path = checkpoint_path(target)
    checkpoint = load_checkpoint(path)
    model = TrainedModel(Network.of(checkpoint), checkpoint.vocabulary, checkpoint.progress, path)
    if mix:
        ngram, model.mix = mixture_for(run_of(path), checkpoint)
        model.mixture = Mixture(model._network, ngram, model.mix.weight) if model.mix.helps else None
    return model
