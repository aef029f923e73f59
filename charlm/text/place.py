"""Where something stands in a text that is read piece by piece."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A line and a column, both counted from 1 in characters, as editors do."""

    line: int = 1
    column: int = 1

    def after(self, text: str) -> Place:
        """The place of what follows `text`, where that begins here."""
        lines = text.count("\n")
        if not lines:
            return Place(self.line, self.column + len(text))
        return Place(self.line + lines, len(text) - text.rfind("\n"))

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"
