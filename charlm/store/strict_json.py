"""JSON as the standard has it, from files that may be damaged or hostile."""

from __future__ import annotations

import json
import math
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError for anything else.

    Python's reader by itself also takes NaN and Infinity, which then poison what they meet, and runs out of stack on
    deep nesting.
    """
    try:
        return json.loads(text, parse_constant=_refused, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits} is too large a number")
    return value


def _refused(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")
