"""The cost of a character, against measured speeds, and this machine's."""

from __future__ import annotations

import time

import pytest

from charlm.nn.model import ModelSpec
from charlm.training.auto_config import EVERY_WORKER
from charlm.training.cost_model import SOFTMAX, TRIAL_SECONDS, cost, update_cost, work_per_second

MEASURED = {  # docs/performance.md: units, layers, streams of a worker, workers
    (128, 1, 16, 2): 453_245,
    (256, 1, 32, 2): 212_682,
    (256, 2, 32, 2): 82_462,
    (512, 1, 32, 2): 70_174,
    (64, 1, 1, 1): 78_948,
}


def test_the_cost_gives_the_measured_speeds_back() -> None:
    """Law: speed times cost is the same for the shapes of the table, within 5 % of the middle."""
    work = [
        cost(ModelSpec(66, hidden=H, layers=L), streams) * speed / (workers * EVERY_WORKER if workers > 1 else 1)
        for (H, L, streams, workers), speed in MEASURED.items()
    ]
    assert max(work) < 1.1 * min(work)


def test_muon_is_what_a_large_network_waits_for() -> None:
    """Law: the orthogonalisation of a square costs as many products as are written down, and no other optimizer any."""
    spec = ModelSpec(66, hidden=640)
    assert update_cost(spec, "sgd") == 0
    assert update_cost(spec, "muon") == pytest.approx(15 * 640**3 / 3, rel=0.02)  # the rest is that of the read-out


def test_a_look_up_costs_nothing() -> None:
    """Law: the rows of the first matrix are looked up, so a large alphabet costs its read-out only; twice that much
    is embedded by a look-up, too, and the vectors are multiplied."""
    small, large = (cost(ModelSpec(alphabet, hidden=10), 8) for alphabet in (100, 300))
    assert large - small == 200 * (10 + SOFTMAX)
    assert cost(ModelSpec(100, hidden=10, embedding=7), 8) - small == 7 * 30


def test_this_machine() -> None:
    """Law: the trial takes about the time it says, and a second one finds much the same speed."""
    start = time.perf_counter()
    first = work_per_second()
    assert time.perf_counter() - start < 10 * TRIAL_SECONDS
    assert 1e7 < first < 1e13 and 1 / 5 < work_per_second() / first < 5
