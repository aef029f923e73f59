"""The long short-term memory: one step forward and one step backward.

f  = sigmoid(W_f x + U_f h + b_f)        forget gate
i  = sigmoid(W_i x + U_i h + b_i)        input gate
g  = tanh(W_g x + U_g h + b_g)           candidate
o  = sigmoid(W_o x + U_o h + b_o)        output gate
c' = f * c + i * g
h' = o * tanh(c')
"""

from __future__ import annotations

import numpy as np

from charlm.reference.shapes import Array, Bias, check_biases, check_matrices, outer, sigmoid, total


def lstm_cell(
    x: Array,
    h_prev: Array,
    c_prev: Array,
    W_f: Array,
    U_f: Array,
    W_i: Array,
    U_i: Array,
    W_g: Array,
    U_g: Array,
    W_o: Array,
    U_o: Array,
    b_f: Bias = 0.0,
    b_i: Bias = 0.0,
    b_g: Bias = 0.0,
    b_o: Bias = 0.0,
) -> tuple[Array, Array]:
    """One step of an LSTM with a forget gate, from h_prev and c_prev (H,) to the next h and c.

    Hochreiter & Schmidhuber 1997; the forget gate is of Gers, Schmidhuber & Cummins 2000; no peepholes.
    Raises ValueError for a matrix that does not fit.
    """
    check_matrices(
        x,
        h_prev,
        {"W_f": W_f, "W_i": W_i, "W_g": W_g, "W_o": W_o},
        {"U_f": U_f, "U_i": U_i, "U_g": U_g, "U_o": U_o},
    )
    check_biases(x, h_prev, {"b_f": b_f, "b_i": b_i, "b_g": b_g, "b_o": b_o})
    f, i, o = (sigmoid(W @ x + U @ h_prev + b) for W, U, b in ((W_f, U_f, b_f), (W_i, U_i, b_i), (W_o, U_o, b_o)))
    c = f * c_prev + i * np.tanh(W_g @ x + U_g @ h_prev + b_g)
    return o * np.tanh(c), c


def lstm_cell_backward(
    dh_next: Array,
    dc_next: Array,
    x: Array,
    h_prev: Array,
    c_prev: Array,
    W_f: Array,
    U_f: Array,
    W_i: Array,
    U_i: Array,
    W_g: Array,
    U_g: Array,
    W_o: Array,
    U_o: Array,
    b_f: Bias = 0.0,
    b_i: Bias = 0.0,
    b_g: Bias = 0.0,
    b_o: Bias = 0.0,
) -> tuple[Array, Array, Array, dict[str, Array]]:
    """From dL/dh' and dL/dc' (what comes from the step after) to dL/dx, dL/dh_prev, dL/dc_prev, and the gradients of
    the parameters by name ("W_f", ...).
    """
    check_matrices(
        x,
        h_prev,
        {"W_f": W_f, "W_i": W_i, "W_g": W_g, "W_o": W_o},
        {"U_f": U_f, "U_i": U_i, "U_g": U_g, "U_o": U_o},
    )
    check_biases(x, h_prev, {"b_f": b_f, "b_i": b_i, "b_g": b_g, "b_o": b_o})
    f, i, o = (sigmoid(W @ x + U @ h_prev + b) for W, U, b in ((W_f, U_f, b_f), (W_i, U_i, b_i), (W_o, U_o, b_o)))
    g = np.tanh(W_g @ x + U_g @ h_prev + b_g)
    tanh_c = np.tanh(f * c_prev + i * g)

    # h' = o * tanh(c'), c' = f * c + i * g
    dc = dc_next + dh_next * o * (1 - tanh_c**2)
    arguments = {
        "f": dc * c_prev * f * (1 - f),
        "i": dc * g * i * (1 - i),
        "g": dc * i * (1 - g**2),
        "o": dh_next * tanh_c * o * (1 - o),
    }
    matrices = {"f": (W_f, U_f), "i": (W_i, U_i), "g": (W_g, U_g), "o": (W_o, U_o)}
    dx = sum((matrices[gate][0].T @ da for gate, da in arguments.items()), np.zeros_like(x, dc.dtype))
    dh = sum((matrices[gate][1].T @ da for gate, da in arguments.items()), np.zeros_like(h_prev, dc.dtype))
    gradients: dict[str, Array] = {}
    for gate, da in arguments.items():
        gradients |= {f"W_{gate}": outer(da, x), f"U_{gate}": outer(da, h_prev), f"b_{gate}": total(da)}
    return dx, dh, dc * f, gradients
