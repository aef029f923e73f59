"""A character-level GRU language model in one file, as a textbook has it: from a text to a sample, with NumPy alone.

    python -m charlm.textbook corpora/lanterns.txt

Letters and shapes are those of the usual courses: columns are examples, and the state is called a.

    x (n_x, m, T)   one-hot characters, m sequences (here 1) of T steps      n_x = n_y: distinct characters
    a (n_a, m)      the state                                                y: the next characters, one-hot like x

    gamma_u = sigmoid(Wu [a_prev; x] + bu)          update gate
    gamma_r = sigmoid(Wr [a_prev; x] + br)          reset gate
    c       = tanh(Wc [gamma_r * a_prev; x] + bc)   candidate
    a       = gamma_u * c + (1 - gamma_u) * a_prev
    y_hat   = softmax(Wy a + by)

Cho et al. 2014 (arXiv 1406.1078). The fast network of this package is the same function with the same training:
`charlm train --preset textbook` (tests/test_textbook.py compares losses and gradients).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Arrays = dict[str, Array]

trained: Arrays = {}  # of the last `train`, for `sample`


def sigmoid(a: Array) -> Array:
    """1 / (1 + exp(-a)), written with tanh so that nothing overflows."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * a)))


def softmax(a: Array) -> Array:
    """exp(a) / sum(exp(a)) over the rows; the largest is subtracted first so that nothing overflows."""
    e = np.exp(a - a.max(axis=0, keepdims=True))
    return np.asarray(e / e.sum(axis=0, keepdims=True))


def initialize_parameters(n_a: int, n_x: int, n_y: int, rng: np.random.Generator) -> Arrays:
    """Small random weights, zero biases."""
    parameters = {f"W{gate}": rng.uniform(-1, 1, (n_a, n_a + n_x)) / np.sqrt(n_a) for gate in "urc"}
    parameters["Wy"] = rng.uniform(-1, 1, (n_y, n_a)) / np.sqrt(n_a)
    return parameters | {f"b{name}": np.zeros((len(parameters[f"W{name}"]), 1)) for name in "urcy"}


def cell_forward(xt: Array, a_prev: Array, parameters: Arrays) -> tuple[Array, Array, Arrays]:
    """One step: the next state a (n_a, m), the prediction y_hat (n_y, m), and what the backward step needs."""
    p, concat = parameters, np.concatenate([a_prev, xt])
    gamma_u, gamma_r = (sigmoid(p[f"W{gate}"] @ concat + p[f"b{gate}"]) for gate in "ur")
    concat_reset = np.concatenate([gamma_r * a_prev, xt])
    c = np.tanh(p["Wc"] @ concat_reset + p["bc"])
    a = gamma_u * c + (1 - gamma_u) * a_prev
    y_hat = softmax(p["Wy"] @ a + p["by"])
    cache = {"concat": concat, "concat_reset": concat_reset, "gamma_u": gamma_u, "gamma_r": gamma_r}
    return a, y_hat, cache | {"c": c, "a": a, "a_prev": a_prev}


def forward(x: Array, a0: Array, parameters: Arrays) -> tuple[Array, Array, list[Arrays]]:
    """All steps: states a (n_a, m, T), predictions y_hat (n_y, m, T), and the caches of the steps."""
    states, predictions, caches, a = [], [], [], a0
    for t in range(x.shape[2]):
        a, y_hat, cache = cell_forward(x[:, :, t], a, parameters)
        states.append(a)
        predictions.append(y_hat)
        caches.append(cache)
    return np.stack(states, axis=2), np.stack(predictions, axis=2), caches


def compute_loss(y_hat: Array, y: Array) -> float:
    """Cross-entropy in nats, summed over all steps: -sum log y_hat of the character that came."""
    return float(-np.log((y_hat * y).sum(axis=0)).sum())


def cell_backward(dy: Array, da_next: Array, cache: Arrays, parameters: Arrays) -> tuple[Arrays, Array]:
    """One step back, by the chain rule, the last equation first.

    dy (n_y, m): gradient in Wy a + by. da_next (n_a, m): in a, from the step after. Returns the gradients of the
    parameters and da_prev (n_a, m).
    """
    p, n_a = parameters, len(da_next)
    gamma_u, gamma_r, c, a_prev = (cache[name] for name in ("gamma_u", "gamma_r", "c", "a_prev"))
    gradients = {"Wy": dy @ cache["a"].T, "by": dy.sum(axis=1, keepdims=True)}
    da = p["Wy"].T @ dy + da_next

    dc = da * gamma_u * (1 - c**2)  # in the argument of tanh
    du = da * (c - a_prev) * gamma_u * (1 - gamma_u)  # in the argument of the update gate's sigmoid
    dreset_state = (p["Wc"].T @ dc)[:n_a]  # in gamma_r * a_prev
    dr = dreset_state * a_prev * gamma_r * (1 - gamma_r)

    for name, d, concat in (("u", du, "concat"), ("r", dr, "concat"), ("c", dc, "concat_reset")):
        gradients[f"W{name}"] = d @ cache[concat].T
        gradients[f"b{name}"] = d.sum(axis=1, keepdims=True)
    da_prev = da * (1 - gamma_u) + dreset_state * gamma_r + (p["Wu"].T @ du)[:n_a] + (p["Wr"].T @ dr)[:n_a]
    return gradients, da_prev


