"""Exact resume for every cell with every optimizer, and from a kill at every call to the system."""

from __future__ import annotations

import itertools
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runs import CELLS, TINY, Faults, HandClock, bits_of_run, run_to_end, sample_of, short_corpus, stop_at, tiny_run

from charlm.corpus.corpus import Corpus
from charlm.optim import optimizers
from charlm.optim.schedules import SHAPES
from charlm.runs.checkpoint import load_checkpoint
from charlm.runs.run import Run
from charlm.training.loop import train_steps

pytestmark = pytest.mark.usefixtures("quick_disk")

EPOCH = 7  # windows of TINY in an epoch of short_corpus

OPTIMIZERS: dict[str, dict[str, Any]] = {name: {"optimizer": name} for name in optimizers.OPTIMIZERS} | {
    "plain": {"optimizer": "sgd", "momentum": 0.0}
}
# What else a run can have, in cycles of different lengths, so that many combinations occur.
BUDGETS: list[dict[str, Any]] = [{"steps": 24}, {"steps": 4 * EPOCH}, {"steps": None, "epochs": 3.5}]
PLACES = [3, EPOCH, 12, 13, 2 * EPOCH, 20, 23]  # within an epoch, at its edge, at an evaluation and one after it
NETWORKS: list[dict[str, Any]] = [{}, {"layers": 2}, {"embedding": 8, "tied": True}, {"layers": 3, "residual": False}]
OTHERS: list[dict[str, Any]] = [
    {},
    {"dropout": 0.3, "keep": 2},
    {"input_dropout": 0.2},
    {"dropout": 0.2, "clip_norm": None, "clip_value": 0.05},
    {"learning_rate": 0.5, "keep": 1},
    {"rare_as_unknown": False},
    {"warmup": 3},
    {"precision": "float64"},
    {"loss_reduction": "sum", "learning_rate": 0.01},
]
ENDS = ["stopped", "killed"]

PRODUCT = list(itertools.product(CELLS, OPTIMIZERS))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return short_corpus(tmp_path_factory.mktemp("corpus"))


def ended(how: str, run: Run, corpus: Corpus, step: int) -> Run:
    """A run as its files are after `step` updates: stopped, or killed without a save."""
    if how == "stopped":
        stop_at(run, corpus, step)
        assert load_checkpoint(run.last_path).step == step
        return Run.open(run.path)
    for progress in train_steps(run, corpus):
        if progress.step == step:
            return Run.open(shutil.copytree(run.path, run.path.with_name("killed")))
    raise AssertionError(f"it has no update {step}")


@pytest.mark.parametrize(("cell", "optimizer"), PRODUCT, ids=map("-".join, PRODUCT))
def test_every_kind_goes_on_to_the_same_bits(cell: str, optimizer: str, corpus: Corpus, tmp_path: Path) -> None:
    """Law: N updates, an end and the rest are all updates at once: every byte of parameters, the optimizer's memory
    and state, the metrics but for the clock, the numbered checkpoints, and the sample that follows.
    """
    turn = PRODUCT.index((cell, optimizer))
    row = turn // len(OPTIMIZERS)
    step, how = PLACES[turn % len(PLACES)], ENDS[(turn + row) % len(ENDS)]
    settings = OPTIMIZERS[optimizer] | BUDGETS[(turn + row) % len(BUDGETS)] | OTHERS[turn % len(OTHERS)]
    spec = replace(TINY, schedule=SHAPES[(turn + row) % len(SHAPES)], **settings)
    network = CELLS[cell] | NETWORKS[turn % len(NETWORKS)]
    straight = run_to_end(tiny_run(tmp_path / "straight", corpus, spec, **network), corpus)
    run = ended(how, tiny_run(tmp_path / "run", corpus, spec, **network), corpus, step)
    run_to_end(run, corpus)
    assert bits_of_run(run) == bits_of_run(straight)
    assert sample_of(run) == sample_of(straight)
    assert [path.name for path in run.numbered_paths] == [path.name for path in straight.numbered_paths]


