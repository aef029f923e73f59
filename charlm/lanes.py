"""Read a long text as in one pass, but in many lanes side by side, and on all processors.

One long text is a chain of small steps that keep no processor busy. So it is cut into lanes that are read side by
side, all but the first from a zero state. Then each lane is read again from the state in which the lane before it
ended, until its states agree with those of the first reading: recurrent networks forget, small ones within a few
hundred characters, large ones within one or two thousand. A lane that disagrees to its end hands a new state on, and
the next one is read once more; with a network that remembers more than its lanes are long there are soon fewer of them,
and longer ones. The result is that of one long pass, whatever the network remembers, to about 1e-5 nats for a character
and far less for their mean; only the speed depends on its forgetting.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from charlm.nn.arrays import Floats, Ids, NamedArrays
from charlm.nn.model import CharLM
from charlm.nn.stack import STREAMS, State
from charlm.reader import Reader

BLOCK = 2**20  # characters read at a time, at most: bounds the memory whatever the length of the text
LANES = 256  # parts of a block that are read side by side, at most
MOST_STATES = 2**16  # scalars: lanes times the size of a state stays below, lest a large network fill the memory
MOST_LOOKS = 2**24  # scalars: the same for all the states that are kept of a block
LANE_MINIMUM = 2048  # characters; shorter lanes would mostly repeat their neighbour's work
STEPS = 64  # time steps between two looks at whether a lane has come to agree
AGREEMENT = 1e-5  # largest difference of two states that are taken for the same; rounding makes 2e-6 ...
DECAY = 1e-3  # ... after it has shrunk to this share of what it was: a slow drift is small, too, but stays
MOST_READINGS = 2  # of a block once more, all in all; what has not come to agree by then ...
FEWER = 4  # ... is read in so many times fewer lanes, and at last in one


def surprisal(model: CharLM, params: NamedArrays, blocks: Iterable[Ids], start: int) -> Iterator[Floats]:
    """For every block of ids (N,), the nats (N,), float64, that each of its characters costs after all before it.

    start: the id that is read before the first character.
    """
    model.require_causal()
    state, before = model.zero_state(1), start
    size = sum(layer.size for layer in state)
    longest = min(BLOCK, max(LANE_MINIMUM, MOST_LOOKS // size * STEPS))
    lanes = min(LANES, max(1, MOST_STATES // size))
    with Reader(model, params) as reader:
        for block in blocks:
            parts = []
            for at in range(0, len(block), longest):
                targets = block[at : at + longest]
                nats, state = _read(reader, np.append(targets.dtype.type(before), targets[:-1]), targets, state, lanes)
                before = int(targets[-1])
                parts.append(nats)
            yield np.concatenate(parts) if parts else np.empty(0)


def _read(reader: Reader, inputs: Ids, targets: Ids, state: State, most_lanes: int) -> tuple[Floats, State]:
    """Nats of targets (N,) after inputs (N,), from `state` of one stream; and the state after them."""
    count = max(1, min(most_lanes, len(targets) // LANE_MINIMUM))
    length = len(targets) // count
    laned = count * length
    lanes = _Lanes(reader, inputs[:laned].reshape(count, length).T, targets[:laned].reshape(count, length).T)

    starts = tuple(np.concatenate([layer, *[np.zeros_like(layer)] * (count - 1)], axis=STREAMS) for layer in state)
    lanes.read(starts)
    most = MOST_READINGS * count
    while len(wrong := 1 + np.flatnonzero(lanes.changed_ends[:-1])):
        most -= len(wrong)
        if most < 0:
            return _read(reader, inputs, targets, state, most_lanes=count // FEWER)
        lanes.read_again(wrong)

    nats, state = lanes.nats.T.reshape(-1), tuple(ends[..., -1:, :] for ends in lanes.ends)
    if laned < len(targets):
        rest, state = _read(reader, inputs[laned:], targets[laned:], state, most_lanes)
        nats = np.concatenate([nats, rest])
    return nats, state


class _Lanes:
    """Lanes (S, K) of one text: their nats, and their states at every look, corrected by repeated reading."""

    def __init__(self, reader: Reader, inputs: Ids, targets: Ids) -> None:
        self.reader = reader
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

    def read_again(self, which: Ids) -> None:
        """Read these lanes from the ends of those before them, each until it agrees with the reading before."""
        state = tuple(ends[..., which - 1, :] for ends in self.ends)
        agreement = np.minimum(AGREEMENT, DECAY * self._moved(0, which, state))
        self.changed_ends[:] = False
        for look, at in enumerate(range(0, len(self.inputs), STEPS), 1):
            state = self._window(at, state, which)
            apart = self._moved(look, which, state) > agreement
            if not apart.any():
                return
            which, agreement = which[apart], agreement[apart]
            state = tuple(layer[..., apart, :] for layer in state)
        self.changed_ends[which] = True

    def _moved(self, look: int, which: Ids, state: State) -> Floats:
        """Put new states (K', H) in the place of those of a look, and tell how far they lie apart, (K',)."""
        old = tuple(layer[..., which, :] for layer in self.looks[look])
        for layer, new in zip(self.looks[look], state, strict=True):
            layer[..., which, :] = new
        return _distance(state, old)

    def _window(self, at: int, state: State, which: Ids | slice = slice(None)) -> State:
        window = slice(at, at + STEPS)
        nats, state = self.reader(self.inputs[window, which], self.targets[window, which], state)
        self.nats[window, which] = nats
        return state


def _distance(one: State, other: State) -> Floats:
    """The largest difference of two states per stream, (K,)."""
    with np.errstate(invalid="ignore"):  # of a network that has exploded, which its nats tell
        layers = [np.abs(a - b).max(axis=-1) for a, b in zip(one, other, strict=True)]
    result: Floats = np.max([layer.reshape(-1, layer.shape[-1]).max(axis=0) for layer in layers], axis=0)
    return result
