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
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from charlm.arrays import Floats
from charlm.errors import CharlmError, CheckpointError, StorageError, in_short
from charlm.files.atomic import storage_errors, write_atomic
from charlm.files.strict_json import MOST_NUMBER, parse_json
from charlm.files.tensors import MOST_HEADER as MOST_HEADER
from charlm.files.tensors import OtherFileError, checksum, packed, read_header, read_tensors, reason_of
from charlm.nn.model import ModelSpec
from charlm.nn.stack import State
from charlm.text.vocabulary import Vocabulary

FORMAT = 1
KEY = "charlm"
READABLE = "make it readable, or name another checkpoint"
RENAMED = {"b_rc": "b_rn"}  # parameters that files of version 0.1.0 and before call by another name


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
    head = {
        "format": FORMAT,
        "model": asdict(checkpoint.spec),
        "vocabulary": checkpoint.vocabulary.characters,
        "progress": dict(checkpoint.progress),
    }
    write_atomic(path, packed(KEY, head, _tensors(checkpoint)))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint and check all of it: names, shapes, types, checksum.

    Raises CheckpointError for anything that is not a whole charlm checkpoint of a known format.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}: name a run directory, or a .safetensors file in one")
    try:
        metadata, header = read_header(path, KEY, READABLE)
        if metadata is None:
            raise CheckpointError("it is a safetensors file that charlm did not write as a checkpoint")
        head = _Head.of(metadata)
        head.refuse_other_tensors({_current(name): entry for name, entry in header.items()})  # before they are read
        return _checkpoint(head, read_tensors(path, list(header), READABLE))
    except StorageError:
        raise
    except OtherFileError:
        raise CheckpointError(
            f"{path} is not a checkpoint file: name a run directory, or a .safetensors file in one"
        ) from None
    except (CharlmError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"cannot load {path}: {reason_of(error)}; use another checkpoint") from None


def sha256_of(path: Path) -> str:
    """The sha256 of a checkpoint file, all of it: what tells it from any other. Raises StorageError."""
    with storage_errors("read", path, READABLE), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tensors(checkpoint: Checkpoint) -> dict[str, Floats]:
    arrays = {f"params/{name}": array for name, array in checkpoint.params.items()}
    arrays |= {f"optimizer/{name}": array for name, array in checkpoint.memory.items()}
    arrays |= {f"state/{layer}": array for layer, array in enumerate(checkpoint.state)}
    return arrays


@dataclass(frozen=True)
class _Head:
    """What the metadata say, of which the tensors are to be the rest."""

    spec: ModelSpec
    vocabulary: Vocabulary
    progress: dict[str, Any]
    sha256: str
    summed: dict[str, Any]  # all of it that the checksum is made of

    @classmethod
    def of(cls, text: str) -> _Head:
        head = parse_json(text)
        if head["format"] != FORMAT:
            newer = isinstance(head["format"], int) and head["format"] > FORMAT
            raise CheckpointError(
                f"this charlm reads format {FORMAT}, not {head['format']!r}{': update charlm' if newer else ''}"
            )
        known = {field.name for field in fields(ModelSpec)}
        if new := sorted(head["model"].keys() - known):
            raise CheckpointError(f"its model has {in_short(new[0])}, which this charlm does not know: update charlm")
        spec, characters, progress = ModelSpec(**head["model"]), head["vocabulary"], head["progress"]
        if not isinstance(characters, str) or not isinstance(progress, dict):
            raise CheckpointError("its vocabulary is not a string or its progress not an object")
        characters.encode()  # half of a surrogate pair is no character, and no UTF-8 text has one
        if spec.vocabulary != len(characters) + 1:  # and the unknown character
            raise CheckpointError(
                f"its model is for {spec.vocabulary - 1} characters, its vocabulary has {len(characters)}"
            )
        step = progress.get("step", 0)
        if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step < MOST_NUMBER:
            raise CheckpointError(f"its step is {step!r}, not a count of updates")
        return cls(spec, Vocabulary(characters), progress, head.pop("sha256"), head)

    def refuse_other_tensors(self, header: Mapping[str, Any]) -> None:
        """Raise CheckpointError if a tensor is missing, or one does not fit by its name, type or shape."""
        shapes = self.spec.shapes
        expected = {f"params/{name}": shape for name, shape in shapes.items()}
        states = {name for name in header if name.startswith("state/")}
        if states and states != {f"state/{layer}" for layer in range(self.spec.layers)}:
            raise CheckpointError("its states are not those of its layers")
        if not expected.keys() <= header.keys():
            raise CheckpointError("its parameters do not have the names of its model")
        precision = header[next(iter(expected))]["dtype"]
        for name, entry in header.items():
            kind, shape = entry["dtype"], tuple(entry["shape"])
            if name.startswith("optimizer/"):  # each is named after a parameter, or is one number
                fits = shape == shapes.get(name.partition(".")[2], (1,))
            else:
                fits = kind == precision and (name in states or shape == expected.get(name))
            if not fits or kind not in ("F32", "F64"):
                raise CheckpointError(f"its tensor {name!r} of {kind} {shape} does not fit its model")


def _checkpoint(head: _Head, tensors: dict[str, Floats]) -> Checkpoint:
    if head.sha256 != checksum(head.summed, tensors):
        raise CheckpointError("its content does not match its checksum")
    if not all(np.isfinite(array).all() for array in tensors.values()):
        raise CheckpointError("it holds values that are not finite numbers")
    tensors = {_current(name): array for name, array in tensors.items()}
    states = _group(tensors, "state/")
    return Checkpoint(
        spec=head.spec,
        vocabulary=head.vocabulary,
        params=_group(tensors, "params/"),
        memory=_group(tensors, "optimizer/"),
        state=tuple(states[str(layer)] for layer in range(len(states))),
        progress=head.progress,
    )


def _current(name: str) -> str:
    """The present name of a tensor."""
    first, dot, last = name.rpartition(".")
    return first + dot + RENAMED.get(last, last)


def _group(tensors: Mapping[str, Floats], prefix: str) -> dict[str, Floats]:
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
