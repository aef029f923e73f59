"""What a checkpoint means: everything that an exact resume needs, in one safetensors file.

Tensors are named, never positional:

    params/NAME       the parameters            optimizer/NAME    the optimizer's memory, named like them
    state/LAYER       the carried state

and one metadata key, "charlm", holds sorted JSON: the format's version, the model's sizes, its vocabulary, where
training stands, and the sha256 of all tensors. safetensors itself accepts a flipped bit in a tensor; we do not.
There is no pickle, so opening a file from a stranger cannot run anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from charlm.errors import CharlmError, CheckpointError
from charlm.nn.arrays import Floats
from charlm.nn.model import ModelSpec
from charlm.nn.stack import State
from charlm.store.atomic import told_in_one_line, write_atomic
from charlm.store.strict_json import parse_json
from charlm.text.vocabulary import Vocabulary

FORMAT = 1
KEY = "charlm"
READABLE = "make it readable, or name another checkpoint"
MOST_HEADER = 2**24  # bytes; a vocabulary of all Unicode characters needs a tenth


@dataclass(frozen=True)
class Checkpoint:
    """A model, and where its training stands."""

    spec: ModelSpec
    vocabulary: Vocabulary
    params: Mapping[str, Floats]
    memory: Mapping[str, Floats] = field(default_factory=dict)  # the optimizer's
    state: State = ()  # carried, per layer (B, H)
    progress: Mapping[str, Any] = field(default_factory=dict)  # numbers and strings, as JSON keeps them

    @property
    def step(self) -> int:
        """How many updates the model has had."""
        return int(self.progress.get("step", 0))


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint: afterwards the file is the new one; if anything fails, it is still the old one.

    Raises StorageError where the disk refuses.
    """
    from safetensors.numpy import save

    tensors = _tensors(checkpoint)
    head = {
        "format": FORMAT,
        "model": asdict(checkpoint.spec),
        "vocabulary": checkpoint.vocabulary.characters,
        "progress": dict(checkpoint.progress),
    }
    head["sha256"] = _sha256(head, tensors)
    write_atomic(path, save(tensors, metadata={KEY: json.dumps(head, sort_keys=True)}))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint and check all of it: names, shapes, types, checksum.

    Raises CheckpointError for anything that is not a whole charlm checkpoint of a known format.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}: name a run directory, or a .safetensors file in one")
    _refuse_a_huge_header(path)
    try:
        with (
            told_in_one_line("read", path, READABLE),
            safe_open(path, framework="numpy") as file,
        ):
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file ({error}): use another checkpoint") from None
    if KEY not in metadata:
        raise CheckpointError(f"{path} is a safetensors file, but charlm did not write it: name a charlm checkpoint")
    try:
        return _checkpoint(parse_json(metadata[KEY]), tensors)
    except (CharlmError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged: {_reason(error)}; use another checkpoint") from None


def sha256_of(path: Path) -> str:
    """The sha256 of a checkpoint file, all of it: what tells it from any other. Raises StorageError."""
    with told_in_one_line("read", path, READABLE), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse_a_huge_header(path: Path) -> None:
    """A file begins with the length of its header; ours is short, and a false one would be read into memory."""
    with told_in_one_line("read", path, READABLE), path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > MOST_HEADER:
        raise CheckpointError(f"{path} is not a charlm checkpoint (a header of {length:,} bytes): use another one")


def _tensors(checkpoint: Checkpoint) -> dict[str, Floats]:
    arrays = {f"params/{name}": array for name, array in checkpoint.params.items()}
    arrays |= {f"optimizer/{name}": array for name, array in checkpoint.memory.items()}
    arrays |= {f"state/{layer}": array for layer, array in enumerate(checkpoint.state)}
    # safetensors writes the memory behind an array as it lies there: anything not C-contiguous would come out mixed up.
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _checkpoint(head: dict[str, Any], tensors: dict[str, Floats]) -> Checkpoint:
    if head["format"] != FORMAT:
        raise CheckpointError(f"its format is {head['format']!r} and this charlm reads format {FORMAT}")
    if head.pop("sha256") != _sha256(head, tensors):
        raise CheckpointError("its content does not match its checksum")
    spec = ModelSpec(**head["model"])
    vocabulary = Vocabulary(head["vocabulary"])
    params = _group(tensors, "params/")
    if spec.vocabulary != len(vocabulary) + 1:  # and the escape
        raise CheckpointError(
            f"its model is for {spec.vocabulary - 1} characters, its vocabulary has {len(vocabulary)}"
        )
    if {name: array.shape for name, array in params.items()} != spec.shapes:
        raise CheckpointError("its parameters do not have the names and shapes of its model")
    if not all(array.dtype.kind == "f" for array in tensors.values()):
        raise CheckpointError("it holds tensors that are not floating point")
    if not all(np.isfinite(array).all() for array in tensors.values()):
        raise CheckpointError("it holds values that are not finite numbers")
    progress, states = dict(head["progress"]), _group(tensors, "state/")
    if not isinstance(progress.get("step", 0), int):
        raise CheckpointError(f"its step is {progress['step']!r}, not a number")
    return Checkpoint(
        spec=spec,
        vocabulary=vocabulary,
        params=params,
        memory=_group(tensors, "optimizer/"),
        state=tuple(states[str(layer)] for layer in range(len(states))),
        progress=progress,
    )


def _group(tensors: Mapping[str, Floats], prefix: str) -> dict[str, Floats]:
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}


def _sha256(head: Mapping[str, Any], tensors: Mapping[str, Floats]) -> str:
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)
