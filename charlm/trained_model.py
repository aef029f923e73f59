"""A trained model with its vocabulary: what `charlm.load` gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np

from charlm.analysis.inspection import SHOWN_UNITS, Inspection, inspect
from charlm.arrays import Floats, NamedArrays
from charlm.errors import CharlmError, SpecError
from charlm.nn.model import ModelSpec
from charlm.nn.softmax import log_softmax
from charlm.predict.dynamic_evaluation import DynamicEvaluation
from charlm.predict.mixture import Mixture
from charlm.predict.network import Network
from charlm.predict.ngram import NGram
from charlm.predict.predictor import Predictor, Reader
from charlm.predict.run_mixture import mixture_for
from charlm.runs.checkpoint import load_checkpoint
from charlm.runs.figures import Divergence, Mix
from charlm.runs.find import checkpoint_path, run_of
from charlm.runs.run import Run
from charlm.sampling.sample import Sample, SampleSpec, sample, samples
from charlm.scoring.score import BLOCK, Score, surprisals, total
from charlm.text.pieces import in_blocks, lines_of
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
    mix: what mixing gives on the validation part; see `load`. warning: what is wrong with the model, in one sentence,
    such as that its training diverged; empty if nothing is known. reads_records: whether it was trained on records,
    lines that are texts of their own: then samples end at their line end, and every line is scored from its own
    beginning.
    """

    def __init__(
        self,
        network: Network,
        vocabulary: Vocabulary,
        progress: Mapping[str, Any],
        path: Path,
        reads_records: bool = False,
    ) -> None:
        self.vocabulary = vocabulary
        self.progress = progress
        self.path = path
        self.reads_records = reads_records
        self.mixture: Mixture | None = None
        self.mix: Mix | None = None
        self.warning = ""
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
    def usual_reset(self) -> str:
        """Where the state starts again in scoring, if nothing else is asked for: one of RESETS_OF_STATE."""
        return "line" if self.reads_records else "file"

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
        return sample(self.predictor(), self.vocabulary, seed, self._of_record(spec or SampleSpec(**choices)), rng)

    def samples(
        self,
        seed: str = "",
        spec: SampleSpec | None = None,
        *,
        rng_seed: int = 0,
        numbers: Iterable[int] = range(1),
        **choices: Any,
    ) -> list[str]:
        """Several samples, written side by side, which takes far less time than one by one.

        numbers: which ones; number n is that of `sample(rng_seed=(rng_seed, n))`, up to rounding. Returns one string
        for each. Raises SpecError.
        """
        numbered = self.numbered_samples(seed, spec or SampleSpec(**choices), rng_seed=rng_seed, numbers=numbers)
        return [one.text for one in numbered]

    def numbered_samples(
        self, seed: str, spec: SampleSpec, *, rng_seed: int = 0, numbers: Iterable[int] = range(1)
    ) -> list[Sample]:
        """`samples`, each with its number and with why it ended."""
        numbers = list(numbers)
        rngs = [np.random.default_rng([rng_seed, number]) for number in numbers]
        found = samples(self.predictor(), self.vocabulary, seed, self._of_record(spec), rngs)
        return [replace(one, number=number) for one, number in zip(found, numbers, strict=True)]

    def _of_record(self, spec: SampleSpec) -> SampleSpec:
        """For a model of records, one that ends at the line end if it has no other stop."""
        return replace(spec, stop="\n") if self.reads_records and spec.stop is None else spec

    @overload
    def score(self, text: str) -> Score: ...  # type: ignore[overload-overlap] # a str is meant first
    @overload
    def score(self, text: Iterable[str]) -> list[Score]: ...
    def score(self, text: str | Iterable[str]) -> Score | list[Score]:
        """How well the model predicts a text: characters, nats and bits. For several texts, the score of each.

        Each text is read from its own beginning, after a newline, by a model of records every line; every character
        has a probability, unknown ones too. The pieces of one text are for `score_pieces`. Raises TypeError for
        anything but strings.
        """
        if isinstance(text, str):
            return self.score_pieces([text])
        texts = list(map(_string, text))
        if self.reads_records:
            return [self.score_pieces([one]) for one in texts]
        return [total([nats]) for nats in self.surprisals(texts, reset=True)]

    def score_pieces(self, pieces: Iterable[str]) -> Score:
        """The score of one text that comes in pieces, at bounded memory: each is read on from the one before."""
        parts = lines_of(pieces) if self.reads_records else in_blocks(pieces, BLOCK)
        return total(self.surprisals(parts, reset=self.reads_records))

    def surprisal(self, text: str) -> Floats:
        """The nats (N,), float64, that each character of a text costs: -ln of the probability it was given.

        The text is read from its beginning, after a newline, by a model of records every line. nats / ln 2 are bits;
        `score` is their sum.
        """
        parts = lines_of([text]) if self.reads_records else [text]
        return np.concatenate([np.empty(0), *self.surprisals(parts, reset=self.reads_records)])

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


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected strings, one for each text, and {value!r:.40} came: convert it with str() first")
    return value


def load(target: str | Path | None = None, *, mix: bool = False) -> TrainedModel:
    """Load a model from a run directory (its best checkpoint) or a checkpoint file; by default, from the newest run.

    mix: interpolate the network's probabilities with those of the run's n-gram when the model samples or scores, by
    the weight that was best on the validation part; the network stays alone if it is as good there.
    `TrainedModel.mix` has the figures. Raises RunError or CheckpointError.
    """
    path = checkpoint_path(target)
    checkpoint = load_checkpoint(path)
    model = TrainedModel(Network.of(checkpoint), checkpoint.vocabulary, checkpoint.progress, path, _reads_records(path))
    model.warning = _warning(path, checkpoint.step)
    if mix:
        ngram, model.mix = mixture_for(run_of(path), checkpoint)
        model.mixture = Mixture(model._network, ngram, model.mix.weight) if model.mix.helps else None
    return model


def _reads_records(path: Path) -> bool:
    """Whether the run in which a checkpoint lies was trained on records."""
    with suppress(CharlmError):  # no run, or a damaged one beside a good checkpoint
        return run_of(path).is_records
    return False


def _warning(path: Path, step: int) -> str:
    """That the training diverged which wrote a checkpoint of that step; empty if it did not."""
    with suppress(CharlmError):  # whatever is damaged beside a good checkpoint
        if diverged := Divergence.before(Run(path.parent, {}), step):
            return (
                f"This model was saved at step {step:,} of a training that diverged at step {diverged.step:,}: "
                "train with a lower --lr for a better one"
            )
    return ""
