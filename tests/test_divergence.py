"""Whatever diverges, the disk holds good files only, and a rollback survives a stop and a crash."""

from __future__ import annotations

import math
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from runs import (
    CELLS,
    TINY,
    TINY_OPTIONS,
    Explosions,
    Faults,
    bits_of_run,
    charlm_process,
    few_examples,
    run_to_end,
    short_corpus,
    tiny_run,
)

from charlm.corpus.corpus import Corpus
from charlm.errors import DivergenceError, StorageError
from charlm.optim.optimizers import OPTIMIZERS
from charlm.runs.checkpoint import load_checkpoint
from charlm.runs.resume import find_resume_point
from charlm.runs.run import Run
from charlm.scoring.score import Score, score_ids
from charlm.trained_model import load
from charlm.training import coordinator
from charlm.training.loop import train_steps
from charlm.training.new_run import new_run

pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return short_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam", "adamw"])
def test_a_memory_that_overflows_is_a_divergence(
    optimizer: str, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: a gradient whose square overflows is found, though loss, norm and parameters are finite."""
    run = tiny_run(tmp_path / "run", corpus, replace(TINY, optimizer=optimizer, clip_norm=None))
    Explosions(monkeypatch, {12}, nats=3.0, factor=1e25)
    for progress in train_steps(run, corpus):
        assert math.isfinite(progress.gradient_norm)
        for path in run.path.glob("*.safetensors"):
            load_checkpoint(path)
    assert progress.rollbacks == 1


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_an_evaluation_that_overflows_is_a_divergence(activation: str, corpus: Corpus, tmp_path: Path) -> None:
    """Law: parameters that overflow only in the evaluation after their update are a divergence, without a warning."""
    spec = replace(TINY, evaluations=24, learning_rate=1e32, momentum=0.0, clip_norm=1.0)
    run = tiny_run(tmp_path / "run", corpus, spec, layers=2, cell="rnn", activation=activation)
    with pytest.raises(DivergenceError):
        run_to_end(run, corpus)
    load_checkpoint(run.last_path)


SIZES: list[dict[str, Any]] = [{}, {"layers": 3}, {"hidden": 40}, {"embedding": 8, "tied": True, "layers": 2}]


@settings(few_examples, max_examples=15)
@given(
    exponent=st.floats(-6, 3),
    cell=st.sampled_from(list(CELLS.values())),
    size=st.sampled_from(SIZES),
    optimizer=st.sampled_from(list(OPTIMIZERS)),
    momentum=st.sampled_from([0.0, 0.9, 0.99]),
    clip_norm=st.sampled_from([None, 0.2, 1e6]),
    window=st.sampled_from([10, 60]),
)
@example(exponent=3.0, cell=CELLS["relu"], size=SIZES[1], optimizer="sgd", momentum=0.9, clip_norm=None, window=60)
@example(exponent=3.0, cell=CELLS["lstm"], size=SIZES[2], optimizer="adam", momentum=0.9, clip_norm=None, window=60)
@example(
    exponent=3.0, cell=CELLS["gru after"], size=SIZES[3], optimizer="rmsprop", momentum=0.9, clip_norm=None, window=60
)
@example(exponent=-6.0, cell=CELLS["gru"], size=SIZES[0], optimizer="adamw", momentum=0.9, clip_norm=0.2, window=10)
def test_whatever_the_learning_rate(
    exponent: float,
    cell: dict[str, Any],
    size: dict[str, Any],
    optimizer: str,
    momentum: float,
    clip_norm: float | None,
    window: int,
    corpus: Corpus,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Law: from 1e-6 to 1e3, after every evaluation every number on the disk is finite; training ends well, or with
    exit code 3 and good files, from which the next attempt goes on.
    """
    spec = replace(
        TINY,
        window=window,
        learning_rate=10**exponent,
        optimizer=optimizer,
        momentum=momentum,
        clip_norm=clip_norm,
        evaluations=8,
        reports=24,
        keep=2,
    )
    run = new_run(corpus, tmp_path_factory.mktemp("rate") / "run", spec, **{"hidden": 8} | cell | size)
    for _ in range(2):
        try:
            for progress in train_steps(Run.open(run.path), corpus):
                assert math.isfinite(progress.nats + progress.gradient_norm + progress.learning_rate)
                if progress.evaluated:
                    only_numbers_on_the_disk(run)
        except DivergenceError as error:
            assert error.exit_code == 3 and len(str(error).splitlines()) == 1
            assert load_checkpoint(run.last_path).progress["rollbacks"] == 3
        else:
            assert load_checkpoint(run.last_path).step == 24 and run.best_path.exists()
        only_numbers_on_the_disk(run)
    assert find_resume_point(run).skipped == ()
    assert len("".join(load(run.path).sample("T", length=20))) == 20


def only_numbers_on_the_disk(run: Run) -> None:
    """Every checkpoint loads, which checks that its values are finite; and so are all values of the metrics."""
    for path in {run.last_path, run.best_path} & {*run.path.iterdir()}:
        load_checkpoint(path)
    for record in run.metrics():
        assert all(math.isfinite(value) for value in record.values() if isinstance(value, float)), record


@pytest.mark.slow
@pytest.mark.parametrize(
    ("learning_rate", "cell"), [("1e-6", ["gru"]), ("1e3", ["rnn", "--activation", "relu", "--layers", "2"])]
)
def test_the_command_at_any_learning_rate(learning_rate: str, cell: list[str], corpus: Corpus, tmp_path: Path) -> None:
    """Law: exit code 0, or 3 and a last line with reason and advice; every rollback is reported; no warning."""
    text = tmp_path / "text.txt"
    text.write_text(corpus.vocabulary.decode(corpus.ids))
    options = (*TINY_OPTIONS, "--optimizer", "sgd", "--lr", learning_rate, "--clip-norm", 0, "--quiet", "--out", "run")
    done = charlm_process("train", text, "--cell", *cell, *options, cwd=tmp_path)
    rollbacks = done.err.splitlines()
    last = rollbacks.pop() if done.code else ""
    assert all(line.startswith("The loss exploded: went back") and "halved" in line for line in rollbacks)
    if done.code == 3:
        assert "diverged" in last and "--lr" in last and len(rollbacks) <= 3
    else:
        assert done.code == 0
    assert bool(done.err) == (learning_rate == "1e3")
    only_numbers_on_the_disk(Run.open(tmp_path / "run"))


def score_worse_and_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every evaluation worse than the first, so that the best checkpoint is the first one."""
    patched = score_ids.__name__
    monkeypatch.setattr(coordinator, patched, lambda *what: Score(1, 9.0 - score_ids(*what).nats_per_char))


@pytest.mark.parametrize("step", [7, 12, 13, 20])
@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_rollback_survives_a_stop_and_a_crash(
    how: str, step: int, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: from the rollback on, the run on the disk is the one that went back, however it ends.

    The evaluation before the explosion was not the best one, so the last checkpoint was newer than the best.
    """
    score_worse_and_worse(monkeypatch)
    Explosions(monkeypatch, {14})
    whole = run_to_end(tiny_run(tmp_path / "whole", corpus), corpus)
    run = tiny_run(tmp_path / "run", corpus)
    Explosions(monkeypatch, {14})
    updates = train_steps(run, corpus)
    for progress in updates:
        if progress.rollbacks and progress.step == step:
            break
    if how == "killed":
        run = Run.open(shutil.copytree(run.path, tmp_path / "killed"))
    updates.close()
    last = load_checkpoint(run.last_path)
    assert last.progress["rollbacks"] == 1
    assert last.step == step if how == "stopped" else last.step <= step
    run_to_end(Run.open(run.path), corpus)
    assert bits_of_run(run) == bits_of_run(whole)


@pytest.mark.slow
def test_every_failing_write_of_a_rollback(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: whichever write fails, going on gives the run that went back, or the one that never diverged."""
    score_worse_and_worse(monkeypatch)
    spec = replace(TINY, steps=3, evaluations=3, reports=1)
    calm = bits_of_run(run_to_end(tiny_run(tmp_path / "calm", corpus, spec), corpus))
    Explosions(monkeypatch, {3})
    went_back = bits_of_run(run_to_end(tiny_run(tmp_path / "back", corpus, spec), corpus))
    assert calm != went_back
    outcomes: list[Any] = []
    for nth in range(1, 200):
        run = tiny_run(tmp_path / str(nth), corpus, spec)
        Explosions(monkeypatch, {3})
        with pytest.MonkeyPatch.context() as patch:
            faults = Faults(patch, nth)
            with suppress(StorageError):
                run_to_end(run, corpus)
            if not faults.happened:
                break
        Explosions(monkeypatch, set())
        run_to_end(Run.open(run.path), corpus)
        outcomes.append(bits_of_run(run))
        assert outcomes[-1] in (calm, went_back), f"call {nth}, {faults.failed_call}"
    assert outcomes[0] == calm and outcomes[-1] == went_back
