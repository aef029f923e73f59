"""From ids to vectors: a one-hot input as a row look-up, and its backward pass.

A one-hot vector x times a matrix W is the row of W that x selects, so neither the product nor the vector is ever
computed. Inputs that are vectors already (the output of the layer below) are multiplied with W.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeGuard

import numpy as np

from charlm.arrays import Buffers, Floats, Ids
from charlm.nn.products import times

MOST_ONE_HOT = 2**14  # elements of a one-hot matrix; up to here the product with it is faster than a sort


def project(inputs: Ids | Floats, W: Floats, b: Floats, out: Floats, buffers: Buffers) -> Floats:
    """x W + b for every time step, gate and sequence, written to `out (T, G, B, H)`, which is returned.

    inputs: ids (T, B), each a one-hot vector of size D, or vectors (T, B, D). W: (G, D, H), b: (G, H).
    """
    G, D, H = W.shape
    if not is_ids(inputs):
        times_W = times("W", W, inputs.shape[1], buffers)
        for x, a in zip(inputs, out, strict=True):
            np.add(times_W(x), b[:, None], out=a)
        return out
    few_rows = inputs.size > D  # b is added to the D rows of W, or to the T*B rows of the result, whichever are fewer
    rows = (W + b[:, None] if few_rows else W).reshape(G * D, H)
    np.take(rows, inputs[:, None].astype(np.intp) + D * np.arange(G)[:, None], axis=0, out=out, mode="clip")
    if not few_rows:
        out += b[:, None]
    return out


def step_projection(W: Floats, b: Floats) -> Callable[[Ids | Floats], Floats]:
    """`project` of one time step, as a function of x, ids (B,) or vectors (B, D): x W + b, a new array (G, B, H)."""
    W, b = W.copy(), b[:, None].copy()

    def projected(x: Ids | Floats) -> Floats:
        a: Floats = W.take(x, axis=1) if is_ids(x) else x @ W
        a += b
        return a

    return projected


def project_backward(inputs: Ids | Floats, da: Floats, dW: Floats, db: Floats) -> None:
    """The gradients of `project` in its weights, from da (G, T, B, H); written to dW (G, D, H) and db (G, H)."""
    rows = da.reshape(len(da), -1, da.shape[-1])
    if is_ids(inputs):
        sum_rows_by_id(inputs.reshape(-1), rows, dW)
        np.sum(dW, axis=1, out=db)  # every row of da is in exactly one row of dW
    else:
        np.matmul(inputs.reshape(-1, inputs.shape[-1]).T, rows, out=dW)
        np.matmul(np.ones(rows.shape[1], rows.dtype), rows, out=db)  # a sum over rows, at the speed of matmul


def input_gradient(inputs: Ids | Floats, da: Floats, W: Floats, buffers: Buffers) -> Floats | None:
    """The gradient of `project` in vector inputs, (T, B, D), the sum of da W^T over all gates; None for ids.

    da: (G, T, B, H), W: (G, D, H).
    """
    if is_ids(inputs):
        return None
    _, T, B, _ = da.shape
    dinputs = buffers("dinputs", T, B, W.shape[1])
    times_W_T = times("W_T", W.swapaxes(1, 2), B, buffers, each=True)
    for t in range(T):
        np.sum(times_W_T(da[:, t]), axis=0, out=dinputs[t])
    return dinputs


def sum_rows_by_id(ids: Ids, rows: Floats, out: Floats) -> None:
    """out[v] = the sum of rows[n] over all n with ids[n] = v; ids (N,), rows (N, H), out (V, H), or G of both.

    This is x^T da for one-hot x; with few ids and characters that product is the fastest. Otherwise a sort brings
    equal ids together, so each distinct character costs one gather and one sum, and the characters of a large
    alphabet that do not occur cost nothing.
    """
    N, V = len(ids), out.shape[-2]
    if N * V <= MOST_ONE_HOT:
        one_hot = np.zeros((V, N), rows.dtype)
        one_hot[ids, np.arange(N)] = 1
        np.matmul(one_hot, rows, out=out)
        return
    order = np.argsort(ids, kind="stable")
    present, starts = np.unique(ids[order], return_index=True)
    ones = np.ones(N, rows.dtype)
    out[...] = 0
    for v, start, end in zip(present, starts, [*starts[1:], N], strict=bool(N)):
        same = np.take(rows, order[start:end], axis=-2)
        np.matmul(ones[: end - start], same, out=out[..., v, :])  # a sum over rows, at the speed of matmul


def is_ids(inputs: Ids | Floats) -> TypeGuard[Ids]:
    """True for integer inputs, each of which stands for a one-hot vector."""
    return inputs.dtype.kind in "iu"
