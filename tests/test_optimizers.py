"""Optimizers against their equations, written as sums over all gradients so far, and against PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.arrays import NamedArrays
from charlm.optim.muon import Muon, orthogonal
from charlm.optim.optimizers import OPTIMIZERS, SGD, Adam, Optimizer, RMSProp, make_optimizer

SHAPES = {"W": (3, 4), "b": (5,)}
RATES = [0.5, 0.5, 0.1, 2.0, 0.0, 0.3] * 4
DECAY = 0.1

MAKERS: dict[str, Callable[[Any], Optimizer]] = {
    "plain": lambda params: SGD(params, 0.0),
    "classical": lambda params: SGD(params, 0.9, nesterov=False),
    "nesterov": lambda params: SGD(params, 0.9),
    "nesterov half": lambda params: SGD(params, 0.5),
    "rmsprop": RMSProp,
    "adam": Adam,
    "adamw": lambda params: Adam(params, weight_decay=DECAY),
    "muon": lambda params: Muon(params, 0.9, weight_decay=DECAY),
    "muon plain": lambda params: Muon(params, 0.0),
}
KINDS = {
    "plain": [],
    "classical": ["velocity"],
    "nesterov": ["velocity"],
    "nesterov half": ["velocity"],
    "rmsprop": ["square"],
    "adam": ["mean", "square"],
    "adamw": ["mean", "square"],
    "muon": ["velocity"],
    "muon plain": [],
}
every_optimizer = pytest.mark.parametrize("name", MAKERS)


def named(rng: np.random.Generator, dtype: type[np.floating[Any]] = np.float64) -> NamedArrays:
    """Random named arrays."""
    arrays = NamedArrays(SHAPES, dtype)
    arrays.flat[...] = rng.standard_normal(arrays.flat.shape)
    return arrays


def faded(keep: float, values: Sequence[Any]) -> Any:
    """Sum of all values, each times keep^age, the last of age 0."""
    return sum(keep**age * value for age, value in enumerate(reversed(values)))


def evened(matrix: Any) -> Any:
    """The matrix whose singular values went through Jordan's polynomial three times, from the decomposition."""
    left, values, right = np.linalg.svd(np.atleast_2d(matrix), full_matrices=False)
    values = values / np.linalg.norm(values)
    for _ in range(3):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return ((left * values) @ right).reshape(matrix.shape)


def expected(name: str, p: Any, gradients: Sequence[Any], rate: float) -> Any:
    """p after an update, from all gradients so far: no memory, sums only."""
    g, squares, ones = gradients[-1], [past * past for past in gradients], [1.0] * len(gradients)
    match name:
        case "plain":
            return p - rate * g
        case "classical":
            return p - rate * faded(0.9, gradients)
        case "nesterov":
            return p - rate * (g + 0.9 * faded(0.9, gradients))
        case "nesterov half":
            return p - rate * (g + 0.5 * faded(0.5, gradients))
        case "rmsprop":
            return p - rate * g / (np.sqrt(0.01 * faded(0.99, squares)) + 1e-8)
        case "muon plain":
            return p - rate * max(p.shape) ** 0.5 * evened(g)
    if name in ("adamw", "muon") and p.ndim > 1:
        p = p - rate * DECAY * p
    if name == "muon":
        return p - rate * max(p.shape) ** 0.5 * evened(g + 0.9 * faded(0.9, gradients))
    mean = faded(0.9, gradients) / faded(0.9, ones)  # weighted means are the corrected ones of the paper
    square = faded(0.999, squares) / faded(0.999, ones)
    return p - rate * mean / (np.sqrt(square) + 1e-8)


@every_optimizer
def test_updates_follow_the_equations(name: str, rng: np.random.Generator) -> None:
    """Every update is that of the documented equation, under a rate that changes."""
    params = named(rng)
    p = {array_name: array.copy() for array_name, array in params.items()}
    optimizer = MAKERS[name](params)
    seen: list[NamedArrays] = []
    for rate in RATES:
        seen.append(named(rng))
        optimizer.update(params, seen[-1], rate)
        for array_name, array in params.items():
            p[array_name] = expected(name, p[array_name], [grads[array_name] for grads in seen], rate)
            np.testing.assert_allclose(array, p[array_name], rtol=1e-9, atol=1e-12)


