"""The gated recurrent unit: one step forward, one step backward, sequences, and the forms in which notes have it.

z  = sigmoid(W_z x + U_z h + b_z)        update gate
r  = sigmoid(W_r x + U_r h + b_r)        reset gate
n  = tanh(W_n x + U_n (r * h) + b_n)     candidate
h' = (1 - z) * h + z * n
"""

from __future__ import annotations

import numpy as np

from charlm.reference.shapes import Array, Bias, check_biases, check_matrices, floats, outer, sigmoid, total


def gru_gates(
    x: Array,
    h_prev: Array,
    W_z: Array,
    U_z: Array,
    b_z: Bias,
    W_r: Array,
    U_r: Array,
    b_r: Bias,
    W_n: Array,
    U_n: Array,
    b_n: Bias,
) -> tuple[Array, Array, Array]:
    """z, r and n of one GRU step, each (H,): see gru_cell."""
    check_matrices(x, h_prev, {"W_z": W_z, "W_r": W_r, "W_n": W_n}, {"U_z": U_z, "U_r": U_r, "U_n": U_n})
    check_biases(x, h_prev, {"b_z": b_z, "b_r": b_r, "b_n": b_n})
    z = sigmoid(W_z @ x + U_z @ h_prev + b_z)
    r = sigmoid(W_r @ x + U_r @ h_prev + b_r)
    n: Array = np.tanh(W_n @ x + U_n @ (r * h_prev) + b_n)
    return z, r, n


def gru_cell(
    x: Array,
    h_prev: Array,
    W_z: Array,
    U_z: Array,
    b_z: Bias,
    W_r: Array,
    U_r: Array,
    b_r: Bias,
    W_n: Array,
    U_n: Array,
    b_n: Bias,
) -> Array:
    """One step of a GRU, from h_prev (H,) and x (D,) to the next state (H,); W (H, D), U (H, H), b (H,).

    Columns (D, m) and (H, m) are m examples, with b (H, 1). Cho et al. 2014 (arXiv 1406.1078), section 2.3, with z for
    their 1 - z; as written in Chung et al. 2014 (arXiv 1412.3555), section 3.2. Raises ValueError for a matrix or a
    bias that does not fit.
    """
    z, _, n = gru_gates(x, h_prev, W_z, U_z, b_z, W_r, U_r, b_r, W_n, U_n, b_n)
    return (1 - z) * h_prev + z * n


def gru_cell_backward(
    dh_next: Array,
    x: Array,
    h_prev: Array,
    W_z: Array,
    U_z: Array,
    b_z: Bias,
    W_r: Array,
    U_r: Array,
    b_r: Bias,
    W_n: Array,
    U_n: Array,
    b_n: Bias,
) -> tuple[Array, Array, dict[str, Array]]:
    """From dh_next = dL/dh' to dL/dx, dL/dh_prev, and the gradients of the parameters by name ("W_z", ...)."""
    z, r, n = gru_gates(x, h_prev, W_z, U_z, b_z, W_r, U_r, b_r, W_n, U_n, b_n)

    # h' = (1 - z) * h + z * n
    da_z = dh_next * (n - h_prev) * z * (1 - z)  # in the argument of z's sigmoid
    da_n = dh_next * z * (1 - n**2)  # in the argument of tanh
    dh = dh_next * (1 - z)

    # n = tanh(W_n x + U_n (r * h) + b_n)
    dreset_state = U_n.T @ da_n
    da_r = dreset_state * h_prev * r * (1 - r)  # in the argument of r's sigmoid
    dh = dh + dreset_state * r + U_r.T @ da_r + U_z.T @ da_z
    dx = W_n.T @ da_n + W_r.T @ da_r + W_z.T @ da_z

    gradients = {"U_n": outer(da_n, r * h_prev), "U_r": outer(da_r, h_prev), "U_z": outer(da_z, h_prev)}
    for gate, da in (("n", da_n), ("r", da_r), ("z", da_z)):
        gradients |= {f"W_{gate}": outer(da, x), f"b_{gate}": total(da)}
    return dx, dh, gradients


def gru_cell_reset_after(
    x: Array,
    h_prev: Array,
    W_z: Array,
    U_z: Array,
    b_z: Bias,
    W_r: Array,
    U_r: Array,
    b_r: Bias,
    W_n: Array,
    U_n: Array,
    b_n: Bias,
    b_rn: Bias = 0.0,
) -> Array:
    """The GRU of cuDNN, PyTorch and Keras: the reset gate is applied after the recurrent product, which has a bias.

        n = tanh(W_n x + b_n + r * (U_n h + b_rn))

    z, r and h' as in gru_cell. Chetlur et al. 2014 (arXiv 1410.0759), cuDNN; torch.nn.GRU writes it so, with z for
    1 - z. It is another function than reset before: no change of weights converts one into the other.
    """
    check_matrices(x, h_prev, {"W_z": W_z, "W_r": W_r, "W_n": W_n}, {"U_z": U_z, "U_r": U_r, "U_n": U_n})
    check_biases(x, h_prev, {"b_z": b_z, "b_r": b_r, "b_n": b_n, "b_rn": b_rn})
    z = sigmoid(W_z @ x + U_z @ h_prev + b_z)
    r = sigmoid(W_r @ x + U_r @ h_prev + b_r)
    n: Array = np.tanh(W_n @ x + b_n + r * (U_n @ h_prev + b_rn))
    return (1 - z) * h_prev + z * n


