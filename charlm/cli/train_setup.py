"""The run of `charlm train`: a new one, a new one that starts from a model, or one that is resumed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import click

from charlm import (
    Corpus,
    Run,
    TrainedModel,
    TrainSpec,
    change_sources,
    change_training,
    choose,
    in_words,
    load,
    new_run,
    new_run_from,
    read_corpus,
    resume_notes,
)
from charlm.cli.reading_bar import reading_bar
from charlm.errors import in_shell
from charlm.nn.cells import CELLS
from charlm.optim.optimizers import OPTIMIZERS
from charlm.training.auto_config import PRESETS
from charlm.training.forecast import Forecast
from charlm.training.validation_choice import AUTO

NETWORK = ("cell", "reset", "activation", "hidden", "layers", "embedding", "tied", "residual")
BUDGET = ("minutes", "steps", "epochs")
MOST_NAMED = 3  # texts in a command that a message shows
WITH_RESUME = {*BUDGET, "sources", "glob", "encoding", "duplicates", "resume", "workers", "threads", "quiet", "as_json"}
OPTIONS = {"learning_rate": "--lr", "origin": "--from"}  # those not named after their parameter


class Setup(NamedTuple):
    """A run to train, its corpus, notes to print before training, and how many passes those of a new run promise."""

    run: Run
    corpus: Corpus
    notes: list[str]
    forecast: Forecast | None = None


def starting_model(origin: str, preset: str | None, typed: set[str], settings: dict[str, Any]) -> TrainedModel:
    """The model of --from; its sizes replace those in `settings`.

    typed: the names of the options on the command line. Raises UsageError if one of them, or one of the preset, is
    another size.
    """
    old = load(origin)
    for name in NETWORK:
        value = getattr(old.spec, name)
        if PRESETS.get(preset or "", {}).get(name, value) != value:
            raise click.UsageError(
                f"--preset {preset} has {name} {PRESETS[preset or ''][name]}, that of --from has {value}: leave one "
                "out, or give the options of the preset one by one"
            )
        if name in typed and settings[name] != value:
            shown = {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value
            raise click.UsageError(f"{option(name)} is {shown} in {origin}, the model of --from: leave it out")
        settings[name] = value
    return old


def refuse_without_effect(typed: set[str], preset: str | None, settings: dict[str, Any]) -> None:
    """Raise UsageError for an option on the command line that the chosen cell or optimizer does not have."""
    settings = settings | {name: value for name, value in PRESETS.get(preset or "", {}).items() if name not in typed}
    for cell in CELLS.values():
        for name in typed & set(cell.options) - set(CELLS[settings["cell"]].options):
            suited = [kind for kind, other in CELLS.items() if name in other.options]
            raise click.UsageError(_no_effect(name, "cell", suited, settings))
    for name in ("momentum", "weight_decay"):
        suited = [kind for kind, usual in OPTIMIZERS.items() if getattr(usual, name) is not None]
        if name in typed and settings["optimizer"] not in suited:
            raise click.UsageError(_no_effect(name, "optimizer", suited, settings))


def _no_effect(name: str, of: str, suited: list[str], settings: dict[str, Any]) -> str:
    return f"{option(name)} needs --{of} {' or '.join(suited)}, not {settings[of]}: leave one out"


def start_run(
    sources: tuple[str, ...],
    out: str | None,
    reading: dict[str, Any],
    old: TrainedModel | None,
    preset: str | None,
    given: dict[str, Any],
    quiet: bool,
) -> Setup:
    """Make a new run; the notes say how it is trained, and what differs from the options.

    reading: further arguments of `read_corpus`. old: the model to start from, if any. given: the settings of the
    network and of training that are not chosen automatically.
    """
    given["validation"], files = _validation(given.pop("validation", (AUTO,)))
    if files and "val_fraction" in given:
        raise click.UsageError("--val-fraction is of CORPUS, and --validation FILE is read whole: leave one out")
    reading = {**reading, "validation": files}
    corpus = _read(sources, quiet, old.vocabulary.characters if old else "", reading)
    chosen = choose(corpus, preset, **given)
    if old:
        run = new_run_from(old, corpus, out, chosen.training)
    else:
        run = new_run(corpus, out, chosen.training, **chosen.network)
    used, notes = run.spec, [*chosen.notes] if quiet else [*chosen.notes, chosen.sentence]
    if old:
        new = len(corpus.vocabulary) - len(old.vocabulary)
        notes.append(f"Going on from {old.path}: it knows {len(old.vocabulary)} characters, {new} of this text are new")
    if (used.window, used.batch) != (chosen.training.window, chosen.training.batch):
        notes.append(
            f"The text is short for a batch of {chosen.training.batch} windows of {chosen.training.window} steps: "
            f"training with {used.batch} of {used.window}"
        )
    return Setup(run, corpus, notes, None if quiet else Forecast(chosen))


def resume_run(
    resume: str,
    sources: tuple[str, ...],
    reading: dict[str, Any],
    typed: set[str],
    settings: dict[str, Any],
    quiet: bool,
) -> Setup:
    """Open the run of --resume, with a new budget if one is given; the notes say what has changed around it.

    reading: further arguments of `read_corpus`; those that are typed replace those of the run. Raises UsageError for
    options that a run keeps. Whatever is refused, the run stays as it is.
    """
    run = Run.open(resume)
    _refuse_what_a_run_keeps(run, sources, typed, settings)
    if not sources:
        run.require_sources()
    reading = run.reading | {name: value for name, value in reading.items() if name in typed}
    corpus, notes = _read(sources or run.sources, quiet, run.known, reading), resume_notes(run)
    run.require(corpus)
    if not quiet:
        notes.insert(0, f"Resuming: {in_words(run.model, run.spec)}")
    notes += change_training(run, workers=settings["workers"], **{name: settings[name] for name in typed & {*BUDGET}})
    if sources:
        notes += change_sources(run, corpus)
    return Setup(run, corpus, notes)


def _validation(values: Sequence[str]) -> tuple[str, list[str]]:
    """What --validation asks for: a word, or "files" and the files."""
    words = {AUTO, *TrainSpec.VALIDATIONS} - {"files"}
    if not words & {*values}:
        for name in values:
            if name != "-" and not os.path.exists(name):
                raise click.UsageError(f"--validation {name} is neither one of {', '.join(sorted(words))} nor a file")
        return "files", list(values)
    if len(values) > 1:
        raise click.UsageError(
            f"--validation is one of {', '.join(sorted(words))}, or one or more files (./{min(words & {*values})} for "
            "a file of that name), not both"
        )
    return values[0], []


def _refuse_what_a_run_keeps(run: Run, sources: tuple[str, ...], typed: set[str], settings: dict[str, Any]) -> None:
    """Raise UsageError for options on the command line that --resume cannot change; it names the command that does."""
    fixed = sorted(typed - WITH_RESUME)
    if not fixed:
        return
    names = ", ".join(map(option, fixed))
    if "origin" in fixed:
        raise click.UsageError("--resume goes on with a run, --from starts a new one from a model: leave one out")
    if fixed == ["out"]:
        raise click.UsageError(f"--resume goes on in {run.path}: leave --out out")
    texts = list(sources or run.sources)
    if len(texts) > MOST_NAMED:
        texts = ["CORPUS"]
    command = ["charlm", "train", *texts]
    keeps_model = not typed & {*NETWORK, "preset"}
    if keeps_model:
        command += ["--from", str(run.path)]
    for name in sorted(typed - {"sources", "resume", "as_json", "quiet"}):
        command += _as_typed(name, settings[name])
    result = "starts a new run from its model" if keeps_model else "makes a new run"
    raise click.UsageError(f"--resume cannot change {names}: {' '.join(map(in_shell, command))} {result}")


def _as_typed(name: str, value: Any) -> list[str]:
    """An option and its value, as they are typed; nothing for None."""
    if value is None:
        return []
    if isinstance(value, bool):
        return [option(name) if value else option(name).replace("--", "--no-", 1)]
    values = value if isinstance(value, list | tuple) else [value]
    return [word for one in values for word in (option(name), str(one))]


def option(name: str) -> str:
    """An option as it is typed, from the name of its parameter."""
    return OPTIONS.get(name, "--" + name.replace("_", "-"))


def _read(sources: Sequence[str], quiet: bool, known: str, reading: dict[str, Any]) -> Corpus:
    with reading_bar(quiet) as show:
        return read_corpus(sources, progress=show, known=known, **reading)
