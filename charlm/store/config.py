"""config.json: everything that was resolved when a run began, as JSON keeps it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from charlm.errors import RunError
from charlm.store.strict_json import parse_json

CONFIG = "config.json"
MOST_CONFIG = 2**24  # bytes
CORPUS = {"name": str, "sources": list, "sha256": str, "characters": int}
NUMBER = float | int
ORIGIN = {  # of a run that goes on from a trained model: see charlm.warm
    "checkpoint": str,
    "sha256": str,
    "step": int,
    "vocabulary": str,
    "validation_nats": NUMBER,
    "old_validation_nats": NUMBER | NoneType,
    "old_corpus": dict | NoneType,
}
OLD_CORPUS = CORPUS | {"val_fraction": NUMBER, "val_limit": int}


def read_config(path: Path) -> dict[str, Any]:
    """The configuration of the run directory at `path`. Raises RunError where there is none, or it is not one."""
    try:
        config = parse_json(_bounded(path / CONFIG).decode("utf-8", "surrogateescape"))
    except FileNotFoundError:
        raise RunError(f"{path} is not a run directory: it has no {CONFIG}; charlm train makes one") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path / CONFIG} cannot be read ({error}): restore it, or start a new run") from None
    if not _is_config(config):
        raise RunError(f"{path / CONFIG} is not a run's configuration: restore it, or start a new run")
    return dict(config)


def fits(value: Any, kinds: Mapping[str, Any]) -> bool:
    """Whether a value is a JSON object that has these keys with values of these kinds."""
    return isinstance(value, dict) and all(isinstance(value.get(key), kind) for key, kind in kinds.items())


def file_names(kept: Iterable[str]) -> list[str]:
    """File names as config.json keeps them, as those of this system; they need not be UTF-8."""
    return [os.fsdecode(name.encode("utf-8", "surrogateescape")) for name in kept]


def _is_config(config: Any) -> bool:
    if not fits(config, {"model": dict, "training": dict, "corpus": dict}) or not _is_corpus(config["corpus"], CORPUS):
        return False
    if "origin" not in config:
        return True
    origin = config["origin"]
    if not fits(origin, ORIGIN):
        return False
    return origin.get("old_corpus") is None or _is_old_corpus(origin["old_corpus"])


def _is_corpus(value: Any, kinds: Mapping[str, Any]) -> bool:
    return fits(value, kinds) and all(isinstance(source, str) for source in value["sources"])


def _is_old_corpus(value: Any) -> bool:
    return _is_corpus(value, OLD_CORPUS) and 0 < value["val_fraction"] < 1 and value["val_limit"] >= 1


def _bounded(path: Path) -> bytes:
    """The content of a small file. Raises ValueError where it is too large to be one of ours."""
    with path.open("rb") as file:
        data = file.read(MOST_CONFIG + 1)
    if len(data) > MOST_CONFIG:
        raise ValueError(f"it is larger than {MOST_CONFIG:,} bytes")
    return data
