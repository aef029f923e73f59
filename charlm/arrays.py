"""Named arrays that share one flat buffer, working memory that is allocated once, and the type aliases of arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]
Ids: TypeAlias = NDArray[np.integer[Any]]
"""Characters as numbers, or places in an array: any integer type."""
UnsignedIds: TypeAlias = NDArray[np.unsignedinteger[Any]]
"""Ids as a corpus keeps them: 1, 2 or 4 bytes each, as few as the vocabulary needs."""
Keys: TypeAlias = NDArray[np.uint64]
Flags: TypeAlias = NDArray[np.bool_]
Arrays: TypeAlias = Mapping[str, Floats]
"""Arrays by name: params, grads, an optimizer's memory."""
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]


class NamedArrays(dict[str, Floats]):
    """Arrays by name, each a view of one flat buffer `flat (N,)`.

    Params and grads are both of this kind, with the same names, the same shapes and the same order in the buffer.
    A change of an array changes the buffer, so one operation on `flat` reaches every parameter.
    """

    def __init__(self, shapes: Shapes, dtype: DTypeLike = np.float32, *, memory: Floats | None = None) -> None:
        """Zeros with these names and shapes. With `memory (N,)`, that array is the buffer, with its present content."""
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

    A new 40 MB array costs more in page faults than the arithmetic on it, so the arrays of a window are kept.
    A request returns an array with undefined content. The next request of the same name overwrites it.
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


def time_pieces(steps: int, scalars_per_step: int) -> Iterator[slice]:
    """Cut T time steps into slices that fit into a core's cache while several operations pass over them.

    One piece holds at most 2**15 scalars (128 kB in float32), but at least one step. A small network gets the whole
    window as one piece, because there the number of calls is the cost.
    """
    length = max(1, 2**15 // scalars_per_step)
    for start in range(0, steps, length):
        yield slice(start, min(start + length, steps))
