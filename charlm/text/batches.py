"""A long text, or many records, as B parallel sequences (the batch), read window by window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from charlm.arrays import Flags, Ids
from charlm.text.joined import IdsLike, Records

ORDER, OFFSET = 4, 0  # uses of random numbers; training has others


@dataclass(frozen=True)
class Window:
    """T time steps of B parallel sequences; every target is the character after its input."""

    inputs: Ids  # (T, B)
    targets: Ids  # (T, B)
    epoch: int
    starts_epoch: bool
    begins: Flags | None = None  # (T, B): where a record begins: its first input is the line end before it


def windows_per_epoch(characters: int, T: int, B: int) -> int:
    """How many whole windows a text gives; 0 if it is too short for one."""
    return (characters - 1) // (T * B)


def fitting_window(characters: int, T: int, B: int) -> tuple[int, int]:
    """The largest T' <= T and B' <= B for which a text of at least 2 characters fills a window.

    The batch shrinks before the window does, because a network learns more from long windows than from many.
    """
    T = min(T, characters - 1)
    return T, min(B, (characters - 1) // T)


def rare_as_unknown(once: Sequence[int], unknown: int) -> Ids:
    """A table (unknown + 1,) from ids to ids, in which characters that occur only once become the unknown character.

    Such characters stand for all that the text does not have: Good and Turing estimated the probability of something
    new from their number. So they teach the network when to expect an unknown character. Training reads them so in
    every second epoch, and as themselves in the others.
    """
    table = np.arange(unknown + 1).astype(np.min_scalar_type(unknown))
    table[list(once)] = unknown
    return table


def input_dropout(inputs: Ids, rate: float, unknown: int, rng: np.random.Generator) -> Ids:
    """A window's inputs (T, B) in which a share `rate`, chosen at random, is replaced by the unknown character.

    The network then learns to predict without relying on any single character, and to read on after a character
    that it does not know. Bowman et al. 2016 (arXiv 1511.06349), "word dropout".
    """
    return np.where(rng.random(inputs.shape, np.float32) < rate, inputs.dtype.type(unknown), inputs)


def batches(
    ids: IdsLike, T: int, B: int, rng_seed: int = 0, start: int = 0, read_as: Ids | None = None
) -> Iterator[Window]:
    """Windows of a text without end, epoch after epoch, from window number `start` on.

    ids: (N,). In each epoch the text is cut into B sequences of equal length; sequence b of a window continues
    sequence b of the window before it. Records are read in another random order in each epoch. The characters that do
    not fill a window are left out, at a place that varies from epoch to epoch, so that every character is read.
    Everything follows from (T, B, rng_seed, start): the number of the window is the only position to save. read_as:
    (V,), a table from ids to ids that is applied in the first epoch and every second one after it, see
    `rare_as_unknown`. Raises ValueError for a text that is too short.
    """
    count = windows_per_epoch(len(ids), T, B)
    if count < 1:
        raise ValueError(f"{len(ids)} ids do not fill a window of {T} steps and {B} parallel sequences")
    spare = len(ids) - 1 - count * T * B

    epoch, first = divmod(start, count)
    while True:
        offset = int(np.random.default_rng([rng_seed, OFFSET, epoch]).integers(spare + 1))
        starts = offset + count * T * np.arange(B)
        ordered = ids.shuffled(np.random.default_rng([rng_seed, ORDER, epoch])) if isinstance(ids, Records) else ids
        for index in range(first, count):
            where = starts + np.arange(index * T, (index + 1) * T)[:, None]
            inputs, targets = ordered[where], ordered[where + 1]
            begins = inputs == ordered.end if isinstance(ordered, Records) else None
            if read_as is not None and epoch % 2 == 0:
                inputs, targets = read_as[inputs], read_as[targets]
            yield Window(inputs, targets, epoch, starts_epoch=index == 0, begins=begins)
        epoch, first = epoch + 1, 0
