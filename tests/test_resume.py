"""Resume from damage and divergence: what is left on the disk is good, and goes on as if nothing had happened."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import (
    TINY,
    Explosions,
    bits_of,
    bits_of_run,
    run_to_end,
    sample_of,
    short_corpus,
    stop_at,
    tiny_run,
    without_clock,
)

from charlm import resume_notes
from charlm.corpus.corpus import Corpus
from charlm.errors import DivergenceError, RunError
from charlm.optim.schedules import Schedule
from charlm.runs.checkpoint import load_checkpoint
from charlm.runs.resume import find_resume_point
from charlm.runs.run import Run
from charlm.trained_model import load
from charlm.training.loop import train_steps
from charlm.training.progress import Progress

pytestmark = pytest.mark.usefixtures("quick_disk")

EVALUATIONS = (6, 12, 18, 24)  # the updates of TINY after which it is evaluated
KEEPING = replace(TINY, keep=2, schedule="constant")
DEEP_LSTM: dict[str, Any] = {"layers": 2, "cell": "lstm", "embedding": 5, "residual": False}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return short_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def straight(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that never stopped."""
    return run_to_end(tiny_run(tmp_path_factory.mktemp("straight") / "run", corpus, KEEPING, **DEEP_LSTM), corpus)


@pytest.fixture(scope="module")
def stopped(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run stopped at step 21, with numbered checkpoints of 12 and 18; its best one is put back to 6."""
    run = tiny_run(tmp_path_factory.mktemp("stopped") / "run", corpus, KEEPING, **DEEP_LSTM)
    stop_at(run, corpus, 6)
    sixth = run.best_path.read_bytes()
    stop_at(run, corpus, 21)
    run.best_path.write_bytes(sixth)
    return run.path


@pytest.mark.parametrize("keep", [0, 1, 2, 9])
def test_the_newest_numbered_checkpoints_are_kept(keep: int, corpus: Corpus, tmp_path: Path) -> None:
    """Law: after every update, those of the newest `keep` evaluations, each from the step of its name."""
    run = tiny_run(tmp_path / "run", corpus, replace(TINY, keep=keep))
    for progress in train_steps(run, corpus):
        passed = [step for step in EVALUATIONS if step <= progress.step]
        assert run.numbered_paths == [run.numbered_path(step) for step in passed[max(0, len(passed) - keep) :]]
    for path in run.numbered_paths:
        assert load_checkpoint(path).step == int(path.stem.removeprefix("step-"))


def losses_of(run: Run) -> list[dict[str, Any]]:
    """metrics.jsonl apart from the clock."""
    return [without_clock(record) for record in run.metrics()]


def flip(path: Path) -> None:
    """Change one bit near the end, in a tensor."""
    data = bytearray(path.read_bytes())
    data[-20] ^= 4
    path.write_bytes(data)


def cut(path: Path) -> None:
    """Leave half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    """Leave an empty file."""
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "damaged", "step"),
    [
        *((damage, ["last"], 18) for damage in (flip, cut, empty)),
        (flip, ["last", "step-000000018"], 12),
        (cut, ["last", "step-000000012"], 18),
        (empty, ["last", "step-000000018", "step-000000012"], 6),
        (flip, ["last", "best"], 18),
    ],
)
def test_a_damaged_checkpoint_is_skipped(
    damage: Callable[[Path], None],
    damaged: list[str],
    step: int,
    stopped: Path,
    corpus: Corpus,
    straight: Run,
    tmp_path: Path,
) -> None:
    """Law: the newest undamaged one of the others is used, what was skipped is named, and the end is the same."""
    run = Run.open(shutil.copytree(stopped, tmp_path / "run"))
    assert resume_notes(run) == []
    for name in damaged:
        damage(run.path / f"{name}.safetensors")
    point = find_resume_point(run)
    assert point.checkpoint is not None and point.checkpoint.step == step
    notes = resume_notes(run)
    assert len(notes) == len(damaged)
    for name, note in zip(damaged, notes, strict=True):
        assert f"{name}.safetensors" in note and "skipped" in note and len(note.splitlines()) == 1

    updates = [progress.step for progress in train_steps(run, corpus)]
    assert updates == list(range(step + 1, 25))
    assert resume_notes(run) == []
    ours, whole = (bits_of(load_checkpoint(each.last_path)) for each in (run, straight))
    if "best" in damaged:  # the best of the rest need not be the best of all
        for name in ("best_nats", "best_step"):
            ours["progress"][name] = whole["progress"][name] = None
    assert ours == whole
    assert losses_of(run) == losses_of(straight)
    if "best" not in damaged:
        assert sample_of(run) == sample_of(straight)


def test_a_lost_last_checkpoint(stopped: Path, corpus: Corpus, straight: Run, tmp_path: Path) -> None:
    """Law: as a damaged one, but without a note."""
    run = Run.open(shutil.copytree(stopped, tmp_path / "run"))
    run.last_path.unlink()
    assert resume_notes(run) == []
    assert [progress.step for progress in train_steps(run, corpus)] == list(range(19, 25))
    assert bits_of_run(run)["last"] == bits_of_run(straight)["last"]