def gru_cell_reset_after_backward(
    dh_next: Array,
    x: Array,
    h_prev: Array,
    W_z: Array,
    U_z: Array,
    b_z: Bias,
    W_r: Array,
    U_r: Array,
    b_r: Bias,
    W_n: Array,
    U_n: Array,
    b_n: Bias,
    b_rn: Bias = 0.0,
) -> tuple[Array, Array, dict[str, Array]]:
    """The same as gru_cell_backward, for the reset gate after the product; with the gradient "b_rn", too."""
    check_matrices(x, h_prev, {"W_z": W_z, "W_r": W_r, "W_n": W_n}, {"U_z": U_z, "U_r": U_r, "U_n": U_n})
    check_biases(x, h_prev, {"b_z": b_z, "b_r": b_r, "b_n": b_n, "b_rn": b_rn})
    z = sigmoid(W_z @ x + U_z @ h_prev + b_z)
    r = sigmoid(W_r @ x + U_r @ h_prev + b_r)
    q = U_n @ h_prev + b_rn
    n = np.tanh(W_n @ x + b_n + r * q)

    da_z = dh_next * (n - h_prev) * z * (1 - z)
    da_n = dh_next * z * (1 - n**2)
    da_r = da_n * q * r * (1 - r)
    dq = da_n * r
    dh = dh_next * (1 - z) + U_n.T @ dq + U_r.T @ da_r + U_z.T @ da_z
    dx = W_n.T @ da_n + W_r.T @ da_r + W_z.T @ da_z

    gradients = {"U_n": outer(dq, h_prev), "U_r": outer(da_r, h_prev), "U_z": outer(da_z, h_prev), "b_rn": total(dq)}
    for gate, da in (("n", da_n), ("r", da_r), ("z", da_z)):
        gradients |= {f"W_{gate}": outer(da, x), f"b_{gate}": total(da)}
    return dx, dh, gradients


def gru_sequence(
    inputs: Array,
    h_init: Array,
    W_z: Array,
    U_z: Array,
    b_z: Bias,
    W_r: Array,
    U_r: Array,
    b_r: Bias,
    W_n: Array,
    U_n: Array,
    b_n: Bias,
) -> Array:
    """The states (T, H) of a GRU that reads inputs (T, D), one gru_cell after the other from h_init (H,).

    Shapes broadcast as in NumPy: with h_init (H, 1) and inputs (T, D) the first state is (H, H), because the products
    with x are rows (H,) and those with h are columns (H, 1). Some exercises print that; the states are then (T, H, H).
    """
    return gru_forward(inputs, h_init, W_z, U_z, W_r, U_r, W_n, U_n, b_z, b_r, b_n)


def gru_step(
    inputs: Array,
    h_prev: Array,
    Wz: Array,
    Uz: Array,
    Wr: Array,
    Ur: Array,
    W: Array,
    U: Array,
    bz: Bias = 0.0,
    br: Bias = 0.0,
    b: Bias = 0.0,
) -> Array:
    """gru_cell with the argument order of lecture notes: six matrices, and biases that may be left out."""
    return gru_cell(inputs, h_prev, Wz, Uz, bz, Wr, Ur, br, W, U, b)


def gru_forward(
    inputs: Array,
    h_init: Array,
    Wz: Array,
    Uz: Array,
    Wr: Array,
    Ur: Array,
    W: Array,
    U: Array,
    bz: Bias = 0.0,
    br: Bias = 0.0,
    b: Bias = 0.0,
) -> Array:
    """gru_sequence with the argument order of lecture notes: six matrices, and biases that may be left out."""
    h = floats("h_init", h_init)
    states = []
    for x in floats("inputs", inputs):
        h = gru_step(x, h, Wz, Uz, Wr, Ur, W, U, bz, br, b)
        states.append(h)
    return np.array(states) if states else np.zeros((0, *h.shape))


