"""Training: it learns, it repeats to the bit, and stopping anywhere changes nothing."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import (
    TINY,
    Faults,
    HandClock,
    bits_of_run,
    few_examples,
    lanterns,
    plain_nats,
    run_to_end,
    sample_of,
    short_corpus,
    stop_at,
    tiny_run,
    without_clock,
)

import charlm
from charlm import summary
from charlm.config import MOST_EVALUATION, Budget, TrainSpec, planned_evaluations, training_length
from charlm.corpus.corpus import Corpus, read_corpus
from charlm.errors import CorpusError, DivergenceError, RunError, SpecError, StorageError
from charlm.optim.schedules import Schedule
from charlm.runs.checkpoint import load_checkpoint
from charlm.runs.figures import Baselines, Mix
from charlm.runs.resume import last_checkpoint
from charlm.runs.run import Run
from charlm.scoring.score import Score, score_ids
from charlm.training import coordinator
from charlm.training.coordinator import SAVE_SECONDS
from charlm.training.loop import train_steps
from charlm.training.new_run import new_run
from charlm.training.resume import change_budget

pytestmark = pytest.mark.usefixtures("quick_disk")

STEPS = TINY.steps or 0
EPOCH = 7  # windows of TINY in an epoch of short_corpus
EVALUATIONS = (6, 12, 18, 24)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return short_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def straight(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that never stopped."""
    return run_to_end(tiny_run(tmp_path_factory.mktemp("straight") / "run", corpus, layers=2), corpus)


def test_the_loss_falls_below_the_unigram_entropy(tmp_path: Path) -> None:
    """Law: a network that uses what came before beats the best code that does not."""
    corpus = lanterns()
    run = new_run(corpus, tmp_path / "run", TrainSpec(batch=16, window=25, steps=150, evaluations=5), hidden=32)
    run_to_end(run, corpus)
    held_out = corpus.split(run.spec)[1][:]
    shares = np.array(list(Counter(held_out.tolist()).values())) / len(held_out)
    entropy = -float((shares * np.log(shares)).sum())
    losses = [record["nats"] for record in run.metrics() if record["split"] == "validation"]
    assert losses[-1] < entropy - 0.2
    assert losses[-1] < losses[0]


def test_the_same_settings_give_the_same_bits(corpus: Corpus, straight: Run, tmp_path: Path) -> None:
    """Law: with a budget of steps, all of a run but the clock follows from text and settings; the seed matters."""
    again = run_to_end(tiny_run(tmp_path / "again", corpus, layers=2), corpus)
    assert bits_of_run(again) == bits_of_run(straight)
    assert sample_of(again) == sample_of(straight)
    other = run_to_end(tiny_run(tmp_path / "other", corpus, replace(TINY, rng_seed=1), layers=2), corpus)
    assert bits_of_run(other)["last"]["params"] != bits_of_run(straight)["last"]["params"]


def test_the_whole_life_of_a_run(corpus: Corpus, straight: Run, tmp_path: Path) -> None:
    """Law: `charlm.train` is baselines, the same training, and a mixture weight at the end of the budget only."""
    run = tiny_run(tmp_path / "run", corpus, layers=2)
    updates = charlm.train(run, corpus)
    assert next(updates).step == 1
    updates.close()
    assert Baselines.of(run) is not None and Mix.of(run) is None
    assert [progress.step for progress in charlm.train(run, corpus)] == list(range(2, STEPS + 1))
    mix = Mix.of(run)
    assert mix is not None and mix.step == load_checkpoint(run.best_path).step
    assert bits_of_run(run) == bits_of_run(straight)
    assert list(charlm.train(run, corpus)) == []


@pytest.mark.parametrize("step", [1, 6, 7, 13, 24])
def test_stopping_changes_nothing(step: int, corpus: Corpus, straight: Run, tmp_path: Path) -> None:
    """Law: N updates, a stop, and the rest give the bits of a run that never stopped, and the same summary.

    Within an epoch, right at an evaluation, at an epoch's edge, after an evaluation, and at the end.
    """
    run = tiny_run(tmp_path / "run", corpus, layers=2)
    stop_at(run, corpus, step)
    assert load_checkpoint(run.last_path).progress["step"] == step
    run_to_end(Run.open(run.path), corpus)
    assert bits_of_run(run) == bits_of_run(straight)
    assert sample_of(run) == sample_of(straight)
    assert without_clock(summary(run)) | {"run": ""} == without_clock(summary(straight)) | {"run": ""}


