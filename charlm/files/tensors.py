"""Named arrays and a JSON head in one safetensors file, with a checksum of both.

The head is sorted JSON under one key of the safetensors metadata. It holds the sha256 of itself and of all arrays,
because safetensors does not notice a flipped bit in an array. There is no pickle, so opening a file from a stranger
cannot run code. Errors carry the reason only: the owner of a file adds its path and what to do.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from charlm.errors import in_short
from charlm.files.atomic import storage_errors
from charlm.files.strict_json import parse_json

Tensors: TypeAlias = dict[str, NDArray[Any]]


MOST_HEADER = 2**23  # bytes; the largest network needs half of it, the largest vocabulary the rest


class OtherFileError(ValueError):
    """A file that was never of this format."""


def packed(key: str, head: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """The bytes of a file: the head under its key, with the checksum, and arrays of at least one dimension."""
    from safetensors.numpy import save

    # safetensors writes the memory behind an array as it is: an array that is not C-contiguous would be scrambled.
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    text = json.dumps({**head, "sha256": checksum(head, arrays)}, sort_keys=True)
    return save(arrays, metadata={key: text})


def read_header(path: Path, key: str, advice: str) -> tuple[str | None, dict[str, Any]]:
    """The head as text, None if there is none under the key; and types, shapes and offsets of all arrays by name.

    A file begins with the length of its header (8 bytes) and the header, which is JSON. It is parsed here because
    safetensors accepts two arrays of one name. advice: what to do if the system refuses to read the file.
    Raises StorageError for that, ValueError or TypeError for a file that is not safetensors, OtherFileError if it never
    was one.
    """
    with storage_errors("read", path, advice), path.open("rb") as file:
        start = file.read(9)
        length = int.from_bytes(start[:8], "little")
        if length > os.fstat(file.fileno()).st_size and start[8:] != b"{":
            raise OtherFileError("it is not a safetensors file")
        text = (
            start[8:] + file.read(length - 1) if 0 < length <= MOST_HEADER else b""
        )  # a false length would fill the memory
    if length > MOST_HEADER:
        raise ValueError(f"it is not a safetensors file of charlm (a header of {length:,} bytes)")
    try:
        header = dict(parse_json(text))
    except (ValueError, TypeError) as error:
        raise ValueError(f"it is not a whole safetensors file ({reason_of(error)})") from None
    metadata = header.pop("__metadata__", None)
    found = metadata.get(key) if isinstance(metadata, dict) else None
    return found if isinstance(found, str) else None, header


def read_tensors(path: Path, names: list[str], advice: str) -> Tensors:
    """The arrays of these names. Raises ValueError for a file that is not whole, StorageError as `read_header` does."""
    from safetensors import SafetensorError, safe_open

    try:
        with storage_errors("read", path, advice), safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise ValueError(f"it is not a whole safetensors file ({in_short(error)})") from None


def checksum(head: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> str:
    """The sha256 of a head and all arrays, in hexadecimal."""
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()


def reason_of(error: Exception) -> str:
    """The message of an error, as one short line."""
    return in_short(f"{error} is missing" if isinstance(error, KeyError) else error)
