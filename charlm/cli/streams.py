"""Standard input, output and error as the counter wants them: open, in UTF-8, and nothing to complain of at the end."""

from __future__ import annotations

import codecs
import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

FILE_NAMES = "charlm-file-names"

_encoding_of_stdout = "utf-8"  # as it was when it came


def prepare_streams() -> None:
    """Make all three ready, whatever the caller and the locale did to them."""
    global _encoding_of_stdout
    _open_what_is_closed()
    is_the_process_s = sys.stderr is sys.__stderr__  # and not what somebody put in its place
    if is_the_process_s and not sys.stderr.isatty():
        sys.stderr = io.TextIOWrapper(_Unfailing(sys.stderr.fileno(), "w", closefd=False), write_through=True)
    codecs.register_error(FILE_NAMES, _bytes_of_a_name)
    _encoding_of_stdout = sys.stdout.encoding or "utf-8"
    for stream in (sys.stdout, sys.stderr):
        _speak_utf8(stream)


def shows(text: str) -> bool:
    """Whether standard output had these characters before `prepare_streams` made it UTF-8: a terminal may not."""
    try:
        text.encode(_encoding_of_stdout)
    except UnicodeEncodeError:
        return False
    return True


def drop_unwritten() -> None:
    """Give up what standard output does not take: Python tries again at its end, and would complain."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Unfailing(io.FileIO):
    """Standard error where it is no terminal: what nobody can read, `2>&1 | head` perhaps, is no reason to stop."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _open_what_is_closed() -> None:
    """A stream that the caller closed (`>&-`, `<&-`) is an empty one."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nothing = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - open as long as the process
            setattr(sys, name, nothing)


def _speak_utf8(stream: IO[str]) -> None:
    """Text is UTF-8 whatever the locale; a terminal that is not shows what it can."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(encoding="utf-8", errors=FILE_NAMES)


def _bytes_of_a_name(error: UnicodeError) -> tuple[str | bytes, int]:
    """A codec's error handler: bytes of a file name that Python could not decode go out as they came in.

    So a name is shown right in the C locale, too, and a command that is printed can be typed. The rest is escaped.
    """
    assert isinstance(error, UnicodeEncodeError)
    code = ord(error.object[error.start])
    came_as_byte = 0xDC80 <= code <= 0xDCFF
    return bytes([code - 0xDC00]) if came_as_byte else f"\\u{code:04x}", error.start + 1
