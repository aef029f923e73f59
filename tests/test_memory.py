"""The memory of training is known before it begins, and too much is refused in one line."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from runs import LANTERNS, lanterns, tiny_run
from runs import charlm as command_line

from charlm.config import TrainSpec
from charlm.corpus.corpus import Corpus
from charlm.errors import SpecError
from charlm.nn.model import ModelSpec
from charlm.runs.resume import last_checkpoint
from charlm.training import memory
from charlm.training.loop import train_steps
from charlm.training.memory import available_bytes, require_memory_for, training_bytes
from charlm.training.new_run import new_run

EVERY = [
    ({}, {}),
    ({}, {"layers": 3}),
    ({"dropout": 0.5}, {"layers": 2, "residual": False}),
    ({"optimizer": "adam"}, {"cell": "lstm", "layers": 2}),
    ({"optimizer": "rmsprop"}, {"reset": "after"}),
    ({"momentum": 0.0}, {"cell": "rnn"}),
    ({"optimizer": "adamw"}, {"embedding": 64, "tied": True}),
]


def peak(corpus: Corpus, path: Path, spec: TrainSpec, **network: Any) -> int:
    """The peak memory of one update, one evaluation and its checkpoint, in bytes."""
    run = new_run(corpus, path, spec, **network)
    tracemalloc.start()
    try:
        for _ in train_steps(run, corpus):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize(("training", "network"), EVERY)
@pytest.mark.parametrize(("window", "batch", "hidden"), [(1000, 8, 64), (4, 2, 384)], ids=["wide", "heavy"])
def test_the_estimate(window: int, batch: int, hidden: int, training: Any, network: Any, tmp_path: Path) -> None:
    """Law: it holds for long windows and for large networks.

    The memory of safetensors while it writes is not Python's, and is not counted: up to a fifth for a large network.
    """
    if network.get("tied"):
        network = network | {"embedding": hidden}
    spec = TrainSpec(steps=1, evaluations=1, window=window, batch=batch, **training)
    peak(lanterns(), tmp_path / "first", spec, hidden=1)  # imports and caches of the first use do not count
    run_peak = peak(lanterns(), tmp_path / "run", spec, hidden=hidden, **network)
    model = ModelSpec(len(lanterns().vocabulary) + 1, hidden, **network)
    estimate = training_bytes(model, spec)
    assert 0.7 * estimate < run_peak < 1.25 * estimate


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with one megabyte."""
    monkeypatch.setattr(memory, available_bytes.__name__, lambda: 2**20)


@pytest.mark.parametrize("option", ["--hidden 2000", "--layers 50", "--batch 500", "--window 1000 --batch 64"])
def test_more_than_there_is(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, little: None
) -> None:
    """Law: one line about memory, exit code 1, and no run."""
    monkeypatch.chdir(tmp_path)
    done = command_line(capsys, "train", LANTERNS, "--hidden", 8, "--steps", 1, *option.split())
    assert done.is_clear_error(1) and "GB of memory" in done.err and "smaller --hidden" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_fits_no_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: a run from a larger machine is refused before it begins, and stays as it is."""
    run = tiny_run(tmp_path / "run", lanterns())
    monkeypatch.setattr(memory, available_bytes.__name__, lambda: 1000)
    with pytest.raises(SpecError, match="GB of memory"):
        next(train_steps(run, lanterns()))
    assert last_checkpoint(run) is None


@pytest.mark.parametrize("options", ["--hidden 1000000", "--hidden 1000000000 --layers 1000", "--embedding 10000000"])
def test_more_than_any_machine_has(
    options: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: refused at once, in one line that names the sizes: a usage error, whatever the machine."""
    monkeypatch.chdir(tmp_path)
    done = command_line(capsys, "train", LANTERNS, "--steps", 1, *options.split())
    assert done.is_clear_error(2) and "parameters" in done.err
    assert list(tmp_path.iterdir()) == []


def test_enough_and_too_little() -> None:
    """Law: what just fits is not refused; one byte more is."""
    model, spec = ModelSpec(9, hidden=9), TrainSpec()
    require_memory_for(model, spec, training_bytes(model, spec))
    with pytest.raises(SpecError, match="GB of memory"):
        require_memory_for(model, spec, training_bytes(model, spec) - 1)


def test_available_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: a real machine has between 100 MB and a petabyte; the limit of a container counts if it is smaller."""
    there = available_bytes()
    assert there is None or 10**8 < there < 10**15
    monkeypatch.setattr(memory, "CONTROL_GROUPS", tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes() is None or there is None or available_bytes() == pytest.approx(there, rel=0.5)
    (tmp_path / "memory.max").write_text("5000000\n")
    assert available_bytes() == 5_000_000
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("4000000\n")
    assert available_bytes() == 4_000_000


def test_unknown_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: then nothing is refused."""
    monkeypatch.setattr(memory, available_bytes.__name__, lambda: None)
    require_memory_for(ModelSpec(9, hidden=9), TrainSpec(batch=10**9, window=10**9))
