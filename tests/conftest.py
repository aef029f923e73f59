"""What every test stands on: numbers that fail loudly, and examples that are the same on every run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("house", derandomize=True, deadline=None, max_examples=25, database=None)
settings.load_profile("house")


@pytest.fixture(autouse=True)
def loud_numbers() -> Iterator[None]:
    """No test overflows, divides by zero or makes a NaN without failing."""
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        yield


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ids of large texts go where the tests' other files go, from processes that they start, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHARLM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def quick_disk() -> Iterator[None]:
    """This module's tests write many files, which need not outlive a crash of the machine."""
    from refusals import no_waiting_for_the_disk

    with no_waiting_for_the_disk():
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same for every test and every run."""
    return np.random.default_rng(20140603)
