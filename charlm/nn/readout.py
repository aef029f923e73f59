"""The dense layer at the top, y = x W + b for every time step and sequence."""

from __future__ import annotations

import numpy as np

from charlm.arrays import Buffers, Floats


def read_out(x: Floats, W: Floats, b: Floats, buffers: Buffers) -> Floats:
    """x W + b: x (T, B, H), W (H, V), b (V,), to a buffer (T, B, V)."""
    T, B, H = x.shape
    y = buffers("readout", T * B, W.shape[1])
    np.matmul(x.reshape(T * B, H), W, out=y)
    y += b
    return y.reshape(T, B, -1)


def read_out_backward(x: Floats, dy: Floats, W: Floats, dW: Floats, db: Floats, buffers: Buffers) -> Floats:
    """From the gradient in y (T, B, V) to those in W and b, written to dW and db, and in x: a buffer (T, B, H)."""
    T, B, H = x.shape
    x_rows, dy_rows = x.reshape(T * B, H), dy.reshape(T * B, -1)
    np.matmul(x_rows.T, dy_rows, out=dW)
    np.sum(dy_rows, axis=0, out=db)
    dx = buffers("readout_gradient", T * B, H)
    return np.matmul(dy_rows, W.T, out=dx).reshape(T, B, H)
