"""Score one long text with a network as fast as many short ones, with the same result.

One long text is a chain of small steps that keep no processor busy. So it is cut into lanes that are read side by
side, all but the first from a zero state. Then each lane is read again from the state in which the lane before it
ended, until its states agree with those of the first reading: recurrent networks forget, small ones within a few
hundred characters, large ones within one or two thousand. A lane that never agrees passes a new state on, and the next
lane is read once more. If that happens often, because the network remembers more than a lane is long, the block is
read in fewer and longer lanes. The result is that of one pass from beginning to end to about 1e-5 nats for a
character, and far less for their mean; only the speed depends on how soon the network forgets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from charlm.arrays import Flags, Floats, Ids
from charlm.nn.stack import BATCH_AXIS, State
from charlm.predict.window_scorer import WindowScorer

BLOCK = 2**20  # characters read at a time, at most: bounds the memory for texts of any length
LANES = 256  # parts of a block that are read side by side, at most
MOST_STATES = 2**16  # scalars: lanes times the size of a state, at most; bounds the memory of large networks
MOST_KEPT = 2**24  # scalars: the same for all the states that are kept of a block
LANE_MINIMUM = 2048  # characters; shorter lanes would mostly repeat the work of the lane before
STEPS = 64  # time steps between two comparisons of states
AGREEMENT = 1e-5  # largest difference of two states that count as equal; rounding makes 2e-6 ...
DECAY = 1e-3  # ... once it has shrunk to this share of what it was: a slow drift is small, too, but does not shrink
MOST_READINGS = 2  # of a block after the first, on average over its lanes; if more would be needed, ...
FEWER = 4  # ... it is read in so many times fewer lanes, and at last in one


def long_text_nats(scorer: WindowScorer, blocks: Iterable[Ids], start: int) -> Iterator[Floats]:
    """For every block of ids (N,), the nats (N,), float64, of each character after all before it in all blocks.

    start: the id that is read before the first character.
    """
    state, before = scorer.zero_state(1), start
    size = sum(layer.size for layer in state)
    longest = min(BLOCK, max(LANE_MINIMUM, MOST_KEPT // size * STEPS))
    lanes = min(LANES, max(1, MOST_STATES // size))
    for block in blocks:
        parts = []
        with scorer:
            for at in range(0, len(block), longest):
                targets = block[at : at + longest]
                inputs = np.append(targets.dtype.type(before), targets[:-1])
                nats, state = _score(scorer, inputs, targets, state, lanes)
                before = int(targets[-1])
                parts.append(nats)
        yield np.concatenate(parts) if parts else np.empty(0)


def _score(scorer: WindowScorer, inputs: Ids, targets: Ids, state: State, most_lanes: int) -> tuple[Floats, State]:
    """Nats of targets (N,) after inputs (N,), from `state` of one sequence; and the state after them."""
    count = max(1, min(most_lanes, len(targets) // LANE_MINIMUM))
    length = len(targets) // count
    laned = count * length
    lanes = _Lanes(scorer, inputs[:laned].reshape(count, length).T, targets[:laned].reshape(count, length).T)

    starts = tuple(np.concatenate([layer, *[np.zeros_like(layer)] * (count - 1)], axis=BATCH_AXIS) for layer in state)
    lanes.read(starts)
    most = MOST_READINGS * count
    while len(wrong := 1 + np.flatnonzero(lanes.changed_ends[:-1])):
        most -= len(wrong)
        if most < 0:
            return _score(scorer, inputs, targets, state, most_lanes=count // FEWER)
        lanes.read_again(wrong)

    nats, state = lanes.nats.T.reshape(-1), tuple(ends[..., -1:, :] for ends in lanes.ends)
    if laned < len(targets):
        rest, state = _score(scorer, inputs[laned:], targets[laned:], state, most_lanes)
        nats = np.concatenate([nats, rest])
    return nats, state


class _Lanes:
    """Lanes (S, K) of one text: their nats, and their states every STEPS characters, corrected by repeated reading."""

    def __init__(self, scorer: WindowScorer, inputs: Ids, targets: Ids) -> None:
        self.scorer = scorer
        self.inputs, self.targets = np.ascontiguousarray(inputs), np.ascontiguousarray(targets)
        self.nats: Floats = np.empty(inputs.shape)
        self.kept: list[State] = []  # the states of the K lanes at their starts and after every STEPS characters
        self.changed_ends: Flags = np.ones(inputs.shape[1], bool)  # (K,): lanes whose last reading changed their end

    @property
    def ends(self) -> State:
        """Per layer (K, H), the states after the lanes' last characters."""
        return self.kept[-1]

    def read(self, starts: State) -> None:
        """Read all lanes from `starts`."""
        self.kept = [starts]
        for at in range(0, len(self.inputs), STEPS):
            self.kept.append(self._window(at, self.kept[-1]))

    def read_again(self, which: Ids) -> None:
        """Read these lanes from the ends of those before them, each until it agrees with the reading before."""
        state = tuple(ends[..., which - 1, :] for ends in self.ends)
        agreement = np.minimum(AGREEMENT, DECAY * self._replace(0, which, state))
        self.changed_ends[:] = False
        for index, at in enumerate(range(0, len(self.inputs), STEPS), 1):
            state = self._window(at, state, which)
            apart = self._replace(index, which, state) > agreement
            if not apart.any():
                return
            which, agreement = which[apart], agreement[apart]
            state = tuple(layer[..., apart, :] for layer in state)
        self.changed_ends[which] = True

    def _replace(self, index: int, which: Ids, state: State) -> Floats:
        """Put new states (K', H) in place of kept ones; returns the distance of each to the old one, (K',)."""
        old = tuple(layer[..., which, :] for layer in self.kept[index])
        for layer, new in zip(self.kept[index], state, strict=True):
            layer[..., which, :] = new
        return _distance(state, old)

    def _window(self, at: int, state: State, which: Ids | slice = slice(None)) -> State:
        window = slice(at, at + STEPS)
        nats, state = self.scorer(self.inputs[window, which], self.targets[window, which], state)
        self.nats[window, which] = nats
        return state


def _distance(one: State, other: State) -> Floats:
    """The largest difference of two states per sequence, (K,)."""
    with np.errstate(invalid="ignore"):  # of a network that has diverged, which its nats show
        layers = [np.abs(a - b).max(axis=-1) for a, b in zip(one, other, strict=True)]
    result: Floats = np.max([layer.reshape(-1, layer.shape[-1]).max(axis=0) for layer in layers], axis=0)
    return result
