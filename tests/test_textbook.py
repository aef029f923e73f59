"""charlm/textbook.py and the fast network are one and the same: gradients, and the curve of a whole training."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradient_check import exact_gradients
from runs import LANTERNS

import charlm
from charlm import textbook
from charlm.arrays import NamedArrays
from charlm.nn.loss import cross_entropy
from charlm.nn.model import CharLM, ModelSpec
from charlm.runs.checkpoint import Checkpoint
from charlm.runs.run import Run
from charlm.training.auto_config import PRESETS
from charlm.training.loop import train_steps
from charlm.training.new_run import configuration
from charlm.training.progress import Tally

UNITS, UPDATES = 64, 100
GATES = "urc"  # in the order of z, r, n

PASSAGES = {
    "play": LANTERNS.read_text(encoding="utf-8")[300:800],
    "code": "".join(f"def f{n}(x, y={n}):\n    return [x[{n}] * {n} + y for _ in range({n})]\n\n" for n in range(12))[
        :500
    ],
    "greek": ("Τα φανάρια ανάβουν το βράδυ, κι ο φύλακας μετρά τα πλοία που περνούν. " * 9)[:500],
}


def to_textbook(params: NamedArrays | dict[str, Any]) -> dict[str, Any]:
    """The fast network's parameters, or gradients, in the textbook's names and shapes: Wu (n_a, n_a + n_x), ..."""
    W, U, b = (np.split(params[f"layer0.{name}"], 3, axis=-1) for name in ("W", "U", "b"))
    found = {f"W{gate}": np.concatenate([U[k].T, W[k].T], axis=1) for k, gate in enumerate(GATES)}
    found |= {f"b{gate}": b[k][:, None] for k, gate in enumerate(GATES)}
    return found | {"Wy": params["readout.W"].T, "by": params["readout.b"][:, None]}


def columns(ids: Any, size: int) -> Any:
    """Ids (T, B) as the textbook's one-hot columns (n_x, m, T)."""
    return np.moveaxis(np.eye(size)[ids], 2, 0).swapaxes(1, 2)


def test_the_gradients_of_the_fast_network_are_the_textbooks(rng: np.random.Generator) -> None:
    """Law: loss and all gradients, for several sequences side by side, in float64."""
    T, B, V = 7, 3, 11
    model = CharLM(ModelSpec(V, 5), np.float64)
    params, grads = model.initial_params(rng), NamedArrays(model.spec.shapes, np.float64)
    ids = rng.integers(V, size=(T + 1, B))
    logits, _, tape = model.forward(params, ids[:-1], model.zero_state(B))
    nats, dlogits = cross_entropy(logits, ids[1:])
    model.backward(params, tape, dlogits, grads)

    parameters, x, y = to_textbook(params), columns(ids[:-1], V), columns(ids[1:], V)
    _, y_hat, caches = textbook.forward(x, np.zeros((5, B)), parameters)
    assert textbook.compute_loss(y_hat, y) == pytest.approx(nats * T * B, rel=1e-12)
    found = textbook.backward(y_hat, y, caches, parameters)
    for name, gradient in to_textbook({key: array * (T * B) for key, array in grads.items()}).items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-9, atol=1e-12, err_msg=name)


def test_the_gradients_of_the_textbook_are_exact(rng: np.random.Generator) -> None:
    """Law: they are the complex-step derivatives of its own loss."""
    V, n_a, T = 5, 4, 6
    parameters = textbook.initialize_parameters(n_a, V, V, rng)
    ids = rng.integers(V, size=(T + 1, 1))
    x, y = columns(ids[:-1], V), columns(ids[1:], V)

    def loss(arrays: dict[str, Any]) -> Any:
        a, total = np.zeros((n_a, 1)), 0.0
        for t in range(T):
            joined = np.concatenate([a, x[:, :, t]])
            u, r = (1 / (1 + np.exp(-(arrays[f"W{gate}"] @ joined + arrays[f"b{gate}"]))) for gate in "ur")
            c = np.tanh(arrays["Wc"] @ np.concatenate([r * a, x[:, :, t]]) + arrays["bc"])
            a = u * c + (1 - u) * a
            e = np.exp(arrays["Wy"] @ a + arrays["by"])
            total = total - np.log((e * y[:, :, t]).sum() / e.sum())
        return total

    _, y_hat, caches = textbook.forward(x, np.zeros((n_a, 1)), parameters)
    found = textbook.backward(y_hat, y, caches, parameters)
    for name, gradient in exact_gradients(loss, parameters).items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-9, atol=1e-12, err_msg=name)


