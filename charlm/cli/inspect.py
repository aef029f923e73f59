"""charlm inspect"""

from __future__ import annotations

import sys
from itertools import chain
from typing import Any

import click

from charlm import Inspection, InspectionFile, clean_up_notes, load, read_texts
from charlm.analysis.inspection import MOST_UNITS, SHOWN_UNITS
from charlm.cli.arguments import how_to_read, reading_options, run_and_files, show_warning
from charlm.cli.screen import json_line
from charlm.cli.streams import echo, stdin_is_empty


@click.command("inspect", short_help="Show what the hidden units of a model follow.")
@click.argument("arguments", nargs=-1, metavar="[RUN] FILE", type=click.Path(allow_dash=True))
@click.option(
    "--units", default=SHOWN_UNITS, show_default=True, type=click.IntRange(1, MOST_UNITS), help="Units to show."
)
@click.option(
    "-o",
    "--output",
    default="inspect.html",
    show_default=True,
    type=click.Path(),
    help="File to write: an interactive page (.html) or a picture (.png, .svg, .pdf).",
)
@reading_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per unit.")
def command(
    arguments: tuple[str, ...], units: int, output: str, glob: tuple[str, ...], encoding: str | None, as_json: bool
) -> None:
    """Show what the hidden units of a model follow in a text, and how often its gates are open.

    RUN is a run directory or a checkpoint file; by default the newest run under ./checkpoints. FILE is a text, packed
    (.gz, .bz2, .xz) or not, a folder of .txt, or - for standard input; its first 100,000 characters are read. The units
    shown are those with the highest correlation with a feature that a reader can name: the position in a line,
    capitals, the names of speakers, quotation marks.
    """
    run, files = run_and_files(arguments)
    if len(files) > 1 or (not files and (sys.stdin.isatty() or stdin_is_empty())):
        raise click.UsageError(f"inspect reads one FILE, not {len(files)}: name one, or pipe a text in")
    sources = files or ["-"]
    reading = how_to_read(sources, glob, encoding)
    file, model = InspectionFile(output), load(run)
    show_warning(model)
    texts = list(read_texts(sources, **reading))
    inspection = model.inspect(chain.from_iterable(texts), units)
    _show(inspection, as_json)
    if inspection.warning:
        echo(inspection.warning, err=True)
    echo(file.write(inspection, model.name, texts[0].source if len(texts) == 1 else files[0]), err=True)
    for note in clean_up_notes(texts):
        echo(note, err=True)


def _show(inspection: Inspection, as_json: bool) -> None:
    if not as_json and inspection.units:
        echo(f"{'r':>6}  {'unit':<14}  follows")
    for unit in inspection.units:
        if as_json:
            record: dict[str, Any] = {"layer": unit.layer, "unit": unit.number, "feature": unit.feature}
            echo(json_line(record | {"correlation": unit.correlation}))
        else:
            echo(f"{unit.correlation:>+6.2f}  {unit.name:<14}  {unit.feature}")
    for gate in () if as_json else inspection.gates:
        echo(f"layer{gate.layer} gate {gate.name}: {gate.shut:.0%} below 0.1, {gate.open:.0%} above 0.9")
