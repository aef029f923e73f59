"""The shape of a learning-rate schedule."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.config import TrainSpec
from charlm.errors import SpecError
from charlm.optim.schedules import SHAPES, Schedule


def schedules(*shapes: str) -> st.SearchStrategy[Schedule]:
    """Schedules of these shapes."""
    return st.builds(
        Schedule,
        peak=st.floats(1e-4, 10),
        shape=st.sampled_from(shapes),
        warm_up=st.integers(0, 200),
        final=st.floats(0, 1),
        drop=st.floats(0, 1),
        drops=st.integers(0, 6),
    )


SCHEDULES = schedules(*SHAPES)
STEPS = st.integers(0, 1000)
PROGRESS = st.floats(0, 1)


@given(SCHEDULES, st.integers(0, 199), PROGRESS)
def test_the_warm_up_rises_in_a_line(schedule: Schedule, step: int, progress: float) -> None:
    """At any progress, each update of the warm-up adds the same; from update number `warm_up` on nothing is added."""
    rates = [schedule(step + n, progress) for n in range(3)]
    if step + 2 <= schedule.warm_up:
        assert rates[0] < rates[1] < rates[2] or rates == [0, 0, 0]
        assert rates[1] - rates[0] == pytest.approx(rates[2] - rates[1], rel=1e-6)
    full = schedule(schedule.warm_up, progress)
    assert full == schedule(schedule.warm_up + 1, progress) == schedule(10**9, progress)
    assert schedule(0, progress) == pytest.approx(full / (schedule.warm_up + 1))


@given(SCHEDULES, STEPS, PROGRESS, PROGRESS)
def test_the_rate_falls_with_progress(schedule: Schedule, step: int, one: float, two: float) -> None:
    """At any step, the rate never rises with the share of the budget that is used."""
    early, late = sorted((one, two))
    assert schedule(step, early) >= schedule(step, late) * (1 - 1e-12)


@given(schedules("cosine", "linear"))
def test_the_ends_of_the_decay(schedule: Schedule) -> None:
    """A cosine or a line after the warm-up: the peak at 0, its final share at 1, and the mean of the two halfway."""
    step = schedule.warm_up
    last = schedule.final * schedule.peak
    assert schedule(step, 0) == pytest.approx(schedule.peak)
    assert schedule(step, 1) == pytest.approx(last, abs=1e-15)
    assert schedule(step, 0.5) == pytest.approx((schedule.peak + last) / 2)


def test_the_decay_is_a_cosine() -> None:
    """Slow at both ends: at a third of the budget a quarter of the peak is gone, at two thirds three quarters."""
    schedule = Schedule(peak=8, shape="cosine", warm_up=0, final=0)
    assert [schedule(0, n / 3) for n in range(4)] == pytest.approx([8, 6, 2, 0])


@given(schedules("steps"), st.floats(0, 1))
def test_steps_drop_at_evenly_spaced_points(schedule: Schedule, within: float) -> None:
    """With n drops the budget has n + 1 equal parts, and in part number k the factor is drop^k."""
    parts = schedule.drops + 1
    for part in range(parts):
        progress = (part + 0.001 + 0.998 * within) / parts
        assert schedule.decay_factor(progress) == pytest.approx(schedule.drop**part, rel=1e-12)
        assert schedule(10**9, progress) == pytest.approx(schedule.peak * schedule.drop**part, rel=1e-12)
    assert schedule.decay_factor(0) == 1
    assert schedule.decay_factor(1) == pytest.approx(schedule.drop**schedule.drops)


def test_steps_by_hand() -> None:
    """Three drops to a half, at a quarter, half and three quarters."""
    schedule = Schedule(peak=8, shape="steps", warm_up=1, drop=0.5)
    rates = [schedule(1, progress) for progress in (0, 0.2499, 0.25, 0.4999, 0.5, 0.7499, 0.75, 0.9999, 1, 7)]
    assert rates == [8, 8, 4, 4, 2, 2, 1, 1, 1, 1]
    assert schedule(0, 0.3) == 2


@given(schedules("constant"), STEPS, PROGRESS)
def test_constant_stays(schedule: Schedule, step: int, progress: float) -> None:
    """The peak, once the warm-up is over, however much of the budget is used."""
    assert schedule(schedule.warm_up + step, progress) == schedule.peak
    assert schedule(step, progress) == schedule(step, 0)


@pytest.mark.parametrize("shape", ["", "lines", "Cosine", "cosine "])
def test_an_unknown_shape_is_refused(shape: str) -> None:
    """The message has the known names; a TrainSpec refuses it, too."""
    with pytest.raises(ValueError, match="cosine, linear, constant, steps"):
        Schedule(1.0, shape, 50)(0, 0.0)
    with pytest.raises(SpecError, match="cosine, linear, constant, steps"):
        TrainSpec(schedule=shape)


@given(SCHEDULES, STEPS, st.floats(-5, 5))
def test_progress_beyond_its_ends_is_the_end(schedule: Schedule, step: int, progress: float) -> None:
    """A clock that overshoots does not raise the rate again."""
    assert schedule(step, progress) == schedule(step, min(max(progress, 0), 1))


@given(SCHEDULES, STEPS, PROGRESS)
def test_the_rate_is_a_function_of_its_arguments(schedule: Schedule, step: int, progress: float) -> None:
    """Other calls have no effect, a copy agrees, and the rate is proportional to the peak, between 0 and the peak."""
    rate = schedule(step, progress)
    schedule(step + 17, progress / 2)
    assert rate == schedule(step, progress) == dataclasses.replace(schedule)(step, progress)
    assert 0 <= rate <= schedule.peak * (1 + 1e-12) and math.isfinite(rate)
    assert dataclasses.replace(schedule, peak=2 * schedule.peak)(step, progress) == pytest.approx(2 * rate)


def test_a_schedule_is_frozen() -> None:
    """A schedule is a value."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Schedule(1.0, "cosine", 50).peak = 2.0  # type: ignore[misc]
