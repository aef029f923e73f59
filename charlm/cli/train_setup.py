"""How `charlm train` comes to a run: a new one, one that goes on from a model, or one that is taken up again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click

from charlm import (
    Corpus,
    Run,
    TrainedModel,
    change_budget,
    change_workers,
    choose,
    in_words,
    load,
    new_run,
    new_run_from,
    read_corpus,
    resume_notes,
)
from charlm.cli.reading_bar import reading_bar
from charlm.nn.cells import CELLS
from charlm.optim.optimizers import OPTIMIZERS

NETWORK = ("cell", "reset", "activation", "hidden", "layers", "embedding", "tied", "residual")
BUDGET = ("minutes", "steps", "epochs")
WITH_RESUME = {*BUDGET, "sources", "resume", "workers", "threads", "quiet", "as_json"}
OPTIONS = {"learning_rate": "--lr", "origin": "--from"}  # whose names differ

Begun = tuple[Corpus, Run, list[str]]


def model_to_go_on_from(origin: str, given: set[str], settings: dict[str, Any]) -> TrainedModel:
    """The model of --from; its sizes take the place of those in `settings`.

    Raises UsageError for a size that was given and is another one.
    """
    old = load(origin)
    for name in NETWORK:
        value = getattr(old.spec, name)
        if name in given and settings[name] != value:
            shown = {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value
            raise click.UsageError(f"{option(name)} is {shown} in {origin}, which --from goes on with: leave it out")
        settings[name] = value
    return old


def refuse_without_effect(given: set[str], settings: dict[str, Any]) -> None:
    """Raise UsageError for an option that the chosen cell or optimizer does not have."""
    for cell in CELLS.values():
        for name in given & set(cell.options) - set(CELLS[settings["cell"]].options):
            suited = [kind for kind, other in CELLS.items() if name in other.options]
            raise click.UsageError(_no_effect(name, "cell", suited, settings))
    for name in ("momentum", "weight_decay"):
        suited = [kind for kind, usual in OPTIMIZERS.items() if getattr(usual, name) is not None]
        if name in given and settings["optimizer"] not in suited:
            raise click.UsageError(_no_effect(name, "optimizer", suited, settings))


def _no_effect(name: str, of: str, suited: list[str], settings: dict[str, Any]) -> str:
    return f"{option(name)} is only of --{of} {' or '.join(suited)}, not {settings[of]}: drop one"


def begun(
    sources: tuple[str, ...],
    out: str | None,
    old: TrainedModel | None,
    preset: str | None,
    given: dict[str, Any],
    quiet: bool,
) -> Begun:
    """A new run, and notes of how it is trained and of what could not be had as asked for.

    old: the model to go on from, if any. given: settings of the network and the training.
    """
    corpus = _read(sources, quiet, old.vocabulary.characters if old else "")
    chosen = choose(corpus, preset, **given)
    if old:
        run = new_run_from(old, corpus, out, chosen.training)
    else:
        run = new_run(corpus, out, chosen.training, **chosen.network)
    used, notes = run.spec, [] if quiet else [chosen.sentence]
    if old:
        new = len(corpus.vocabulary) - len(old.vocabulary)
        notes.append(f"Going on from {old.path}: it knows {len(old.vocabulary)} characters, {new} of this text are new")
    if (used.window, used.batch) != (chosen.training.window, chosen.training.batch):
        notes.append(
            f"The text is short for windows of {chosen.training.window} steps, {chosen.training.batch} side by side: "
            f"training with {used.window} and {used.batch}"
        )
    return corpus, run, notes


def resumed(resume: str, sources: tuple[str, ...], given: set[str], settings: dict[str, Any], quiet: bool) -> Begun:
    """The run in a directory, and notes of what has changed around it."""
    fixed = sorted(given - WITH_RESUME)
    if fixed:
        names = ", ".join(map(option, fixed))
        raise click.UsageError(f"{names}: a run keeps these for its whole life; leave them out with --resume")
    run = Run.open(resume)
    corpus, notes = _read(sources or run.sources, quiet, run.known), resume_notes(run)
    run.require(corpus)
    if not quiet:
        notes.insert(0, f"Going on with {in_words(run.model, run.spec)}")
    budget = {name: settings[name] for name in given & set(BUDGET)}
    replace(run.spec, **budget)  # refuses what cannot be, before the workers are changed
    notes += change_workers(run, settings["workers"])
    if budget:
        notes += change_budget(run, **budget)
    return corpus, run, notes


def option(name: str) -> str:
    """An option as it is typed."""
    return OPTIONS.get(name, "--" + name.replace("_", "-"))


def _read(sources: Sequence[str], quiet: bool, known: str) -> Corpus:
    with reading_bar(quiet) as show:
        return read_corpus(sources, progress=show, known=known)
