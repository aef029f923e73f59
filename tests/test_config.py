"""TrainSpec and what follows from it: the split of a text, and a budget of which the first used-up part counts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import few_examples

from charlm.config import Budget, TrainSpec, training_length
from charlm.corpus.validation import split
from charlm.errors import SpecError
from charlm.optim.schedules import Schedule
from charlm.text.vocabulary import Vocabulary

NAN, INF = math.nan, math.inf
IMPOSSIBLE: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(
        ("batch", "window", "learning_rate", "clip_norm", "clip_value", "minutes", "epochs", "steps"),
        (0, -1, NAN, INF, -INF),
    ),
    "momentum": (1, -0.1, NAN),
    "val_fraction": (0, 1, -0.1, NAN),
    "val_limit": (0, -1, 0.5, NAN),
    "rng_seed": (-1,),
    "warmup": (-1, 0.5, NAN, True),
    "loss_reduction": ("max", "", None, []),
    "rare_as_unknown": (1, 0, None, "yes"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_impossible_values_are_refused(name: str) -> None:
    """Law: by name, in one line."""
    for value in IMPOSSIBLE[name]:
        with pytest.raises(SpecError, match=name.replace("_", "-")) as raised:
            TrainSpec(**{name: value})
        assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("characters", "limit", "kept"),
    [
        *((3, 9, 1), (19, 9, 2), (330, 99, 33), (1000, 100, 100), (1000, 101, 100)),
        *((1000, 99, 99), (1000, 1, 1), (9, 5, 1)),
    ],
)
def test_the_validation_part_is_the_end(characters: int, limit: int, kept: int) -> None:
    """Law: the last tenth, at least 1 character and at most `limit`; all others are trained on."""
    ids = np.arange(characters, dtype=np.uint16)
    first, validation = split(ids, TrainSpec(val_fraction=0.1, val_limit=limit), Vocabulary("ab"))
    assert [*first[:], *validation[:]] == list(range(characters))
    assert len(validation) == kept and len(first) == training_length(characters, 0.1, limit)


def test_the_validation_part_of_a_large_text() -> None:
    """Law: by default no more than 2^18 characters."""
    for characters in (2**18 * 10, 2**30):
        assert training_length(characters, TrainSpec.val_fraction, TrainSpec.val_limit) == characters - 2**18


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
def test_a_budget(steps: int | None, epochs: float | None, minutes: float | None, expected: Budget) -> None:
    """Law: epochs are rounded up to whole updates, at least one; minutes are 60 seconds; the smallest count holds."""
    assert Budget.of(steps=steps, epochs=epochs, minutes=minutes, steps_per_epoch=10) == expected


@pytest.mark.parametrize("epochs", [1e30, 1e308])
def test_a_budget_of_many_epochs(epochs: float) -> None:
    """Law: any number above 0 that TrainSpec accepts is a budget."""
    assert 0 <= Budget.of(steps=None, epochs=epochs, minutes=None, steps_per_epoch=10).share(5, 1.0) < 1e-9


@few_examples
@given(steps=st.integers(1, 10**6), seconds=st.floats(1e-3, 1e6))
def test_the_share_grows_from_0_to_1(steps: int, seconds: float) -> None:
    """Law: 0 at the start, 1 exactly when the budget is used up and ever after; what is not limited does not count."""
    by_steps, by_time = Budget(steps, None), Budget(None, seconds)
    assert by_steps.share(0, 1e9) == by_time.share(10**9, 0.0) == 0
    assert by_steps.share(steps, 0.0) == by_time.share(0, seconds) == 1
    assert by_steps.share(steps + 1, 0.0) == by_time.share(0, 2 * seconds) == 1
    assert by_steps.share(steps - 1, 1e9) < 1
    assert by_time.share(10**9, 0.999 * seconds) < 1


@few_examples
@given(steps=st.integers(0, 100), seconds=st.floats(0, 100))
def test_the_first_that_is_used_up_counts(steps: int, seconds: float) -> None:
    """Law: the share of two limits is the larger of theirs."""
    both = Budget(50, 40.0).share(steps, seconds)
    assert both == max(Budget(50, None).share(steps, seconds), Budget(None, 40.0).share(steps, seconds))


@few_examples
@given(earlier=st.lists(st.floats(0, 180), max_size=20), step=st.integers(0, 500), at=st.floats(0, 180))
def test_the_learning_rate_does_not_depend_on_earlier_shares(earlier: list[float], step: int, at: float) -> None:
    """Law: with a budget of minutes it follows from (step, seconds) alone, as the documented curve has it."""
    budget, schedule = Budget(None, 180.0), Schedule(2.0, "cosine", 50)
    for seconds in earlier:
        schedule(step, budget.share(step, seconds))
    fall = 0.02 + 0.98 * (1 + math.cos(math.pi * at / 180)) / 2
    assert schedule(step, budget.share(step, at)) == pytest.approx(2.0 * min(1, (step + 1) / 51) * fall)
