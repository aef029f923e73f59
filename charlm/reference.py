"""The textbook: each cell as one function of one step, slow and plain.

Nothing here is batched, packed or in place. Vectors are columns: x (D,), h (H,), and a matrix stands left of what it
multiplies, W (H, D) and U (H, H). (The fast cells in charlm.nn have rows: x W with W (D, H), the transpose.)
The tests compare the fast cells with these functions; students can compare their exercises.

The update gate weights the candidate: h' = (1 - z) h + z n. In PyTorch, Keras, ONNX and some texts z keeps the old
state: h' = z h + (1 - z) n. To convert, negate W_z, U_z and b_z, because sigmoid(-a) = 1 - sigmoid(a). Reset before
and reset after the recurrent product are different functions: no change of weights converts one into the other.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.floating[Any]]


def sigmoid(a: Array) -> Array:
    """1 / (1 + exp(-a)), written with tanh so that no argument overflows."""
    result: Array = 0.5 * (1 + np.tanh(0.5 * a))
    return result


def gru_gates(
    x: Array,
    h_prev: Array,
    W_z: Array,
    U_z: Array,
    b_z: Array | float,
    W_r: Array,
    U_r: Array,
    b_r: Array | float,
    W_n: Array,
    U_n: Array,
    b_n: Array | float,
) -> tuple[Array, Array, Array]:
    """z, r and n of one GRU step, each (H,): see gru_cell."""
    z = sigmoid(W_z @ x + U_z @ h_prev + b_z)
    r = sigmoid(W_r @ x + U_r @ h_prev + b_r)
    n: Array = np.tanh(W_n @ x + U_n @ (r * h_prev) + b_n)
    return z, r, n


def gru_cell(
    x: Array,
    h_prev: Array,
    W_z: Array,
    U_z: Array,
    b_z: Array | float,
    W_r: Array,
    U_r: Array,
    b_r: Array | float,
    W_n: Array,
    U_n: Array,
    b_n: Array | float,
) -> Array:
    """One step of a GRU, from h_prev (H,) and x (D,) to the next state (H,); W (H, D), U (H, H), b (H,).

        z  = sigmoid(W_z x + U_z h + b_z)
        r  = sigmoid(W_r x + U_r h + b_r)
        n  = tanh(W_n x + U_n (r * h) + b_n)
        h' = (1 - z) * h + z * n

    Cho et al. 2014 (arXiv 1406.1078), section 2.3, with z for their 1 - z; as written in Chung et al. 2014
    (arXiv 1412.3555), section 3.2.
    """
    z, _, n = gru_gates(x, h_prev, W_z, U_z, b_z, W_r, U_r, b_r, W_n, U_n, b_n)
    return (1 - z) * h_prev + z * n


def gru_cell_reset_after(
    x: Array,
    h_prev: Array,
    W_z: Array,
    U_z: Array,
    b_z: Array | float,
    W_r: Array,
    U_r: Array,
    b_r: Array | float,
    W_n: Array,
    U_n: Array,
    b_n: Array | float,
    b_rn: Array | float = 0.0,
) -> Array:
    """The GRU of cuDNN, PyTorch and Keras: the reset gate is applied after the recurrent product, which has a bias.

        n  = tanh(W_n x + b_n + r * (U_n h + b_rn))

    z, r and h' as in gru_cell. Chetlur et al. 2014 (arXiv 1410.0759), cuDNN; torch.nn.GRU writes it so, with z for
    1 - z.
    """
    z = sigmoid(W_z @ x + U_z @ h_prev + b_z)
    r = sigmoid(W_r @ x + U_r @ h_prev + b_r)
    n: Array = np.tanh(W_n @ x + b_n + r * (U_n @ h_prev + b_rn))
    return (1 - z) * h_prev + z * n


def gru_sequence(
    inputs: Array,
    h_init: Array,
    W_z: Array,
    U_z: Array,
    b_z: Array | float,
    W_r: Array,
    U_r: Array,
    b_r: Array | float,
    W_n: Array,
    U_n: Array,
    b_n: Array | float,
) -> Array:
    """The states (T, H) of a GRU that reads inputs (T, D), starting from h_init (H,).

    h_t = gru_cell(x_t, h_(t-1)); Cho et al. 2014 (arXiv 1406.1078), the encoder of section 2.1.
    """
    states = []
    h = h_init
    for x in inputs:
        h = gru_cell(x, h, W_z, U_z, b_z, W_r, U_r, b_r, W_n, U_n, b_n)
        states.append(h)
    return np.array(states).reshape(len(states), len(h_init))


class GRUCell:
    """One GRU step, forward and backward, without biases, in the notation of exercise sheets: the equations of
    gru_cell (Cho et al. 2014, arXiv 1406.1078) with six matrices, and their gradients.

    `input_size` is D, `hidden_size` is H. The weights are attributes, normal random numbers unless they are set:
    Wzx, Wrx, Wx (H, D) for the input and Wzh, Wrh, Wh (H, H) for the state, of update gate, reset gate, candidate.
    `backward` sets the gradients dWzx, dWrx, dWx, dWzh, dWrh, dWh.
    """

    def __init__(self, input_size: int, hidden_size: int, rng: np.random.Generator | None = None) -> None:
        rng = rng or np.random.default_rng(0)
        self.Wzx, self.Wrx, self.Wx = rng.standard_normal((3, hidden_size, input_size))
        self.Wzh, self.Wrh, self.Wh = rng.standard_normal((3, hidden_size, hidden_size))

    def forward(self, x: Array, h: Array) -> Array:
        """From x (D,) and the state h (H,) to the next state (H,); all are kept for `backward`.

        z  = sigmoid(Wzx x + Wzh h)
        r  = sigmoid(Wrx x + Wrh h)
        n  = tanh(Wx x + Wh (r * h))
        h' = (1 - z) * h + z * n
        """
        self.x, self.h = x, h
        self.z = sigmoid(self.Wzx @ x + self.Wzh @ h)
        self.r = sigmoid(self.Wrx @ x + self.Wrh @ h)
        self.n: Array = np.tanh(self.Wx @ x + self.Wh @ (self.r * h))
        h_next: Array = (1 - self.z) * h + self.z * self.n
        return h_next

    def backward(self, delta: Array) -> tuple[Array, Array]:
        """From delta = dL/dh' (H,) to dL/dx (D,) and dL/dh (H,), by the chain rule, last equation first.

        Raises RuntimeError where `forward` was never called.
        """
        if not hasattr(self, "n"):
            raise RuntimeError("backward needs the values of a forward pass: call forward(x, h) first")
        x, h, z, r, n = self.x, self.h, self.z, self.r, self.n

        # h' = (1 - z) * h + z * n
        dz = delta * (n - h)
        dn = delta * z
        dh = delta * (1 - z)

        # n = tanh(a_n), a_n = Wx x + Wh (r * h); tanh' = 1 - tanh^2
        da_n = dn * (1 - n**2)
        self.dWx, self.dWh = np.outer(da_n, x), np.outer(da_n, r * h)
        dx = self.Wx.T @ da_n
        drh = self.Wh.T @ da_n
        dr = drh * h
        dh = dh + drh * r

        # r = sigmoid(a_r); sigmoid' = sigmoid (1 - sigmoid)
        da_r = dr * r * (1 - r)
        self.dWrx, self.dWrh = np.outer(da_r, x), np.outer(da_r, h)
        dx = dx + self.Wrx.T @ da_r
        dh = dh + self.Wrh.T @ da_r

        # z = sigmoid(a_z)
        da_z = dz * z * (1 - z)
        self.dWzx, self.dWzh = np.outer(da_z, x), np.outer(da_z, h)
        dx = dx + self.Wzx.T @ da_z
        dh = dh + self.Wzh.T @ da_z
        return dx, dh


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
    b_f: Array | float = 0.0,
    b_i: Array | float = 0.0,
    b_g: Array | float = 0.0,
    b_o: Array | float = 0.0,
) -> tuple[Array, Array]:
    """One step of an LSTM with a forget gate, from h_prev and c_prev (H,) to the next h and c.

        f  = sigmoid(W_f x + U_f h + b_f)
        i  = sigmoid(W_i x + U_i h + b_i)
        g  = tanh(W_g x + U_g h + b_g)
        o  = sigmoid(W_o x + U_o h + b_o)
        c' = f * c + i * g
        h' = o * tanh(c')

    Hochreiter & Schmidhuber 1997; the forget gate is of Gers, Schmidhuber & Cummins 2000; no peepholes.
    """
    f = sigmoid(W_f @ x + U_f @ h_prev + b_f)
    i = sigmoid(W_i @ x + U_i @ h_prev + b_i)
    g = np.tanh(W_g @ x + U_g @ h_prev + b_g)
    o = sigmoid(W_o @ x + U_o @ h_prev + b_o)
    c = f * c_prev + i * g
    return o * np.tanh(c), c


def rnn_cell(x: Array, h_prev: Array, W: Array, U: Array, b: Array | float = 0.0, activation: str = "tanh") -> Array:
    """One step of a plain recurrent network, h' = f(W x + U h + b), f = tanh or relu. Elman 1990."""
    a: Array = W @ x + U @ h_prev + b
    h_next: Array = np.tanh(a) if activation == "tanh" else np.maximum(a, 0)
    return h_next