def preset_losses(text: str, folder: Path) -> tuple[list[float], dict[str, Any], charlm.Vocabulary]:
    """Losses of `--preset textbook --window all` on a passage, its initial parameters, and its vocabulary."""
    path = folder / "passage.txt"
    path.write_text(text + text[:56], encoding="utf-8")  # the last tenth, 56 characters, is for validation
    corpus = charlm.read_corpus(path)
    recipe = charlm.choose(corpus, "textbook", window="all", steps=UPDATES)
    model = ModelSpec(len(corpus.vocabulary) + 1, **recipe.network)
    network = CharLM(model, np.float64)
    params = network.initial_params(np.random.default_rng(5))
    first = Checkpoint(model, corpus.vocabulary, params, {}, network.zero_state(1), vars(Tally()))
    config = configuration(corpus, model, recipe.training)
    assert config["training"]["window"] == len(text) - 1
    run = Run.create(folder / "run", config, first)
    start = {name: array.copy() for name, array in to_textbook(params).items()}
    return [progress.nats for progress in train_steps(run, corpus)], start, corpus.vocabulary


@pytest.mark.slow
@pytest.mark.parametrize("name", PASSAGES)
def test_the_preset_trains_the_textbooks_curve(name: str, tmp_path: Path) -> None:
    """Law: the preset and textbook.train, from the same weights, have the same loss at each of 100 updates.

    In float32 the long steps of a summed gradient multiply every rounding, so the preset trains in float64.
    """
    text = PASSAGES[name]
    assert len(text) == 500
    found, start, vocabulary = preset_losses(text, tmp_path)
    char_to_idx = {character: place for place, character in enumerate([*vocabulary.characters, "unknown"])}
    losses: list[float] = []
    textbook.train(text, char_to_idx, UPDATES, 0.01, 5.0, parameters=start, losses=losses)
    np.testing.assert_allclose(found, losses, rtol=1e-6)
    assert losses[-1] < 0.6 * losses[0]


def test_the_preset_is_what_its_name_says() -> None:
    """Law: summed loss, constant rate from the first update, clipping by value, plain SGD, nothing read as unknown."""
    settings = dict(PRESETS["textbook"])
    expected = {
        "loss_reduction": "sum", "schedule": "constant", "warmup": 0, "clip_value": 5.0, "clip_norm": None,
        "optimizer": "sgd", "momentum": 0.0, "rare_as_unknown": False, "dropout": 0.0, "input_dropout": 0.0,
        "learning_rate": 0.01, "batch": 1, "hidden": 64, "precision": "float64",
    }  # fmt: skip
    assert {name: settings[name] for name in expected} == expected
    assert PRESETS["classic"] == PRESETS["textbook"]


@pytest.mark.slow
def test_the_program_trains_and_writes() -> None:
    """Law: `python -m charlm.textbook TEXT` prints a falling loss and a sample of the text's characters."""
    done = subprocess.run(
        [sys.executable, "-m", "charlm.textbook", str(LANTERNS), "200"], capture_output=True, text=True, check=True
    )
    lines = [line for line in done.stdout.splitlines() if "nats per character" in line]
    losses = [float(line.split("loss")[1].split()[0]) for line in lines]
    assert len(losses) >= 2 and losses[-1] < losses[0]
    sample = done.stdout.split("nats per character\n")[-1]
    assert len(sample) > 100 and set(sample) <= set(LANTERNS.read_text(encoding="utf-8"))


def test_it_can_be_read_alone() -> None:
    """Law: one file of at most 200 lines, with NumPy and the standard library alone."""
    source = Path(str(textbook.__file__)).read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 200
    assert "charlm" not in [
        line.split()[1].split(".")[0] for line in source.splitlines() if line.startswith(("import ", "from "))
    ]


def test_sampling_uses_the_parameters_of_the_last_training() -> None:
    """Law: train(...), then sample("T", char_to_idx, idx_to_char, num_chars), as in the exercise."""
    text = "The tide. The tower. " * 8
    char_to_idx = {character: place for place, character in enumerate(sorted(set(text)))}
    idx_to_char = {place: character for character, place in char_to_idx.items()}
    trained = textbook.train(text, char_to_idx, 40, 0.01, 5.0)
    written = textbook.sample("T", char_to_idx, idx_to_char, 30)
    assert len(written) == 31 and written.startswith("T") and set(written) <= set(text)
    assert written == textbook.sample("T", char_to_idx, idx_to_char, 30, trained)


def test_its_command_without_a_text(tmp_path: Path) -> None:
    """Law: one line of usage, for no argument and for a file that is not there."""
    for arguments in ([], [str(tmp_path / "nothing.txt")]):
        done = subprocess.run([sys.executable, "-m", "charlm.textbook", *arguments], capture_output=True, text=True)
        assert done.returncode == 1 and done.stderr.startswith("Usage: ") and done.stderr.count("\n") == 1


def test_a_text_shorter_than_a_window() -> None:
    """Law: the loss is the mean over the characters that were predicted: before training ln of the alphabet's size."""
    losses: list[float] = []
    textbook.train("abcabc", {"a": 0, "b": 1, "c": 2}, 1, seq_length=25, losses=losses)
    assert losses[0] == pytest.approx(np.log(3), rel=0.2)
