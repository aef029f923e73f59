"""charlm score"""

from __future__ import annotations

import heapq
import sys
from collections.abc import Callable, Iterable, Iterator

import click

from charlm import (
    RESETS_OF_STATE,
    UNITS,
    Entry,
    SurprisalPage,
    Text,
    Unseen,
    clean_up_notes,
    entries,
    load,
    read_texts,
)
from charlm.cli.arguments import run_and_files
from charlm.cli.score_report import show_list, show_total

Measure = Callable[[Entry], float]
SHARPNESS = 4  # digits; beyond them even equal lines differ, by what was read beside them


@click.command("score", short_help="Tell how well a model predicts a text.")
@click.argument("arguments", nargs=-1, metavar="[RUN] [FILE]...", type=click.Path(allow_dash=True))
@click.option(
    "--per",
    default="total",
    show_default=True,
    type=click.Choice(["total", *UNITS]),
    help="One result in all, or one for each file, line or character.",
)
@click.option(
    "--reset",
    default="file",
    show_default=True,
    type=click.Choice(RESETS_OF_STATE),
    help="Where the model forgets what it has read and starts anew.",
)
@click.option(
    "--by",
    default="mean",
    show_default=True,
    type=click.Choice(["mean", "worst"]),
    help="What lines are chosen and sorted by: bits per character of all their characters, or of the tenth that cost "
    "most, which finds a few wrong characters in a good line.",
)
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="The N most surprising only, these first.")
@click.option("--sort", is_flag=True, help="The most surprising first; all are held in memory.")
@click.option("--above", type=float, metavar="BITS", help="Only what costs more bits per character than this.")
@click.option("--below", type=float, metavar="BITS", help="Only what costs fewer bits per character than this.")
@click.option(
    "--adapt",
    type=click.FloatRange(min=0, max=100, min_open=True),
    metavar="RATE",
    help="Learn from what was scored while going on, and show that result, too; 0.1 is usual. The model stays.",
)
@click.option(
    "--html",
    type=click.Path(),
    metavar="OUT",
    help="Write a page that shows the text coloured by surprisal, and what was expected at every character.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON, one object a line.")
def command(
    arguments: tuple[str, ...],
    per: str,
    reset: str,
    by: str,
    top: int | None,
    sort: bool,
    above: float | None,
    below: float | None,
    adapt: float | None,
    html: str | None,
    as_json: bool,
) -> None:
    """Tell how well a model predicts texts: nats and bits per character, perplexity.

    RUN is a run directory or a checkpoint file; left out, the newest run under ./checkpoints. FILES are texts, .gz,
    folders of .txt, or - for standard input, as in charlm train. Text of any length is read at bounded memory, and
    every character has a probability, those that the model never saw, too; how many these were is said on stderr.

    \b
    charlm score --per line --reset line --by worst --top 20 a.log    odd lines
    charlm score --per file --sort letters/                           odd texts
    """
    run, files = run_and_files(arguments)
    if not files and sys.stdin.isatty():
        raise click.UsageError("no FILE to score: name one, or pipe a text in")
    if per == "total" and (top, sort, above, below) != (None, False, None, None):
        raise click.UsageError("--top, --sort, --above and --below choose among files, lines or characters: add --per")
    if by == "worst" and per != "line":
        raise click.UsageError("--by worst is of lines: add --per line")
    if adapt and reset == "line":
        raise click.UsageError("--adapt learns from line to line: leave --reset line out")
    if adapt and html:
        raise click.UsageError("--html shows the model as it was trained: leave --adapt out")
    page = SurprisalPage(html) if html else None
    model = load(run)
    texts, unseen = _Noted(read_texts(files or ["-"])), Unseen(model.vocabulary)
    sources = unseen.of(page.of(texts) if page else texts)
    found = entries(model, sources, "file" if per == "total" else per, reset=reset, adapt=adapt or 0.0)
    if per == "total":
        show_total(found, as_json)
    else:
        measure = _worst if by == "worst" else _mean
        show_list(_chosen(found, measure, top, sort, above, below), per, by, as_json)
    if page:
        click.echo(page.write(model, reset=reset), err=True)
    for note in filter(None, [*clean_up_notes(texts.seen), str(unseen)]):
        click.echo(note, err=True)


class _Noted:
    """Texts, once more; what was changed in them is known when they have been read."""

    def __init__(self, texts: Iterable[Text]) -> None:
        self.seen: list[Text] = []
        self._texts = texts

    def __iter__(self) -> Iterator[Text]:
        for text in self._texts:
            self.seen.append(text)
            yield text


def _chosen(
    found: Iterable[Entry],
    measure: Measure,
    top: int | None,
    sort: bool,
    above: float | None,
    below: float | None,
) -> Iterable[Entry]:
    """The entries that were asked for, in their order or the most surprising first; equal ones keep their order."""
    found = (
        entry
        for entry in found
        if (above is None or measure(entry) > above) and (below is None or measure(entry) < below)
    )
    if top is not None:
        return heapq.nlargest(top, found, key=lambda entry: round(measure(entry), SHARPNESS))
    return sorted(found, key=lambda entry: round(measure(entry), SHARPNESS), reverse=True) if sort else found


def _mean(entry: Entry) -> float:
    return entry.score.bits_per_char if entry.score.characters else 0.0


def _worst(entry: Entry) -> float:
    assert entry.worst is not None
    return entry.worst.bits_per_char
