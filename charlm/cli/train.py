"""charlm train"""

from __future__ import annotations

import sys
from contextlib import closing, nullcontext, suppress
from typing import Any

import click
from click.core import ParameterSource

from charlm import Progress, Workers, blas_threads, ending, mpi_workers, take_part, train
from charlm.cli.arguments import how_to_read
from charlm.cli.interrupts import Interrupts
from charlm.cli.progress import Watcher
from charlm.cli.streams import echo
from charlm.cli.train_options import MPI, training_options
from charlm.cli.train_report import show_json, show_result
from charlm.cli.train_setup import BUDGET, NETWORK, Setup, refuse_without_effect, resume_run, start_run, starting_model
from charlm.errors import in_shell


@click.command("train", short_help="Train a model on a text.")
@click.argument("sources", nargs=-1, metavar="CORPUS...", type=click.Path(allow_dash=True))
@training_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    sources: tuple[str, ...],
    out: str | None,
    origin: str | None,
    resume: str | None,
    preset: str | None,
    workers: int | str | None,
    threads: int | None,
    glob: tuple[str, ...],
    encoding: str | None,
    duplicates: bool,
    quiet: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train a model on a text, in a new run directory.

    CORPUS: text files, packed ones (.gz, .bz2, .xz), folders of .txt, or - for standard input, of any size, in UTF-8
    (or --encoding). A tenth, or less (--val-limit), is kept for validation: the loss on it, in nats per character, is
    the result. Of one continuous text it is the end. A list of names, words or log entries is recognised: each line is
    a text of its own (--validation). Unset options are chosen automatically to suit the text, the budget and the
    machine. Ctrl-C saves and stops; --resume continues.

    A text has at least two different characters, and no NUL. A byte order mark at its beginning is dropped, and CR and
    CRLF become LF, with a note on stderr; nothing else is changed. Folders give every .txt below them, packed or not,
    sorted by path (or what --glob chooses), without hidden files and without following links to folders; a note counts
    the files passed over. The same text twice is read once, with a note. A packed file may unpack to 200 times its size
    and 1 MiB more. The ids of a large text are kept under ~/.cache/charlm, or in the folder CHARLM_CACHE.
    """
    typed, given = _typed(ctx), _typed(ctx) | _from_environment(ctx)
    if typed & {*BUDGET}:
        settings |= dict.fromkeys({*BUDGET} - typed)  # a budget on the command line replaces those of the environment
    if resume is None and not sources:
        raise click.UsageError("no CORPUS to train on: name a text file, or try corpora/lanterns.txt")
    reading = how_to_read(sources, glob, encoding) | {"duplicates": duplicates}
    old = starting_model(origin, preset, typed, settings) if origin and resume is None else None
    refuse_without_effect(typed, preset, settings)
    with blas_threads(threads), mpi_workers() if workers == MPI else nullcontext() as ranks:
        if ranks and ranks.rank:
            take_part(ranks)
            return
        settings["workers"] = ranks.count if ranks else workers
        if resume is not None:
            setup = resume_run(
                resume,
                sources,
                reading,
                typed,
                settings | reading | {"preset": preset, "threads": threads, "out": out},
                quiet,
            )
        else:
            given |= {"workers"} | ({*NETWORK} if old else set())
            fixed = {name: _off(name, settings[name]) for name in given & settings.keys()}
            setup = start_run(sources, out, reading, old, preset, fixed, quiet)
        _train(setup, ranks, threads, quiet)
        if as_json:
            show_json(setup.run)
        else:
            show_result(setup.run, setup.corpus, quiet)


def _off(name: str, value: Any) -> Any:
    """The library's None for an option that 0 turns off."""
    return None if name in ("clip_norm", "clip_value", "patience") and value == 0 else value


def _typed(ctx: click.Context) -> set[str]:
    """The names of the options on the command line."""
    return {name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}


def _from_environment(ctx: click.Context) -> set[str]:
    """The names of the options that come from environment variables."""
    return {name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.ENVIRONMENT}


def _train(setup: Setup, workers: Workers | None, threads: int | None, quiet: bool) -> None:
    """Train and show progress until the budget is used up; at a signal, save and exit."""
    run, corpus, notes, forecast = setup
    for note in [*corpus.notes, *notes]:
        echo(note, err=True)
    progress: Progress | None = None
    stopped_by: int | None = None
    with (
        Interrupts() as interrupts,
        Watcher(run, corpus, quiet, forecast) as watcher,
        closing(train(run, corpus, workers)) as training,  # closing saves, also if showing progress fails
    ):
        for progress in training:
            watcher.show(progress)
            if interrupts.signal and progress.share < 1:
                stopped_by = interrupts.signal
                break
    if stopped_by:
        with suppress(BrokenPipeError):  # the same Ctrl-C may have ended the reader
            again = ["charlm", "train", "--resume", str(run.path), *(["--threads", str(threads)] if threads else [])]
            echo(f"Stopped and saved. Go on with: {' '.join(map(in_shell, again))}", err=True)
        sys.exit(128 + stopped_by)
    if sentence := ending(run):
        echo(sentence, err=True)
    elif progress is None:
        echo(f"{run.path} has used its whole budget: give a larger --minutes, --steps or --epochs", err=True)
