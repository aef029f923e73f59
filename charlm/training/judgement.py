"""The verdict on a run: one decision on its figures, from which one sentence follows.

Two things are decided, each once: how the network stands beside the n-gram (`Standing`), and what may improve it
(`Advice`), which depends on the standing. No two of the words that are chosen so can contradict each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, auto

from charlm.runs.figures import Baselines

EQUAL = 0.01  # nats per character; results with a smaller difference count as equal
SMALL = 50_000  # characters to train on; with fewer, the n-gram is hard to beat
FEW_UPDATES = 300  # with fewer, a network that has learned nothing has had too little time


class Standing(Enum):
    """How the network does, in words."""

    NOT_COMPARED = ""
    ONLY_BY_ADAPTING = "neither does better than chance, but PPM does, which goes on learning while it is scored"
    NOTHING_LEARNED = "neither does better than chance: the text is too short to learn from, or random"
    ONLY_FREQUENCIES = (
        "neither predicts more than how often each character occurs: the text is too short to learn from, or random"
    )
    BETTER = "the network does better than the n-gram"
    AS_GOOD = "the network is as good as the n-gram"
    NOT_BETTER = "the n-gram is as good"
    WORSE_ON_LITTLE = "the n-gram does better on a text this small"
    WORSE = "the n-gram does better"


NOTHING_MORE = (Standing.ONLY_BY_ADAPTING, Standing.NOTHING_LEARNED, Standing.ONLY_FREQUENCIES)


class Advice(Enum):
    """What may improve the network."""

    NONE = auto()
    NOT_BEYOND_ORIGIN = auto()
    MORE_UPDATES = auto()
    OTHER_RATE = auto()
    OVERFITTED = auto()
    STALLED = auto()
    TIME = auto()


@dataclass(frozen=True)
class Facts:
    """What the verdict follows from.

    nats: of the network, per character, at its best step. baselines: None if they were not measured. vocabulary: how
    many characters there are to choose from. characters: to train on. has_stalled: the best step is long past.
    has_overfitted: and the training loss went on falling after it. has_ended: training ended before its budget was
    used up. began_with_model: see `charlm train --from`.
    """

    nats: float
    baselines: Baselines | None
    vocabulary: int
    characters: int
    best_step: int
    steps: int
    has_stalled: bool
    has_overfitted: bool
    has_ended: bool
    began_with_model: bool

    @property
    def is_at_chance(self) -> bool:
        """Whether the network does no better than if all characters were equally likely."""
        return self.nats >= self._chance

    @property
    def _chance(self) -> float:
        return math.log(self.vocabulary) - EQUAL

    @property
    def standing(self) -> Standing:
        """The first that applies."""
        if self.baselines is None:
            return Standing.NOT_COMPARED
        nats, ngram = self.nats, self.baselines.ngram_nats
        ppm, unigram = self.baselines.ppm_nats, self.baselines.unigram_nats
        neither = self.is_at_chance and ngram >= min(self._chance, nats - EQUAL)
        adapting_helps = ppm is not None and ppm < min(ngram, nats) - EQUAL
        only_frequencies = unigram is not None and min(nats, ngram) >= unigram - EQUAL and not adapting_helps
        table = (
            (Standing.ONLY_BY_ADAPTING, neither and adapting_helps),
            (Standing.NOTHING_LEARNED, neither),
            (Standing.ONLY_FREQUENCIES, only_frequencies),
            (Standing.BETTER, nats < ngram - EQUAL),
            (Standing.AS_GOOD, nats <= ngram),
            (Standing.NOT_BETTER, nats <= ngram + EQUAL),
            (Standing.WORSE_ON_LITTLE, self.characters < SMALL),
            (Standing.WORSE, True),
        )
        return next(standing for standing, applies in table if applies)

    @property
    def advice(self) -> Advice:
        """The first that applies."""
        is_behind = self.standing in (Standing.AS_GOOD, Standing.NOT_BETTER, Standing.WORSE)
        table = (
            (Advice.NONE, self.standing in NOTHING_MORE),
            (Advice.NOT_BEYOND_ORIGIN, self.began_with_model and self.best_step == 0 < self.steps),
            (Advice.MORE_UPDATES, self.is_at_chance and not self.has_stalled and self.steps < FEW_UPDATES),
            (Advice.OTHER_RATE, self.is_at_chance),
            (Advice.OVERFITTED, self.has_overfitted),
            (Advice.STALLED, self.has_stalled),
            (Advice.TIME, is_behind and self.characters >= SMALL and not self.has_ended),
            (Advice.NONE, True),
        )
        return next(advice for advice, applies in table if applies)


def judge(facts: Facts) -> str:
    """The figures side by side, and one sentence on them; empty if there is nothing to say."""
    clauses = "; ".join(filter(None, [facts.standing.value, _of_ppm(facts), _words(facts)]))
    if facts.baselines is None:
        return f"{clauses[0].upper()}{clauses[1:]}." if clauses else ""
    baselines = facts.baselines
    others = [f"{baselines.ngram_name} {baselines.ngram_nats:.2f}"]
    if baselines.ppm_nats is not None:
        others.append(f"PPM {baselines.ppm_nats:.2f}")
    if baselines.compressed:
        nats, name = baselines.compressed
        others.append(f"{name} {nats:.2f}")
    figures = f"{facts.nats:.2f} nats ({facts.nats / math.log(2):.2f} bpc); {', '.join(others)}"
    return f"{figures}: {clauses}."


def _of_ppm(facts: Facts) -> str:
    """That PPM does better than the network, and why it may; empty if it does not, or if the standing says so."""
    ppm = facts.baselines.ppm_nats if facts.baselines else None
    if ppm is None or ppm >= facts.nats - EQUAL or facts.standing in NOTHING_MORE:
        return ""
    return "PPM, which goes on learning while it is scored, does better than the network"


def _words(facts: Facts) -> str:
    """The advice in words; empty if there is none."""
    after_best = f"after step {facts.best_step:,} training"
    match facts.advice:
        case Advice.NONE:
            return ""
        case Advice.NOT_BEYOND_ORIGIN:
            return "no step improved on the initial model, and a lower --lr or more --dropout may help"
        case Advice.MORE_UPDATES:
            updates = "1 update" if facts.steps == 1 else f"{facts.steps:,} updates"
            return f"{updates} did not bring the loss below chance, and more time would help"
        case Advice.OTHER_RATE:
            return "the loss did not come below chance, and another --lr may help"
        case Advice.OVERFITTED:
            return (
                f"{after_best} began to overfit (the best model is kept), and more text, more --dropout or a smaller "
                "--hidden may help"
            )
        case Advice.STALLED:
            return f"{after_best} did not improve (the best model is kept), and a lower --lr may help"
        case Advice.TIME:
            return "more time would help"
