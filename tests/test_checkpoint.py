"""What is loaded is what was saved, to the bit; anything else is refused in one line.

Files with a right checksum that do not fit together are in test_hostile_files.py.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import bits_of, few_examples, some_checkpoint, trained_run
from safetensors.numpy import save_file

from charlm.errors import CheckpointError
from charlm.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

pytestmark = pytest.mark.usefixtures("quick_disk")

ALPHABETS = ("ab", "\n aé", "αβγδ\u2028", "\U0001f600x\u0301\ufeff")


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as raised:
        load_checkpoint(path)
    message = str(raised.value)
    assert "\n" not in message and str(path) in message
    return message


@few_examples
@given(
    characters=st.sampled_from(ALPHABETS),
    hidden=st.integers(1, 9),
    layers=st.integers(1, 4),
    batch=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_round_trip(tmp_path: Path, characters: str, hidden: int, layers: int, batch: int, seed: int) -> None:
    """Law: every array, name, number and character comes back to the bit."""
    saved = some_checkpoint(characters, hidden, layers, batch, seed)
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, saved)
    loaded = load_checkpoint(path)
    assert bits_of(loaded) == bits_of(saved)
    assert dict(loaded.progress) == dict(saved.progress)


def test_order_of_many_layers(tmp_path: Path) -> None:
    """Law: the state of layer 10 comes after that of layer 9, not after that of layer 1."""
    saved = some_checkpoint(layers=12)
    save_checkpoint(tmp_path / "x.safetensors", saved)
    for layer, state in enumerate(load_checkpoint(tmp_path / "x.safetensors").state):
        np.testing.assert_array_equal(state, saved.state[layer])


def test_arrays_in_any_memory_order(tmp_path: Path) -> None:
    """Law: transposed and strided arrays are saved by value, not as the memory behind them."""
    c = some_checkpoint(hidden=4)
    params = {name: np.asfortranarray(array) for name, array in c.params.items()}
    wide = np.arange(2 * 8, dtype=np.float32).reshape(2, 8)
    state = (wide[:, ::2], wide[::-1, 3::-1])
    assert not any(array.flags.c_contiguous for array in (*state, params["readout.W"]))
    save_checkpoint(tmp_path / "x.safetensors", Checkpoint(c.spec, c.vocabulary, params, c.memory, state))
    loaded = load_checkpoint(tmp_path / "x.safetensors")
    for name, array in params.items():
        np.testing.assert_array_equal(loaded.params[name], array)
    for got, expected in zip(loaded.state, state, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_no_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: nothing is pickled or unpickled, and a pickle is refused unopened."""
    (tmp_path / "p.safetensors").write_bytes(pickle.dumps(print))
    for called in (pickle.load, pickle.loads, pickle.dump, pickle.dumps, pickle.Unpickler, pickle.Pickler):
        monkeypatch.setattr(pickle, called.__name__, lambda *_, **__: pytest.fail("pickle was called"))
    save_checkpoint(tmp_path / "x.safetensors", some_checkpoint())
    load_checkpoint(tmp_path / "x.safetensors")
    refusal(tmp_path / "p.safetensors")


def flip(data: bytes, position: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 1 << bit
    return bytes(changed)


@pytest.mark.parametrize("part", ["tensors", "head"])
def test_a_flipped_bit(part: str, tmp_path: Path) -> None:
    """Law: a file with one flipped bit is refused, or holds exactly what was saved."""
    path = tmp_path / "x.safetensors"
    saved = some_checkpoint(characters="\n abcdefgé")
    save_checkpoint(path, saved)
    data = path.read_bytes()
    head_end = 8 + int.from_bytes(data[:8], "little")
    low, high = {"tensors": (head_end, len(data)), "head": (0, head_end)}[part]
    rng = np.random.default_rng(1)
    accepted = []
    for position in rng.choice(np.arange(low, high), 40 if part == "tensors" else 200, replace=False):
        path.write_bytes(flip(data, position, int(rng.integers(8))))
        try:
            loaded = load_checkpoint(path)
        except CheckpointError as error:
            assert len(str(error).splitlines()) == 1
            continue
        if bits_of(loaded) != bits_of(saved) or dict(loaded.progress) != dict(saved.progress):
            accepted.append(path.read_bytes()[max(0, position - 20) : position + 20])
    assert not accepted, f"{len(accepted)} flipped bits went unnoticed, such as in {accepted[0]!r}"


def test_a_real_run_flipped(tmp_path: Path) -> None:
    """The same law for a checkpoint that training wrote."""
    path = tmp_path / "x.safetensors"
    data = (trained_run() / "last.safetensors").read_bytes()
    path.write_bytes(data)
    saved = bits_of(load_checkpoint(path))
    rng = np.random.default_rng(2)
    for position in rng.choice(len(data), 40, replace=False):
        path.write_bytes(flip(data, position, int(rng.integers(8))))
        try:
            assert bits_of(load_checkpoint(path)) == saved
        except CheckpointError:
            continue


def test_cut_short(tmp_path: Path) -> None:
    """Law: no proper beginning of a checkpoint is a checkpoint."""
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, some_checkpoint())
    data = path.read_bytes()
    rng = np.random.default_rng(3)
    for length in [0, 1, 7, 8, 9, 100, len(data) - 1, len(data) - 4, *rng.integers(len(data), size=30)]:
        path.write_bytes(data[:length])
        refusal(path)
    path.write_bytes(data + b"\0")
    refusal(path)


def test_files_that_are_not_checkpoints(tmp_path: Path) -> None:
    """Law: missing, a folder, foreign: refused in one line that names the file."""
    refusal(tmp_path / "missing.safetensors")
    refusal(tmp_path)
    foreign = tmp_path / "foreign.safetensors"
    for metadata in (None, {"format": "pt"}):
        save_file({"weight": np.zeros(3, np.float32)}, foreign, metadata=metadata)
        assert "charlm" in refusal(foreign)
    for head in ("", "{", "[]", "null", "{}", '"x"', "[" * 100_000, '{"format": 1}', "NaN"):
        save_file({"weight": np.zeros(3, np.float32)}, foreign, metadata={"charlm": head})
        refusal(foreign)
    text = tmp_path / "text.safetensors"
    text.write_text("Down by the harbour the lanterns come on\n" * 100)
    refusal(text)
