"""SIGINT and SIGTERM during training: finish the step, save, and exit."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

CAUGHT = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Inside the `with` block the first signal is only stored in `signal`; a second one ends the process at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        self._before = {number: signal.signal(number, self._catch) for number in CAUGHT}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            # Files are replaced whole or not at all, so an exit between any two instructions leaves them readable.
            os._exit(128 + number)
        self.signal = number
        # Not through sys.stderr: the signal may have interrupted a write to it. An error here would be raised in the
        # middle of an update; the same Ctrl-C may have ended the reader of stderr, such as `tee`.
        with suppress(OSError):
            os.write(2, b"\nFinishing the step and saving ... (once more to leave at once)\n")
