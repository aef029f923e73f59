"""JSON as the standard has it, from files that may be damaged or hostile."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

from charlm.errors import in_short

MOST_VALUES = 2**18  # a thousand layers need a third; each value may take 150 bytes of memory for 2 in the file
MOST_NUMBER = 2**63  # beyond what charlm counts; products of several still fit into a float
MOST_DEPTH = 100  # whoever walks through a value by recursion, json itself too, stays far from the end of the stack


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError for anything else.

    Python's reader by itself also takes NaN and Infinity, which then poison what they meet, keeps the last of two
    values of one key, runs out of stack on deep nesting, and fills the memory with what is only brackets.
    """
    marks = [text.count(mark) for mark in ",[{"] if isinstance(text, str) else [text.count(mark) for mark in b",[{"]
    if sum(marks) > MOST_VALUES:  # in strings, too: ours have few
        raise ValueError(f"it holds more than {MOST_VALUES:,} values")
    try:
        value = json.loads(text, parse_constant=_refused, parse_float=_finite, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if _is_deep(value):
        raise ValueError("it is nested too deeply")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        [(twice, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {in_short(repr(twice))} comes more than once in one object")
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
        raise ValueError(f"{in_short(digits)} is too large a number")
    return value


def _refused(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")