def torch_optimizer(torch: Any, name: str, params: dict[str, Any]) -> Any:
    """PyTorch's optimizer of that name; biases are a group without decay."""
    everything = list(params.values())
    match name:
        case "plain":
            return torch.optim.SGD(everything, lr=1.0)
        case "classical":
            return torch.optim.SGD(everything, lr=1.0, momentum=0.9)
        case "nesterov":
            return torch.optim.SGD(everything, lr=1.0, momentum=0.9, nesterov=True)
        case "nesterov half":
            return torch.optim.SGD(everything, lr=1.0, momentum=0.5, nesterov=True)
        case "rmsprop":
            return torch.optim.RMSprop(everything, lr=1.0, alpha=0.99)
        case "adam":
            return torch.optim.Adam(everything, lr=1.0)
    groups = [{"params": [params["W"]], "weight_decay": DECAY}, {"params": [params["b"]], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=1.0)


@pytest.mark.parametrize("name", [name for name in MAKERS if not name.startswith("muon")])
def test_pytorch_agrees(name: str, rng: np.random.Generator) -> None:
    """The same path as PyTorch's optimizer, for 20 steps and more."""
    torch = pytest.importorskip("torch")
    params = named(rng)
    theirs = {array_name: torch.nn.Parameter(torch.tensor(array)) for array_name, array in params.items()}
    ours, others = MAKERS[name](params), torch_optimizer(torch, name, theirs)
    for rate in RATES:
        grads = named(rng)
        ours.update(params, grads, rate)
        for array_name, parameter in theirs.items():
            parameter.grad = torch.tensor(grads[array_name])
        for group in others.param_groups:
            group["lr"] = rate
        others.step()
        for array_name, parameter in theirs.items():
            there = parameter.detach().numpy()
            assert np.abs(params[array_name] - there).max() < 1e-9 * np.abs(there).max()


@pytest.mark.parametrize("shape", [(4, 4), (3, 8), (8, 3)])
def test_pytorch_agrees_on_muon(shape: tuple[int, int], rng: np.random.Generator) -> None:
    """The same path as PyTorch's Muon, scaled to match AdamW, up to the error of its bfloat16 arithmetic."""
    torch = pytest.importorskip("torch")
    params = {"W": rng.standard_normal(shape)}
    theirs = torch.nn.Parameter(torch.tensor(params["W"]))
    ours = Muon(params, 0.9, weight_decay=DECAY)
    other = torch.optim.Muon(  # whose scale has the factor 0.2
        [theirs], lr=1.0, momentum=0.9, weight_decay=DECAY * 0.2, ns_steps=3, adjust_lr_fn="match_rms_adamw"
    )
    for rate in RATES:
        gradient = rng.standard_normal(shape)
        before = params["W"].copy()
        ours.update(params, {"W": gradient}, rate)
        theirs.data[...] = torch.tensor(before)
        theirs.grad = torch.tensor(gradient)
        other.param_groups[0]["lr"] = rate / 0.2
        other.step()
        step, there = params["W"] - before, theirs.detach().numpy() - before
        assert np.linalg.norm(step - there) <= 0.06 * np.linalg.norm(there)


def test_plain_descent_by_hand() -> None:
    """Without momentum: p - rate g, and nothing else."""
    params, grads = {"p": np.array([1.0, -2.0])}, {"p": np.array([0.5, 4.0])}
    SGD(params, momentum=0).update(params, grads, 0.25)
    np.testing.assert_array_equal(params["p"], [0.875, -3.0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_adams_first_step_is_the_sign_of_the_gradient(
    size: float, dtype: type[np.floating[Any]], rng: np.random.Generator
) -> None:
    """For any size of the gradient, each parameter's first step is the learning rate, downhill."""
    params, grads = named(rng, dtype), named(rng, dtype)
    params.flat[...] = 0
    grads.flat[...] = size * np.sign(grads.flat) * (0.1 + np.abs(grads.flat))
    Adam(params).update(params, grads, 0.125)
    np.testing.assert_allclose(params.flat, -0.125 * np.sign(grads.flat), rtol=2e-4)  # epsilon / 1e-4


def test_decay_shrinks_weights_and_no_biases(rng: np.random.Generator) -> None:
    """Where the gradient is zero, AdamW multiplies matrices by 1 - rate w and keeps vectors; w = 0 is Adam."""
    params, zero = named(rng), NamedArrays(SHAPES, np.float64)
    W, b = params["W"].copy(), params["b"].copy()
    Adam(params, weight_decay=0.25).update(params, zero, 0.5)
    np.testing.assert_allclose(params["W"], W * (1 - 0.5 * 0.25), rtol=1e-15)
    np.testing.assert_array_equal(params["b"], b)
    Adam(params).update(params, zero, 0.5)
    np.testing.assert_allclose(params["W"], W * (1 - 0.5 * 0.25), rtol=1e-15)


@every_optimizer
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_memory_is_named_like_the_params(name: str, dtype: type[np.floating[Any]], rng: np.random.Generator) -> None:
    """An array per parameter and kind of memory, of its shape and dtype, zero at first; Adam also counts updates."""
    memory = dict(MAKERS[name](named(rng, dtype)).memory)
    if name.startswith("adam"):
        assert memory.pop("updates").tolist() == [0]
    assert {key: array.shape for key, array in memory.items()} == {
        f"{kind}.{array_name}": shape for kind in KINDS[name] for array_name, shape in SHAPES.items()
    }
    assert all(array.dtype == dtype and not array.any() for array in memory.values())


@every_optimizer
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_memory_is_the_whole_state(name: str, dtype: type[np.floating[Any]], rng: np.random.Generator) -> None:
    """A new optimizer with the old one's memory continues bit for bit as the old one."""
    one = named(rng, dtype)
    first = MAKERS[name](one)
    for _ in range(3):
        first.update(one, named(rng, dtype), 0.1)
    two = NamedArrays.like(one)
    two.copy_from(one)
    second = MAKERS[name](two)
    for key, array in second.memory.items():
        array[...] = first.memory[key]
    for _ in range(3):
        grads = named(rng, dtype)
        first.update(one, grads, 0.1)
        second.update(two, grads, 0.1)
    np.testing.assert_array_equal(one.flat, two.flat)
    assert first.memory.keys() == second.memory.keys()
    for key, array in first.memory.items():
        np.testing.assert_array_equal(array, second.memory[key])


@every_optimizer
def test_updates_are_in_place(name: str, rng: np.random.Generator) -> None:
    """The params and the optimizer's memory change in place, dtypes stay, and so do gradients."""
    params, grads = named(rng, np.float32), named(rng, np.float32)
    before, kept_grads, flat = params.flat.copy(), grads.flat.copy(), params.flat
    optimizer = MAKERS[name](params)
    memory = dict(optimizer.memory)
    dtypes = {key: array.dtype for key, array in memory.items()}
    optimizer.update(params, grads, 0.1)
    assert params.flat is flat and params.flat.dtype == np.float32
    assert np.all(params.flat != before)
    assert optimizer.memory.keys() == memory.keys()
    for key, array in optimizer.memory.items():
        assert array is memory[key] and array.all() and array.dtype == dtypes[key]
    np.testing.assert_array_equal(grads.flat, kept_grads)


@every_optimizer
def test_the_minimum_is_found(name: str) -> None:
    """On a quadratic of unequal curvatures, descent with a falling rate ends at the minimum."""
    params = {"p": np.array([5.0, -3.0])}
    optimizer = MAKERS[name](params)
    for step in range(800):
        optimizer.update(params, {"p": params["p"] * [1.0, 10.0]}, 0.05 * (1 - step / 800))
    np.testing.assert_allclose(params["p"], 0, rtol=0, atol=1e-4)


BY_NAME: dict[str, Callable[[Any], Optimizer]] = {
    "muon": lambda params: Muon(params, 0.7, weight_decay=0.2),
    "sgd": lambda params: SGD(params, 0.7),
    "rmsprop": RMSProp,
    "adam": Adam,
    "adamw": lambda params: Adam(params, weight_decay=0.2),
}


@pytest.mark.parametrize("name", BY_NAME)
def test_optimizers_by_name(name: str, rng: np.random.Generator) -> None:
    """`make_optimizer` gives the right one, with the settings that it has: see OPTIMIZERS."""
    one = named(rng)
    two = NamedArrays.like(one)
    two.copy_from(one)
    first, second = make_optimizer(name, one, momentum=0.7, weight_decay=0.2), BY_NAME[name](two)
    for _ in range(3):
        grads = named(rng)
        first.update(one, grads, OPTIMIZERS[name].learning_rate)
        second.update(two, grads, OPTIMIZERS[name].learning_rate)
    np.testing.assert_array_equal(one.flat, two.flat)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_table_has_the_defaults_and_the_size_of_the_memory(name: str, rng: np.random.Generator) -> None:
    """None means the default of the table; `arrays` are kept per parameter, and none without momentum."""
    usual, params = OPTIMIZERS[name], named(rng)
    optimizer = make_optimizer(name, params, momentum=None, weight_decay=None)
    assert getattr(optimizer, "momentum", None) == usual.momentum
    assert (getattr(optimizer, "weight_decay", None) or None) == usual.weight_decay
    kept = [key for key in optimizer.memory if key != "updates"]
    assert len(kept) == usual.arrays * len(params)
    if usual.momentum is not None:
        assert make_optimizer(name, params, momentum=0.0, weight_decay=None).memory == {}


def test_an_unknown_optimizer_is_refused(rng: np.random.Generator) -> None:
    """The message has its name and the known ones."""
    with pytest.raises(ValueError, match=r"rmsprop.*'unknown'"):
        make_optimizer("unknown", named(rng), momentum=0.9, weight_decay=0.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    scale=st.sampled_from([1e-30, 1e-3, 1.0, 1e18]),
    seed=st.integers(0, 99),
)
def test_orthogonal_makes_singular_values_equal(
    dtype: type[np.floating[Any]], rows: int, columns: int, scale: float, seed: int
) -> None:
    """Singular values of any gradient, unless tiny, get between 0.6 and 1.3; its singular vectors stay."""
    rng = np.random.default_rng(seed)
    matrix = (scale * rng.standard_normal((rows, columns))).astype(dtype)
    result = orthogonal(matrix)
    assert result.shape == matrix.shape and result.dtype == dtype
    np.testing.assert_allclose(result, evened(matrix.astype(np.float64)), atol=2e-3)
    before = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
    after = np.linalg.svd(result.astype(np.float64), compute_uv=False)
    if before[-1] > 0.02 * np.linalg.norm(before):
        assert after.min() > 0.6 and after.max() < 1.3


def test_orthogonal_of_zeros_is_zeros() -> None:
    """A matrix of zeros, or without elements, stays as it is."""
    np.testing.assert_array_equal(orthogonal(np.zeros((3, 4))), 0)
    assert orthogonal(np.zeros((0, 4))).shape == (0, 4)
