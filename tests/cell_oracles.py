"""Every cell by name, with random parameters, and the same cell step by step with the functions of charlm.reference."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from charlm import reference
from charlm.nn.cell import Cell
from charlm.nn.cells import CELLS, OPTIONS, make_cell
from charlm.nn.model import ModelSpec

Array = np.ndarray[Any, Any]


def variants() -> dict[str, dict[str, Any]]:
    """Every cell with every value of its options, as fields of ModelSpec: "gru before", "gru after", "lstm", ..."""
    return {
        " ".join((kind, *values)): {"cell": kind, **dict(zip(cell.options, values, strict=True))}
        for kind, cell in CELLS.items()
        for values in itertools.product(*(OPTIONS[name] for name in cell.options))
    }


VARIANTS = tuple(variants())


def variant_of(spec: ModelSpec) -> str:
    """The name in `variants()` of a network's cells."""
    return " ".join((spec.cell, *(getattr(spec, option) for option in CELLS[spec.cell].options)))


def cell_named(
    name: str, input_size: int, hidden_size: int, dtype: Any = np.float64, *, bidirectional: bool = False
) -> Cell:
    """A cell by its name in `variants()`."""
    options = variants()[name]
    return make_cell(options.pop("cell"), input_size, hidden_size, dtype, bidirectional=bidirectional, **options)


def random_params(cell: Cell, rng: np.random.Generator, scale: float = 0.8) -> dict[str, Array]:
    """Parameters of a cell, every element random, biases too."""
    return {name: rng.normal(0, scale, shape) for name, shape in cell.shapes.items()}


def random_state(cell: Cell, rng: np.random.Generator, batch: int) -> Array:
    """A state of a cell, every element random."""
    return rng.uniform(-1, 1, cell.zero_state(batch).shape)


def empty_grads(params: Mapping[str, Array]) -> dict[str, Array]:
    """Arrays for gradients, filled with NaN so that elements that are not written are noticed."""
    return {name: np.full_like(array, np.nan) for name, array in params.items()}


def by_gate(array: Array, hidden_size: int) -> list[Array]:
    """The gates of a packed array (..., G H) as the reference has them, (H, ...): columns."""
    return [np.atleast_2d(part).T for part in np.split(array, array.shape[-1] // hidden_size, axis=-1)]


def gru_arguments(params: Mapping[str, Array]) -> list[Array]:
    """W_z, U_z, b_z, W_r, U_r, b_r, W_n, U_n, b_n of the reference, biases (H, 1), from packed parameters."""
    H = params["U"].shape[0]
    W, U, b = (by_gate(params[name], H) for name in ("W", "U", "b"))
    return [array for gate in range(3) for array in (W[gate], U[gate], b[gate])]


def reference_step(name: str, params: Mapping[str, Array], x: Array, state: Array) -> tuple[dict[str, Array], Array]:
    """One step of a cell for x (B, D): all that `Cell.activations` names, each (B, H), and the next state."""
    H = params["U"].shape[0]
    W, U, b = (by_gate(params[array], H) for array in ("W", "U", "b"))
    x = x.T
    if name == "lstm":
        h, c = state[0].T, state[1].T
        i, f, o = (reference.sigmoid(W[k] @ x + U[k] @ h + b[k]) for k in range(3))
        g = np.tanh(W[3] @ x + U[3] @ h + b[3])
        matrices = [array for k in (1, 0, 3, 2) for array in (W[k], U[k])]
        h, c = reference.lstm_cell(x, h, c, *matrices, *(b[k] for k in (1, 0, 3, 2)))
        found = {"h": h, "c": c, "tanh_c": np.tanh(c), "i": i, "f": f, "o": o, "g": g}
        return {key: value.T for key, value in found.items()}, np.stack([h.T, c.T])
    h = state.T
    if name.startswith("rnn "):
        h = reference.rnn_cell(x, h, W[0], U[0], b[0], name.removeprefix("rnn "))
        return {"h": h.T}, h.T
    assert name in ("gru before", "gru after"), f"add the reference functions of {name} here"
    z, r, n = reference.gru_gates(x, h, *gru_arguments(params))
    if name == "gru before":
        h = reference.gru_cell(x, h, *gru_arguments(params))
    else:
        b_rn = params["b_rn"][:, None]
        n = np.tanh(W[2] @ x + b[2] + r * (U[2] @ h + b_rn))
        h = reference.gru_cell_reset_after(x, h, *[*gru_arguments(params), b_rn])
    return {key: value.T for key, value in {"h": h, "z": z, "r": r, "n": n}.items()}, h.T


def reference_window(name: str, params: Mapping[str, Array], inputs: Array, state: Array) -> tuple[Array, Array]:
    """Outputs (T, B, H) and last state of a cell over inputs (T, B, D), one step after the other."""
    outputs = []
    for x in inputs:
        found, state = reference_step(name, params, x, state)
        outputs.append(found["h"])
    return np.stack(outputs), state