def gru_row_step(
    x: Array,
    s: Array,
    U_z: Array,
    W_z: Array,
    U_r: Array,
    W_r: Array,
    U_h: Array,
    W_h: Array,
    b_z: Bias = 0.0,
    b_r: Bias = 0.0,
    b_h: Bias = 0.0,
) -> tuple[Array, Array, Array, Array]:
    """One GRU step of notes with row vectors, in which U multiplies the input and z keeps the old state:

        z  = sigmoid(x U_z + s W_z + b_z)
        r  = sigmoid(x U_r + s W_r + b_r)
        h  = tanh(x U_h + (s * r) W_h + b_h)
        s' = (1 - z) * h + z * s

    x (D,), s (H,); U (D, H) and W (H, H). Gates with a single number per step have U (D, 1) and W (H, 1).
    Returns z, r, h and s'. Our W are its U transposed; our W_z, U_z and b_z, and their gradients, are its negated.
    Raises ValueError for a matrix that does not fit.
    """
    D, H = np.shape(x)[-1], np.shape(s)[-1]
    gates = {"U_z": (U_z, D), "W_z": (W_z, H), "U_r": (U_r, D), "W_r": (W_r, H)}
    for name, (matrix, rows) in (gates | {"U_h": (U_h, D), "W_h": (W_h, H)}).items():
        if np.shape(matrix) not in {(rows, H), (rows, 1) if name in gates else (rows, H)}:
            scalar = f", or {(rows, 1)} for one number per step" if name in gates else ""
            raise ValueError(f"{name} must have the shape {(rows, H)}{scalar}, not {np.shape(matrix)}")
    z = sigmoid(x @ U_z + s @ W_z + b_z)
    r = sigmoid(x @ U_r + s @ W_r + b_r)
    h = np.tanh(x @ U_h + (s * r) @ W_h + b_h)
    return z, r, h, (1 - z) * h + z * s


class GRU_Cell:  # noqa: N801 - the name of the exercise
    """One GRU step, forward and backward, as an exercise sheet has it: the equations of gru_cell with six matrices.

    `input_size` is D, `hidden_size` is H. The weights are attributes, to be set or left as they are drawn: Wzx, Wrx,
    Wx (H, D) for the input and Wzh, Wrh, Wh (H, H) for the state, of update gate, reset gate, candidate; with `bias`
    also bz, br, b (H,), else they are zero. After `backward` their gradients are dWzx, dWrx, dWx, dWzh, dWrh, dWh, dbz,
    dbr, db.
    """

    def __init__(
        self, input_size: int, hidden_size: int, rng: np.random.Generator | None = None, bias: bool = False
    ) -> None:
        rng = rng or np.random.default_rng(0)
        self.Wzx, self.Wrx, self.Wx = rng.standard_normal((3, hidden_size, input_size))
        self.Wzh, self.Wrh, self.Wh = rng.standard_normal((3, hidden_size, hidden_size))
        self.bz, self.br, self.b = rng.standard_normal((3, hidden_size)) if bias else np.zeros((3, hidden_size))
        self._inputs: tuple[Array, Array] | None = None

    def forward(self, x: Array, h: Array) -> Array:
        """From x (D,) and the state h (H,) to the next state (H,), or from columns (D, m), (H, m) to (H, m).

        Both are kept for backward. Raises ValueError for shapes that do not fit.
        """
        x, h = floats("x", x), floats("h", h)
        if x.ndim != h.ndim or x.shape[1:] != h.shape[1:]:
            raise ValueError(f"x and h must be (D,) and (H,), or (D, m) and (H, m), not {x.shape} and {h.shape}")
        self.z, self.r, self.n = gru_gates(x, h, *self._parameters(x.ndim))
        self._inputs = x, h
        return gru_cell(x, h, *self._parameters(x.ndim))

    def backward(self, delta: Array) -> tuple[Array, Array]:
        """From delta = dL/dh', of the state's shape, to dL/dx and dL/dh.

        Raises RuntimeError before `forward`, ValueError for a delta of another shape.
        """
        if self._inputs is None:
            raise RuntimeError("backward needs the values that forward keeps: call forward(x, h) first")
        x, h = self._inputs
        delta = floats("delta", delta)
        if delta.shape != h.shape:
            raise ValueError(f"delta must have the shape of the state, {h.shape}, not {delta.shape}")
        dx, dh, gradients = gru_cell_backward(delta, x, h, *self._parameters(x.ndim))
        self.dWzx, self.dWzh, self.dbz = gradients["W_z"], gradients["U_z"], gradients["b_z"].ravel()
        self.dWrx, self.dWrh, self.dbr = gradients["W_r"], gradients["U_r"], gradients["b_r"].ravel()
        self.dWx, self.dWh, self.db = gradients["W_n"], gradients["U_n"], gradients["b_n"].ravel()
        return dx, dh

    def _parameters(self, dimensions: int) -> tuple[Array, ...]:
        """The parameters in the order of gru_cell; biases (H,), or (H, 1) beside columns."""
        bz, br, b = (np.reshape(bias, (-1,) + (1,) * (dimensions - 1)) for bias in (self.bz, self.br, self.b))
        return self.Wzx, self.Wzh, bz, self.Wrx, self.Wrh, br, self.Wx, self.Wh, b


GRUCell = GRU_Cell
