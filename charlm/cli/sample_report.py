"""The output of `charlm sample`: samples as text or as JSON, and what they have in common with the training text."""

from __future__ import annotations

from typing import Any

from charlm import Novelty, Sample, TrainingText
from charlm.analysis.memorisation import SPAN
from charlm.cli.screen import json_line
from charlm.cli.streams import echo

MOST_SHOWN = 80  # characters of the longest copy


class SampleReport:
    """Prints samples, each when it is complete.

    learned_from: the training text to compare them with, for --novelty. has_stop: whether samples end at a stop, so
    that each can be a line of the training text.
    """

    def __init__(
        self, seed: str, rng_seed: int, learned_from: TrainingText | None, in_json: bool, *, has_stop: bool
    ) -> None:
        self._seed, self._rng_seed = seed, rng_seed
        self._learned_from, self._in_json, self._has_stop = learned_from, in_json, has_stop
        self._compared = self._lines = 0

    def show(self, number: int, sample: Sample) -> None:
        """Print one sample."""
        text = self._seed + sample
        if not self._in_json:
            echo(text, nl=not text.endswith("\n"))
            self.compare(sample)
            return
        record: dict[str, Any] = {"text": text, "seed": self._seed, "rng_seed": self._rng_seed, "number": number}
        record["ended"] = sample.ended
        if self._learned_from:
            found = self._learned_from.novelty(sample, self._seed)
            record |= {"copied": found.copied, f"new_{SPAN}grams": found.share}
            record["in_training_text"] = self._learned_from.has_line(sample.record)
        echo(json_line(record))

    def compare(self, sample: Sample) -> None:
        """Print to stderr what a sample has in common with the training text, for --novelty."""
        if self._learned_from is None:
            return
        self._compared += 1
        self._lines += self._learned_from.has_line(sample.record)
        _show_novelty(self._learned_from.novelty(sample, self._seed))

    def end(self) -> None:
        """Print to stderr how many samples are lines of the training text."""
        if self._compared and (self._has_stop or self._lines):
            of = "1 sample" if self._compared == 1 else f"{self._compared:,} samples"
            verb = "is a line" if self._lines == 1 else "are lines"
            echo(f"{self._lines:,} of {of} {verb} of the training text", err=True)


def _show_novelty(found: Novelty) -> None:
    copied = repr(found.copied)
    if len(copied) > MOST_SHOWN:
        copied = f"{copied[: MOST_SHOWN - 4]}...{copied[-1]}"
    new = "" if found.share is None else f"; {found.share:.0%} of its runs of {SPAN} characters are new"
    echo(f"Longest run copied from the training text: {len(found.copied):,} characters, {copied}{new}", err=True)
