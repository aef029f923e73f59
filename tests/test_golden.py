"""The golden losses: thirty updates of a tiny network come to the numbers that were written down."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import lanterns

from charlm.arrays import Floats
from charlm.config import TrainSpec
from charlm.training.loop import train_steps
from charlm.training.new_run import new_run

NETWORKS: dict[str, dict[str, Any]] = {
    "gru before": {},
    "gru after": {"reset": "after"},
    "lstm": {"cell": "lstm"},
    "rnn": {"cell": "rnn"},
}
GOLDEN = {  # losses of 30 updates
    "gru before": (
        "4.021 4.0092 4.0016 3.9792 3.941 3.9142 3.8671 3.7768 3.7246 3.552 3.568 3.4686 3.3439 3.3232 3.2598 "
        "3.2225 3.3477 3.0925 3.2201 3.1333 3.1418 3.1514 3.17 3.1327 3.1015 3.3709 3.1872 3.0743 3.1344 3.3266"
    ),
    "gru after": (
        "4.0212 4.0092 4.0011 3.9783 3.938 3.9095 3.8626 3.7674 3.714 3.533 3.5553 3.4556 3.3272 3.31 3.2502 "
        "3.2149 3.353 3.0883 3.2174 3.1326 3.1428 3.1545 3.1727 3.134 3.104 3.3729 3.1872 3.079 3.135 3.326"
    ),
    "lstm": (
        "3.9939 4.0052 3.9842 3.971 3.9296 3.8951 3.8453 3.7618 3.6986 3.5261 3.5493 3.4601 3.3314 3.3304 3.2438 "
        "3.2231 3.3694 3.1 3.2548 3.1379 3.1582 3.1653 3.1722 3.1597 3.1091 3.3846 3.2053 3.0949 3.1603 3.3404"
    ),
    "rnn": (
        "3.9977 4.0326 3.9848 3.982 3.959 3.9151 3.8594 3.8082 3.7185 3.5542 3.4869 3.4315 3.3166 3.2663 3.1894 "
        "3.1768 3.3256 3.0641 3.2169 3.1116 3.1122 3.1308 3.1184 3.1033 3.0592 3.3319 3.139 3.0251 3.0828 3.2548"
    ),
}


def golden(name: str) -> Floats:
    return np.array(GOLDEN[name].split(), float)


def losses(path: Path, rng_seed: int = 1, **network: Any) -> list[float]:
    """The loss of each of 30 updates of 16 units, a batch of 8 windows of 20 steps."""
    spec = TrainSpec(optimizer="sgd", batch=8, window=20, steps=30, evaluations=1, reports=1, rng_seed=rng_seed)
    run = new_run(lanterns(), path, spec, hidden=16, **network)
    return [progress.nats for progress in train_steps(run, lanterns())]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_losses_are_the_golden_ones(name: str, tmp_path: Path) -> None:
    """Law: reading, vocabulary, initialisation, order of the data, forward, backward, clipping, update and schedule
    together come to the same numbers as before.

    All other tests could pass after an unintended change of the arithmetic, the initialisation or the order of the data
    that is consistent with itself; this one fails. The numbers are the output of this file's `losses` with 4 decimals
    (`python tests/test_golden.py` prints them), by charlm 0.1 when every oracle, gradient check and parity test passed.
    After an intended change, print and paste them anew, and say so in the commit. Another BLAS or processor moves them
    by about 1e-6; the tolerance is 1e-3.
    """
    np.testing.assert_allclose(losses(tmp_path / "run", **NETWORKS[name]), golden(name), rtol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_another_seed_differs(name: str, tmp_path: Path) -> None:
    """Law: the tolerance is sharp: another initialisation and another order of the data are far outside."""
    apart = np.abs(np.array(losses(tmp_path / "run", rng_seed=2, **NETWORKS[name])) / golden(name) - 1)
    assert np.mean(apart > 1e-3) > 0.7


def test_the_golden_losses_fall() -> None:
    """Law: they begin at a uniform guess (ln V), end below, and no two networks share them."""
    for curve in map(golden, GOLDEN):
        assert len(curve) == 30 and curve[0] == pytest.approx(np.log(len(lanterns().vocabulary)), rel=0.05)
        assert np.mean(curve[-5:]) < np.mean(curve[:5]) - 0.3
    assert len(set(GOLDEN.values())) == len(NETWORKS)


if __name__ == "__main__":
    for network, fields in NETWORKS.items():
        with tempfile.TemporaryDirectory() as folder:
            print(f"{network}: {' '.join(f'{nats:.4f}' for nats in losses(Path(folder) / 'run', **fields))}")  # noqa: T201
