"""A bar while a text is read, for texts that take their time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

DELAY = 0.5  # seconds; whoever waits less needs no bar


@contextmanager
def reading_bar(quiet: bool) -> Iterator[Callable[[int, int | None], None]]:
    """What `read_corpus` tells its progress: on stderr, in a terminal, gone when the text has been read."""
    with tqdm(
        desc="Reading the text",
        unit="B",
        unit_scale=True,
        file=sys.stderr,
        disable=quiet or not sys.stderr.isatty(),
        delay=DELAY,
        leave=False,
        dynamic_ncols=True,
    ) as bar:

        def show(read: int, in_all: int | None) -> None:
            bar.total = in_all
            bar.update(read - bar.n)

        yield show
