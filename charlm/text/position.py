"""Line and column in a text that is read piece by piece."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Position:
    """A line and a column, both counted in characters from 1, as editors do."""

    line: int = 1
    column: int = 1

    def after(self, text: str) -> Position:
        """The position after `text`, which begins at this one."""
        lines = text.count("\n")
        if not lines:
            return Position(self.line, self.column + len(text))
        return Position(self.line + lines, len(text) - text.rfind("\n"))

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"
