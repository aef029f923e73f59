"""The metrics log: means of what was counted, lines that say when; and the clock of training."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from time import time as date

import pytest

from charlm.runs.run import Run
from charlm.training.progress import Clock, MetricsLog, Tally


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", {"model": {}, "training": {}})


def test_reports_are_means_since_the_last_one(run: Run) -> None:
    """Law: every update is in exactly one report and in exactly one evaluation's training loss."""
    tally = Tally()
    log = MetricsLog(run, tally, characters_per_step=40, steps_per_epoch=8)
    losses = [5.0, 4.0, 3.0, 3.0, 2.0, 1.0]
    for number, nats in enumerate(losses, 1):
        log.count(nats, seconds=0.5 * number)
        if number in (2, 6):
            log.report(0.1, 0.2)
        if number in (3, 6):
            assert log.evaluation(9.0 - number, 0.1, 0.2)
    trains = [r for r in run.metrics() if r["split"] == "train"]
    validations = [r for r in run.metrics() if r["split"] == "validation"]
    assert [(r["step"], r["nats"]) for r in trains] == [(2, 4.5), (6, 9 / 4)]
    assert [(r["step"], r["nats"]) for r in validations] == [(3, 6.0), (6, 3.0)]
    assert tally.train_nats == pytest.approx((3.0 + 2.0 + 1.0) / 3)
    for record in run.metrics():
        assert record["characters"] == record["step"] * 40
        assert record["epoch"] == record["step"] / 8
        assert record["bpc"] == pytest.approx(record["nats"] / math.log(2))
        assert record["seconds"] == record["step"] * 0.5
    assert [r["chars_per_second"] for r in trains] == [80, 80]
    assert (tally.step, tally.best_nats, tally.best_step) == (6, 3.0, 6)


def test_the_best_is_the_lowest_and_the_first_of_equals(run: Run) -> None:
    """Law: only a lower loss is a new best."""
    tally = Tally()
    log = MetricsLog(run, tally, 40, 8)
    answers = []
    for nats in (3.0, 2.0, 2.0, 2.5, 1.0):
        log.count(nats, 1.0)
        answers.append(log.evaluation(nats, 0.1, 0.2))
    assert answers == [True, True, False, False, True]
    assert (tally.best_nats, tally.best_step, tally.validation_nats) == (1.0, 5, 1.0)


def test_a_stored_tally_counts_on(tmp_path: Path) -> None:
    """Law: a log that goes on with a stored tally writes what one that never stopped writes."""
    runs = [Run.create(tmp_path / name, {"model": {}, "training": {}}) for name in ("straight", "stopped")]
    tallies = []
    for run, stops in zip(runs, (False, True), strict=True):
        tally = Tally()
        for number in range(1, 7):
            if stops:
                tally = Tally(**asdict(tally))
            log = MetricsLog(run, tally, 40, 8)
            log.count(1 / number, seconds=float(number))
            if number % 2 == 0:
                log.report(0.1, 0.2)
            if number % 3 == 0:
                log.evaluation(2 / number, 0.1, 0.2)
        tallies.append(tally)
    assert runs[0].metrics() == runs[1].metrics()
    assert tallies[0] == tallies[1]


def test_progress_before_the_first_evaluation(run: Run) -> None:
    """Law: what is not known yet is None."""
    log = MetricsLog(run, Tally(), 40, 8)
    log.count(4.0, 1.0)
    progress = log.progress(0.5, 4.0, 0.1, 0.2, False)
    assert (progress.step, progress.characters, progress.epoch, progress.share) == (1, 40, 1 / 8, 0.5)
    assert progress.train_nats is progress.validation_nats is progress.best_nats is progress.best_step is None


def test_the_clock_goes_on_after_a_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: seconds before a resume count; reading it changes nothing; the date does not matter."""
    now = [1000.0]
    monkeypatch.setattr(time, monotonic.__name__, lambda: now[0])
    monkeypatch.setattr(time, date.__name__, lambda: pytest.fail("the date is no clock"))
    clock = Clock(already=42.0)
    assert clock.seconds == clock.seconds == 42
    now[0] += 8
    assert clock.seconds == 50
