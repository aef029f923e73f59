"""From ids to vectors: a one-hot input as a row look-up, and the way back.

A one-hot vector x times a matrix W is the row of W that x points at, so the product is never computed and the
vector never exists. Inputs that are vectors already (the output of the layer below) are multiplied in one matmul
for the whole window.
"""

from __future__ import annotations

from typing import TypeGuard

import numpy as np

from charlm.nn.arrays import Buffers, Floats, Ids


def project(inputs: Ids | Floats, W: Floats, b: Floats, out: Floats) -> Floats:
    """x W + b for every time step and stream, written to `out (T, B, G)`.

    inputs: ids (T, B), each meaning a one-hot vector of W's height, or vectors (T, B, D). W: (D, G), b: (G,).
    """
    rows = out.reshape(-1, out.shape[-1])
    if is_ids(inputs):
        few = len(W) < len(rows)  # then adding b to the V rows of W costs less than to the T*B rows of the result
        np.take(W + b if few else W, inputs.reshape(-1), axis=0, out=rows, mode="clip")  # "clip" writes into out
        if few:
            return out
    else:
        np.matmul(inputs.reshape(-1, inputs.shape[-1]), W, out=rows)
    rows += b
    return out


def project_step(x: Ids | Floats, W: Floats, b: Floats) -> Floats:
    """x W + b for one time step, a new array (B, G); x: ids (B,) or vectors (B, D)."""
    a: Floats = W.take(x, axis=0) if is_ids(x) else x @ W
    a += b
    return a


def project_back(inputs: Ids | Floats, da: Floats, dW: Floats, db: Floats) -> None:
    """The gradients of `project` for its weights, from da (T, B, G); written to dW (D, G) and db (G,)."""
    rows = da.reshape(-1, da.shape[-1])
    if is_ids(inputs):
        sum_rows_by_id(inputs.reshape(-1), rows, dW)
        np.sum(dW, axis=0, out=db)  # every row of da went into exactly one row of dW
    else:
        np.matmul(inputs.reshape(-1, inputs.shape[-1]).T, rows, out=dW)
        np.matmul(np.ones(len(rows), rows.dtype), rows, out=db)  # a sum over rows, at matmul speed


def input_slope(inputs: Ids | Floats, da: Floats, W_T: Floats, buffers: Buffers) -> Floats | None:
    """The slope of `project` in vector inputs, (T, B, D), from da (T, B, G) and W transposed (G, D); None for ids."""
    if is_ids(inputs):
        return None
    T, B, G = da.shape
    slope = buffers("input_slope", T * B, W_T.shape[1])
    return np.matmul(da.reshape(T * B, G), W_T, out=slope).reshape(T, B, -1)


def sum_rows_by_id(ids: Ids, rows: Floats, out: Floats) -> None:
    """out[v] = the sum of rows[n] over all n with ids[n] = v; ids (N,), rows (N, G), out (V, G).

    This is x^T da for one-hot x. A sort brings equal ids together, so each distinct character costs one gather and
    one sum, and characters that do not occur cost nothing: large alphabets stay cheap.
    """
    order = np.argsort(ids, kind="stable")
    present, starts = np.unique(ids[order], return_index=True)
    out[...] = 0
    for v, start, end in zip(present, starts, [*starts[1:], len(ids)], strict=bool(len(ids))):
        np.sum(rows[order[start:end]], axis=0, out=out[v])


def is_ids(inputs: Ids | Floats) -> TypeGuard[Ids]:
    """True for integer inputs, each of which stands for a one-hot vector."""
    return inputs.dtype.kind in "iu"
