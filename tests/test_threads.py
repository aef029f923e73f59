"""One loaded model, used from several threads and processes at once."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from runs import LANTERNS, trained_run

from charlm.trained_model import TrainedModel, load

TEXT = LANTERNS.read_text(encoding="utf-8")
CALLS = 200
THREADS = 8


def answer(model: TrainedModel, number: int) -> Any:
    """The result of one of five kinds of calls, to the bit."""
    text = TEXT[number * 53 % 9000 :][: 5 + number * 17 % 150]
    kinds: list[Callable[[], Any]] = [
        lambda: model.score(text).nats,
        lambda: model.surprisal(text).tobytes(),
        lambda: "".join(model.sample(text[:3], length=20, rng_seed=number)),
        lambda: model.next_probs(model.read(text)).tobytes(),
        lambda: model.samples("T", length=12, rng_seed=number, numbers=range(3)),
    ]
    return kinds[number % len(kinds)]()


@pytest.fixture(scope="module", params=[False, True], ids=["network", "mixed"])
def model(request: pytest.FixtureRequest) -> TrainedModel:
    return load(trained_run(), mix=request.param)


@pytest.fixture(scope="module")
def alone(model: TrainedModel) -> list[Any]:
    """The answers one after the other."""
    return [answer(model, number) for number in range(CALLS)]


def test_threads_get_the_same_bits(model: TrainedModel, alone: list[Any]) -> None:
    """Law: calls from several threads at once give what they give one after the other."""
    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(lambda number: answer(model, number), range(CALLS))) == alone


def test_coroutines_get_the_same_bits(model: TrainedModel, alone: list[Any]) -> None:
    """Law: the same by asyncio's to_thread."""

    async def gathered() -> list[Any]:
        return list(await asyncio.gather(*(asyncio.to_thread(answer, model, number) for number in range(CALLS))))

    assert asyncio.run(gathered()) == alone


def test_interleaved_samples_are_independent(model: TrainedModel) -> None:
    """Law: two samples that are written in turns are those that are written one after the other."""
    expected = ["".join(model.sample("T", length=30, rng_seed=seed)) for seed in range(2)]
    both = zip(*(model.sample("T", length=30, rng_seed=seed) for seed in range(2)), strict=True)
    assert ["".join(characters) for characters in zip(*both, strict=True)] == expected


_loaded: list[TrainedModel] = []


def answer_of_loaded(number: int) -> Any:
    """In a process that was forked: with the model of its parent."""
    return answer(_loaded[0], number)


def answer_of_run(path: Path, number: int) -> Any:
    """In a process that was spawned: with a model of its own."""
    return answer(load(path), number)


@pytest.mark.slow
def test_processes_get_the_same_bits() -> None:
    """Law: the same in processes that are forked with the model, and in new ones that load it."""
    model = load(trained_run())
    expected = [answer(model, number) for number in range(20)]
    _loaded[:] = [model]
    if "fork" in multiprocessing.get_all_start_methods():
        with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
            assert list(pool.map(answer_of_loaded, range(20))) == expected
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(answer_of_run, [trained_run()] * 20, range(20))) == expected
