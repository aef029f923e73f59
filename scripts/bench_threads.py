"""One loaded model in several threads: are the results the same to the bit, and is it as fast as without threads?

    python scripts/bench_threads.py [RUN] [--calls 10000] [--threads 8] [--rounds 3]

Calls of four kinds (scores, costs of characters, samples, probabilities) are made one after the other, and by threads,
in turns. Prints how many results differ, and the median of the ratios of the speeds. Without RUN a small model is
trained first.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import charlm
from charlm import TrainedModel

CORPUS = Path(__file__).resolve().parent.parent / "corpora" / "lanterns.txt"
STEPS, HIDDEN = 60, 128


@contextmanager
def model_of(run: str | None) -> Iterator[TrainedModel]:
    """The model of a run, or a small one."""
    with tempfile.TemporaryDirectory() as place:
        if run is None:
            corpus = charlm.read_corpus(CORPUS)
            made = charlm.new_run(corpus, Path(place) / "run", charlm.TrainSpec(steps=STEPS), hidden=HIDDEN)
            for _ in charlm.train(made, corpus):
                pass
        yield charlm.load(run or Path(place) / "run")


def answer(model: TrainedModel, text: str, number: int) -> Any:
    """The result of a call of the kind that the number says."""
    piece = text[number * 37 % len(text) :][: 20 + number * 13 % 200]
    kinds: list[Callable[[], Any]] = [
        lambda: model.score(piece).nats,
        lambda: model.surprisal(piece).tobytes(),
        lambda: "".join(model.sample("T", length=40, rng_seed=number)),
        lambda: model.next_probs(model.read(piece)).tobytes(),
    ]
    return kinds[number % len(kinds)]()


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?")
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    text, ratios, different = CORPUS.read_text("utf-8"), [], 0
    with model_of(asked.run) as model, ThreadPoolExecutor(asked.threads) as pool:
        for _ in range(asked.rounds):
            start = time.perf_counter()
            alone = [answer(model, text, number) for number in range(asked.calls)]
            middle = time.perf_counter()
            together = list(pool.map(lambda number: answer(model, text, number), range(asked.calls)))
            end = time.perf_counter()
            different += sum(one != other for one, other in zip(alone, together, strict=True))
            ratios.append((middle - start) / (end - middle))
    print(
        f"{asked.rounds} x {asked.calls:,} calls from {asked.threads} threads: {different} differ; "
        f"{statistics.median(ratios):.2f} times the speed of one call after another"
    )


if __name__ == "__main__":
    main()
