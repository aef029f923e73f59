"""Inspection: hidden units that follow a nameable feature of a text, and how far the gates are open.

Every unit is correlated over a text with every feature of `charlm.analysis.features`; the feature with the highest |r|
is the one that it follows. Units that track quotation marks or the position in a line, and the shares of time in which
gates are saturated, are from Karpathy, Johnson & Li, "Visualizing and Understanding Recurrent Networks", 2015.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from charlm.analysis.correlation import Correlation
from charlm.analysis.features import FEATURES
from charlm.arrays import Floats, Ids
from charlm.errors import CorpusError, SpecError
from charlm.nn.model import CharLM
from charlm.predict.network import Network
from charlm.text.vocabulary import Vocabulary

SHOWN_UNITS = 12
MOST_UNITS = 64
LEAST_CHARACTERS, FEW_CHARACTERS = 100, 2_000  # below the first all correlations are chance, below the second many
MOST_CHARACTERS = 100_000  # read for correlations and gates
SHOWN_CHARACTERS = 10_000  # of these, those whose activations are kept to be shown
BINS = 40  # of a gate's histogram, from 0 to 1
SHUT, OPEN = 0.1, 0.9  # a gate below SHUT or above OPEN is saturated
GATES = {"z": "update", "r": "reset", "i": "input", "f": "forget", "o": "output"}
NEXT_BEST = 2  # more features that a unit is reported with
MEMORIES = ("tanh_c", "h")  # what is correlated: the first of these activations that the cell has; tanh_c is an LSTM's


@dataclass(frozen=True)
class Unit:
    """One hidden unit, and the feature it follows."""

    layer: int
    number: int
    feature: str
    correlation: float  # from -1 to 1
    values: Floats  # (n,), after every character of the shown text
    feature_values: Floats  # (n,)
    next_best: tuple[tuple[str, float], ...]  # the features with the next highest |r|, and their r

    @property
    def name(self) -> str:
        """Its layer and its column in the layer's parameters: layer0[37]."""
        return f"layer{self.layer}[{self.number}]"


@dataclass(frozen=True)
class Gate:
    """A histogram of the values of one gate of one layer, over all units and characters."""

    layer: int
    name: str
    counts: Floats  # (BINS,), equal steps from 0 to 1

    @property
    def long_name(self) -> str:
        """The name in words and as a letter: update gate z."""
        return f"{GATES.get(self.name, self.name)} gate {self.name}"

    @property
    def shares(self) -> Floats:
        """The share of values in each bin, (BINS,)."""
        result: Floats = self.counts / self.counts.sum()
        return result

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
    """The result of `inspect`."""

    text: str  # the part that is shown: the beginning of what was read
    characters: int  # read in all
    is_truncated: bool  # whether the text went on after that
    units: tuple[Unit, ...]  # in the order of `choose_units`
    gates: tuple[Gate, ...]

    @property
    def warning(self) -> str:
        """A warning if the text is too short for reliable correlations; otherwise empty."""
        if self.characters >= FEW_CHARACTERS:
            return ""
        return f"With only {self.characters:,} characters, many correlations may be chance: use a longer text"


def inspect(network: Network, vocabulary: Vocabulary, pieces: Iterable[str], units: int = SHOWN_UNITS) -> Inspection:
    """Read the first MOST_CHARACTERS of a text in pieces, and choose the units that follow its features best.

    Raises SpecError for a number of units outside 1 to MOST_UNITS, CorpusError for a text that is too short.
    """
    if not 1 <= units <= MOST_UNITS:
        raise SpecError(f"the number of units must be from 1 to {MOST_UNITS}, not {units}")
    text, is_truncated = _beginning(pieces)
    if len(text) < LEAST_CHARACTERS:
        raise CorpusError(
            f"a text to inspect must have at least {LEAST_CHARACTERS} characters, not {len(text)}: "
            "with fewer, all correlations are chance; use a longer text"
        )
    features = np.array([feature(text) for feature in FEATURES.values()])
    correlation, histograms = Correlation(features), _GateHistograms(network.model)
    ids = vocabulary.encode(text, unknown=True)
    for layers in network.activations(ids):
        correlation.add(_memories(layers))
        histograms.add(layers)
    r = correlation.result()
    columns = choose_units(r, units)
    shown = text[:SHOWN_CHARACTERS]
    # Read again, because the activations of all units would take too much memory.
    chosen = [_memories(layers)[:, columns] for layers in network.activations(ids[:SHOWN_CHARACTERS])]
    found = tuple(
        _unit(divmod(column, network.model.spec.hidden), r[:, column], values, features)
        for column, values in zip(columns, np.concatenate(chosen).T, strict=True)
    )
    return Inspection(shown, len(text), is_truncated, found, histograms.result())


