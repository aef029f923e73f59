"""The exceptions of charlm: one class for each kind of problem that a caller can handle.

Every message is one line: what was expected, what came, and the next move.
"""

from __future__ import annotations

import shlex

MOST_QUOTED = 200  # characters


def in_short(value: object) -> str:
    """A value from a file as one short printable line, to be quoted in a message.

    A damaged or hostile file may hold line ends, megabytes, and control sequences for the terminal.
    """
    text = " ".join(str(value)[: 2 * MOST_QUOTED].split())
    line = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
    return line if len(line) <= MOST_QUOTED else line[: MOST_QUOTED - 3] + "..."


def in_shell(argument: object) -> str:
    """An argument of a command in a message, as one types it: quoted if necessary.

    A name with unprintable characters has their bytes in $'...', which bash and zsh read.
    """
    try:
        data = str(argument).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate that is not a byte of a file name
        data = str(argument).encode("utf-8", "surrogatepass")
    text = data.decode("utf-8", "surrogateescape")
    if text.isprintable():
        return shlex.quote(text)
    quoted = "".join(map(_in_dollar_quotes, text))
    return f"$'{quoted}'"


def _in_dollar_quotes(character: str) -> str:
    if character.isprintable():
        return f"\\{character}" if character in "'\\" else character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


class CharlmError(Exception):
    """The base class of all errors that charlm raises on purpose.

    exit_code: the exit code of the command line.
    """

    exit_code = 1


class SpecError(CharlmError):
    """A size, rate or option is outside its valid range: an error of usage."""

    exit_code = 2


class UnsuitableError(SpecError):
    """A size or option is possible, but not with this text, this model or this machine."""

    exit_code = 1


class CorpusError(CharlmError):
    """A text cannot be read, or is not suitable for training."""


class UnknownCharacterError(CharlmError):
    """A text holds a character that is not in the model's vocabulary."""


class RunError(CharlmError):
    """A run directory, or a file in it, is missing, damaged or in use."""


class CheckpointError(CharlmError):
    """A checkpoint file is missing, damaged, of another kind, or does not fit its model."""


class StorageError(CharlmError):
    """The operating system refuses to read or write: the disk is full, read-only or gone."""


class DivergenceError(CharlmError):
    """The loss of a training exploded again and again, or a network computes values that are not finite."""

    exit_code = 3


class SamplingError(CharlmError):
    """Not as many samples of the kind that was asked for came as were wanted."""


class WorkerError(CharlmError):
    """Another process of a parallel training ended unexpectedly."""
