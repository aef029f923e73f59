"""Named arrays and what they mean in one safetensors file, and back, checked.

One metadata key holds sorted JSON, the head, with the sha256 of itself and all arrays: safetensors itself accepts a
flipped bit in one. There is no pickle, so opening a file from a stranger cannot run anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from charlm.errors import CheckpointError, in_short
from charlm.store.atomic import told_in_one_line
from charlm.store.strict_json import parse_json

Tensors: TypeAlias = dict[str, NDArray[Any]]

MOST_HEADER = 2**23  # bytes; the largest network needs half of it, the largest vocabulary the rest


def packed(key: str, head: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """The content of a file: a head under its key, with the checksum, and arrays of at least one dimension."""
    from safetensors.numpy import save

    # safetensors writes the memory behind an array as it lies there: anything not C-contiguous would come out mixed up.
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    text = json.dumps({**head, "sha256": checksum(head, arrays)}, sort_keys=True)
    return save(arrays, metadata={key: text})


def read_header(path: Path, key: str, advice: str) -> tuple[str | None, dict[str, Any]]:
    """The text under a key of the metadata, None where there is none, and the types, shapes and places of all arrays.

    Of a length, and so many bytes of JSON. safetensors reads them, too, but takes the last of two arrays of one name.
    advice: what to do where the file cannot be read. Raises CheckpointError or StorageError.
    """
    with told_in_one_line("read", path, advice), path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(length) if length <= MOST_HEADER else b""  # ours is short, a false one fills the memory
    if length > MOST_HEADER:
        raise CheckpointError(f"{path} is not a charlm checkpoint (a header of {length:,} bytes): use another one")
    try:
        header = dict(parse_json(text))
    except (ValueError, TypeError) as error:
        reason = reason_of(error)
        raise CheckpointError(f"{path} is not a whole safetensors file ({reason}): use another checkpoint") from None
    metadata = header.pop("__metadata__", None)
    found = metadata.get(key) if isinstance(metadata, dict) else None
    return found if isinstance(found, str) else None, header


def read_tensors(path: Path, names: list[str], advice: str) -> Tensors:
    """The arrays of a file. Raises CheckpointError where it is not whole."""
    from safetensors import SafetensorError, safe_open

    try:
        with told_in_one_line("read", path, advice), safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise CheckpointError(f"it is not a whole safetensors file ({in_short(error)})") from None


def checksum(head: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> str:
    """The sha256 of a head and all arrays, as hexadecimal digits."""
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()


def reason_of(error: Exception) -> str:
    """What an error says, in one line."""
    return in_short(f"{error} is missing" if isinstance(error, KeyError) else error)
