"""Named arrays that share one flat buffer, and working memory that is allocated once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]
Ids: TypeAlias = NDArray[np.integer[Any]]
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]


class NamedArrays(dict[str, Floats]):
    """Arrays by name, each a view of one flat buffer `flat (N,)`.

    Params and grads are both of this kind: the same names, the same shapes, the same order in the buffer.
    Work on an array is work on the buffer, so one operation on `flat` reaches every parameter.
    """

    def __init__(self, shapes: Shapes, dtype: DTypeLike = np.float32, *, memory: Floats | None = None) -> None:
        """Zeros of these names and shapes; or, with `memory (N,)`, what is there now, as the buffer itself."""
        size = sum(map(math.prod, shapes.values()))
        self.flat: Floats = np.zeros(size, dtype) if memory is None else memory
        start = 0
        for name, shape in shapes.items():
            end = start + math.prod(shape)
            self[name] = self.flat[start:end].reshape(shape)
            start = end

    def copy_from(self, other: Mapping[str, Floats]) -> None:
        """Fill every array with the one of the same name in `other`, converted to this dtype."""
        for name, array in self.items():
            array[...] = other[name]

    @classmethod
    def like(cls, other: NamedArrays) -> NamedArrays:
        """Zeros with the names, shapes and dtype of `other`."""
        return cls({name: array.shape for name, array in other.items()}, other.flat.dtype)


def group(arrays: Mapping[str, Floats], prefix: str) -> dict[str, Floats]:
    """The arrays named `prefix.x`, under the short name `x`; the arrays themselves, not copies."""
    start = prefix + "."
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}


class Buffers:
    """Working memory by name: allocated at the first request, reused at every later one.

    A fresh 40 MB array costs more in page faults than the arithmetic done on it, so a window's arrays are kept.
    What a request returns holds whatever was left there, and is overwritten by the next request of that name.
    """

    def __init__(self, dtype: DTypeLike = np.float32) -> None:
        self.dtype = np.dtype(dtype)
        self._memory: dict[str, Floats] = {}

    def __call__(self, name: str, *shape: int) -> Floats:
        """An array of `shape` with undefined content; a smaller shape than before reuses the larger memory."""
        size = math.prod(shape)
        memory = self._memory.get(name)
        if memory is None or memory.size < size:
            memory = self._memory[name] = np.empty(size, self.dtype)
        return memory[:size].reshape(shape)

    @property
    def nbytes(self) -> int:
        """Bytes held at present."""
        return sum(memory.nbytes for memory in self._memory.values())


def time_pieces(steps: int, scalars_per_step: int) -> Iterator[slice]:
    """Cut T time steps into slices that stay in a core's cache while several passes go over them.

    One piece holds at most 2**15 scalars (128 kB in float32) or one step, whichever is more. Small networks get
    the whole window in one piece, where the cost is the number of calls; large ones never leave the cache.
    """
    length = max(1, 2**15 // scalars_per_step)
    for start in range(0, steps, length):
        yield slice(start, min(start + length, steps))
