"""Inspect: which units of a network follow something that a reader can name, and how far open its gates are.

A unit is held against every feature of `charlm.text.features` by its correlation over a text, and named by the one
it follows best. Units that keep track of quotes or of the position in a line were first shown by Karpathy, Johnson &
Li, "Visualizing and Understanding Recurrent Networks", 2015; so were gates as shares of time shut and open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from charlm.errors import CorpusError, SpecError
from charlm.nn.arrays import Floats, Ids, NamedArrays
from charlm.nn.model import CharLM
from charlm.predicting import activations
from charlm.text.features import FEATURES
from charlm.text.vocabulary import Vocabulary

SHOWN_UNITS = 12
MOST_UNITS = 64
LEAST_CHARACTERS, FEW_CHARACTERS = 100, 2_000  # fewer would tell of chance only, or mostly
MOST_CHARACTERS = 100_000  # that correlations and gates are taken from
SHOWN_CHARACTERS = 10_000  # of these, whose activations are kept to be shown
BINS = 40  # of a gate's histogram, from 0 to 1
SHUT, OPEN = 0.1, 0.9  # a gate below, or above, is saturated
GATES = {"z": "update", "r": "reset", "i": "input", "f": "forget", "o": "output"}
ALSO = 2  # features that are named beside the one a unit follows best
MEMORIES = ("tanh_c", "h")  # what is shown of a unit, the first that its cell has
CONSTANT = 1e-12  # a variance below this share of the mean square is rounding


@dataclass(frozen=True)
class Unit:
    """One hidden unit, and the feature it follows best."""

    layer: int
    number: int
    feature: str
    correlation: float  # from -1 to 1
    values: Floats  # (n,): of the shown text, after every character
    followed: Floats  # (n,): the feature's numbers
    also: tuple[tuple[str, float], ...]  # the features it follows next best, with their correlations

    @property
    def name(self) -> str:
        """As its column is found among the params: layer0[37]."""
        return f"layer{self.layer}[{self.number}]"


@dataclass(frozen=True)
class Gate:
    """All values of one gate of one layer, of every unit and character."""

    layer: int
    name: str
    counts: Floats  # (BINS,), equal steps from 0 to 1

    @property
    def shut(self) -> float:
        """The share of values below SHUT."""
        return float(self.counts[: round(SHUT * BINS)].sum() / self.counts.sum())

    @property
    def open(self) -> float:
        """The share of values above OPEN."""
        return float(self.counts[round(OPEN * BINS) :].sum() / self.counts.sum())


@dataclass(frozen=True)
class Inspection:
    """What was found."""

    text: str  # the beginning of what was read: what is shown
    characters: int  # read in all
    is_cut: bool  # whether there was more to read
    units: tuple[Unit, ...]  # the most telling first
    gates: tuple[Gate, ...]

    @property
    def warning(self) -> str:
        """What whoever reads the correlations should know; empty for a text that is long enough."""
        if self.characters >= FEW_CHARACTERS:
            return ""
        return f"{self.characters:,} characters are few: what the units seem to follow may be chance"


def inspect(
    model: CharLM, params: NamedArrays, vocabulary: Vocabulary, pieces: Iterable[str], units: int = SHOWN_UNITS
) -> Inspection:
    """Read the first MOST_CHARACTERS of a text in pieces, and choose the units that follow its features best.

    Raises SpecError for a number of units that makes no sense, CorpusError for a text that is too short.
    """
    if not 1 <= units <= MOST_UNITS:
        raise SpecError(f"between 1 and {MOST_UNITS} units are shown, not {units}")
    text, is_cut = _beginning(pieces)
    if len(text) < LEAST_CHARACTERS:
        raise CorpusError(
            f"a text to inspect must have at least {LEAST_CHARACTERS} characters, not {len(text)}: in so few any "
            "unit seems to follow something; name a longer text"
        )
    features = np.array([feature(text) for feature in FEATURES.values()])
    correlation, gates = Correlation(features), _Gates(model)
    for layers in activations(model, params, vocabulary, text):
        correlation.add(_memories(layers))
        gates.add(layers)
    r = correlation.result()
    columns = most_telling(r, units)
    shown = text[:SHOWN_CHARACTERS]
    read_again = [_memories(layers)[:, columns] for layers in activations(model, params, vocabulary, shown)]
    chosen = zip(columns, np.concatenate(read_again).T, strict=True)
    found = [_unit(divmod(column, model.spec.hidden), r[:, column], values, features) for column, values in chosen]
    return Inspection(shown, len(text), is_cut, tuple(found), gates.result())


def _beginning(pieces: Iterable[str]) -> tuple[str, bool]:
    """The first MOST_CHARACTERS of a text, and whether there are more."""
    read, count = [], 0
    for piece in pieces:
        read.append(piece)
        count += len(piece)
        if count > MOST_CHARACTERS:
            return "".join(read)[:MOST_CHARACTERS], True
    return "".join(read), False


def _unit(place: tuple[int, int], r: Floats, values: Floats, features: Floats) -> Unit:
    """A unit by its layer and number, with its correlations r (F,)."""
    names = list(FEATURES)
    best, *others = np.argsort(-np.abs(r), kind="stable").tolist()
    also = tuple((names[other], float(r[other])) for other in others[:ALSO] if r[other])
    return Unit(*place, names[best], float(r[best]), values, features[best, : len(values)], also)


class Correlation:
    """Pearson's correlation of features (F, N) with units whose values come in pieces, (n, U) at a time.

        r = mean((f - mean f) * u) / (std f * std u)

    Only sums are kept. Of a feature or unit that does not vary it is 0.
    """

    def __init__(self, features: Floats) -> None:
        features = features.astype(np.float64)
        centred = features - features.mean(axis=1, keepdims=True)
        deviation = _root_of_variance(np.mean(centred**2, axis=1), np.mean(features**2, axis=1))
        self._scaled = np.divide(centred, deviation[:, None], out=centred, where=deviation[:, None] > 0)
        self._scaled[deviation == 0] = 0
        self._read = 0
        self._products: Floats = np.zeros(0)
        self._sum: Floats = np.zeros(0)
        self._squares: Floats = np.zeros(0)

    def add(self, values: Floats) -> None:
        """Go on with the values of all units, (n, U), of the next n characters."""
        if not self._read:
            F, U = len(self._scaled), values.shape[1]
            self._products, self._sum, self._squares = np.zeros((F, U)), np.zeros(U), np.zeros(U)
        values = values.astype(np.float64)
        self._products += self._scaled[:, self._read : self._read + len(values)] @ values
        self._sum += values.sum(axis=0)
        self._squares += np.einsum("nu,nu->u", values, values)
        self._read += len(values)

    def result(self) -> Floats:
        """(F, U), once all N characters were added."""
        N = self._scaled.shape[1]
        mean, square = self._sum / N, self._squares / N
        deviation = _root_of_variance(square - mean**2, square)
        r = self._products / N
        np.divide(r, deviation, out=r, where=deviation > 0)
        r[:, deviation == 0] = 0
        result: Floats = np.clip(r, -1, 1)
        return result


def most_telling(r: Floats, count: int) -> list[int]:
    """Of correlations (F, U) the columns of the units to show, at most `count`.

    The strongest comes first. After it a unit must be so much the stronger the more often the feature that it follows
    best was shown: the second for a feature twice as strong as the first for another, the third three times.
    """
    feature, strength = np.abs(r).argmax(axis=0), np.abs(r).max(axis=0)
    waiting = np.flatnonzero(strength).tolist()
    shown: Counter[int] = Counter()
    chosen: list[int] = []
    while waiting and len(chosen) < count:
        unit = max(waiting, key=lambda unit: strength[unit] / (1 + shown[feature[unit]]))
        waiting.remove(unit)
        shown[feature[unit]] += 1
        chosen.append(unit)
    return chosen


def telling_place(unit: Unit, starts: Ids, ends: Ids) -> int:
    """Which of some passages, from starts[k] to ends[k] each, shows best that a unit follows its feature."""
    values = unit.values - unit.values.mean(dtype=np.float64)
    products = np.append(0, np.cumsum(values * (unit.followed - unit.followed.mean())))
    agreement = np.sign(unit.correlation) * (products[ends] - products[starts])
    return int(np.argmax(agreement))


class _Gates:
    """Counts the values of all gates, layer by layer."""

    def __init__(self, model: CharLM) -> None:
        self._counts = {
            (layer, name): np.zeros(BINS) for layer, cell in enumerate(model.stack.cells) for name in cell.gates
        }

    def add(self, layers: Iterable[Mapping[str, Floats]]) -> None:
        """Go on with the activations of some more characters."""
        for number, layer in enumerate(layers):
            for name, values in layer.items():
                if (number, name) in self._counts:
                    bins = np.minimum((values * BINS).astype(np.int64), BINS - 1)  # 1 itself belongs to the last
                    self._counts[number, name] += np.bincount(bins.ravel(), minlength=BINS)

    def result(self) -> tuple[Gate, ...]:
        """All gates, from the first layer on."""
        return tuple(Gate(layer, name, counts) for (layer, name), counts in self._counts.items())


def _memories(layers: Iterable[Mapping[str, Floats]]) -> Floats:
    """What the units of all layers remember, side by side, (n, U)."""
    return np.concatenate([layer[next(name for name in MEMORIES if name in layer)] for layer in layers], axis=1)


def _root_of_variance(variance: Floats, square: Floats) -> Floats:
    """Standard deviations, 0 where a variance is no more than rounding beside the mean square."""
    result: Floats = np.sqrt(np.where(variance > CONSTANT * square, variance, 0))
    return result
