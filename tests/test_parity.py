"""charlm against PyTorch: the same function and the same gradients, in float64, to a relative error under 1e-9."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from charlm.arrays import NamedArrays
from charlm.nn.cells import make_cell
from charlm.nn.loss import mean_squared_error
from charlm.nn.sequence import SequenceModel
from charlm.nn.stack import Stack
from charlm.optim.optimizers import Adam

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # on a busy machine, two threads that wait for each other take up to 25 times as long

T, B, D, H = 5, 4, 3, 2
TOLERANCE = 1e-9
KINDS = [("gru", "after", "tanh"), ("lstm", "before", "tanh"), ("rnn", "before", "tanh"), ("rnn", "before", "relu")]


def torch_network(kind: str, activation: str, layers: int, bidirectional: bool, D: int = D, H: int = H) -> Any:
    """The network of the same sizes in PyTorch, float64."""
    shape = {"input_size": D, "hidden_size": H, "num_layers": layers, "bidirectional": bidirectional}
    if kind == "rnn":
        return torch.nn.RNN(**shape, nonlinearity=activation).double()
    return {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[kind](**shape).double()


def blocks(kind: str, array: np.ndarray) -> list[np.ndarray]:
    """The gates of one PyTorch array (gates times H first), in our order and transposed."""
    order = {"gru": (1, 0, 2), "lstm": (0, 1, 3, 2), "rnn": (0,)}[kind]  # r z n -> z r n; i f g o -> i f o g
    parts = np.split(array, len(order))
    return [parts[gate].T for gate in order]


def from_torch(kind: str, arrays: dict[str, np.ndarray], suffix: str) -> dict[str, np.ndarray]:
    """One cell's parameters (or gradients) in our packing: z negated, since PyTorch's z keeps the old state."""
    signs = [-1, 1, 1] if kind == "gru" else [1] * 4
    cell = {}
    for ours, theirs in (("W", "weight_ih"), ("U", "weight_hh"), ("b", "bias_ih"), ("b_h", "bias_hh")):
        parts = blocks(kind, arrays[f"{theirs}_{suffix}"])
        cell[ours] = np.concatenate([sign * part for sign, part in zip(signs, parts, strict=False)], axis=-1)
    return cell


def our_params(kind: str, arrays: dict[str, np.ndarray], suffix: str) -> dict[str, np.ndarray]:
    """The sum of PyTorch's two biases, except for the candidate of a GRU, which keeps both."""
    cell = from_torch(kind, arrays, suffix)
    b_h = cell.pop("b_h")
    if kind == "gru":
        size = len(b_h) // 3
        cell["b_rn"] = b_h[2 * size :].copy()
        b_h[2 * size :] = 0
    cell["b"] = cell["b"] + b_h
    return cell


def suffixes(layers: int, bidirectional: bool) -> list[tuple[str, str]]:
    """Our prefix and PyTorch's suffix of every cell."""
    pairs = []
    for layer in range(layers):
        if bidirectional:
            pairs += [(f"layer{layer}.forward", f"l{layer}"), (f"layer{layer}.backward", f"l{layer}_reverse")]
        else:
            pairs.append((f"layer{layer}", f"l{layer}"))
    return pairs


