"""Read many short texts, each from its own beginning: side by side, whatever their lengths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from charlm.lanes import STEPS
from charlm.nn.arrays import Floats, Ids, NamedArrays
from charlm.nn.model import CharLM
from charlm.reader import Reader

LINES = 256  # read side by side
HELD = 2**20  # characters and lines that are held back, to be sorted by length


def surprisal_of_lines(model: CharLM, params: NamedArrays, lines: Iterable[Ids], start: int) -> Iterator[Floats]:
    """For every line of ids (N,), the nats (N,), float64, of its characters; the id `start` is read before each.

    Lines of like length are read together, and in the order in which they came their nats are given back.
    """
    with Reader(model, params) as reader:
        for held in _held(lines):
            order = sorted(range(len(held)), key=lambda number: -len(held[number]))
            found: list[Floats] = [np.empty(0)] * len(held)
            for first in range(0, len(order), LINES):
                batch = order[first : first + LINES]
                nats = _read(reader, [held[number] for number in batch], model, start)
                for column, number in enumerate(batch):
                    found[number] = nats[: len(held[number]), column].copy()
            yield from found


def _held(lines: Iterable[Ids]) -> Iterator[list[Ids]]:
    """Lines in groups of HELD characters or a little more."""
    held: list[Ids] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line) + 1
        if size >= HELD:
            yield held
            held, size = [], 0
    yield held


def _read(reader: Reader, lines: Sequence[Ids], model: CharLM, start: int) -> Floats:
    """Nats (T, K) of K lines, the longest first, T its length; what lies beyond a line's end means nothing."""
    lengths = np.array([len(line) for line in lines])
    targets = np.full((max(1, lengths[0]), len(lines)), start, np.intp)
    for column, line in enumerate(lines):
        targets[: len(line), column] = line
    inputs = np.concatenate([np.full((1, len(lines)), start, np.intp), targets[:-1]])

    nats = np.zeros(targets.shape)
    state = model.zero_state(len(lines))
    for at in range(0, int(lengths[0]), STEPS):
        going = int(np.count_nonzero(lengths > at))  # the others have ended
        state = tuple(layer[..., :going, :] for layer in state)
        window = slice(at, at + STEPS)
        nats[window, :going], state = reader(inputs[window, :going], targets[window, :going], state)
    return nats
