"""Broken and hostile files in charlm's formats: for the tests, and for scripts/fuzz_files.py.

Whoever writes a hostile checkpoint can compute its checksum, too. So `forged` writes any content with a right checksum,
and the content has to be refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Tensors: TypeAlias = dict[str, NDArray[Any]]

CHECKPOINT, NGRAM = "charlm", "charlm-ngram"  # the metadata keys of its files
KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I8": "|i1", "U8": "|u1", "BOOL": "|b1"}
KINDS |= {"U64": "<u8", "U32": "<u4"}
NAMES = (
    *("step", "hidden", "vocabulary", "seconds", "rollbacks", "report_steps", "updates"),
    *("x", "", "a\nb", "__metadata__"),
)
WHOLE_NUMBERS = (0, -1, 1, 2, 3, 255, 2**31, 2**63 - 1, 2**63, 2**64, 10**12, 10**30, 10**308, 10**400, -(10**400))
HOSTILE: tuple[Any, ...] = (
    *(None, True, False, *WHOLE_NUMBERS),
    *(0.5, 1.0, -0.0, -0.5, 1e308, -1e308, 5e-324, 1e-310, 1e18, float("nan"), float("inf")),
    *("", "x", "ab", "\ud800", "\udc80", "\0", "a" * 1000, "\n\x1b[2J", "é\U0001f600", "/", "-", "NaN"),
    *([], {}, [[]], [0], [""], {"a": 1}, [1] * 300, {str(n): n for n in range(300)}),
)


def nested(depth: int, value: Any = 0) -> Any:
    """A value in `depth` lists."""
    for _ in range(depth):
        value = [value]
    return value


def safetensors_file(header: Any, body: bytes = b"") -> bytes:
    """A file with that header, given as bytes or as a JSON value, right or wrong."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


