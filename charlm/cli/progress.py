"""The progress of `charlm train`: a bar in a terminal, plain lines in a pipe, samples, and the picture of the loss."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from tqdm import tqdm

from charlm import Corpus, Progress, Run, load, plot
from charlm.cli.streams import bar_stream, echo
from charlm.training.forecast import Forecast

BAR = "{percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
SAMPLE_LENGTH = 120
SAMPLE_LINES = 5
DRAWING_SHARE = 0.02  # of the time, at most, is spent on the picture


class Watcher:
    """Prints progress to stderr, and draws the picture after evaluations, unless that would take more than
    DRAWING_SHARE of the time, and at the end.
    """

    def __init__(self, run: Run, corpus: Corpus, quiet: bool, forecast: Forecast | None = None) -> None:
        self.run = run
        self.corpus = corpus
        self.quiet = quiet
        self._forecast = forecast
        self._in_terminal = sys.stderr.isatty()
        self._bar: Any = None
        self._drawn = self._drawing = 0.0
        self._rollbacks = 0

    def __enter__(self) -> Watcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        if kind is None and self.run.metrics():
            self._draw()

    def show(self, progress: Progress) -> None:
        """Show one update."""
        if self._bar is None:
            self._begin(progress)
        if not self._bar.disable:
            self._bar.n = progress.share
            self._bar.set_postfix_str(_figures(progress), refresh=False)
            self._bar.update(0)
        if progress.rollbacks > self._rollbacks:
            self._rollbacks = progress.rollbacks
            _write(
                f"The loss exploded: went back to the best checkpoint (now at step {progress.step:,}) and halved "
                f"the learning rate, {_times(progress.rollbacks)} so far"
            )
        if self._forecast and (correction := self._forecast.correction(progress)):
            _write(correction)
        if not progress.evaluated:
            return
        if not self.quiet:
            if not self._in_terminal:
                echo(_line(progress), err=True)
            self._show_sample()
        if time.monotonic() - self._drawn > self._drawing / DRAWING_SHARE:
            self._draw()

    def _begin(self, progress: Progress) -> None:
        """Print the size of the text; not before the first update, since training may be refused."""
        corpus = self.corpus
        if not self.quiet:
            echo(
                f"{corpus.name}: {len(corpus.ids):,} characters, a vocabulary of {len(corpus.vocabulary)}. "
                f"The run is in {self.run.path}",
                err=True,
            )
        hidden = self.quiet or not self._in_terminal
        self._bar = tqdm(
            total=1.0, initial=progress.share, bar_format=BAR, file=bar_stream(), disable=hidden, dynamic_ncols=True
        )

    def _draw(self) -> None:
        start = time.monotonic()
        plot([self.run.path], self.run.plot_path)
        self._drawn = time.monotonic()
        self._drawing = self._drawn - start

    def _show_sample(self) -> None:
        model = load(self.run.last_path)
        if model.reads_records:
            text = "\n".join(model.samples(length=SAMPLE_LENGTH, numbers=range(SAMPLE_LINES)))
        else:
            text = "".join(model.sample(length=SAMPLE_LENGTH))
        indented = "\n".join(f"  | {line}" for line in text.strip().split("\n")[:SAMPLE_LINES])
        _write(f"{indented}\n")


def _write(text: str) -> None:
    """Print above the bar."""
    with tqdm.external_write_mode(bar_stream()):
        echo(text, err=True)


def _figures(progress: Progress) -> str:
    """The text at the end of the bar, short enough for 80 columns."""
    validation = f" val {progress.validation_nats:.3f}" if progress.validation_nats is not None else ""
    return f"loss {progress.nats:.3f}{validation} {progress.chars_per_second / 1000:.0f}k char/s"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _line(progress: Progress) -> str:
    assert progress.validation_nats is not None
    return (
        f"{progress.share:4.0%}  step {progress.step:,}  epoch {progress.epoch:.2f}  {progress.seconds:.0f} s  "
        f"train {progress.train_nats:.4f}  validation {progress.validation_nats:.4f} nats  "
        f"{progress.chars_per_second:,.0f} characters/s"
    )
