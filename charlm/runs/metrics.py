"""metrics.jsonl: one JSON object a line, an evaluation or the mean training loss since the line before."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from charlm.errors import RunError
from charlm.files.atomic import append, storage_errors, write_atomic
from charlm.files.strict_json import MOST_NUMBER, parse_json
from charlm.runs.config import bounded, fits

MOST_METRICS = 2**22  # bytes; 18,000 records, and a budget gives 220 by default
NUMBERS = {"step": int, "characters": int, "seconds": float | int, "nats": float | int}


def append_metrics(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Add records at the end. Raises StorageError."""
    append(path, _lines(records))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a file, none if there is no file. A last line that a crash cut short is left out.

    Raises RunError if another line is not a record.
    """
    if not path.exists():
        return []
    try:
        with storage_errors("read", path, "make it readable"):
            *lines, _cut_short = bounded(path, MOST_METRICS).split(b"\n")
    except ValueError as error:
        raise RunError(f"{path} cannot be read ({error}): restore it, or move it away") from None
    return [_record(path, number, line) for number, line in enumerate(lines, 1)]


def keep_metrics_up_to(path: Path, step: int) -> None:
    """Remove the records after a step: training that resumes from that step writes them again."""
    write_atomic(path, _lines(record for record in read_metrics(path) if record["step"] <= step))


def _lines(records: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def _record(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = parse_json(line)
    except ValueError:
        record = None
    known = fits(record, {**NUMBERS, "split": str}) and all(abs(record[name]) < MOST_NUMBER for name in NUMBERS)
    if known and min(record["step"], record["characters"], record["seconds"]) >= 0:
        return dict(record)
    raise RunError(f"{path}, line {number} is not a record of a loss: restore or remove that line")
