"""The options of `charlm train`, with their defaults from the library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from charlm import ModelSpec, TrainSpec
from charlm.cli.arguments import reading_options
from charlm.nn.cells import ACTIVATIONS, CELLS, RESETS
from charlm.optim.optimizers import OPTIMIZERS
from charlm.optim.schedules import SHAPES
from charlm.training.auto_config import ALL, PATIENCE, PRESETS
from charlm.training.validation_choice import AUTO

MPI = "mpi"
CHOSEN = "[default: chosen automatically]"


def _usual(setting: str) -> str:
    """The defaults of an option, one per optimizer that has it."""
    values = [(name, getattr(usual, setting)) for name, usual in OPTIMIZERS.items()]
    return f"[default: {', '.join(f'{value} for {name}' for name, value in values if value is not None)}]"


def _count_of_workers(ctx: click.Context, parameter: click.Parameter, value: str) -> int | str | None:
    """The callback of --workers: a number, None for auto, or MPI."""
    if value in ("auto", MPI):
        return None if value == "auto" else value
    try:
        count = int(value)
        if count >= 1:
            return count
    except ValueError:
        pass
    raise click.BadParameter(f"{value!r} is not a whole number of at least 1, auto or {MPI}", ctx, parameter)


def _window(ctx: click.Context, parameter: click.Parameter, value: str | None) -> int | str | None:
    """A number, or ALL."""
    if value is None or value == ALL:
        return value
    try:
        return int(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a whole number or {ALL}", ctx, parameter) from None


OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--out", type=click.Path(), help="Run directory to create.  [default: checkpoints/NAME, numbered if taken]"
    ),
    click.option(
        "--cell",
        default=ModelSpec.cell,
        show_default=True,
        type=click.Choice(list(CELLS)),
        help="Kind of recurrent layer.",
    ),
    click.option(
        "--reset",
        default=ModelSpec.reset,
        show_default=True,
        type=click.Choice(RESETS),
        help="Where a GRU applies its reset gate: before or after the recurrent product.",
    ),
    click.option(
        "--activation",
        default=ModelSpec.activation,
        show_default=True,
        type=click.Choice(ACTIVATIONS),
        help="Activation function of an rnn.",
    ),
    click.option(
        "--preset",
        type=click.Choice(list(PRESETS)),
        help="textbook: the network and training of charlm/textbook.py (64 units, batch 1, window 25, plain SGD on the "
        "summed loss, clipping by value); classic: its old name.",
    ),
    click.option("--hidden", type=int, help=f"Units per layer.  {CHOSEN}"),
    click.option("--layers", type=int, help=f"Number of layers.  [default: {ModelSpec.layers}]"),
    click.option(
        "--embedding",
        type=int,
        help=f"Size of a learned embedding of characters, for large alphabets; 0: one-hot input.  {CHOSEN}",
    ),
    click.option("--tied", is_flag=True, help="Read out with the embedding; needs --embedding as large as --hidden."),
    click.option(
        "--residual/--no-residual",
        default=ModelSpec.residual,
        show_default=True,
        help="Layers above the first add their input to their output.",
    ),
    click.option(
        "--dropout", type=float, help=f"Dropout: share of each layer's outputs set to zero in training.  {CHOSEN}"
    ),
    click.option(
        "--input-dropout",
        type=float,
        help=f"Input dropout: share of the characters read as unknown in training.  {CHOSEN}",
    ),
    click.option("--batch", type=int, help=f"Parallel sequences (the batch).  {CHOSEN}"),
    click.option(
        "--window",
        callback=_window,
        metavar="N|all",
        help=f"Time steps of truncated backpropagation (the window); all: the whole text is one window.  {CHOSEN}",
    ),
    click.option(
        "--optimizer",
        default=TrainSpec.optimizer,
        show_default=True,
        type=click.Choice(list(OPTIMIZERS)),
        help="Update rule of the parameters.",
    ),
    click.option("--lr", "learning_rate", type=float, help=f"Peak learning rate.  {_usual('learning_rate')}"),
    click.option(
        "--schedule",
        default=TrainSpec.schedule,
        show_default=True,
        type=click.Choice(SHAPES),
        help="Shape of the decay of the learning rate.",
    ),
    click.option(
        "--warmup", default=TrainSpec.warmup, show_default=True, help="Updates until the peak learning rate is reached."
    ),
    click.option(
        "--loss-reduction",
        default=TrainSpec.loss_reduction,
        show_default=True,
        type=click.Choice(TrainSpec.REDUCTIONS),
        help="Whether gradients are those of the mean or of the summed loss over a window and the batch.",
    ),
    click.option("--momentum", type=float, help=f"Nesterov momentum; 0: none.  {_usual('momentum')}"),
    click.option("--weight-decay", type=float, help=f"Weight decay of the matrices.  {_usual('weight_decay')}"),
    click.option(
        "--clip-norm",
        default=TrainSpec.clip_norm,
        show_default=True,
        type=float,
        help="Clip the gradient to this global norm; 0: off.",
    ),
    click.option(
        "--clip-value", type=float, help="Clip each element of the gradient to this size; 0: off.  [default: off]"
    ),
    click.option(
        "--minutes",
        type=float,
        help=f"Budget in minutes; a short text takes less.  [default: {TrainSpec().resolved.minutes:g}]",
    ),
    click.option(
        "--steps",
        type=int,
        help="Budget in updates, which makes the result reproducible to the bit. Of several budgets, the first that is "
        "used up ends training.",
    ),
    click.option("--epochs", type=float, help="Budget in passes over the text."),
    click.option(
        "--patience",
        type=int,
        help="Evaluations in a row without improvement that end training; 0: off.  "
        f"[default: {PATIENCE}, or 0 with --steps or --epochs]",
    ),
    click.option(
        "--evaluate-every",
        type=int,
        metavar="N",
        help=f"Updates between two evaluations.  [default: {TrainSpec.EVALUATIONS} evaluations in all, or fewer, so "
        f"that they take at most {TrainSpec.MOST_EVALUATION:.0%} of the time]",
    ),
    click.option(
        "--keep",
        default=TrainSpec.keep,
        show_default=True,
        help="Numbered checkpoints to keep, one per evaluation, beside the last and the best.",
    ),
    click.option(
        "--validation",
        multiple=True,
        metavar="HOW|FILE",
        type=click.Path(),
        help="What to validate on. tail: the end of the text; blocks: pieces across the text, and of every file; "
        "records: lines, chosen by their content, where each line is a text of its own, such as a name; auto: what "
        f"suits the text; or another text, which can be given several times.  [default: {AUTO}]",
    ),
    click.option(
        "--val-fraction",
        default=TrainSpec.val_fraction,
        show_default=True,
        help="Share of the text that is kept for validation.",
    ),
    click.option(
        "--val-limit",
        default=TrainSpec.val_limit,
        show_default=True,
        help="Maximum number of characters kept for validation.",
    ),
    click.option(
        "--rare-as-unknown/--no-rare-as-unknown",
        default=TrainSpec.rare_as_unknown,
        show_default=True,
        help="Read characters that occur once as unknown in every second epoch, so the model expects unknown ones.",
    ),
    click.option(
        "--precision",
        default=TrainSpec.precision,
        show_default=True,
        type=click.Choice(TrainSpec.PRECISIONS),
        help="Floating-point numbers of training.",
    ),
    click.option("--rng-seed", default=TrainSpec.rng_seed, show_default=True, help="Seed of all random numbers."),
    click.option(
        "--from",
        "origin",
        type=click.Path(),
        metavar="RUN",
        help="Start from the model of a run or a checkpoint: its sizes, its characters and those of CORPUS.",
    ),
    click.option("--resume", type=click.Path(), metavar="DIR", help="Resume the run in DIR."),
    click.option(
        "--workers",
        default="auto",
        show_default=True,
        metavar="N|auto|mpi",
        callback=_count_of_workers,
        help="Processes that share the batch; mpi: the ranks of the MPI job that runs charlm.",
    ),
    click.option(
        "--threads",
        type=int,
        help="Threads for matrix products, of all workers together: at least one per worker, at most one per "
        "processor.  [default: one per worker; all cores for large products]",
    ),
    reading_options,
    click.option("--duplicates", is_flag=True, help="Read texts that are the same as another one each time, not once."),
    click.option("--quiet", is_flag=True, help="Print no progress and no samples."),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object to standard output at the end."),
)
"""In the order of the help."""


def training_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all of them."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command
