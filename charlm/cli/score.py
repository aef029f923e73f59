"""charlm score"""

from __future__ import annotations

import heapq
import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import click

from charlm import (
    RESETS_OF_STATE,
    UNITS,
    CorpusError,
    Entry,
    Score,
    SurprisalPage,
    Text,
    clean_up_notes,
    entries,
    load,
    read_texts,
)
from charlm.cli.arguments import run_and_files

FALLBACK_WIDTH = 10**6  # of a line where the output is no terminal: all of it


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
    every character has a probability, those that the model never saw, too.

    \b
    charlm score --per line --reset line --above 4 server.log    odd lines
    charlm score --per file --sort letters/                      odd texts first
    """
    run, files = run_and_files(arguments)
    if not files and sys.stdin.isatty():
        raise click.UsageError("no FILE to score: name one, or pipe a text in")
    if per == "total" and (top, sort, above, below) != (None, False, None, None):
        raise click.UsageError("--top, --sort, --above and --below choose among files, lines or characters: add --per")
    if adapt and reset == "line":
        raise click.UsageError("--adapt learns from line to line: leave --reset line out")
    if adapt and html:
        raise click.UsageError("--html shows the model as it was trained: leave --adapt out")
    page = SurprisalPage(html) if html else None
    model, texts = load(run), list[Text]()
    sources = _noted(read_texts(files or ["-"]), texts)
    found = entries(model, page.of(sources) if page else sources, _unit(per), reset=reset, adapt=adapt or 0.0)
    if per == "total":
        _show_total(found, as_json)
    else:
        _show_list(_chosen(found, top, sort, above, below), per, as_json)
    if page:
        click.echo(page.write(model, reset=reset), err=True)
    for note in clean_up_notes(texts):
        click.echo(note, err=True)


def _unit(per: str) -> str:
    return "file" if per == "total" else per


def _noted(texts: Iterable[Text], seen: list[Text]) -> Iterator[Text]:
    """The texts, once more; what was changed in them is known when they have been read."""
    for text in texts:
        seen.append(text)
        yield text


def _chosen(
    found: Iterable[Entry], top: int | None, sort: bool, above: float | None, below: float | None
) -> Iterable[Entry]:
    found = (
        entry
        for entry in found
        if (above is None or entry.score.bits_per_char > above) and (below is None or entry.score.bits_per_char < below)
    )
    if top is not None:
        return heapq.nlargest(top, found, key=_surprise)
    return sorted(found, key=_surprise, reverse=True) if sort else found


def _surprise(entry: Entry) -> float:
    return entry.score.bits_per_char if entry.score.characters else 0.0


def _show_total(found: Iterable[Entry], as_json: bool) -> None:
    total, adapted = Score(0, 0.0), None
    for entry in found:
        total += entry.score
        if entry.adapted is not None:
            adapted = (adapted or Score(0, 0.0)) + entry.adapted
    if not total.characters:
        raise CorpusError("the text is empty: there is nothing to score; name a text with at least one character")
    if as_json:
        click.echo(json.dumps(_figures(total) | ({"adapted": _figures(adapted)} if adapted else {})))
        return
    click.echo(f"{total.characters:>14,} characters")
    click.echo(f"{total.nats:>14,.1f} nats           {total.bits:>14,.1f} bits")
    click.echo(f"{total.nats_per_char:>14.4f} nats per char  {total.bits_per_char:>14.4f} bits per char")
    click.echo(f"{total.perplexity:>14.3f} perplexity")
    if adapted:
        gained = total.bits_per_char - adapted.bits_per_char
        click.echo(
            f"{adapted.nats_per_char:>14.4f} nats per char  {adapted.bits_per_char:>14.4f} bits per char, adapting"
        )
        click.echo(f"{gained:>14.4f} bits per char {'gained' if gained >= 0 else 'lost'} by adapting")


def _show_list(found: Iterable[Entry], per: str, as_json: bool) -> None:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else FALLBACK_WIDTH
    for number, entry in enumerate(found):
        if as_json:
            click.echo(json.dumps(_record(entry), ensure_ascii=False))
            continue
        if number == 0:
            click.echo(_heading(per, entry.adapted is not None))
        click.echo(_row(entry, per)[: max(width, 20)])


def _heading(per: str, adapting: bool) -> str:
    adapted = f"{'adapting':>10}" if adapting else ""
    if per == "file":
        return f"{'bits/char':>10}{adapted}{'characters':>13}  file"
    return f"{'bits' if per == 'char' else 'bits/char':>10}{adapted}  where"


def _row(entry: Entry, per: str) -> str:
    row = "".join(f"{_rate(score):>10}" for score in (entry.score, entry.adapted) if score)
    if per == "file":
        return f"{row}{entry.score.characters:>13,}  {entry.source}"
    text = entry.text.removesuffix("\n") if per == "line" else repr(entry.text)[1:-1]
    place = f"{entry.line}" if per == "line" else f"{entry.line}:{entry.column}"
    return f"{row}  {entry.source}:{place}  {text}"


def _rate(score: Score) -> str:
    return f"{score.bits_per_char:.3f}" if score.characters else "-"


def _figures(score: Score) -> dict[str, Any]:
    return {
        "characters": score.characters,
        "nats": score.nats,
        "bits": score.bits,
        "nats_per_char": score.nats_per_char if score.characters else None,
        "bits_per_char": score.bits_per_char if score.characters else None,
        "perplexity": score.perplexity if score.characters else None,
    }


def _record(entry: Entry) -> dict[str, Any]:
    where = {"file": entry.source, "line": entry.line, "column": entry.column, "text": entry.text or None}
    record = {name: value for name, value in where.items() if value is not None} | _figures(entry.score)
    return record | ({"adapted": _figures(entry.adapted)} if entry.adapted else {})