def test_the_kinds_differ(corpus: Corpus, tmp_path: Path) -> None:
    """Law: everything that varies above has an effect, so that the law above covers it."""
    trainings = [
        *OPTIMIZERS.values(),
        *OTHERS[1:],
        *({"schedule": shape} for shape in SHAPES if shape != TINY.schedule),
    ]
    kinds = [(training, CELLS["gru"]) for training in trainings]
    kinds += [({}, network) for network in (*NETWORKS[1:], *CELLS.values()) if network]
    seen: list[Any] = []
    for number, (training, network) in enumerate(kinds):
        run = run_to_end(tiny_run(tmp_path / str(number), corpus, replace(TINY, **training), **network), corpus)
        seen.append(bits_of_run(run)["last"]["params"])
        assert seen[-1] not in seen[:-1], (training, network)


def test_stopping_at_every_update(corpus: Corpus, tmp_path: Path) -> None:
    """Law: the same if every single update is a training of its own."""
    spec, network = replace(TINY, optimizer="adam", dropout=0.3), CELLS["lstm"]
    straight = run_to_end(tiny_run(tmp_path / "straight", corpus, spec, **network), corpus)
    run = tiny_run(tmp_path / "run", corpus, spec, **network)
    for step in range(1, 25):
        stop_at(Run.open(run.path), corpus, step)
    assert bits_of_run(run) == bits_of_run(straight)


class Killed(BaseException):
    """Ends training as kill -9 does: nothing catches it, and no file is cleaned up (see `kill_at`)."""


def kill_at(nth: int, run: Run, corpus: Corpus) -> bool:
    """Train until everything stops in the middle of the nth call that writes; False if there is no such call."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, Path.unlink.__name__, lambda *_, **__: None)
        faults = Faults(patch, nth, Killed())
        with suppress(Killed):
            run_to_end(run, corpus)
        return faults.happened


def left_over(run: Run) -> set[str]:
    """The files that a killed write left half written; all others must be whole."""
    for path in run.path.glob("*.safetensors"):
        load_checkpoint(path)
    run.metrics()
    return {path.name.split(".")[1] for path in run.path.glob(".*.tmp")}


@pytest.mark.slow
def test_killed_at_every_call_to_the_system(corpus: Corpus, tmp_path: Path) -> None:
    """Law: whatever open, write, flush, fsync or rename is the last, the files are whole, and go on to the bits of a
    run that never stopped, with nothing left over. The same if it is killed again at that call after the resume.
    """
    spec = replace(TINY, steps=2, evaluations=2, reports=4, optimizer="adam", dropout=0.3, keep=1)
    straight = run_to_end(tiny_run(tmp_path / "straight", corpus, spec, cell="lstm"), corpus)
    expected = bits_of_run(straight)
    found = set()
    for nth in itertools.count(1):
        run = tiny_run(tmp_path / str(nth), corpus, spec, cell="lstm")
        if not kill_at(nth, run, corpus):
            break
        found |= left_over(run)
        kill_at(nth, Run.open(run.path), corpus)
        found |= left_over(run)
        run_to_end(Run.open(run.path), corpus)
        assert bits_of_run(run) == expected
        assert run.numbered_paths[-1].name == straight.numbered_paths[-1].name
        assert not left_over(run)
    assert nth > 50 and found == {"last", "best", "metrics", "step-000000001", "step-000000002"}


@pytest.mark.parametrize(("step", "rest"), [(14, 30), (16, 15), (29, 15)])
def test_minutes_after_a_kill(
    step: int, rest: int, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: the saved time counts as used, the time lost with the kill does not; the schedule goes on from there."""
    spec = replace(TINY, steps=None, minutes=1.0, evaluations=2)  # evaluated, and saved, after 15 of 30 updates
    clock = HandClock(monkeypatch, 2.0)
    run = ended("killed", tiny_run(tmp_path / "run", corpus, spec), corpus, step)
    clock.now += 10_000
    seen = list(train_steps(run, corpus))
    straight = list(train_steps(tiny_run(tmp_path / "straight", corpus, spec), corpus))
    assert len(seen) == rest
    assert [p.learning_rate for p in seen] == pytest.approx([p.learning_rate for p in straight[-rest:]])
    assert seen[-1].share == 1 and seen[-1].evaluated