def _beginning(pieces: Iterable[str]) -> tuple[str, bool]:
    """The first MOST_CHARACTERS of a text, and whether it goes on after them."""
    read, count = [], 0
    for piece in pieces:
        read.append(piece)
        count += len(piece)
        if count > MOST_CHARACTERS:
            return "".join(read)[:MOST_CHARACTERS], True
    return "".join(read), False


def _unit(place: tuple[int, int], r: Floats, values: Floats, features: Floats) -> Unit:
    """The unit at a place, (layer, number). r: its correlations (F,)."""
    names = list(FEATURES)
    best, *others = np.argsort(-np.abs(r), kind="stable").tolist()
    next_best = tuple((names[other], float(r[other])) for other in others[:NEXT_BEST] if r[other])
    return Unit(*place, names[best], float(r[best]), values, features[best, : len(values)], next_best)


def choose_units(r: Floats, count: int) -> list[int]:
    """The columns of r (F, U), at most `count`, of the units to show: strong ones, of different features.

    Chosen one by one, by the highest |r| / (1 + k), where k units were already chosen for the same feature. Units
    without any correlation are never chosen.
    """
    feature, strength = np.abs(r).argmax(axis=0), np.abs(r).max(axis=0)
    candidates = np.flatnonzero(strength).tolist()
    chosen_for: Counter[int] = Counter()
    chosen: list[int] = []
    while candidates and len(chosen) < count:
        unit = max(candidates, key=lambda unit: strength[unit] / (1 + chosen_for[feature[unit]]))
        candidates.remove(unit)
        chosen_for[feature[unit]] += 1
        chosen.append(unit)
    return chosen


def best_passage(unit: Unit, starts: Ids, ends: Ids) -> int:
    """The index of the passage, from starts[k] to ends[k] in the shown text, that best shows what a unit follows."""
    values = unit.values - unit.values.mean(dtype=np.float64)
    products = np.append(0, np.cumsum(values * (unit.feature_values - unit.feature_values.mean())))
    covariance = np.sign(unit.correlation) * (products[ends] - products[starts])
    return int(np.argmax(covariance))


class _GateHistograms:
    """Histograms of all gates of all layers."""

    def __init__(self, model: CharLM) -> None:
        self._counts = {
            (layer, name): np.zeros(BINS) for layer, cell in enumerate(model.stack.cells) for name in cell.gates
        }

    def add(self, layers: Iterable[Mapping[str, Floats]]) -> None:
        """Count the activations of some more characters."""
        for layer, arrays in enumerate(layers):
            for name, values in arrays.items():
                if (layer, name) in self._counts:
                    bins = np.minimum((values * BINS).astype(np.int64), BINS - 1)  # 1.0 belongs to the last bin
                    self._counts[layer, name] += np.bincount(bins.ravel(), minlength=BINS)

    def result(self) -> tuple[Gate, ...]:
        """All gates, layer by layer."""
        return tuple(Gate(layer, name, counts) for (layer, name), counts in self._counts.items())


def _memories(layers: Iterable[Mapping[str, Floats]]) -> Floats:
    """The memories of all layers side by side, (n, U): tanh_c of an LSTM, h of any other cell."""
    return np.concatenate([layer[next(name for name in MEMORIES if name in layer)] for layer in layers], axis=1)
