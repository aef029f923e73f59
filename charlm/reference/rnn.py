"""The plain recurrent network: one step forward and backward, and backpropagation through time as lectures print it.

h' = g(W x + U h + b)        g = tanh, relu or sigmoid
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from charlm.reference.shapes import Array, Bias, check_biases, check_matrices, floats, outer, sigmoid, total

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "relu": lambda a: np.maximum(a, 0),
    "sigmoid": sigmoid,
}
DERIVATIVES: dict[str, Callable[[Array], Array]] = {  # in terms of the value g(a)
    "tanh": lambda y: 1 - y**2,
    "relu": lambda y: (y > 0).astype(y.dtype),
    "sigmoid": lambda y: y * (1 - y),
}


def rnn_cell(x: Array, h_prev: Array, W: Array, U: Array, b: Bias = 0.0, activation: str = "tanh") -> Array:
    """One step, from h_prev (H,) and x (D,) to the next state (H,); W (H, D), U (H, H), b (H,). Elman 1990.

    activation: "tanh", "relu" or "sigmoid". Raises ValueError for another one, or for a matrix that does not fit.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {activation!r}")
    check_matrices(x, h_prev, {"W": W}, {"U": U})
    check_biases(x, h_prev, {"b": b})
    return ACTIVATIONS[activation](W @ x + U @ h_prev + b)


def rnn_cell_backward(
    dh_next: Array, x: Array, h_prev: Array, W: Array, U: Array, b: Bias = 0.0, activation: str = "tanh"
) -> tuple[Array, Array, dict[str, Array]]:
    """From dh_next = dL/dh' to dL/dx, dL/dh_prev, and the gradients "W", "U", "b". relu' at 0 is taken as 0."""
    h_next = rnn_cell(x, h_prev, W, U, b, activation)
    da = dh_next * DERIVATIVES[activation](h_next)
    return W.T @ da, U.T @ da, {"W": outer(da, x), "U": outer(da, h_prev), "b": total(da)}


def rnn_backpropagation(
    W: Array,
    U: Array,
    V: Array,
    x: Array,
    y: Array,
    k: int,
    g: Callable[[Array], Array],
    g_prime: Callable[[Array], Array],
    e_prime: Callable[[Array, Array], Array],
    recursion: str = "gradient",
) -> tuple[Array, Array, Array]:
    """Truncated backpropagation through time, with the letters of lectures in which W multiplies the state:

        a_t = U x_t + W h_(t-1),    h_t = g(a_t),    o_t = V h_t        t = 1, ..., T;  h_0 = 0

    W (H, H), U (H, D), V (O, H); x (T, D), y (T, O). k: steps that each error travels back; T of them give the full
    gradient. g_prime(a): derivative of g. e_prime(y_true, y_pred): derivative of the error at one step in the
    prediction, (O,). Returns dW, dU, dV: the gradients of the sum of the errors of all steps, with

        d_t = V^T e'_t * g'(a_t)                          for the error of step t, and back from step to step
        d_(s-1) = W^T d_s * g'(a_(s-1))                   s = t, ..., t - k + 2
        dW += d_s h_(s-1)^T,  dU += d_s x_s^T,  dV += e'_t h_t^T

    Werbos 1990; truncated as in Williams & Peng 1990. recursion="printed" gives what some lectures print, which is
    not the gradient: errors are taken at h_t itself, e'_t = e_prime(y_t, h_t), so O must equal H; no factor W^T leads
    from step to step; and dV has g' of the step before:

        d_t = e'_t * g'(a_t),   d_(s-1) = d_s * g'(a_(s-1)),   dV += (e'_t * g'(a_(t-1))) h_t^T        a_0 = 0

    Raises ValueError for shapes that do not fit, or for k below 1. W and U in each other's place are noticed unless D
    equals H.
    """
    W, U, V, x, y = (floats(*pair) for pair in (("W", W), ("U", U), ("V", V), ("x", x), ("y", y)))
    if recursion not in ("gradient", "printed"):
        raise ValueError(f"recursion must be gradient or printed, not {recursion!r}")
    _check_lecture_shapes(W, U, V, x, y, k)
    if recursion == "printed" and len(V) != len(W):
        raise ValueError(f"the printed recursion compares y with the state: V must have {len(W)} rows, not {len(V)}")
    T = len(x)
    arguments: list[Array] = []
    states: list[Array] = [np.zeros(len(W))]
    for x_t in x:
        arguments.append(U @ x_t + W @ states[-1])
        states.append(g(arguments[-1]))

    is_printed = recursion == "printed"
    dW, dU, dV = np.zeros_like(W), np.zeros_like(U), np.zeros_like(V)
    for t in range(T):
        h = states[t + 1]
        error = e_prime(y[t], h if is_printed else V @ h)
        dV += np.outer(error * g_prime(arguments[t - 1] if t else np.zeros_like(h)) if is_printed else error, h)
        d = (error if is_printed else V.T @ error) * g_prime(arguments[t])
        for s in range(t, max(-1, t - k), -1):
            dW += np.outer(d, states[s])
            dU += np.outer(d, x[s])
            if s > 0:
                d = (d if is_printed else W.T @ d) * g_prime(arguments[s - 1])
    return dW, dU, dV


def _check_lecture_shapes(W: Array, U: Array, V: Array, x: Array, y: Array, k: int) -> None:
    """Raise ValueError that says which argument, what came and what was expected."""
    for name, array in (("W", W), ("U", U), ("V", V), ("x", x), ("y", y)):
        if array.ndim != 2:
            raise ValueError(f"{name} must have two dimensions, not the shape {array.shape}")
    H, D, O, T = len(W), x.shape[1], y.shape[1], len(x)  # noqa: E741 - the number of outputs
    expected = {"W": (W, (H, H)), "U": (U, (H, D)), "V": (V, (O, H)), "y": (y, (T, O))}
    for name, (array, shape) in expected.items():
        if array.shape != shape:
            hint = ": W multiplies the state, U the input" if name in "WU" else ""
            raise ValueError(f"{name} must have the shape {shape}, not {array.shape}{hint}")
    if not isinstance(k, int | np.integer) or k < 1:
        raise ValueError(f"k must be a whole number of at least 1 steps, not {k!r}")
