"""Going on is as if there had been no stop: for networks and optimizers of every kind, from damage and divergence."""

from __future__ import annotations

import math
import shutil
from dataclasses import asdict, dataclass, field, replace
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
from charlm.errors import DivergenceError, RunError
from charlm.training.progress import Progress
from charlm.optim.schedules import Schedule
from charlm.runs.checkpoint import load_checkpoint
from charlm.corpus.corpus import Corpus
from charlm.runs.run import Run
from charlm.trained_model import load
from charlm.training.loop import train_steps

EPOCH = 7  # windows of TINY in an epoch of short_corpus
EVALUATIONS = (6, 12, 18, 24)  # the updates of TINY after which it is evaluated


@dataclass(frozen=True)
class Kind:
    """A kind of run: how it is trained, and fields of ModelSpec."""

    training: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)

    def run(self, path: Path, corpus: Corpus) -> Run:
        """A new run of this kind."""
        return tiny_run(path, corpus, replace(TINY, **self.training), **self.network)


KINDS = {
    "lstm": Kind({"optimizer": "adam", "dropout": 0.3}, {"cell": "lstm"}),
    "gru after": Kind({"optimizer": "rmsprop", "schedule": "steps"}, {"reset": "after"}),
    "rnn": Kind({"learning_rate": 0.5}, {"cell": "rnn"}),
    "deep": Kind({"optimizer": "adamw", "dropout": 0.2}, {"layers": 2, "residual": True, "embedding": 8, "tied": True}),
    "plain sgd": Kind({"clip_value": 0.01, "clip_norm": None, "momentum": 0.0}),
    "deep lstm": Kind(
        {"keep": 2, "schedule": "constant"}, {"layers": 2, "cell": "lstm", "embedding": 5, "residual": False}
    ),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return short_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def straight(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Of every kind a run that never stopped."""
    folder = tmp_path_factory.mktemp("straight")
    return {name: run_to_end(kind.run(folder / name, corpus), corpus) for name, kind in KINDS.items()}


@pytest.mark.parametrize("step", [3, EPOCH, EVALUATIONS[1], 2 * EPOCH + 1], ids="step{}".format)
@pytest.mark.parametrize("name", KINDS)
def test_stopping_changes_nothing(
    name: str, step: int, corpus: Corpus, straight: dict[str, Run], tmp_path: Path
) -> None:
    """Law: N updates, a stop and the rest are all updates at once, bit for bit: parameters, the optimizer's memory,
    the state, the metrics and the sample that follows.

    Stopped within an epoch, at an epoch's edge, right at an evaluation, and one update after an epoch's edge.
    """
    run = KINDS[name].run(tmp_path / "run", corpus)
    stop_at(run, corpus, step)
    assert load_checkpoint(run.last_path).step == step
    run_to_end(Run.open(run.path), corpus)
    assert bits_of_run(run) == bits_of_run(straight[name])
    assert sample_of(run) == sample_of(straight[name])
    assert [path.name for path in run.numbered_paths] == [path.name for path in straight[name].numbered_paths]


@pytest.mark.parametrize("name", KINDS)
def test_the_kinds_differ(name: str, corpus: Corpus, straight: dict[str, Run], tmp_path: Path) -> None:
    """Law: everything that a kind sets has an effect, so that the law above says something of it."""
    kind = KINDS[name]
    for setting in kind.training.keys() - {"keep", "clip_norm"}:
        less = {key: value for key, value in kind.training.items() if key != setting}
        less |= {"learning_rate": TINY.learning_rate} if setting == "learning_rate" else {}
        run = run_to_end(Kind(less, kind.network).run(tmp_path / setting, corpus), corpus)
        assert bits_of_run(run)["last"]["params"] != bits_of_run(straight[name])["last"]["params"], setting


def test_stopping_at_every_update(corpus: Corpus, straight: dict[str, Run], tmp_path: Path) -> None:
    """Law: the same when every single update is a training of its own."""
    run = KINDS["lstm"].run(tmp_path / "run", corpus)
    for step in range(1, 25):
        stop_at(Run.open(run.path), corpus, step)
    assert bits_of_run(run) == bits_of_run(straight["lstm"])


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
    """Leave nothing of a file but its name."""
    path.write_bytes(b"")


@pytest.fixture(scope="module")
def stopped(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped at step 21, with numbered checkpoints of 12 and 18; its best one is put back to 6."""
    kind = KINDS["deep lstm"]
    run = kind.run(tmp_path_factory.mktemp("stopped") / "run", corpus)
    stop_at(run, corpus, 6)
    sixth = run.best_path.read_bytes()
    stop_at(run, corpus, 21)
    run.best_path.write_bytes(sixth)
    return run.path


@pytest.mark.parametrize("damage", [flip, cut, empty])
@pytest.mark.parametrize(
    ("damaged", "step"),
    [
        (["last"], 18),
        (["last", "step-000000018"], 12),
        (["last", "step-000000012"], 18),
        (["last", "step-000000018", "step-000000012"], 6),
        (["last", "best"], 18),
    ],
)
def test_a_damaged_checkpoint_is_passed_over(
    damaged: list[str], step: int, damage: Any, stopped: Path, corpus: Corpus, straight: dict[str, Run], tmp_path: Path
) -> None:
    """Law: the newest whole one of the others takes its place, what was skipped is named, and the end is the same."""
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
    ours, whole = (bits_of(load_checkpoint(each.last_path)) for each in (run, straight["deep lstm"]))
    if "best" in damaged:  # the best of what came after it need not be the best of all
        for name in ("best_nats", "best_step"):
            ours["progress"][name] = whole["progress"][name] = None
    assert ours == whole
    assert losses_of(run) == losses_of(straight["deep lstm"])
    if "best" not in damaged:
        assert sample_of(run) == sample_of(straight["deep lstm"])


def test_a_lost_last_checkpoint(stopped: Path, corpus: Corpus, straight: dict[str, Run], tmp_path: Path) -> None:
    """Law: a file that is gone is as one that is damaged, without a word to say about it."""
    run = Run.open(shutil.copytree(stopped, tmp_path / "run"))
    run.last_path.unlink()
    assert resume_notes(run) == []
    assert [progress.step for progress in train_steps(run, corpus)] == list(range(19, 25))
    assert bits_of_run(run)["last"] == bits_of_run(straight["deep lstm"])["last"]


def test_all_damaged(stopped: Path, corpus: Corpus, tmp_path: Path) -> None:
    """Law: told in one line that names them all, and nothing is touched: no training from the beginning."""
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
    """Law: what the bits depend on and has changed since is told by name, with its old value."""
    run = Run.open(shutil.copytree(stopped, tmp_path / "run"))
    run.config[name] = "0.0.1 of old"
    (note,) = resume_notes(run)
    assert note.startswith(name) and "0.0.1 of old" in note


def test_temporary_files_of_the_dead_are_swept(corpus: Corpus, straight: dict[str, Run], tmp_path: Path) -> None:
    """Law: what a process that died in a write left half written goes before the first update; nothing else does."""
    run = KINDS["rnn"].run(tmp_path / "run", corpus)
    stop_at(run, corpus, 3)
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
    assert bits_of_run(run) == bits_of_run(straight["rnn"])


EXPLOSIONS = {
    "50": {"nats": 50.0},
    "infinite": {"nats": math.inf},
    "no number": {"nats": math.nan},
    "slope": {"nats": 3.0, "slope": math.nan},
    "infinite slope": {"nats": 3.0, "slope": math.inf},
}


@pytest.mark.parametrize("explosion", EXPLOSIONS)
@pytest.mark.parametrize(("tried", "back_to"), [(1, 0), (4, 0), (8, 6), (12, 6), (13, 12), (23, 18)])
def test_a_divergence_goes_back_and_halves_the_rate(
    tried: int, back_to: int, explosion: str, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: after an explosion all is, to the bit, as in a run that had half the learning rate from the checkpoint on.

    Metrics too: what was logged after the checkpoint is forgotten.
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
    """Law: the halved rate and the count of explosions outlive a stop."""
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


def test_the_fourth_divergence_is_the_end(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: three times training goes back, each time with half the rate; then it says so in one line.

    The checkpoints are those from before, and from there it can be gone on.
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
    schedule = Schedule(TINY.peak_learning_rate)
    for p in seen:
        assert p.learning_rate == schedule(p.step - 1, (p.step - 1) / 24) / 2**p.rollbacks

    assert resume_notes(run) == []
    assert [load_checkpoint(path).step for path in (run.last_path, run.best_path)] == [18, 18]
    assert [progress.step for progress in train_steps(Run.open(run.path), corpus)] == list(range(19, 25))


@pytest.mark.parametrize("learning_rate", [1e3, 1e4, 1e5, 1e7])
def test_a_learning_rate_far_too_high(learning_rate: float, corpus: Corpus, tmp_path: Path) -> None:
    """Law: real explosions end the same way: all that is on the disk can be loaded, is finite, and samples."""
    spec = replace(TINY, steps=60, evaluations=60, learning_rate=learning_rate, clip_norm=None)
    run = tiny_run(tmp_path / "run", corpus, spec)
    schedule, seen = Schedule(learning_rate), []
    with pytest.raises(DivergenceError) as raised:
        for progress in train_steps(run, corpus):
            seen.append(progress)
            assert math.isfinite(progress.nats + progress.gradient_norm)
    assert len(str(raised.value).splitlines()) == 1
    for p in seen:
        assert p.learning_rate == schedule(p.step - 1, (p.step - 1) / 60) / 2**p.rollbacks
        assert p.rollbacks <= 3
    files = list(run.path.glob("*.safetensors"))
    assert run.last_path in files  # where even the first update exploded, it is from before that
    for path in files:
        checkpoint = load_checkpoint(path)
        assert all(np.isfinite(a).all() for a in (*checkpoint.params.values(), *checkpoint.memory.values()))
        assert len("".join(load(path).sample("T", length=20, rng_seed=0))) >= 20
    assert all(math.isfinite(record["nats"]) for record in run.metrics())
    assert find_resume_point(run).skipped == ()


@pytest.mark.parametrize("rng_seed", range(3))
def test_a_learning_rate_somewhat_too_high(rng_seed: int, corpus: Corpus, tmp_path: Path) -> None:
    """Law: halving helps. With nothing saved before the end, the first of 20, 40, 80 ... that explodes starts again
    at half of it, and is then, to the bit, the run before, which did not explode.
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