def backward(y_hat: Array, y: Array, caches: list[Arrays], parameters: Arrays) -> Arrays:
    """Backpropagation through time: the gradients of `compute_loss`, summed over all steps."""
    gradients = {name: np.zeros_like(value) for name, value in parameters.items()}
    da = np.zeros_like(caches[0]["a"])
    for t in reversed(range(len(caches))):
        step, da = cell_backward(y_hat[:, :, t] - y[:, :, t], da, caches[t], parameters)
        for name, gradient in step.items():
            gradients[name] += gradient
    return gradients


def clip(gradients: Arrays, clip_value: float) -> Arrays:
    """Every element of every gradient into [-clip_value, clip_value]."""
    return {name: np.clip(gradient, -clip_value, clip_value) for name, gradient in gradients.items()}


def update_parameters(parameters: Arrays, gradients: Arrays, learning_rate: float) -> Arrays:
    """One step of gradient descent."""
    return {name: value - learning_rate * gradients[name] for name, value in parameters.items()}


def optimize(
    x: Array, y: Array, a_prev: Array, parameters: Arrays, learning_rate: float, clip_value: float
) -> tuple[float, Arrays, Array]:
    """One update from a window: forward, loss, backward, clip, update. Returns loss, new parameters, last state."""
    states, y_hat, caches = forward(x, a_prev, parameters)
    loss = compute_loss(y_hat, y)
    gradients = clip(backward(y_hat, y, caches, parameters), clip_value)
    return loss, update_parameters(parameters, gradients, learning_rate), states[:, :, -1]


def one_hot(indices: list[int], size: int) -> Array:
    """Indices (T,) as columns (size, 1, T)."""
    x = np.zeros((size, 1, len(indices)))
    x[indices, 0, np.arange(len(indices))] = 1
    return x


def train(
    text: str,
    char_to_idx: dict[str, int],
    num_iterations: int = 100,
    learning_rate: float = 0.01,
    clip_value: float = 5.0,
    *,
    n_a: int = 64,
    seq_length: int | None = None,
    parameters: Arrays | None = None,
    losses: list[float] | None = None,
) -> Arrays:
    """Train on a text, one window after the other, and return the parameters.

    seq_length: characters of a window; by default the text is one window. The state is carried from window to window,
    and is zero at the beginning of the text. losses: collects the mean nats per character of each update.
    """
    assert len(text) > 1, "a text must have at least two characters"
    indices = [char_to_idx[character] for character in text]
    size, length = max(char_to_idx.values()) + 1, seq_length or len(text) - 1
    parameters = parameters or initialize_parameters(n_a, size, size, np.random.default_rng(0))
    position = len(indices)
    for _ in range(num_iterations):
        if position + length + 1 > len(indices):
            position, a = 0, np.zeros((len(parameters["Wu"]), 1))
        window = indices[position : position + length + 1]
        x, y = one_hot(window[:-1], size), one_hot(window[1:], size)
        loss, parameters, a = optimize(x, y, a, parameters, learning_rate, clip_value)
        if losses is not None:
            losses.append(loss / y.shape[2])
        position += length
    trained.update(parameters)
    return parameters


def sample(
    seed: str, char_to_idx: dict[str, int], idx_to_char: dict[int, str], num_chars: int, parameters: Arrays = trained
) -> str:
    """The seed and `num_chars` characters after it, each drawn from the network's distribution."""
    assert parameters, "call train first, or pass parameters"
    rng, text = np.random.default_rng(0), seed
    a, size = np.zeros((len(parameters["Wu"]), 1)), len(parameters["Wy"])
    for character in seed:
        a, y_hat, _ = cell_forward(one_hot([char_to_idx[character]], size)[:, :, 0], a, parameters)
    for _ in range(num_chars):
        text += idx_to_char[int(rng.choice(size, p=y_hat[:, 0]))]
        a, y_hat, _ = cell_forward(one_hot([char_to_idx[text[-1]]], size)[:, :, 0], a, parameters)
    return text


if __name__ == "__main__":
    if not sys.argv[1:] or not Path(sys.argv[1]).is_file():
        sys.exit("Usage: python -m charlm.textbook CORPUS [UPDATES]   (CORPUS: a text file)")
    text, updates = Path(sys.argv[1]).read_text(encoding="utf-8"), int((sys.argv[2:] or ["3000"])[0])
    char_to_idx = {character: index for index, character in enumerate(sorted(set(text)))}
    losses: list[float] = []
    train(text, char_to_idx, updates, seq_length=25, losses=losses)
    for part in np.array_split(losses, 10):
        print(f"loss {np.mean(part):.3f} nats per character")
    print(sample(text[0], char_to_idx, {index: character for character, index in char_to_idx.items()}, 300))