def close(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Relative error, against the largest element."""
    assert np.abs(ours - theirs).max() <= TOLERANCE * np.abs(theirs).max()


def arrays_of(network: Any, gradients: bool = False) -> dict[str, np.ndarray]:
    """The parameters, or their gradients, as numpy arrays."""
    return {
        name: (value.grad if gradients else value.detach()).numpy().copy() for name, value in network.named_parameters()
    }


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize(("kind", "reset", "activation"), KINDS)
def test_a_stack_is_pytorchs_forward_and_backward(
    kind: str, reset: str, activation: str, layers: int, bidirectional: bool, rng: np.random.Generator
) -> None:
    """Outputs, and the gradients of every parameter and of the inputs."""
    torch.manual_seed(layers)
    theirs = torch_network(kind, activation, layers, bidirectional)
    above = H * (1 + bidirectional)
    ours = Stack(
        [
            make_cell(
                kind,
                D if layer == 0 else above,
                H,
                np.float64,
                reset=reset,
                activation=activation,
                bidirectional=bidirectional,
            )
            for layer in range(layers)
        ]
    )
    params = NamedArrays(ours.shapes, np.float64)
    for prefix, suffix in suffixes(layers, bidirectional):
        for name, array in our_params(kind, arrays_of(theirs), suffix).items():
            params[f"{prefix}.{name}"][...] = array

    x, doutputs = rng.standard_normal((T, B, D)), rng.standard_normal((T, B, above))
    x_torch = torch.tensor(x, requires_grad=True)
    outputs_torch, _ = theirs(x_torch)
    (outputs_torch * torch.tensor(doutputs)).sum().backward()

    outputs, _, tape = ours.forward(ours.prepare(params), x, ours.zero_state(B))
    close(outputs, outputs_torch.detach().numpy())
    grads = NamedArrays.like(params)
    dx = ours.backward(tape, doutputs.copy(), grads)
    assert dx is not None
    close(dx, x_torch.grad.numpy())
    for prefix, suffix in suffixes(layers, bidirectional):
        expected = from_torch(kind, arrays_of(theirs, gradients=True), suffix)
        b_h = expected.pop("b_h")
        if kind == "gru":
            expected["b_rn"] = b_h[2 * H :]
        for name, array in expected.items():
            close(grads[f"{prefix}.{name}"], array)


@pytest.mark.slow
@pytest.mark.parametrize(("N", "updates"), [(100, 20), (1000, 5)])
def test_a_bidirectional_lstm_learns_as_pytorchs_does(N: int, updates: int, rng: np.random.Generator) -> None:
    """Sequence to sequence: inputs (N, 10, 32), targets (N, 10, 1), 64 units, a dense layer, squared error.

    From the same initial parameters, updates of Adam give the same losses; also at the full size of the task, N = 1000.
    """
    steps, features, units = 10, 32, 64
    x = rng.standard_normal((N, steps, features)).swapaxes(0, 1).copy()
    y = np.tanh(x[..., :1] + np.roll(x[..., 1:2], -1, axis=0))  # needs the step before and the step after
    torch.manual_seed(0)
    theirs = torch_network("lstm", "tanh", 1, True, features, units)
    dense = torch.nn.Linear(2 * units, 1).double()
    ours = SequenceModel(features, units, 1, cell="lstm", dtype=np.float64)
    params = NamedArrays(ours.shapes, np.float64)
    for prefix, suffix in suffixes(1, True):
        for name, array in our_params("lstm", arrays_of(theirs), suffix).items():
            params[f"{prefix}.{name}"][...] = array
    params["readout.W"][...] = dense.weight.detach().numpy().T
    params["readout.b"][...] = dense.bias.detach().numpy()

    # PyTorch has two biases where we have one; freezing one of each pair makes the two Adams the same.
    moving = [p for name, p in theirs.named_parameters() if not name.startswith("bias_hh")] + [*dense.parameters()]
    optimizer_torch = torch.optim.Adam(moving, lr=0.01)
    optimizer, grads = Adam(params), NamedArrays.like(params)
    x_torch, y_torch = torch.tensor(x), torch.tensor(y)
    for _ in range(updates):
        optimizer_torch.zero_grad()
        loss_torch = torch.nn.functional.mse_loss(dense(theirs(x_torch)[0]), y_torch)
        loss_torch.backward()
        optimizer_torch.step()

        outputs, tape = ours.forward(params, x)
        loss, doutputs = mean_squared_error(outputs, y)
        ours.backward(params, tape, doutputs, grads)
        optimizer.update(params, grads, 0.01)
        assert loss == pytest.approx(loss_torch.item(), rel=1e-7)
