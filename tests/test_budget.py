"""Budgets: steps, epochs and minutes, of which the first that is used up counts, and a share that only grows."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import few_examples

from charlm.config import Budget, Clock
from charlm.optim.schedules import Schedule


@pytest.mark.parametrize(
    ("steps", "epochs", "minutes", "expected"),
    [
        (7, None, None, Budget(7, None)),
        (None, 2.0, None, Budget(20, None)),
        (None, 1.01, None, Budget(11, None)),
        (None, 0.001, None, Budget(1, None)),
        (None, None, 1.5, Budget(None, 90.0)),
        (None, 2.0, 1.5, Budget(20, 90.0)),
        (19, 2.0, None, Budget(19, None)),
        (21, 2.0, 0.5, Budget(20, 30.0)),
    ],
)
def test_what_is_meant(steps: int | None, epochs: float | None, minutes: float | None, expected: Budget) -> None:
    """Law: epochs are rounded up to whole updates, at least one; minutes are 60 seconds; the smallest count holds."""
    assert Budget.of(steps=steps, epochs=epochs, minutes=minutes, steps_per_epoch=10) == expected


@pytest.mark.parametrize("epochs", [1e30, 1e308])
def test_epochs_without_end(epochs: float) -> None:
    """Law: any number above 0 that TrainSpec takes is a budget."""
    assert 0 <= Budget.of(steps=None, epochs=epochs, minutes=None, steps_per_epoch=10).share(5, 1.0) < 1e-9


@few_examples
@given(steps=st.integers(1, 10**6), seconds=st.floats(1e-3, 1e6))
def test_the_share_grows_from_0_to_1(steps: int, seconds: float) -> None:
    """Law: 0 at the start, 1 exactly when the budget is used and ever after; a measure that is none does not matter."""
    by_steps, by_time = Budget(steps, None), Budget(None, seconds)
    assert by_steps.share(0, 1e9) == by_time.share(10**9, 0.0) == 0
    assert by_steps.share(steps, 0.0) == by_time.share(0, seconds) == 1
    assert by_steps.share(steps + 1, 0.0) == by_time.share(0, 2 * seconds) == 1
    assert by_steps.share(steps - 1, 1e9) < 1
    assert by_time.share(10**9, 0.999 * seconds) < 1


@few_examples
@given(steps=st.integers(0, 100), seconds=st.floats(0, 100))
def test_the_first_that_is_used_up_ends_a_training(steps: int, seconds: float) -> None:
    """Law: the share of two measures is the larger of theirs."""
    both = Budget(50, 40.0).share(steps, seconds)
    assert both == max(Budget(50, None).share(steps, seconds), Budget(None, 40.0).share(steps, seconds))


@few_examples
@given(looks=st.lists(st.floats(0, 180), max_size=20), step=st.integers(0, 500), at=st.floats(0, 180))
def test_a_rate_does_not_depend_on_earlier_looks_at_the_clock(looks: list[float], step: int, at: float) -> None:
    """Law: the rate of a time budget follows from (step, seconds) alone, as the documented curve has it."""
    budget, schedule = Budget(None, 180.0), Schedule(2.0)
    for look in looks:
        schedule(step, budget.share(step, look))
    fall = 0.02 + 0.98 * (1 + math.cos(math.pi * at / 180)) / 2
    assert schedule(step, budget.share(step, at)) == pytest.approx(2.0 * min(1, (step + 1) / 51) * fall)


def test_the_clock_goes_on_where_it_stood(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: seconds before a resume count; looking changes nothing; the date does not matter."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "time", lambda: pytest.fail("the date is no clock"))
    clock = Clock(already=42.0)
    assert clock.seconds == clock.seconds == 42
    now[0] += 8
    assert clock.seconds == 50
