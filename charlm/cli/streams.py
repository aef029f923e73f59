"""Standard input, output and error as the command line needs them: open, in UTF-8, and closed without a message."""

from __future__ import annotations

import codecs
import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

FILE_NAMES = "charlm-file-names"

_encoding_of_stdout = "utf-8"  # before prepare_streams changed it


def prepare_streams() -> None:
    """Prepare all three, whatever the caller and the locale did to them."""
    global _encoding_of_stdout
    _replace_closed()
    is_original = sys.stderr is sys.__stderr__  # not a replacement, such as a test's
    if is_original and not sys.stderr.isatty():
        sys.stderr = io.TextIOWrapper(_Unfailing(sys.stderr.fileno(), "w", closefd=False), write_through=True)
    codecs.register_error(FILE_NAMES, _bytes_of_a_name)
    _encoding_of_stdout = sys.stdout.encoding or "utf-8"
    for stream in (sys.stdout, sys.stderr):
        _encode_as_utf8(stream)


def shows(text: str) -> bool:
    """Whether standard output could encode a text before `prepare_streams` made it UTF-8, so a terminal shows it."""
    try:
        text.encode(_encoding_of_stdout)
    except UnicodeEncodeError:
        return False
    return True


def stdin_is_empty() -> bool:
    """Whether standard input ends before its first byte; waits for that byte, which stays to be read."""
    buffer = sys.stdin.buffer
    return isinstance(buffer, io.BufferedReader) and not buffer.peek(1)


def drop_unwritten() -> None:
    """Drop what cannot be written to standard output: Python tries again at exit, and would print an error."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Unfailing(io.FileIO):
    """Standard error that is not a terminal: errors are ignored, since a reader such as `2>&1 | head` may have left."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _replace_closed() -> None:
    """Replace a stream that the caller closed (`>&-`, `<&-`) by the null device."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nothing = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - open as long as the process
            setattr(sys, name, nothing)


def _encode_as_utf8(stream: IO[str]) -> None:
    """Encode text as UTF-8 in any locale."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(encoding="utf-8", errors=FILE_NAMES)


def _bytes_of_a_name(error: UnicodeError) -> tuple[str | bytes, int]:
    """A codec's error handler: bytes of a file name that Python could not decode are written unchanged.

    So a name is right in the C locale, too, and a printed command can be typed. Other surrogates are escaped.
    """
    assert isinstance(error, UnicodeEncodeError)
    code = ord(error.object[error.start])
    came_as_byte = 0xDC80 <= code <= 0xDCFF
    return bytes([code - 0xDC00]) if came_as_byte else f"\\u{code:04x}", error.start + 1
