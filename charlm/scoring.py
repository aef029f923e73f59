"""Score: text to nats, streaming.

A text is read from its beginning with the state carried all the way, and every character is predicted exactly once,
the first one from a newline that is read before it. That number is what training reports and what `score` returns.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from charlm.errors import DivergenceError, UnknownCharacterError
from charlm.nn.arrays import Floats, Ids, NamedArrays
from charlm.nn.loss import target_nats
from charlm.nn.model import CharLM
from charlm.nn.stack import State
from charlm.text.vocabulary import Vocabulary

STREAMS = -2  # the axis of a state that counts streams
BLOCK = 2**18  # characters scored at a time: bounds the memory whatever the length of the text
LANES = 64  # parts of a block that are read side by side
LANE_MINIMUM = 512  # characters; shorter lanes would mostly repeat their neighbour's work
STEPS = 64  # time steps between two looks at whether a lane has come to agree
AGREEMENT = 1e-6  # largest difference of two states that are taken for the same; rounding makes 2e-7 ...
DECAY = 1e-3  # ... after it has shrunk to this share of what it was: a slow drift is small, too, but stays
MOST_READINGS = 4  # of a block in lanes; what has not come to agree by then is read in one lane


@dataclass(frozen=True)
class Score:
    """How well a model predicts a text: `characters` of them cost `nats` in all."""

    characters: int
    nats: float

    @property
    def bits(self) -> float:
        """All nats as bits: nats / ln 2."""
        return self.nats / math.log(2)

    @property
    def nats_per_char(self) -> float:
        """The loss that training reports. Not a number for an empty text."""
        return self.nats / self.characters if self.characters else math.nan

    @property
    def bits_per_char(self) -> float:
        """Bits per character (bpc): nats per character / ln 2."""
        return self.nats_per_char / math.log(2)

    @property
    def perplexity(self) -> float:
        """exp of the nats per character: between how many equally likely characters the model hesitates."""
        return math.inf if self.nats_per_char > 700 else math.exp(self.nats_per_char)

    def __add__(self, other: Score) -> Score:
        return Score(self.characters + other.characters, self.nats + other.nats)


def score(model: CharLM, params: NamedArrays, vocabulary: Vocabulary, text: str | Iterable[str]) -> Score:
    """Score a text, or the pieces of one, at bounded memory.

    Raises UnknownCharacterError for a character that is not in the vocabulary, DivergenceError where the network
    explodes.
    """
    pieces = [text] if isinstance(text, str) else text
    blocks = (ids for piece in pieces for ids in _encoded(vocabulary, piece))
    total = Score(0, 0.0)
    for nats in surprisal(model, params, blocks, vocabulary.start):
        total += Score(len(nats), float(nats.sum()))
    if not math.isfinite(total.nats):
        raise DivergenceError(
            "the model's numbers grew beyond all bounds, so its predictions are none: score with another checkpoint, "
            "or train it anew with a lower --lr"
        )
    return total


def _encoded(vocabulary: Vocabulary, piece: str) -> Iterator[Ids]:
    """The ids of a piece of text, block by block."""
    try:
        for start in range(0, len(piece), BLOCK):
            yield vocabulary.encode(piece[start : start + BLOCK])
    except UnknownCharacterError:
        vocabulary.encode(piece)  # raises it with the place in the whole piece


def score_ids(model: CharLM, params: NamedArrays, ids: Ids, start: int) -> Score:
    """Score a text that is encoded already; ids (N,), `start` the id read before the first of them."""
    blocks = (ids[at : at + BLOCK] for at in range(0, len(ids), BLOCK))
    return Score(len(ids), sum(float(nats.sum()) for nats in surprisal(model, params, blocks, start)))


def surprisal(model: CharLM, params: NamedArrays, blocks: Iterable[Ids], start: int) -> Iterator[Floats]:
    """For every block of ids (N,), the nats (N,), float64, that each of its characters costs after all before it."""
    model.require_causal()
    state = model.zero_state(1)
    before = start
    for block in blocks:
        if len(block):
            inputs = np.concatenate(([before], block[:-1]))
            with np.errstate(over="ignore", invalid="ignore"):  # what that leads to is no number, and seen as such
                nats, state = _block_surprisal(model, params, inputs, block, state)
            before = int(block[-1])
            yield nats


def _block_surprisal(
    model: CharLM, params: NamedArrays, inputs: Ids, targets: Ids, state: State, lanes: int | None = None
) -> tuple[Floats, State]:
    """Nats of targets (N,) after inputs (N,), from `state` of one stream; and the state after them.

    One long text is a chain of small steps that keep no processor busy. So it is cut into lanes that are read side by
    side, all but the first from a zero state. Then each lane is read again from the state in which the lane before it
    ended, until its states agree with those of the first reading: recurrent networks forget, so this takes a few
    hundred characters. A lane that disagrees to its end hands a new state on, and the reading is repeated; a network
    that does not forget is soon read in one lane. The result is that of one long pass, whatever the network
    remembers, to about 1e-6 nats; only the speed depends on its forgetting.
    """
    lanes = lanes or max(1, min(LANES, len(targets) // LANE_MINIMUM))
    length = len(targets) // lanes
    laned = length * lanes
    reader = _Lanes(model, params, inputs[:laned].reshape(lanes, length).T, targets[:laned].reshape(lanes, length).T)

    starts = tuple(np.concatenate([layer, *[np.zeros_like(layer)] * (lanes - 1)], axis=STREAMS) for layer in state)
    reader.read(starts)
    for _ in range(1, MOST_READINGS):
        if not reader.changed_ends[:-1].any():
            break
        starts = tuple(
            np.concatenate([first, ends[..., :-1, :]], axis=STREAMS)
            for first, ends in zip(state, reader.ends, strict=True)
        )
        reader.read_again(starts)
    else:
        if lanes > 1:
            return _block_surprisal(model, params, inputs, targets, state, lanes=1)

    nats, state = reader.nats.T.reshape(-1), tuple(ends[..., -1:, :] for ends in reader.ends)
    if laned < len(targets):
        rest, state = _block_surprisal(model, params, inputs[laned:], targets[laned:], state)
        nats = np.concatenate([nats, rest])
    return nats, state


class _Lanes:
    """Lanes (S, K) of one text: their nats, and their states at every look, corrected by repeated reading."""

    def __init__(self, model: CharLM, params: NamedArrays, inputs: Ids, targets: Ids) -> None:
        self.model, self.params, self.weights = model, params, model.prepare(params)
        self.inputs, self.targets = np.ascontiguousarray(inputs), np.ascontiguousarray(targets)
        self.nats: Floats = np.empty(inputs.shape)
        self.looks: list[State] = []  # the states of the K lanes at their starts and after every STEPS characters
        self.changed_ends = np.ones(inputs.shape[1], bool)  # (K,): lanes whose last reading ended in a new state

    @property
    def ends(self) -> State:
        """Per layer (K, H), the states after the lanes' last characters."""
        return self.looks[-1]

    def read(self, starts: State) -> None:
        """Read all lanes from `starts`."""
        self.looks = [starts]
        for at in range(0, len(self.inputs), STEPS):
            self.looks.append(self._window(at, self.looks[-1]))

    def read_again(self, starts: State) -> None:
        """Read all lanes from other `starts`, and stop where every lane agrees with the reading before."""
        agreement = np.minimum(AGREEMENT, DECAY * _distance(starts, self.looks[0]))
        self.looks[0] = state = starts
        for look, at in enumerate(range(0, len(self.inputs), STEPS), 1):
            state = self._window(at, state)
            self.changed_ends = _distance(state, self.looks[look]) > agreement
            self.looks[look] = state
            if not self.changed_ends.any():
                return

    def _window(self, at: int, state: State) -> State:
        logits, state, _ = self.model.forward(self.params, self.inputs[at : at + STEPS], state, weights=self.weights)
        self.nats[at : at + STEPS] = target_nats(logits, self.targets[at : at + STEPS])
        return state


def _distance(one: State, other: State) -> Floats:
    """The largest difference of two states per stream, (K,)."""
    layers = [np.abs(a - b).max(axis=-1) for a, b in zip(one, other, strict=True)]
    result: Floats = np.max([layer.reshape(-1, layer.shape[-1]).max(axis=0) for layer in layers], axis=0)
    return result