def rnn_backpropagation(
    inputs: Array, h_init: Array, delta: Array, W: Array, U: Array, b: Array | float = 0.0, k: int | None = None
) -> tuple[Array, Array, Array, Array]:
    """Backpropagation of a plain tanh network through its last k steps (all T of them where k is None).

    inputs (T, D), h_init (H,), delta = dL/dh_T (H,). Returns dW (H, D), dU (H, H), db (H,) and the gradient dL/dh (H,)
    in the state before the last k steps. With a_t = W x_t + U h_(t-1) + b and h_t = tanh(a_t), from t = T backwards:

        da = dh * (1 - h_t^2);   dW += da x_t^T;   dU += da h_(t-1)^T;   db += da;   dh = U^T da

    Werbos 1990; truncated after k steps as in Williams & Peng 1990.
    """
    states = [h_init]
    for x in inputs:
        states.append(rnn_cell(x, states[-1], W, U, b))

    dW, dU, db, dh = np.zeros_like(W), np.zeros_like(U), np.zeros_like(h_init), delta
    steps = len(inputs) if k is None else min(k, len(inputs))
    for t in range(len(inputs) - 1, len(inputs) - 1 - steps, -1):
        da = dh * (1 - states[t + 1] ** 2)
        dW += np.outer(da, inputs[t])
        dU += np.outer(da, states[t])
        db += da
        dh = U.T @ da
    return dW, dU, db, dh
