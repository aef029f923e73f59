"""config.json: everything that was resolved when a run began, and strict reading of small files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from charlm.config import TrainSpec
from charlm.errors import RunError, in_short
from charlm.files.strict_json import MOST_NUMBER, parse_json

CONFIG = "config.json"
MOST_CONFIG = 2**23  # bytes; thousands of file names
CORPUS = {"name": str, "sources": list, "sha256": str, "characters": int}
READ = {"glob": list, "encoding": str, "duplicates": bool}  # how the corpus was read; older runs do not say
FIRST_PATTERNS = ("*.txt", "*.txt.gz")
NUMBER = float | int
OLD_CORPUS = CORPUS | {"val_fraction": NUMBER, "val_limit": int}
ORIGIN = {  # of a run that began with a trained model, see charlm.training.warm_start
    "checkpoint": str,
    "sha256": str,
    "step": int,
    "vocabulary": str,
    "validation_nats": NUMBER,
    "old_validation_nats": NUMBER | NoneType,
    "old_corpus": dict | NoneType,
}


def read_config(path: Path) -> dict[str, Any]:
    """The configuration of the run directory at `path`. Raises RunError if it is missing, damaged or not one."""
    try:
        config = parse_json(bounded(path / CONFIG, MOST_CONFIG).decode("utf-8", "surrogateescape"))
    except FileNotFoundError:
        raise RunError(f"{path} is not a run directory: it has no {CONFIG}; charlm train makes one") from None
    except (OSError, ValueError) as error:
        reason = in_short(error)
        raise RunError(f"{path / CONFIG} cannot be read ({reason}): restore it, or start a new run") from None
    if not _is_config(config):
        raise RunError(f"{path / CONFIG} is not a run's configuration: restore it, or start a new run")
    return dict(config)


def config_bytes(config: dict[str, Any]) -> bytes:
    """A configuration as bytes; file names keep theirs. Raises UnicodeEncodeError for a name that cannot be one."""
    text = json.dumps(config, indent=2, ensure_ascii=False, sort_keys=True)
    return (text + "\n").encode("utf-8", "surrogateescape")


def bounded(path: Path, most: int) -> bytes:
    """The content of a small file. Raises ValueError if it is not a file, or larger than `most` bytes."""
    if path.exists() and not path.is_file():
        raise ValueError("it is not a file")  # a pipe would block, a device may never end
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it is larger than {most:,} bytes")
    return data


def fits(value: Any, kinds: Mapping[str, Any]) -> bool:
    """Whether a value is a JSON object that has these keys with values of these kinds."""
    return isinstance(value, dict) and all(isinstance(value.get(key), kind) for key, kind in kinds.items())


def how_read(corpus: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `read_corpus` with which a run's corpus is read as it was at first, with its validation text.

    Runs of version 0.1.0 do not say so: they read all copies, and .txt and .txt.gz only.
    """
    return {
        "glob": file_names(corpus.get("glob", FIRST_PATTERNS)),
        "encoding": corpus.get("encoding"),
        "duplicates": corpus.get("duplicates", True),
        "validation": file_names(corpus.get("validation", {}).get("sources", [])),
    }


def file_names(kept: Iterable[str]) -> list[str]:
    """File names from config.json as names of this system; they need not be UTF-8."""
    return [os.fsdecode(name.encode("utf-8", "surrogateescape")) for name in kept]


def is_run(path: str | Path) -> bool:
    """Whether a path is a run directory."""
    return (Path(path) / CONFIG).is_file()


def _is_config(config: Any) -> bool:
    if not fits(config, {"model": dict, "training": dict, "corpus": dict}) or not _is_corpus(config["corpus"], CORPUS):
        return False
    try:
        config_bytes(config)  # it is written again when the budget changes
    except UnicodeEncodeError:
        return False
    return "origin" not in config or _is_origin(config["origin"])


def _is_corpus(value: Any, kinds: Mapping[str, Any]) -> bool:
    if not fits(value, kinds) or not _are_names(value["sources"]):
        return False
    held_out = value.get("validation", {"sources": [], "sha256": ""})
    counts = value["characters"], value.get("training_characters", 0)
    return (
        all(isinstance(count, int) and 0 <= count < MOST_NUMBER for count in counts)
        and fits(held_out, {"sources": list, "sha256": str})
        and _are_names(held_out["sources"])
        and all(isinstance(value[key], kind) for key, kind in READ.items() if key in value)
        and all(isinstance(pattern, str) for pattern in value.get("glob", []))
    )


def _are_names(values: list[Any]) -> bool:
    return all(isinstance(value, str) and "\0" not in value for value in values)


def _is_origin(value: Any) -> bool:
    if not fits(value, ORIGIN):
        return False
    corpus = value.get("old_corpus")
    return corpus is None or (
        _is_corpus(corpus, OLD_CORPUS)
        and 0 < corpus["val_fraction"] < 1 <= corpus["val_limit"] < MOST_NUMBER
        and corpus.get("split", "tail") in TrainSpec.VALIDATIONS
    )
