"""A long text as B parallel streams, read window by window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Window:
    """T time steps of B streams; every target is the character after its input."""

    inputs: Ids  # (T, B)
    targets: Ids  # (T, B)
    epoch: int
    starts_epoch: bool


def windows_per_epoch(characters: int, T: int, B: int) -> int:
    """How many whole windows a text gives; 0 if it is too short for one."""
    return (characters - 1) // (T * B)


def fitting_window(characters: int, T: int, B: int) -> tuple[int, int]:
    """The largest T' <= T and B' <= B for which a text of at least 2 characters fills a window.

    Streams are given up before time steps: long windows teach more than wide ones.
    """
    T = min(T, characters - 1)
    return T, min(B, (characters - 1) // T)


def with_escape(once: Sequence[int], escape: int) -> NDArray[np.integer[Any]]:
    """What each id is read as, (escape + 1,), where the characters that a text has only once are read as the escape.

    A character that came once is what an unknown one is like, so these teach a network when to expect one, as Good
    and Turing estimated it by their number. They are read so in every second epoch, and as themselves in the others.
    """
    reading = np.arange(escape + 1).astype(np.min_scalar_type(escape))
    reading[list(once)] = escape
    return reading


def with_gaps(inputs: Ids, share: float, escape: int, rng: np.random.Generator) -> Ids:
    """A window's inputs (T, B) with a share of them, by chance, read as the escape: word dropout, for characters.

    A network that cannot rely on any single character learns what stands in its place from all the others; and it
    learns to read on where it meets characters that it does not know. Bowman et al. 2016 (arXiv 1511.06349).
    """
    return np.where(rng.random(inputs.shape, np.float32) < share, inputs.dtype.type(escape), inputs)


def streams(
    ids: Ids, T: int, B: int, rng_seed: int = 0, start: int = 0, reading: NDArray[np.integer[Any]] | None = None
) -> Iterator[Window]:
    """Windows of a text without end, epoch after epoch, from window number `start` on.

    ids: (N,). In each epoch the text is cut into B streams of equal length; stream b of a window continues stream b
    of the window before it. What does not fill a window is left out, at a place that varies from epoch to epoch, so
    that every character is met. Everything follows from (T, B, rng_seed, start): there is no position to save but
    the number of the window. reading: (V,), what every id is read as in the first epoch and every second one after
    it, see `with_escape`.
    """
    count = windows_per_epoch(len(ids), T, B)
    if count < 1:
        raise ValueError(f"{len(ids)} ids do not fill a window of {T} steps and {B} streams")
    spare = len(ids) - 1 - count * T * B

    epoch, first = divmod(start, count)
    while True:
        offset = int(np.random.default_rng([rng_seed, 0, epoch]).integers(spare + 1))
        starts = offset + count * T * np.arange(B)
        for index in range(first, count):
            where = starts + np.arange(index * T, (index + 1) * T)[:, None]
            inputs, targets = ids[where], ids[where + 1]
            if reading is not None and epoch % 2 == 0:
                inputs, targets = reading[inputs], reading[targets]
            yield Window(inputs, targets, epoch, starts_epoch=index == 0)
        epoch, first = epoch + 1, 0
