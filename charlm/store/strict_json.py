"""JSON as the standard has it, from files that may be damaged or hostile."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError for anything else.

    Python's reader by itself also takes NaN and Infinity, which then poison what they meet, and runs out of stack on
    deep nesting.
    """
    try:
        return json.loads(text, parse_constant=_refused)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refused(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")
