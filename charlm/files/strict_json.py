"""JSON exactly as the standard defines it, from files that may be damaged or hostile."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

from charlm.errors import in_short

MOST_VALUES = 2**18  # a thousand layers need a third; a value of 2 bytes in the file can take 150 bytes of memory
MOST_NUMBER = 2**63  # larger than any count of charlm; the product of several still fits into a float
MOST_DEPTH = 100  # far from the recursion limit, for json itself and for code that walks through a value


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError for anything else.

    Python's own parser accepts NaN and Infinity and keeps the last of two equal keys; deep nesting ends in a
    RecursionError, and a text of brackets fills the memory.
    """
    marks = [text.count(mark) for mark in ",[{"] if isinstance(text, str) else [text.count(mark) for mark in b",[{"]
    if sum(marks) > MOST_VALUES:  # counts those inside strings, too: charlm's files have few
        raise ValueError(f"it holds more than {MOST_VALUES:,} values")
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_unique_keys)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if _is_deep(value):
        raise ValueError("it is nested too deeply")
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        [(twice, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {in_short(repr(twice))} occurs more than once in one object")
    return value


def _is_deep(value: Any) -> bool:
    level = [[value]]
    for _ in range(MOST_DEPTH + 1):
        containers = [entry for entries in level for entry in entries if isinstance(entry, dict | list)]
        if not containers:
            return False
        level = [list(entry.values()) if isinstance(entry, dict) else entry for entry in containers]
    return True


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {in_short(digits)} is too large")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