def test_all_damaged(stopped: Path, corpus: Corpus, tmp_path: Path) -> None:
    """Law: refused in one line that names them all, and nothing is touched: training does not begin anew."""
    run = Run.open(shutil.copytree(stopped, tmp_path / "run"))
    for path in run.path.glob("*.safetensors"):
        flip(path)
    before = {file.name: file.read_bytes() for file in run.path.glob("*.*") if file.name != ".lock"}
    for attempt in (lambda: resume_notes(run), lambda: next(train_steps(run, corpus))):
        with pytest.raises(RunError) as raised:
            attempt()
        assert len(str(raised.value).splitlines()) == 1
        assert all(path.name in str(raised.value) for path in run.path.glob("*.safetensors"))
    assert {file.name: file.read_bytes() for file in run.path.glob("*.*") if file.name != ".lock"} == before


@pytest.mark.parametrize("name", ["charlm", "numpy", "blas", "threads"])
def test_changed_surroundings_are_noted(name: str, stopped: Path, tmp_path: Path) -> None:
    """Law: what the bits depend on and has changed is named, with its old value."""
    run = Run.open(shutil.copytree(stopped, tmp_path / "run"))
    run.config[name] = "0.0.1 of old"
    (note,) = resume_notes(run)
    assert note.startswith(name) and "0.0.1 of old" in note


def test_temporary_files_of_a_killed_process_are_removed(
    stopped: Path, corpus: Corpus, straight: Run, tmp_path: Path
) -> None:
    """Law: before the first update, and no other file is."""
    run = Run.open(shutil.copytree(stopped, tmp_path / "run"))
    leftovers = [run.path / f".{name}.99999.tmp" for name in ("last.safetensors", "config.json", "metrics.jsonl")]
    for leftover in leftovers:
        leftover.write_bytes(b"half")
    mine = [run.path / name for name in ("notes.tmp", "notes.txt", ".hidden")]
    for path in mine:
        path.write_bytes(b"mine")
    updates = train_steps(Run.open(run.path), corpus)
    next(updates)
    assert not any(leftover.exists() for leftover in leftovers)
    updates.close()
    run_to_end(Run.open(run.path), corpus)
    assert [path.read_bytes() for path in mine] == [b"mine"] * 3
    assert bits_of_run(run)["last"] == bits_of_run(straight)["last"]


EXPLOSIONS = {
    "50": {"nats": 50.0},
    "infinite": {"nats": math.inf},
    "not a number": {"nats": math.nan},
    "gradient of nan": {"nats": 3.0, "factor": math.nan},
    "infinite gradient": {"nats": 3.0, "factor": math.inf},
}
PLACES = [
    (1, 0),
    (4, 0),
    (8, 6),
    (12, 6),
    (13, 12),
    (23, 18),
]  # the update that explodes, the step that it goes back to