@settings(few_examples, max_examples=5)
@given(steps=st.lists(st.integers(1, STEPS), min_size=2, max_size=6))
def test_stopping_often_changes_nothing(
    steps: list[int], corpus: Corpus, straight: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same law for many stops, some of them without one update in between."""
    run = tiny_run(tmp_path_factory.mktemp("often") / "run", corpus, layers=2)
    for step in sorted(steps):
        stop_at(Run.open(run.path), corpus, step)
    run_to_end(Run.open(run.path), corpus)
    assert bits_of_run(run) == bits_of_run(straight)


@pytest.mark.parametrize("step", [1, 6, 13, 23, 24])
def test_being_killed_changes_nothing(step: int, corpus: Corpus, straight: Run, tmp_path: Path) -> None:
    """Law: the files as they are after any update, without a save for it, go on to the same bits."""
    run = tiny_run(tmp_path / "run", corpus, layers=2)
    for progress in train_steps(run, corpus):
        if progress.step == step:
            shutil.copytree(run.path, tmp_path / "copy")
            break
    copy = Run.open(tmp_path / "copy")
    last = last_checkpoint(copy)
    assert (last.step if last else 0) == max((e for e in EVALUATIONS if e <= step), default=0)
    run_to_end(copy, corpus)
    assert bits_of_run(copy) == bits_of_run(straight)


@pytest.mark.slow
def test_after_every_failing_write_it_goes_on(tmp_path: Path) -> None:
    """Law: whichever write of a training fails, a StorageError is raised, and going on gives the same bits."""
    corpus = short_corpus(tmp_path)
    spec = TrainSpec(batch=4, window=10, steps=2, evaluations=2, reports=2)
    expected = bits_of_run(run_to_end(tiny_run(tmp_path / "straight", corpus, spec), corpus))
    nth = 0
    while True:
        nth += 1
        run = tiny_run(tmp_path / str(nth), corpus, spec)
        with pytest.MonkeyPatch.context() as patch:
            faults = Faults(patch, nth)
            try:
                run_to_end(run, corpus)
            except StorageError as error:
                assert len(str(error).splitlines()) == 1
            else:
                assert not faults.happened
                break
        assert not [file.name for file in run.path.iterdir() if file.suffix == ".tmp"]
        run_to_end(Run.open(run.path), corpus)
        assert bits_of_run(run) == expected
    assert nth > 50


def test_a_run_keeps_its_validation_limit(corpus: Corpus, tmp_path: Path) -> None:
    """Law: what is scored, and the length of an epoch, follow the run's own limit."""
    run = tiny_run(tmp_path / "run", corpus, replace(TINY, val_limit=5, evaluations=1))
    assert run.config["training"]["val_limit"] == 5
    run_to_end(run, corpus)
    checkpoint = load_checkpoint(run.last_path)
    ids = corpus.ids[-5:].tolist()
    nats = plain_nats(checkpoint.spec, checkpoint.params, ids, corpus.vocabulary.start)
    assert summary(run)["validation_nats"] == pytest.approx(nats.mean(), abs=1e-5)
    assert summary(run)["epochs"] == round(24 / ((len(corpus.ids) - 5 - 1) // 40), 4)


def test_the_validation_part_is_not_trained_on(corpus: Corpus, tmp_path: Path) -> None:
    """Law: another ending of the same characters gives the same parameters, and another validation loss."""
    text = corpus.vocabulary.decode(corpus.ids)
    (tmp_path / "turned.txt").write_text(text[:-33] + text[:-34:-1], encoding="utf-8")
    turned = read_corpus(tmp_path / "turned.txt")
    assert turned.vocabulary == corpus.vocabulary and turned.sha256 != corpus.sha256
    a, b = (bits_of_run(run_to_end(tiny_run(tmp_path / c.name, c), c)) for c in (corpus, turned))
    assert a["last"]["params"] == b["last"]["params"]
    assert a["last"]["progress"]["validation_nats"] != b["last"]["progress"]["validation_nats"]


def test_the_sum_of_the_loss(corpus: Corpus, tmp_path: Path) -> None:
    """Law: its gradient is T B times that of the mean, before clipping; the reported loss is still the mean."""
    spec = TrainSpec(batch=4, window=10, steps=9, optimizer="sgd", clip_norm=None, schedule="constant", warmup=0)
    mean = tiny_run(tmp_path / "mean", corpus, replace(spec, learning_rate=0.4))
    total = tiny_run(tmp_path / "sum", corpus, replace(spec, learning_rate=0.01, loss_reduction="sum"))
    for one, other in zip(train_steps(mean, corpus), train_steps(total, corpus), strict=True):
        assert other.nats == pytest.approx(one.nats, rel=1e-5)
        assert other.gradient_norm == pytest.approx(40 * one.gradient_norm, rel=1e-3)
        assert (one.learning_rate, other.learning_rate) == (0.4, 0.01)


@pytest.mark.parametrize("layers", [1, 2])
def test_the_reported_loss_is_the_plain_one(layers: int, tmp_path: Path) -> None:
    """Law: the validation loss is that of the documented equations, computed one step and one character at a time."""
    corpus = lanterns()
    run = run_to_end(tiny_run(tmp_path / "run", corpus, replace(TINY, evaluations=1), layers), corpus)
    checkpoint = load_checkpoint(run.best_path)
    held_out = corpus.split(run.spec)[1][:]
    nats = plain_nats(checkpoint.spec, checkpoint.params, held_out.tolist(), corpus.vocabulary.characters.index("\n"))
    assert len(nats) == len(held_out)
    assert checkpoint.progress["best_nats"] == pytest.approx(nats.mean(), abs=1e-4)
    assert summary(run)["validation_nats"] == checkpoint.progress["best_nats"]
    assert summary(run)["validation_bpc"] == pytest.approx(nats.mean() / math.log(2), abs=2e-4)


def test_best_is_the_best_and_last_the_last(corpus: Corpus, tmp_path: Path) -> None:
    """Law: best.safetensors is from the step of the lowest validation loss, last.safetensors from the last step."""
    run = run_to_end(tiny_run(tmp_path / "run", corpus, replace(TINY, steps=60, learning_rate=8.0)), corpus)
    losses = {r["step"]: r["nats"] for r in run.metrics() if r["split"] == "validation"}
    best_step = min(losses, key=lambda step: (losses[step], step))
    best, last = (load_checkpoint(path).progress for path in (run.best_path, run.last_path))
    assert (best["step"], best["best_step"], last["best_step"]) == (best_step, best_step, best_step)
    assert best["validation_nats"] == losses[best_step]
    assert (last["step"], last["validation_nats"]) == (60, losses[60])


def test_a_changed_corpus_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    """Law: at the call, in one line, before anything in the run is touched."""
    run = tiny_run(tmp_path / "run", corpus)
    stop_at(run, corpus, 3)
    before = {file.name: file.read_bytes() for file in run.path.iterdir()}
    for train in (charlm.train, train_steps):
        with pytest.raises(CorpusError) as raised:
            train(run, short_corpus(tmp_path, 331))
        assert len(str(raised.value).splitlines()) == 1
    assert {file.name: file.read_bytes() for file in run.path.iterdir()} == before


def test_a_changed_configuration_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    """Law: a configuration that does not fit the last checkpoint is refused, and the checkpoint stays."""
    run = tiny_run(tmp_path / "run", corpus)
    stop_at(run, corpus, 3)
    before = run.last_path.read_bytes()
    for part, entry in (("model", {"hidden": 9}), ("training", {"momentum": 0.0}), ("training", {"batch": 5})):
        changed = Run(run.path, run.config | {part: run.config[part] | entry})
        with pytest.raises(RunError):
            next(train_steps(changed, corpus))
        assert run.last_path.read_bytes() == before


@pytest.mark.parametrize(
    ("steps", "clip_norm", "momentum"), [(1, 0.2, 0.0), (1, None, 0.9), (30, 0.2, 0.9), (30, None, 0.0)]
)
@pytest.mark.parametrize("learning_rate", [1e6, 1e20, 1e38, 1e300])
def test_divergence(
    learning_rate: float, steps: int, clip_norm: float | None, momentum: float, corpus: Corpus, tmp_path: Path
) -> None:
    """Law: training that explodes raises DivergenceError, and every number on the disk is finite."""
    spec = replace(TINY, steps=steps, learning_rate=learning_rate, clip_norm=clip_norm, momentum=momentum)
    run = tiny_run(tmp_path / "run", corpus, spec)
    diverged = False
    try:
        with np.errstate(all="ignore"):
            run_to_end(run, corpus)
    except DivergenceError as error:
        diverged = True
        assert len(str(error).splitlines()) == 1
    assert diverged or learning_rate < 1e300
    for path in (run.last_path, run.best_path):
        if path.exists():
            load_checkpoint(path)
    for record in run.metrics():
        assert all(math.isfinite(v) for v in record.values() if isinstance(v, float)), record
    if not diverged:
        assert math.isfinite(summary(run)["validation_nats"])


def test_divergence_without_a_warning(corpus: Corpus, tmp_path: Path) -> None:
    """Law: a learning rate of a million is a divergence, and the arithmetic before it warns of nothing."""
    run = tiny_run(tmp_path / "run", corpus, replace(TINY, steps=100, learning_rate=1e6))
    with pytest.raises(DivergenceError):
        run_to_end(run, corpus)


@pytest.mark.parametrize("seconds", [1.0, 7.0, 30.0, 1000.0])
def test_a_budget_of_minutes(seconds: float, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: it stops when an update uses up the time, with an evaluation; the learning rates are the schedule's."""
    run = tiny_run(tmp_path / "run", corpus, replace(TINY, steps=None, minutes=2.0))
    HandClock(monkeypatch, seconds)
    seen = list(train_steps(run, corpus))
    assert len(seen) == math.ceil(120 / seconds)
    assert seen[-1].share == 1 and seen[-1].evaluated and seen[-1].validation_nats is not None
    schedule = Schedule(run.spec.peak_learning_rate, run.spec.schedule, run.spec.warmup)
    for number, progress in enumerate(seen):
        assert progress.step == number + 1
        assert progress.share == pytest.approx(min(1.0, (number + 1) * seconds / 120))
        assert progress.learning_rate == pytest.approx(schedule(number, min(1.0, number * seconds / 120)))


def test_a_budget_of_minutes_goes_on(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: the time before a stop counts, the time between does not."""
    run = tiny_run(tmp_path / "run", corpus, replace(TINY, steps=None, minutes=1.0))
    clock = HandClock(monkeypatch, 2.0)
    stop_at(run, corpus, 20)
    clock.now += 10_000
    assert len(list(train_steps(Run.open(run.path), corpus))) == 10


def test_it_saves_at_least_every_minute(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: between two evaluations that are far apart, a crash loses a minute of work and one update at most."""
    run = tiny_run(tmp_path / "run", corpus, replace(TINY, steps=None, minutes=20.0, evaluations=1))
    HandClock(monkeypatch, 7.0)
    for progress in train_steps(run, corpus):
        saved = last_checkpoint(run)
        assert progress.seconds - (saved.progress["seconds"] if saved else 0) <= SAVE_SECONDS + 7


@pytest.mark.parametrize(
    ("budget", "steps"), [({"steps": 5}, 5), ({"epochs": 2.0}, 14), ({"epochs": 0.5}, 4), ({"epochs": 0.01}, 1)]
)
def test_budgets_of_steps_and_epochs(budget: dict[str, Any], steps: int, corpus: Corpus, tmp_path: Path) -> None:
    """Law: exactly as many updates; an epoch is as many as there are whole windows in the text."""
    run = tiny_run(tmp_path / "run", corpus, replace(TINY, **({"steps": None} | budget)))
    seen = list(train_steps(run, corpus))
    assert len(seen) == steps == summary(run)["steps"]
    assert seen[-1].share == 1 and seen[-1].evaluated
    assert seen[-1].epoch == pytest.approx(steps / EPOCH)
    assert list(train_steps(Run.open(run.path), corpus)) == []


@pytest.mark.parametrize(
    ("steps", "evaluations", "reports"), [(24, 4, 8), (7, 3, 5), (5, 20, 200), (30, 1, 1), (200, 20, 200)]
)
def test_the_number_of_evaluations_and_reports(
    steps: int, evaluations: int, reports: int, corpus: Corpus, tmp_path: Path
) -> None:
    """Law: as many as asked for, or as there are updates; the last update has both."""
    spec = replace(TINY, steps=steps, evaluations=evaluations, reports=reports)
    run = run_to_end(tiny_run(tmp_path / "run", corpus, spec), corpus)
    for name, count in (("validation", evaluations), ("train", reports)):
        at = [record["step"] for record in run.metrics() if record["split"] == name]
        assert len(at) == min(steps, count) and at[-1] == steps and at == sorted(set(at))


def test_evaluations_leave_time_to_train(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: where they would take over a twentieth of the minutes, some are skipped, but never the last one."""
    seconds, taken = 1.0, 0.1
    clock = HandClock(monkeypatch, 0.01)

    def slow(*what: Any) -> Score:
        clock.now += taken
        return Score(1, 2.0)

    monkeypatch.setattr(coordinator, score_ids.__name__, slow)
    run = tiny_run(tmp_path / "run", corpus, replace(TINY, steps=None, minutes=seconds / 60, evaluations=None))
    *_, last = train_steps(run, corpus)
    count = len([record for record in run.metrics() if record["split"] == "validation"])
    assert last.evaluated and 2 <= count <= 2 + seconds * MOST_EVALUATION / taken
    figures = summary(run)
    assert figures["evaluation_seconds"] == pytest.approx(count * taken, rel=0.3)
    updating = figures["seconds"] - figures["evaluation_seconds"]
    assert figures["chars_per_second"] == pytest.approx(figures["characters"] / updating, rel=0.01)
    by_steps = run_to_end(tiny_run(tmp_path / "steps", corpus, replace(TINY, steps=8, evaluations=8)), corpus)
    assert len([record for record in by_steps.metrics() if record["split"] == "validation"]) == 8


def test_a_larger_budget_goes_on(corpus: Corpus, tmp_path: Path) -> None:
    """Law: a new budget, of any kind, replaces the old one and is kept; a note says that patience is off."""
    run = run_to_end(tiny_run(tmp_path / "run", corpus, replace(TINY, patience=1000)), corpus)
    (note,) = change_budget(run, steps=30)
    assert "--patience 1000" in note and run.spec.patience is None
    assert change_budget(run, steps=30) == []
    assert [p.step for p in train_steps(Run.open(run.path), corpus)] == [25, 26, 27, 28, 29, 30]
    change_budget(run, epochs=5.0)
    assert [p.step for p in train_steps(Run.open(run.path), corpus)] == [31, 32, 33, 34, 35]
    change_budget(run, minutes=7.0)
    spec = Run.open(run.path).spec
    assert (spec.minutes, spec.steps, spec.epochs) == (7.0, None, None)
    impossible: list[dict[str, Any]] = [{}, {"steps": 0}, {"epochs": -1.0}, {"minutes": math.nan}]
    for budget in impossible:
        with pytest.raises(SpecError):
            change_budget(run, **budget)
        assert Run.open(run.path).spec == spec


@pytest.mark.parametrize("characters", [3, 4, 5, 10, 11, 20, 45, 100])
def test_a_short_text_gets_a_smaller_window(characters: int, tmp_path: Path) -> None:
    """Law: any text of at least 2 characters to train on and 1 to evaluate is trained on."""
    (tmp_path / "x.txt").write_text(("ab\n" * 40)[:characters])
    corpus = read_corpus(tmp_path / "x.txt")
    run = tiny_run(tmp_path / "run", corpus, replace(TINY, steps=3))
    used = run.spec
    assert 1 <= used.window <= 10 and 1 <= used.batch <= 4
    assert used.window * used.batch + 1 <= training_length(characters, used.val_fraction, used.val_limit)
    assert len(list(train_steps(run, corpus))) == 3
    assert math.isfinite(summary(run)["validation_nats"])


def test_too_short_a_text_makes_no_run(tmp_path: Path) -> None:
    """Law: refused before a directory is made."""
    (tmp_path / "x.txt").write_text("ab")
    with pytest.raises(CorpusError):
        tiny_run(tmp_path / "run", read_corpus(tmp_path / "x.txt"))
    assert not (tmp_path / "run").exists()


def test_a_short_training_evaluates_twice(corpus: Corpus, tmp_path: Path) -> None:
    """Law: where 20 evaluations would take more than a twentieth of the updates, there are fewer, at least two, with
    the last one at the end; a resumed run has them at the same updates.
    """
    spec = replace(TINY, evaluations=None, val_fraction=0.5, steps=6)
    whole = run_to_end(tiny_run(tmp_path / "whole", corpus, spec), corpus)
    at = [record["step"] for record in whole.metrics() if record["split"] == "validation"]
    assert at == [3, 6]
    stopped = tiny_run(tmp_path / "stopped", corpus, spec)
    stop_at(stopped, corpus, 2)
    run_to_end(Run.open(stopped.path), corpus)
    assert bits_of_run(stopped) == bits_of_run(whole)
    long = planned_evaluations(spec, Budget(10**6, None), 100)
    assert long == 20 and planned_evaluations(replace(spec, evaluations=7), Budget(1, None), 100) == 7


def test_evaluations_as_often_as_asked(corpus: Corpus, tmp_path: Path) -> None:
    """Law: with evaluate_every, after every so many updates, and at the end."""
    run = run_to_end(tiny_run(tmp_path / "run", corpus, replace(TINY, steps=11, evaluate_every=4)), corpus)
    assert [record["step"] for record in run.metrics() if record["split"] == "validation"] == [4, 8, 11]
