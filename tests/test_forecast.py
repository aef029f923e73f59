"""The expected passes over a text, and their correction while training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runs import HandClock, charlm, short_corpus

from charlm import plot
from charlm.cli import progress
from charlm.config import TrainSpec
from charlm.training import auto_config, forecast
from charlm.training.auto_config import Recipe
from charlm.training.cost_model import work_per_second
from charlm.training.forecast import Forecast
from charlm.training.progress import Progress

BY_TIME = Recipe({}, TrainSpec(minutes=3.0, epochs=18.0), "", 15.0)
AT_FIRST = {"step": 9, "characters": 9, "nats": 2.0, "learning_rate": 0.1, "gradient_norm": 1.0}
AT_FIRST |= {"chars_per_second": 9.0, "rollbacks": 0, "evaluated": False}
UNKNOWN = dict.fromkeys(("train_nats", "validation_nats", "best_nats", "best_step"))


def at(epoch: float, share: float, seconds: float = 60.0) -> Progress:
    """Progress after so many passes, with that share of the budget used."""
    fields: dict[str, Any] = {**AT_FIRST, **UNKNOWN, "epoch": epoch, "share": share, "seconds": seconds}
    return Progress(**fields)


def test_a_wrong_forecast_is_corrected_once() -> None:
    """Law: with both numbers, and a reason only if it is slower; after that there is silence."""
    slow = Forecast(BY_TIME)
    assert slow.correction(at(0.6, 0.2)) == (
        "At the present speed this will be about 3 passes, not 15: other programs may be using the processor"
    )
    assert slow.correction(at(0.3, 0.3)) == slow.correction(at(9.0, 0.3)) == ""
    fast = Forecast(BY_TIME)
    assert fast.correction(at(6.0, 0.2)) == "At the present speed this will be about 30 passes, not 15"


@pytest.mark.parametrize(
    ("epoch", "share", "seconds"), [(0.1, 0.09, 60.0), (0.1, 0.5, 4.9), (3, 0.2, 60), (2.1, 0.2, 60)]
)
def test_what_is_not_corrected(epoch: float, share: float, seconds: float) -> None:
    """Law: nothing at the beginning, and nothing that is nearly right; a later fault is still told."""
    told = Forecast(BY_TIME)
    assert told.correction(at(epoch, share, seconds)) == ""
    assert told.correction(at(0.6, 0.2))


@pytest.mark.parametrize("budget", [{"steps": 100}, {"epochs": 15.0}])
def test_a_budget_without_a_clock_is_right(budget: dict[str, Any]) -> None:
    recipe = replace(BY_TIME, training=TrainSpec(**budget))
    assert Forecast(recipe).correction(at(0.1, 0.9)) == ""


SIZES = ("--hidden", 8, "--batch", 2, "--window", 10, "--patience", 0)


@pytest.mark.usefixtures("quick_disk")
@pytest.mark.parametrize(("options", "is_told"), [((), True), (("--epochs", 0.05), False), (("--quiet",), False)])
def test_a_busy_machine(
    options: tuple[Any, ...],
    is_told: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Law: charlm train says it in one line, unless the passes end training before the time does."""
    short_corpus(tmp_path, 3000)
    monkeypatch.setattr(auto_config, work_per_second.__name__, lambda: 1e11)
    monkeypatch.setattr(progress, plot.__name__, lambda *_: None)
    HandClock(monkeypatch, 2.0)  # an update takes two seconds
    size = [*SIZES, "--epochs", 5] if not any(option == "--epochs" for option in options) else SIZES
    text = tmp_path / "short.txt"
    done = charlm(capsys, "train", text, "--out", tmp_path / "run", "--minutes", 1, *size, *options)
    lines = [line for line in done.err.splitlines() if line.startswith("At the present speed")]
    assert done.code == 0 and len(lines) == is_told, done.err
    if is_told:
        assert "about 5 passes over" in done.err and lines[0].endswith(forecast.SLOW)
        assert ", not 5:" in lines[0]
