"""Standard input, output and error as the command line needs them: open, in UTF-8, and closed without a message.

Whatever is written to a terminal goes through `charlm.cli.screen.for_terminal`: texts, names, messages, tracebacks.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from charlm.cli.screen import for_terminal

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
    sys.stdout, sys.stderr = _guarded(sys.stdout), _guarded(sys.stderr)


def echo(text: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print to standard output or, with `err`, to standard error. A pipe gets the text as it is.

    (`click.echo` would remove colours from a text that goes into a pipe.)
    """
    stream = sys.stderr if err else sys.stdout
    stream.write(f"{text}\n" if nl else str(text))
    stream.flush()


def bar_stream() -> IO[str]:
    """Standard error for a progress bar, whose carriage returns a terminal obeys; charlm's own text only."""
    return sys.stderr.unguarded if isinstance(sys.stderr, _Terminal) else sys.stderr


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


class _Terminal(io.TextIOWrapper):
    """A stream to a terminal: what is unprintable is shown, not sent. unguarded: the stream as it was."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        super().__init__(stream.buffer, "utf-8", FILE_NAMES, line_buffering=True, write_through=True)
        self.unguarded = stream

    def write(self, text: str) -> int:
        super().write(for_terminal(text))
        return len(text)


def _guarded(stream: Any) -> Any:
    """The stream to print to: another one for a terminal."""
    is_open = isinstance(stream, io.TextIOWrapper) and not isinstance(stream, _Terminal)
    return _Terminal(stream) if is_open and stream.isatty() else stream


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
