"""Score random lines of Unicode of every kind: no inf, no nan and no exception for any text.

    python scripts/study_unicode.py [RUN] [--lines 1000000] [--seed 0]

The lines hold letters, any code points, controls and noncharacters, combining marks, right-to-left scripts, emoji
sequences, spaces of every width, or one character repeated; some are empty, the longest have some hundred characters.
Each is scored from its own beginning (as by `charlm score --per line --reset line`), at bounded memory. Without RUN a
small model is trained on corpora/lanterns.txt first. Prints the counts, the time and the peak memory, and exits with 1
if a cost was negative or not finite.
"""

from __future__ import annotations

import argparse
import math
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import charlm

SAMPLE = Path(__file__).resolve().parent.parent / "corpora" / "lanterns.txt"
LETTERS = "etaoin shrdlu ETAOIN,.!?'"
CONTROLS = "".join(map(chr, [*range(1, 10), *range(11, 13), *range(14, 32), *range(0x7F, 0xA0)]))
INVISIBLE = "\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202e\u2060\u2066\ufeff\ufffe\uffff\U000e0001\U0010ffff"
SPACES = " \u00a0\u1680\u2000\u2003\u2009\u202f\u205f\u3000\t"
EMOJI = "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467\U0001f1e9\U0001f1ea\u2764\ufe0f\U0001f44d\U0001f3fd"
RANGES = ((0x300, 0x36F), (0x590, 0x6FF), (0x900, 0xDFF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xE000, 0xF8FF))
SURROGATES = range(0xD800, 0xE000)


@dataclass
class Count:
    """The characters of all lines, and what is wrong with their costs."""

    lines: int = 0
    characters: int = 0
    unseen: int = 0
    not_finite: int = 0
    negative: int = 0
    most_nats: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether every cost was finite and not negative."""
        return not (self.not_finite or self.negative)


def any_character(rng: random.Random) -> str:
    """Any Unicode scalar value but line ends and the NUL, which is not text."""
    while True:
        point = rng.randrange(1, 0x110000)
        if point not in SURROGATES and point not in (10, 13):
            return chr(point)


def from_range(rng: random.Random) -> Callable[[], str]:
    """Characters of one script or block."""
    first, last = rng.choice(RANGES)
    return lambda: chr(rng.randint(first, last))


def random_line(rng: random.Random) -> str:
    """One line, with its end."""
    one = any_character(rng)
    kinds: list[Callable[[], str]] = [
        lambda: rng.choice(LETTERS),
        lambda: any_character(rng),
        lambda: rng.choice(CONTROLS),
        lambda: rng.choice(INVISIBLE),
        lambda: rng.choice(SPACES),
        lambda: rng.choice(EMOJI),
        lambda: one,
        from_range(rng),
    ]
    chosen = rng.sample(kinds, rng.choice((1, 1, 2, 3)))
    length = rng.choice((0, 1, 2, 10, 40, 40, 80, 300))
    return "".join(rng.choice(chosen)() for _ in range(rng.randint(0, length))) + "\n"


def count(model: charlm.TrainedModel, lines: int, seed: int) -> Count:
    """Score that many lines, each from its own beginning, while they are made."""
    rng, found = random.Random(seed), Count()
    unseen = charlm.Unseen(model.vocabulary)
    for entry in charlm.entries(model, unseen.of([_RandomLines(lines, rng)]), "line", reset="line"):
        found.lines += 1
        found.characters += entry.score.characters
        if not math.isfinite(entry.score.nats) or entry.worst is None or not math.isfinite(entry.worst.nats):
            found.not_finite += 1
        elif entry.score.nats < 0:
            found.negative += 1
        else:
            found.most_nats = max(found.most_nats, entry.worst.nats_per_char)
    found.unseen = unseen.characters
    return found


class _RandomLines:
    """Random lines as one of the texts that `entries` takes."""

    source = "random"

    def __init__(self, lines: int, rng: random.Random) -> None:
        self._lines, self._rng = lines, rng

    def __iter__(self) -> Iterator[str]:
        return (random_line(self._rng) for _ in range(self._lines))


def small_model() -> charlm.TrainedModel:
    """A model of corpora/lanterns.txt, trained for some seconds."""
    corpus = charlm.read_corpus(SAMPLE)
    with tempfile.TemporaryDirectory() as folder:
        run = charlm.new_run(corpus, Path(folder) / "run", charlm.TrainSpec(steps=100), hidden=64)
        for _ in charlm.train(run, corpus):
            pass
        return charlm.load(run.path)


def main() -> None:
    """Score, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", help="a run or a checkpoint; by default, a small model is trained first")
    parser.add_argument("--lines", type=int, default=10**6)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model = charlm.load(options.run) if options.run else small_model()
    start = time.perf_counter()
    found = count(model, options.lines, options.seed)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(f"{found.lines:>14,} lines of {found.characters:,} characters, {found.unseen:,} of them unknown")
    print(f"{found.not_finite:>14,} lines with inf or nan, {found.negative:,} with a negative cost")
    print(f"{found.most_nats:>14.1f} nats per character at most, over a tenth of a line")
    print(f"{seconds:>14.0f} s, {found.characters / seconds:,.0f} characters/s, {peak / 10**6:,.0f} MB at most")
    sys.exit(0 if found.is_good and found.lines == options.lines else 1)


if __name__ == "__main__":
    main()
