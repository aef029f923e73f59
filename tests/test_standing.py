"""Where a training stands: patience that runs out, passes that are done, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from runs import TINY, run_to_end, short_corpus, tiny_run

from charlm.training import loop as training
from charlm.config import TrainSpec
from charlm.scoring.score import Score
from charlm.training.report import ending
from charlm.training.resume import change_budget
from charlm.runs.checkpoint import load_checkpoint
from charlm.corpus.corpus import Corpus
from charlm.runs.run import Run
from charlm.training.loop import train_steps


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return short_corpus(tmp_path)


@pytest.fixture
def only_the_second_is_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let validation losses be 3, 2, 2, 2 ..."""
    losses = iter([3.0])
    monkeypatch.setattr(training, "score_ids", lambda *what: Score(1, next(losses, 2.0)))


PATIENT = replace(TINY, steps=None, minutes=60.0, epochs=1e4, evaluations=10**5, patience=3)


def evaluations(run: Run) -> list[float]:
    return [record["nats"] for record in run.metrics() if record["split"] == "validation"]


def test_patience_ends_a_training(corpus: Corpus, tmp_path: Path, only_the_second_is_best: None) -> None:
    """Law: after so many validations that were no better, and not before; equal is not better. It stays ended, until
    somebody gives another budget.
    """
    run = run_to_end(tiny_run(tmp_path / "run", corpus, PATIENT), corpus)
    assert evaluations(run) == [3, 2, 2, 2, 2]
    assert list(train_steps(Run.open(run.path), corpus)) == []
    best = load_checkpoint(run.best_path)
    assert f"step {best.step:,}" in ending(run) and "--patience" in ending(run)
    assert ending(run).startswith("Stopped after ") and " of 1:00:00: 3 validations in a row" in ending(run)

    step = best.step + 9
    change_budget(run, steps=step)
    assert [progress.step for progress in train_steps(Run.open(run.path), corpus)][-1] == step
    assert train_spec(Run.open(run.path)).patience is None


def test_patience_counts_on_after_a_resume(corpus: Corpus, tmp_path: Path, only_the_second_is_best: None) -> None:
    """Law: a run that was stopped between two validations has the patience that it had."""
    run = tiny_run(tmp_path / "run", corpus, PATIENT)
    for _ in range(20):
        updates = train_steps(Run.open(run.path), corpus)
        if next(updates, None) is None:
            break
        updates.close()
    assert evaluations(run) == [3, 2, 2, 2, 2]


def test_without_patience_a_training_goes_on(corpus: Corpus, tmp_path: Path, only_the_second_is_best: None) -> None:
    """Law: None waits for ever."""
    run = run_to_end(tiny_run(tmp_path / "run", corpus, replace(TINY, evaluations=12, patience=None)), corpus)
    assert evaluations(run) == [3] + [2] * 11 and ending(run) == ""


def test_passes_end_a_training_before_its_minutes(corpus: Corpus, tmp_path: Path) -> None:
    """Law: said with the time that was left; where the budget is none of minutes nothing is left."""
    run = run_to_end(tiny_run(tmp_path / "run", corpus, replace(TINY, steps=None, epochs=2.0, minutes=9.0)), corpus)
    assert " of 9:00: 2 passes over the text are done" in ending(run)
    alone = run_to_end(tiny_run(tmp_path / "alone", corpus, replace(TINY, steps=None, epochs=2.0)), corpus)
    assert ending(alone) == ""


def test_a_stopped_training_has_no_ending(corpus: Corpus, tmp_path: Path) -> None:
    """Law: what a signal or an error ended is no end."""
    run = tiny_run(tmp_path / "run", corpus, TrainSpec(batch=4, window=10, minutes=5.0, epochs=100.0))
    updates = train_steps(run, corpus)
    next(updates)
    updates.close()
    assert ending(run) == ""
