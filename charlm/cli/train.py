"""charlm train"""

from __future__ import annotations

import json
import shlex
import sys
from contextlib import closing, nullcontext, suppress
from typing import Any

import click
from click.core import ParameterSource

from charlm import (
    Corpus,
    ModelSpec,
    Progress,
    Run,
    TrainSpec,
    blas_threads,
    ending,
    forgetting,
    mpi_workers,
    summary,
    train,
    verdict,
)
from charlm.cli.interrupts import Interrupts
from charlm.cli.plot import curve_of
from charlm.cli.progress import Watcher
from charlm.cli.train_setup import BUDGET, NETWORK, begun, model_to_go_on_from, refuse_without_effect, resumed
from charlm.config import MINUTES
from charlm.nn.cells import ACTIVATIONS, CELLS, RESETS
from charlm.optim.optimizers import OPTIMIZERS
from charlm.optim.schedules import SHAPES
from charlm.parallel.workers import Workers
from charlm.training.auto_config import PATIENCE, PRESETS
from charlm.training.worker import follow

MPI = "mpi"
CHOSEN = "[default: what suits the text, the budget and this machine]"


def _usual(setting: str) -> str:
    """What an option is for each optimizer that has it."""
    values = [(name, getattr(usual, setting)) for name, usual in OPTIMIZERS.items()]
    return f"[default: {', '.join(f'{value} for {name}' for name, value in values if value is not None)}]"


def _off(name: str, value: Any) -> Any:
    """What the library calls off, where 0 says so on the command line."""
    return None if name in ("clip_norm", "clip_value", "patience") and value == 0 else value


def _count_of_workers(ctx: click.Context, parameter: click.Parameter, value: str) -> int | str | None:
    """A number, None for auto, or MPI."""
    if value in ("auto", MPI):
        return None if value == "auto" else value
    try:
        count = int(value)
        if count >= 1:
            return count
    except ValueError:
        pass
    raise click.BadParameter(f"{value!r} is not a whole number of at least 1, auto or {MPI}", ctx, parameter)


