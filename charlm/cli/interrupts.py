"""SIGINT and SIGTERM while a run is trained: finish the step, save, and leave."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

CAUGHT = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Inside the `with` block the first signal is only noted in `signal`; a second one ends the process at once."""

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
            # Files are replaced whole or not at all, so leaving between any two instructions loses nothing else.
            os._exit(128 + number)
        self.signal = number
        # Not through sys.stderr: the signal may have come in the middle of a write to it. An error here would come out
        # in the middle of an update; and the reader, `tee` perhaps, may have gone by the same Ctrl-C.
        with suppress(OSError):
            os.write(2, b"\nFinishing the step and saving ... (once more to leave at once)\n")
