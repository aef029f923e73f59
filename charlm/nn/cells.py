"""The cells by name. A new cell is a file in this package and a row of CELLS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from charlm.nn.bidirectional import Bidirectional
from charlm.nn.cell import Cell
from charlm.nn.gru import GRU
from charlm.nn.gru_reset_after import GRUResetAfter
from charlm.nn.lstm import LSTM
from charlm.nn.rnn import RNN

RESETS = ("before", "after")
"""Where a GRU applies its reset gate: before or after the recurrent product."""
ACTIVATIONS = ("tanh", "relu")
"""The function of a plain recurrent network."""
OPTIONS: Mapping[str, tuple[str, ...]] = {"reset": RESETS, "activation": ACTIVATIONS}
"""The fields of ModelSpec that belong to some kinds of cells only, with their values."""


@dataclass(frozen=True)
class CellKind:
    """How a cell is made: `make(input_size, hidden_size, dtype, **options)`; `options` are names in OPTIONS."""

    make: Callable[..., Cell]
    options: tuple[str, ...] = ()


def _gru(input_size: int, hidden_size: int, dtype: Any, *, reset: str) -> Cell:
    return (GRU if reset == "before" else GRUResetAfter)(input_size, hidden_size, dtype)


CELLS: Mapping[str, CellKind] = {
    "gru": CellKind(_gru, ("reset",)),
    "lstm": CellKind(LSTM),
    "rnn": CellKind(RNN, ("activation",)),
}
"""The kinds of cells by name."""


def make_cell(
    kind: str,
    input_size: int,
    hidden_size: int,
    dtype: Any = np.float32,
    *,
    reset: str = RESETS[0],
    activation: str = ACTIVATIONS[0],
    bidirectional: bool = False,
) -> Cell:
    """A cell of that kind, or a bidirectional pair of them; options of other kinds are ignored.

    Raises ValueError for a kind that is not in CELLS, or a value that is not in OPTIONS.
    """
    if kind not in CELLS:
        raise ValueError(f"a cell must be one of {', '.join(CELLS)}, not {kind!r}")
    given = {"reset": reset, "activation": activation}
    options = {name: given[name] for name in CELLS[kind].options}
    for name, value in options.items():
        if value not in OPTIONS[name]:
            raise ValueError(f"{name} must be one of {', '.join(OPTIONS[name])}, not {value!r}")

    def make() -> Cell:
        return CELLS[kind].make(input_size, hidden_size, dtype, **options)

    return Bidirectional(make(), make()) if bidirectional else make()
