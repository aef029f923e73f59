"""charlm plot"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click
from click.core import ParameterSource

from charlm import plot, terminal_curve
from charlm.cli.arguments import run_or_newest
from charlm.cli.streams import echo, shows
from charlm.plotting.curves import AXES, AXIS
from charlm.plotting.terminal import ASCII, BLOCKS, COLUMNS


@click.command("plot", short_help="Draw the loss of one or several runs.")
@click.argument("runs", nargs=-1, type=click.Path())
@click.option("-o", "--output", default="loss.png", show_default=True, type=click.Path(), help="Picture to write.")
@click.option(
    "--against",
    default=AXIS,
    show_default=True,
    type=click.Choice([*AXES]),
    help="The x axis.",
)
@click.option("--terminal", is_flag=True, help="Print the curves as text instead of writing a picture.")
@click.pass_context
def command(ctx: click.Context, /, runs: tuple[str, ...], output: str, against: str, terminal: bool) -> None:
    """Draw the training and validation loss of one or several runs in one picture.

    RUNS are run directories; by default the newest run under ./checkpoints. The suffix of the output sets the format:
    .png, .svg or .pdf.
    """
    paths = [run_or_newest(run) for run in runs or (None,)]
    if not terminal:
        plot(paths, output, against=against)
        echo(f"Wrote {output}")
        return
    if ctx.get_parameter_source("output") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--terminal writes no picture: leave --output out, or call charlm plot twice")
    curves = [curve_of(path, against) for path in paths]
    for path, curve in zip(paths, curves, strict=True):
        echo((f"{path}\n" if len(paths) > 1 else "") + curve, nl=False)


def curve_of(run: str | Path, against: str = AXIS) -> str:
    """The loss of a run as lines of text that standard output can show."""
    columns = min(COLUMNS, shutil.get_terminal_size().columns) if sys.stdout.isatty() else COLUMNS
    marks = BLOCKS if shows("".join(BLOCKS)) else ASCII
    return terminal_curve(run, against=against, columns=columns, marks=marks)
