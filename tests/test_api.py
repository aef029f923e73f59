"""What `charlm` offers is documented and typed, all of it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import charlm

PAGE = Path(__file__).resolve().parent.parent / "docs" / "api.md"
OFFERED = [name for name in charlm.__all__ if name != "__version__" and not name.isupper()]  # those are constants
TOUR = (
    "load read_corpus new_run train TrainSpec ModelSpec summary change_budget Run Unseen entries read_texts SampleSpec "
    "new_run_from forgetting CharlmError"
)


def functions_of(thing: Any) -> Iterator[tuple[str, Any]]:
    """A function itself; of a class, its public methods and properties, and how it is made."""
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
    """Law: every class, function, method and property says what it is, and every argument and result has a type."""
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


def test_types_are_shipped() -> None:
    """Law: type checkers are told that they may read the types."""
    assert (Path(charlm.__file__).parent / "py.typed").exists()


@pytest.mark.parametrize("name", TOUR.split())
def test_the_tour_shows_it(name: str) -> None:
    """Law: the page that is run as a test uses what people need first."""
    assert name in charlm.__all__
    assert f"charlm.{name}" in PAGE.read_text(encoding="utf-8") or f"`{name}`" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("method", ["score", "surprisal", "surprisals", "read", "next_probs", "sample", "samples"])
def test_the_tour_shows_what_a_model_can_do(method: str) -> None:
    assert f"model.{method}(" in PAGE.read_text(encoding="utf-8")
