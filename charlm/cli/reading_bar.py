"""A progress bar while a large text is read."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from charlm.cli.streams import bar_stream

DELAY = 0.5  # seconds before the bar appears


@contextmanager
def reading_bar(quiet: bool) -> Iterator[Callable[[int, int | None], None]]:
    """The `progress` argument of `read_corpus`: shows a bar on stderr in a terminal, and removes it at the end."""
    with tqdm(
        desc="Reading the text",
        unit="B",
        unit_scale=True,
        file=bar_stream(),
        disable=quiet or not sys.stderr.isatty(),
        delay=DELAY,
        leave=False,
        dynamic_ncols=True,
    ) as bar:

        def show(read: int, in_all: int | None) -> None:
            bar.total = in_all
            bar.update(read - bar.n)

        yield show