def header_of(tensors: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """The header of tensors that are written one after the other."""
    kinds, end, header = {numpy: kind for kind, numpy in KINDS.items()}, 0, {}
    for name, array in tensors.items():
        start, end = end, end + array.nbytes
        header[name] = {"dtype": kinds[array.dtype.str], "shape": list(array.shape), "data_offsets": [start, end]}
    return header


def forged(head: Any, tensors: Mapping[str, NDArray[Any]], key: str = CHECKPOINT) -> bytes:
    """A checkpoint or n-gram file of that head and those tensors, with a right checksum."""
    if isinstance(head, dict):
        head = {name: value for name, value in head.items() if name != "sha256"}
        digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
        for name in sorted(tensors):
            digest.update(f"{name} {tensors[name].dtype.str} {tensors[name].shape}\n".encode("utf-8", "replace"))
            digest.update(tensors[name].tobytes())
        head["sha256"] = digest.hexdigest()
    header = {"__metadata__": {key: json.dumps(head)}} | header_of(tensors)
    return safetensors_file(header, b"".join(array.tobytes() for array in tensors.values()))


def checkpoint_parts(data: bytes, key: str = CHECKPOINT) -> tuple[Any, Tensors]:
    """The head and the tensors of such a file. Raises ValueError, KeyError or TypeError for another one."""
    end = 8 + int.from_bytes(data[:8], "little")
    header, tensors = json.loads(data[8:end]), {}
    head = json.loads(header.pop("__metadata__")[key])
    for name, entry in header.items():
        start, stop = entry["data_offsets"]
        flat = np.frombuffer(data[end + start : end + stop], KINDS[entry["dtype"]])
        tensors[name] = flat.reshape(entry["shape"])
    return head, tensors


def changed_json(value: Any, rng: Random) -> Any:
    """A JSON value in which something is replaced, removed, added, renamed, copied or nested."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.1:
        return nested(rng.choice((1, 60, 150)), value) if rng.random() < 0.05 else rng.choice(HOSTILE)
    changed = value.copy()
    key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
    match rng.randrange(8):
        case 0:
            del changed[key]
        case 1 if isinstance(changed, dict):
            changed[rng.choice(NAMES)] = rng.choice(HOSTILE)
        case 1 if isinstance(changed, list):
            changed.append(rng.choice(HOSTILE))
        case 2 if isinstance(changed, dict):
            changed[f"{key}{rng.choice(NAMES)}"] = changed.pop(key)
        case 3:
            changed[key] = changed[rng.choice(list(value) if isinstance(value, dict) else range(len(value)))]
        case _:
            changed[key] = changed_json(value[key], rng)
    return changed


def changed_tensors(tensors: Tensors, rng: Random) -> Tensors:
    """Tensors of which one is removed, added, renamed, filled, cut, or given another type or shape."""
    changed, name = tensors.copy(), rng.choice(list(tensors) or ["params/x"])
    array = changed.pop(name, np.zeros(3, np.float32))
    if rng.random() < 0.1:
        return changed
    with np.errstate(all="ignore"):
        changes: list[Callable[[], NDArray[Any]]] = [
            lambda: array.astype(rng.choice(list(KINDS.values()))),
            lambda: np.full(array.shape, rng.choice((np.nan, np.inf, 3e38, -3e38, -1, 0, 1, 1e-45))).astype(
                array.dtype
            ),
            lambda: np.full(array.shape, rng.choice((1e300, -1.0, 0.5, 1e18))),
            lambda: array[:-1] if array.ndim else array,
            lambda: array.reshape(-1),
            lambda: array.reshape((1,) * rng.choice((1, 30, 70)) + array.shape) if array.ndim < 2 else array.T.copy(),
            lambda: np.zeros((0, *array.shape), array.dtype),
            lambda: array,
        ]
        try:
            array = rng.choice(changes)()
        except ValueError:  # more dimensions than numpy has
            array = array.reshape(-1)
    if rng.random() < 0.3:
        kind, _, rest = name.partition("/")
        name = rng.choice(
            (f"{rng.choice(('params', 'optimizer', 'state', 'x'))}/{rest}", f"{kind}/{rng.choice(NAMES)}")
        )
    return changed | {name: array}


def changed_checkpoint(data: bytes, rng: Random, key: str = CHECKPOINT) -> bytes:
    """A checkpoint or n-gram file with wrong content, most often with a right checksum; any other file is unchanged."""
    try:
        head, tensors = checkpoint_parts(data, key)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return data
    if rng.random() < 0.2:  # a wrong header
        header = {"__metadata__": {key: json.dumps(head)}} | header_of(tensors)
        return safetensors_file(changed_json(header, rng), b"".join(array.tobytes() for array in tensors.values()))
    for _ in range(rng.choice((1, 1, 2, 4))):
        if rng.random() < 0.6:
            head = changed_json(head, rng)
        else:
            tensors = changed_tensors(tensors, rng)
    return forged(head, tensors, key)


def changed_text(data: bytes, rng: Random) -> bytes:
    """A JSON text, or lines of it, with one value changed; any other file is unchanged."""
    if rng.random() < 0.1 and b"{" in data:
        return data.replace(b"{", rng.choice((b'{"step": 1,', b"[{", b'{"x":' * 200, b"{{")), 1)
    lines = [data] if rng.random() < 0.5 else data.split(b"\n")
    number = rng.randrange(len(lines))
    try:
        value = json.loads(lines[number])
    except (ValueError, RecursionError):
        return data
    lines[number] = json.dumps(changed_json(value, rng)).encode()
    return b"\n".join(lines)


def packed(*parts: bytes) -> bytes:
    """Several files in one."""
    return b"".join(len(part).to_bytes(4, "little") + part for part in parts)


def unpacked(data: bytes, count: int) -> list[bytes]:
    """The `count` files in one of `packed`, even if it was changed."""
    parts = []
    for _ in range(count):
        end = 4 + int.from_bytes(data[:4], "little")
        parts.append(data[4:end])
        data = data[end:]
    return parts
