"""The cost of a character, compared with measured speeds; and the speed of this machine."""

from __future__ import annotations

import time

import pytest

from charlm.nn.model import ModelSpec
from charlm.training.auto_config import PER_WORKER
from charlm.training.cost_model import SOFTMAX, TRIAL_SECONDS, cost, update_cost, work_per_second

MEASURED = {  # docs/performance.md: units, layers, batch of one worker, workers
    (128, 1, 16, 2): 453_245,
    (256, 1, 32, 2): 212_682,
    (256, 2, 32, 2): 82_462,
    (512, 1, 32, 2): 70_174,
    (64, 1, 1, 1): 78_948,
}


def test_the_cost_fits_the_measured_speeds() -> None:
    """Law: speed times cost is the same for the shapes of the table, within 5 % of the middle."""
    work = [
        cost(ModelSpec(66, hidden=H, layers=L), batch) * speed / (workers * PER_WORKER if workers > 1 else 1)
        for (H, L, batch, workers), speed in MEASURED.items()
    ]
    assert max(work) < 1.1 * min(work)


def test_the_cost_of_muon() -> None:
    """Law: its products of matrices are counted; no other optimizer has any."""
    spec = ModelSpec(66, hidden=640)
    assert update_cost(spec, "sgd") == 0
    assert update_cost(spec, "muon") == pytest.approx(15 * 640**3 / 3, rel=0.02)  # the rest is that of the read-out


def test_a_look_up_costs_nothing() -> None:
    """Law: the rows of the first matrix are looked up, so a large alphabet costs only its read-out; the rows of an
    embedding are looked up, too, and only the vectors are multiplied."""
    small, large = (cost(ModelSpec(alphabet, hidden=10), 8) for alphabet in (100, 300))
    assert large - small == 200 * (10 + SOFTMAX)
    assert cost(ModelSpec(100, hidden=10, embedding=7), 8) - small == 7 * 30


@pytest.mark.slow
def test_this_machine() -> None:
    """Law: the measurement takes about as long as documented, and a second one finds about the same speed."""
    start = time.perf_counter()
    first = work_per_second()
    assert time.perf_counter() - start < 10 * TRIAL_SECONDS
    assert 1e7 < first < 1e13 and 1 / 5 < work_per_second() / first < 5
