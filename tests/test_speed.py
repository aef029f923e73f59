"""The cost of a character, against measured speeds, and this machine's."""

from __future__ import annotations

import pytest

from charlm.nn.model import ModelSpec
from charlm.speed import TRIAL_SECONDS, cost, work_per_second

MEASURED = {(128, 1): 453_245, (256, 1): 212_682, (256, 2): 82_462, (512, 1): 70_174}  # docs/performance.md


def test_the_cost_gives_the_measured_speeds_back() -> None:
    """Law: speed times cost is the same for the shapes of the table, within 5 % from 256 units on, 128 a quarter."""
    small, *work = [cost(ModelSpec(66, hidden=H, layers=L)) * speed for (H, L), speed in MEASURED.items()]
    assert max(work) < 1.05 * min(work) and max(work) < 1.3 * small


def test_a_look_up_costs_nothing() -> None:
    """Law: the rows of the first matrix are looked up, so a large alphabet costs its read-out only; twice that much
    is embedded by a look-up, too, and the vectors are multiplied."""
    small, large = (cost(ModelSpec(alphabet, hidden=10)) for alphabet in (100, 300))
    assert large - small == 200 * 10
    assert cost(ModelSpec(100, hidden=10, embedding=7)) - small == 7 * 30


@pytest.mark.parametrize("attempt", range(2))
def test_this_machine(attempt: int) -> None:
    """Law: a machine that runs these tests multiplies some hundred million elements per second, and at most 10^13."""
    assert TRIAL_SECONDS <= 0.5
    assert 1e7 < work_per_second() < 1e13
