"""One exception class per thing a caller can do something about.

Every message is one line: what was expected, what came, and the next move.
"""

from __future__ import annotations

MOST_QUOTED = 200  # characters


def in_short(foreign: object) -> str:
    """What came out of a file, fit to stand in a message of one line.

    A damaged or hostile file may hold line ends, megabytes, and what commands a terminal.
    """
    text = " ".join(str(foreign)[: 2 * MOST_QUOTED].split())
    line = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
    return line if len(line) <= MOST_QUOTED else line[: MOST_QUOTED - 3] + "..."


class CharlmError(Exception):
    """The base of all errors that charlm raises on purpose.

    exit_code is what the command line leaves with.
    """

    exit_code = 1


class SpecError(CharlmError):
    """A size, rate or option is outside of what makes sense."""


class CorpusError(CharlmError):
    """A text cannot be read, or cannot be trained on."""


class UnknownCharacterError(CharlmError):
    """A text holds a character that is not in the model's vocabulary."""


class RunError(CharlmError):
    """A run directory is missing, taken, or not one."""


class CheckpointError(CharlmError):
    """A checkpoint file is damaged, foreign, or does not fit."""


class StorageError(CharlmError):
    """The disk refused: full, read-only, or gone."""


class DivergenceError(CharlmError):
    """A network's numbers are none any more, or its loss has exploded again and again."""

    exit_code = 3


class WorkerError(CharlmError):
    """Another process that takes part in the training is gone."""
