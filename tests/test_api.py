"""What `charlm` offers is documented and typed, all of it, and the documentation names nothing else."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import charlm

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "api.md").read_text(encoding="utf-8")
OFFERED = [name for name in charlm.__all__ if name != "__version__"]
TABLE = PAGE.split("## All names")[1]
TOUR = PAGE.split("## All names")[0]


def functions_of(thing: Any) -> Iterator[tuple[str, Any]]:
    """A function itself; of a class, its public methods and properties."""
    if not inspect.isclass(thing):
        yield thing.__name__, thing
        return
    for name, member in vars(thing).items():
        member = getattr(member, "__func__", member)
        member = member.fget if isinstance(member, property) else getattr(member, "func", member)
        if inspect.isfunction(member) and not name.startswith("_"):
            yield f"{thing.__name__}.{name}", member


@pytest.mark.parametrize("name", OFFERED)
def test_it_is_documented_and_typed(name: str) -> None:
    """Law: every class, function, method and property has a docstring, and every argument and result has a type."""
    thing = getattr(charlm, name)
    assert inspect.getdoc(thing), name
    for where, function in functions_of(thing):
        assert inspect.getdoc(function), where
        signature = inspect.signature(function)
        assert signature.return_annotation is not inspect.Signature.empty, where
        untyped = [
            parameter.name
            for parameter in signature.parameters.values()
            if parameter.annotation is parameter.empty and parameter.name not in ("self", "cls")
        ]
        assert not untyped, (where, untyped)


def test_the_page_lists_exactly_what_is_offered() -> None:
    """Law: the front door holds what docs/api.md documents, and nothing else."""
    rows = [line.split("|")[1] for line in TABLE.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(OFFERED)


def test_types_are_shipped() -> None:
    """Law: type checkers are told that they may read the types."""
    assert (Path(charlm.__file__).parent / "py.typed").exists()


@pytest.mark.parametrize(
    "name",
    [
        "read_corpus",
        "new_run",
        "train",
        "TrainSpec",
        "ModelSpec",
        "summary",
        "change_budget",
        "Run",
        "load",
        "entries",
        "ranked",
        "Unseen",
        "read_texts",
        "SampleSpec",
        "SurprisalPage",
        "plot_units",
        "new_run_from",
        "forgetting",
        "measure_baselines",
        "fit_mix",
        "verdict",
        "CharlmError",
    ],
)
def test_the_tour_shows_it(name: str) -> None:
    """Law: the page, which is run as a test, uses what people need first."""
    assert f"charlm.{name}" in TOUR or f"`{name}`" in TOUR


@pytest.mark.parametrize("method", ["score", "surprisal", "surprisals", "read", "next_probs", "sample", "samples"])
def test_the_tour_shows_what_a_model_can_do(method: str) -> None:
    """Law: it uses every method that predicts."""
    assert f"model.{method}(" in TOUR