@pytest.mark.parametrize(
    ("tried", "back_to", "explosion"),
    [*((*place, "50") for place in PLACES), *((*PLACES[3], name) for name in EXPLOSIONS if name != "50")],
)
def test_a_divergence_goes_back_and_halves_the_rate(
    tried: int, back_to: int, explosion: str, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: after an explosion all is, to the bit, as in a run that had half the learning rate from the checkpoint on.

    Metrics too: what was logged after the checkpoint is removed.
    """
    half = replace(TINY, learning_rate=TINY.peak_learning_rate / 2)
    oracle = tiny_run(tmp_path / "oracle", corpus)
    stop_at(oracle, corpus, back_to) if back_to else None
    halved = Run(oracle.path, oracle.config | {"training": asdict(half)})
    rest = list(train_steps(halved, corpus))

    run = tiny_run(tmp_path / "run", corpus)
    Explosions(monkeypatch, {tried}, **EXPLOSIONS[explosion])
    seen = list(train_steps(run, corpus))
    assert [p.step for p in seen] == [*range(1, tried), *range(back_to + 1, 25)]
    assert [p.rollbacks for p in seen] == [0] * (tried - 1) + [1] * (24 - back_to)
    assert [p.learning_rate for p in seen[tried - 1 :]] == [p.learning_rate for p in rest]
    assert [p.nats for p in seen[tried - 1 :]] == [p.nats for p in rest]
    assert losses_of(run) == losses_of(oracle)
    ended, expected = (bits_of(load_checkpoint(one.last_path)) for one in (run, oracle))
    assert (ended["progress"].pop("rollbacks"), expected["progress"].pop("rollbacks")) == (1, 0)
    assert ended == expected


@pytest.mark.parametrize("step", [7, 9, 12, 20])
def test_stopping_after_a_divergence(
    step: int, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: the halved learning rate and the number of rollbacks survive a stop."""
    Explosions(monkeypatch, {8})
    whole = run_to_end(tiny_run(tmp_path / "whole", corpus), corpus)
    run = tiny_run(tmp_path / "run", corpus)
    Explosions(monkeypatch, {8})
    updates = train_steps(run, corpus)
    for progress in updates:
        if progress.rollbacks and progress.step == step:
            break
    updates.close()
    run_to_end(Run.open(run.path), corpus)
    assert bits_of_run(run) == bits_of_run(whole)


def test_every_file_of_a_rollback_has_its_count(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: whenever training is killed, the last checkpoint is of before the rollback, or has the halved rate.

    So (rollbacks, step) never fall from one file to the next.
    """
    replace_file = os.replace
    seen: list[tuple[int, int]] = []

    def remember(source: Any, target: Any) -> None:
        replace_file(source, target)
        if Path(target) == run.last_path:
            progress = load_checkpoint(run.last_path).progress
            seen.append((progress["rollbacks"], progress["step"]))

    run = tiny_run(tmp_path / "run", corpus)
    monkeypatch.setattr(os, replace_file.__name__, remember)
    Explosions(monkeypatch, {8})
    run_to_end(run, corpus)
    assert seen == sorted(seen) and seen[-1][0] == 1


def test_the_fourth_divergence_is_the_end(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: three times training goes back, each time to half the learning rate; then it raises, in one line.

    The checkpoints are from before, and training can go on from them.
    """
    run = tiny_run(tmp_path / "run", corpus)
    Explosions(monkeypatch, {8, 10, 17, 24})  # at step 8; then, from 6 on, at 8; from 6 on, at 13; from 12 on, at 19
    seen: list[Progress] = []
    with pytest.raises(DivergenceError) as raised:
        for progress in train_steps(run, corpus):
            seen.append(progress)  # noqa: PERF402 - what was seen before the error counts
    assert len(str(raised.value).splitlines()) == 1 and raised.value.exit_code == 3
    assert [p.step for p in seen] == [*range(1, 8), *range(7, 8), *range(7, 13), *range(13, 19)]
    assert [p.rollbacks for p in seen] == [0] * 7 + [1] + [2] * 6 + [3] * 6
    schedule = Schedule(TINY.peak_learning_rate, TINY.schedule, TINY.warmup)
    for p in seen:
        assert p.learning_rate == schedule(p.step - 1, (p.step - 1) / 24) / 2**p.rollbacks

    assert resume_notes(run) == []
    assert [load_checkpoint(path).step for path in (run.last_path, run.best_path)] == [18, 18]
    assert [progress.step for progress in train_steps(Run.open(run.path), corpus)] == list(range(19, 25))


@pytest.mark.parametrize("learning_rate", [1e3, 1e4, 1e5, 1e7])
def test_a_learning_rate_far_too_high(learning_rate: float, corpus: Corpus, tmp_path: Path) -> None:
    """Law: real explosions end the same way: every file on the disk loads, is finite, and samples."""
    spec = replace(TINY, steps=60, evaluations=60, learning_rate=learning_rate, clip_norm=None)
    run = tiny_run(tmp_path / "run", corpus, spec)
    schedule, seen = Schedule(learning_rate, spec.schedule, spec.warmup), []
    with pytest.raises(DivergenceError) as raised:
        for progress in train_steps(run, corpus):
            seen.append(progress)
            assert math.isfinite(progress.nats + progress.gradient_norm)
    assert len(str(raised.value).splitlines()) == 1
    for p in seen:
        assert p.learning_rate == schedule(p.step - 1, (p.step - 1) / 60) / 2**p.rollbacks
        assert p.rollbacks <= 3
    files = list(run.path.glob("*.safetensors"))
    assert run.last_path in files  # if the first update diverged, it is from before it
    for path in files:
        checkpoint = load_checkpoint(path)
        assert all(np.isfinite(a).all() for a in (*checkpoint.params.values(), *checkpoint.memory.values()))
        assert len("".join(load(path).sample("T", length=20, rng_seed=0))) >= 20
    assert all(math.isfinite(record["nats"]) for record in run.metrics())
    assert find_resume_point(run).skipped == ()


@pytest.mark.parametrize("rng_seed", range(3))
def test_a_learning_rate_somewhat_too_high(rng_seed: int, corpus: Corpus, tmp_path: Path) -> None:
    """Law: halving helps. With nothing saved before the end, the first rate of 20, 40, 80, ... that diverges goes back
    to the beginning at half of it, and is then, to the bit, the run before, which did not diverge.
    """
    spec = replace(TINY, optimizer="sgd", evaluations=1, clip_norm=1.0, rng_seed=rng_seed)
    before, rollbacks = None, 0
    for doublings in range(20):
        tried = replace(spec, learning_rate=20.0 * 2**doublings)
        run = tiny_run(tmp_path / str(doublings), corpus, tried)
        *_, end = train_steps(run, corpus)
        if end.rollbacks:
            rollbacks = end.rollbacks
            break
        before = run
    assert before is not None and rollbacks == 1
    assert losses_of(run) == losses_of(before)
    ended, expected = (bits_of(load_checkpoint(one.last_path)) for one in (run, before))
    assert [ended[part] for part in ("params", "memory", "state")] == [
        expected[part] for part in ("params", "memory", "state")
    ]