@click.command("train", short_help="Train a model on a text.")
@click.argument("sources", nargs=-1, metavar="CORPUS...", type=click.Path(allow_dash=True))
@click.option("--out", type=click.Path(), help="Run directory to make.  [default: checkpoints/NAME, numbered if taken]")
@click.option(
    "--cell", default=ModelSpec.cell, show_default=True, type=click.Choice(list(CELLS)), help="Kind of layer."
)
@click.option(
    "--reset",
    default=ModelSpec.reset,
    show_default=True,
    type=click.Choice(RESETS),
    help="Where a GRU applies its reset gate: before or after the recurrent product.",
)
@click.option(
    "--activation", default=ModelSpec.activation, show_default=True, type=click.Choice(ACTIVATIONS), help="Of an rnn."
)
@click.option(
    "--preset", type=click.Choice(list(PRESETS)), help="classic: 64 units, plain SGD, one stream: the textbook."
)
@click.option("--hidden", type=int, help=f"Units per layer.  {CHOSEN}")
@click.option("--layers", type=int, help="Layers, stacked.  [default: 1]")
@click.option(
    "--embedding",
    type=int,
    help=f"Size of a learned vector per character, for large alphabets; 0 is one-hot.  {CHOSEN}",
)
@click.option("--tied", is_flag=True, help="Read out with the embedding; needs --embedding as large as --hidden.")
@click.option(
    "--residual/--no-residual",
    default=ModelSpec.residual,
    show_default=True,
    help="Layers above the first add their input to their output.",
)
@click.option(
    "--dropout",
    type=float,
    help=f"Share of each layer's outputs left out in training.  {CHOSEN}",
)
@click.option("--input-dropout", type=float, help=f"Share of the characters read as unknown in training.  {CHOSEN}")
@click.option("--batch", type=int, help=f"Streams read side by side.  {CHOSEN}")
@click.option("--window", type=int, help=f"Time steps that errors travel back.  {CHOSEN}")
@click.option(
    "--optimizer",
    default=TrainSpec.optimizer,
    show_default=True,
    type=click.Choice(list(OPTIMIZERS)),
    help="How gradients become changes.",
)
@click.option(
    "--lr",
    "learning_rate",
    type=float,
    help=f"Peak learning rate.  {_usual('learning_rate')}",
)
@click.option(
    "--schedule",
    default=TrainSpec.schedule,
    show_default=True,
    type=click.Choice(SHAPES),
    help="How the learning rate falls.",
)
@click.option("--momentum", type=float, help=f"Nesterov's kind; 0 is none.  {_usual('momentum')}")
@click.option("--weight-decay", type=float, help=f"Shrinking of matrices.  {_usual('weight_decay')}")
@click.option(
    "--clip-norm",
    default=TrainSpec.clip_norm,
    show_default=True,
    type=float,
    help="Longest gradient, as its global norm; 0 turns this off.",
)
@click.option("--clip-value", type=float, help="Largest gradient element; 0 turns this off.  [default: off]")
@click.option("--minutes", type=float, help=f"Budget in minutes; a short text needs less.  [default: {MINUTES:g}]")
@click.option(
    "--steps",
    type=int,
    help="Budget in updates; repeats to the same bits. Of several budgets the first that is used up counts.",
)
@click.option("--epochs", type=float, help="Budget in passes over the text.")
@click.option(
    "--patience",
    type=int,
    help="Validations in a row without a better one before it stops; 0: it does not.  "
    f"[default: {PATIENCE}, or 0 with --steps or --epochs]",
)
@click.option(
    "--keep",
    default=TrainSpec.keep,
    show_default=True,
    help="Numbered checkpoints to keep, one per evaluation, beside the last and the best.",
)
@click.option(
    "--val-fraction",
    default=TrainSpec.val_fraction,
    show_default=True,
    help="Share of the text, at its end, that is only scored.",
)
@click.option(
    "--val-limit",
    default=TrainSpec.val_limit,
    show_default=True,
    help="At most so many characters are only scored; all others are trained on.",
)
@click.option("--rng-seed", default=TrainSpec.rng_seed, show_default=True, help="Seed of all random numbers.")
@click.option(
    "--from",
    "origin",
    type=click.Path(),
    metavar="RUN",
    help="Begin with the model of a run, or with a checkpoint: its sizes, its characters and those of CORPUS.",
)
@click.option("--resume", type=click.Path(), metavar="DIR", help="Go on with the run in DIR.")
@click.option(
    "--workers",
    default="auto",
    show_default=True,
    metavar="N|auto|mpi",
    callback=_count_of_workers,
    help="Processes that share the streams; mpi: the ranks of the job that charlm was started in.",
)
@click.option(
    "--threads",
    type=int,
    help="Threads of the matrix arithmetic, of all workers together, at least one each (see --workers) and at most one "
    "per processor.  [default: the library's choice, most often all cores]",
)
@click.option("--quiet", is_flag=True, help="No progress and no samples.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output at the end.")
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
    quiet: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train a model on a text and keep it in a run directory.

    CORPUS: text files, .gz files, folders of .txt, or - for standard input, all UTF-8, of any size: the ids of a large
    text are kept under ~/.cache/charlm, or where CHARLM_CACHE says. The last tenth, or less (--val-limit), is kept for
    validation: the loss on it, in nats per character, is the result. Ctrl-C saves and stops; --resume goes on.

    A text has at least two different characters, and no NUL. A byte order mark at its beginning is dropped and CR and
    CRLF become LF, which is said; nothing else is changed. Folders give every .txt and .txt.gz below them, sorted by
    path, without following links to folders. A .gz file may unpack to 200 times its size and 1 MiB more.
    """
    given = {name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    by_somebody = given | {name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.ENVIRONMENT}
    for name in set(BUDGET) - given if given & set(BUDGET) else ():
        settings[name] = None  # the command line before the environment
    if resume is None and not sources:
        raise click.UsageError("no CORPUS to train on: name a text file, or try corpora/lanterns.txt")
    old = model_to_go_on_from(origin, given, settings) if origin and resume is None else None
    refuse_without_effect(given, settings | {n: v for n, v in PRESETS.get(preset or "", {}).items() if n not in given})
    with blas_threads(threads), mpi_workers() if workers == MPI else nullcontext() as ranks:
        if ranks and ranks.rank:
            follow(ranks)
            return
        settings["workers"] = ranks.count if ranks else workers
        if resume is not None:
            corpus, run, notes = resumed(resume, sources, given, settings, quiet)
        else:
            decided = by_somebody | {"workers"} | ({*NETWORK} if old else set())
            asked = {name: _off(name, settings[name]) for name in decided & settings.keys()}
            corpus, run, notes = begun(sources, out, old, preset, asked, quiet)
        for note in [*corpus.notes, *notes]:
            click.echo(note, err=True)
        _watch(run, corpus, ranks, quiet, as_json)


def _watch(run: Run, corpus: Corpus, workers: Workers | None, quiet: bool, as_json: bool) -> None:
    """Train, showing what happens, until the budget is used or a signal comes."""
    progress: Progress | None = None
    with (
        Interrupts() as interrupts,
        Watcher(run, corpus, quiet) as watcher,
        closing(train(run, corpus, workers)) as training,  # closing it saves, also where showing it fails
    ):
        for progress in training:
            watcher.show(progress)
            if interrupts.signal:
                break
    if interrupts.signal and progress is not None and progress.share < 1:
        with suppress(BrokenPipeError):  # whoever read this may have gone by the same Ctrl-C
            click.echo(f"Stopped and saved. Go on with: charlm train --resume {shlex.quote(str(run.path))}", err=True)
        sys.exit(128 + interrupts.signal)
    if sentence := ending(run):
        click.echo(sentence, err=True)
    elif progress is None:
        click.echo(f"{run.path} has used its whole budget: give a larger --minutes, --steps or --epochs", err=True)
    if as_json:
        click.echo(json.dumps(summary(run) | _forgotten(run), ensure_ascii=False))
    else:
        _conclude(run, corpus, quiet)


def _conclude(run: Run, corpus: Corpus, quiet: bool) -> None:
    """The result, where everything lies, and the next command to type."""
    figures = summary(run)
    if figures["validation_nats"] is None:
        click.echo(f"Stopped before the first evaluation; the run is in {run.path}")
        return
    if sys.stdout.isatty() and not quiet:
        click.echo(f"\n{curve_of(run.path)}")
    click.echo(
        f"Validation loss {figures['validation_nats']:.4f} nats per character ({figures['validation_bpc']:.3f} bits), "
        f"best at step {figures['best_step']:,} of {figures['steps']:,}"
    )
    _tell_forgetting(run)
    if sentence := verdict(run):
        click.echo(sentence)
    click.echo(f"  run      {run.path}\n  picture  {run.plot_path}\n  model    {run.best_path}")
    seed = "T" if "T" in corpus.vocabulary.characters else corpus.usual_start
    click.echo(f"Next: charlm sample {shlex.quote(str(run.path))} --seed {shlex.quote(seed)}")


def _forgotten(run: Run) -> dict[str, float | None]:
    """For --json: the validation losses of a run that went on from a model, before and after."""
    found = forgetting(run)
    if found is None:
        return {}
    return {
        "validation_nats_before": found.new_before,
        "old_validation_nats_before": found.old_before,
        "old_validation_nats": found.old_after,
    }


def _tell_forgetting(run: Run) -> None:
    """What a run that went on from a model has learned and forgotten, side by side."""
    found = forgetting(run)
    if found is None:
        return
    click.echo("   before   after  nats per character on the validation part of")
    click.echo(f"{found.new_before:>9.4f}{found.new_after:>8.4f}  this text")
    if found.old_before is not None and found.old_after is not None:
        click.echo(f"{found.old_before:>9.4f}{found.old_after:>8.4f}  the text that the model came with")
    else:
        click.echo(f"        ?       ?  the text that the model came with: {found.reason}")
