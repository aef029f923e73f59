"""A GRU network with concatenated weights [h; x], batch in the columns, in the notation of Coursera's course.

    Gu = sigmoid(Wu [c; x] + bu)       Gr = sigmoid(Wr [c; x] + br)
    c~ = tanh(Wc [Gr * c; x] + bc)     c' = Gu * c~ + (1 - Gu) * c       y^ = softmax(Wy c' + by)

Forward and all gradients of the summed cross-entropy equal ours after reshaping. The gradients on that side are
complex-step derivatives, exact to rounding and independent of any backward pass.
"""

from __future__ import annotations

import numpy as np
from gradient_check import exact_gradients

from charlm.arrays import NamedArrays
from charlm.nn.loss import cross_entropy
from charlm.nn.sequence import SequenceModel

T, M, D, H, V = 4, 3, 2, 3, 5
SHAPES = {
    "Wu": (H, H + D), "bu": (H, 1), "Wr": (H, H + D), "br": (H, 1),
    "Wc": (H, H + D), "bc": (H, 1), "Wy": (V, H), "by": (V, 1),
}  # fmt: skip


def sigmoid(a: np.ndarray) -> np.ndarray:
    """As the course defines it."""
    y: np.ndarray = 1 / (1 + np.exp(-a))
    return y


def course_loss(weights: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray) -> tuple[complex, np.ndarray]:
    """Summed cross-entropy and the probabilities (V, M, T); x (D, M, T), y (M, T)."""
    c = np.zeros((H, M))
    loss, probabilities = 0.0, []
    for t in range(T):
        joined = np.concatenate([c, x[:, :, t]])
        update, relevance = (sigmoid(weights["W" + g] @ joined + weights["b" + g]) for g in "ur")
        candidate = np.tanh(weights["Wc"] @ np.concatenate([relevance * c, x[:, :, t]]) + weights["bc"])
        c = update * candidate + (1 - update) * c
        exponentials = np.exp(weights["Wy"] @ c + weights["by"])
        p = exponentials / exponentials.sum(axis=0)
        loss = loss - np.log(p[y[:, t], np.arange(M)]).sum()
        probabilities.append(p)
    return loss, np.stack(probabilities, axis=-1)


def ours_from(course: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The course's arrays, weights or gradients, in our names, shapes and order."""
    return {
        "layer0.U": np.hstack([course[f"W{gate}"][:, :H].T for gate in "urc"]),
        "layer0.W": np.hstack([course[f"W{gate}"][:, H:].T for gate in "urc"]),
        "layer0.b": np.concatenate([course[f"b{gate}"][:, 0] for gate in "urc"]),
        "readout.W": course["Wy"].T,
        "readout.b": course["by"][:, 0],
    }


def test_course_network_equals_ours(rng: np.random.Generator) -> None:
    """Probabilities, and dWu dbu dWr dbr dWc dbc dWy dby."""
    weights = {name: 0.6 * rng.standard_normal(shape) for name, shape in SHAPES.items()}
    x, y = rng.standard_normal((D, M, T)), rng.integers(0, V, (M, T))
    _, probabilities = course_loss(weights, x, y)
    derivatives = exact_gradients(lambda moved: course_loss(moved, x, y)[0], weights)

    model = SequenceModel(D, H, V, cell="gru", bidirectional=False, dtype=np.float64)
    params = NamedArrays(model.shapes, np.float64)
    params.copy_from(ours_from(weights))
    logits, tape = model.forward(params, x.transpose(2, 1, 0).copy())
    exponentials = np.exp(logits)
    np.testing.assert_allclose(
        (exponentials / exponentials.sum(-1, keepdims=True)).transpose(2, 1, 0), probabilities, rtol=1e-12
    )
    _, dlogits = cross_entropy(logits, y.T)
    dlogits *= T * M  # our loss is a mean, the course's a sum
    grads = NamedArrays.like(params)
    model.backward(params, tape, dlogits, grads)
    for name, expected in ours_from(derivatives).items():
        np.testing.assert_allclose(grads[name], expected, rtol=1e-9, atol=1e-13)
