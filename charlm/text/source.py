"""A text that is read once, in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class Source(Protocol):
    """A text that comes in pieces, and where from: a `charlm.store.reading.Text`, or what stands before one."""

    source: str

    def __iter__(self) -> Iterator[str]:
        """Its pieces."""
