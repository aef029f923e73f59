"""charlm plot"""

from __future__ import annotations

import click

from charlm import plot
from charlm.cli.arguments import run_or_newest


@click.command("plot", short_help="Draw the loss of one or several runs.")
@click.argument("runs", nargs=-1, type=click.Path())
@click.option("-o", "--output", default="loss.png", show_default=True, type=click.Path(), help="The picture to write.")
@click.option(
    "--against",
    default="steps",
    show_default=True,
    type=click.Choice(["steps", "characters", "minutes"]),
    help="What the curves are drawn against.",
)
def command(runs: tuple[str, ...], output: str, against: str) -> None:
    """Draw the training and validation loss of one or several runs in one picture.

    RUNS are run directories; left out, the newest run under ./checkpoints. The ending of the output chooses the
    format: .png, .svg or .pdf.
    """
    plot([run_or_newest(run) for run in runs or (None,)], output, against=against)
    click.echo(f"Wrote {output}")
