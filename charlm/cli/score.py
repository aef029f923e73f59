"""charlm score"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

import click

from charlm import SurprisalPage, Text, Unseen, clean_up_notes, entries, load, ranked, read_texts
from charlm.cli.arguments import how_to_read, mix_option, reading_options, run_and_files, show_mix, show_warning
from charlm.cli.score_report import show_list, show_total
from charlm.cli.streams import echo, stdin_is_empty
from charlm.predict.dynamic_evaluation import MOST_RATE, USUAL_RATE
from charlm.scoring.ranking import MEASURES
from charlm.scoring.units import RESETS_OF_STATE, UNITS


@click.command("score", short_help="Measure how well a model predicts a text.")
@click.argument("arguments", nargs=-1, metavar="[RUN] [FILE]...", type=click.Path(allow_dash=True))
@click.option(
    "--per",
    default="total",
    show_default=True,
    type=click.Choice(["total", *UNITS]),
    help="One result in total, or one per file, line or character.",
)
@click.option(
    "--reset",
    type=click.Choice(RESETS_OF_STATE),
    help="When the state of the model is reset: never, at each file, or at each line.  [default: file; line for a "
    "model that was trained on records]",
)
@click.option(
    "--by",
    default="mean",
    show_default=True,
    type=click.Choice(MEASURES),
    help="What lines are selected and sorted by: bits per character of the whole line, or of the tenth of its "
    "characters that cost most, which finds a few wrong characters in a good line.",
)
@click.option(
    "--top", type=click.IntRange(min=1), metavar="N", help="The N most surprising only, most surprising first."
)
@click.option("--sort", is_flag=True, help="Most surprising first; all are held in memory.")
@click.option("--above", type=float, metavar="BITS", help="Only those with more bits per character.")
@click.option("--below", type=float, metavar="BITS", help="Only those with fewer bits per character.")
@click.option(
    "--adapt",
    type=click.FloatRange(min=0, max=MOST_RATE, min_open=True),
    metavar="RATE",
    help="Also show the result of dynamic evaluation: the model learns from what it has scored, at this learning rate; "
    f"{USUAL_RATE:g} is usual, {MOST_RATE:g} the most. The model file does not change.",
)
@mix_option
@reading_options
@click.option(
    "--html",
    type=click.Path(),
    metavar="OUT",
    help="Write a page that shows the text coloured by surprisal, and what the model expected at each character.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per line.")
def command(
    arguments: tuple[str, ...],
    per: str,
    reset: str | None,
    by: str,
    top: int | None,
    sort: bool,
    above: float | None,
    below: float | None,
    adapt: float | None,
    mix: bool,
    glob: tuple[str, ...],
    encoding: str | None,
    html: str | None,
    as_json: bool,
) -> None:
    """Measure how well a model predicts texts: nats and bits per character, perplexity.

    RUN is a run directory or a checkpoint file; by default the newest run under ./checkpoints. FILES are texts, packed
    texts (.gz, .bz2, .xz), folders of .txt, or - for standard input, as in charlm train. Memory is bounded for texts of
    any length. Characters that the model does not know have a probability, too; their number is printed to stderr.

    \b
    charlm score --per line --reset line --by worst --top 20 a.log  unusual lines
    charlm score --per file --sort letters/                         unusual texts
    """
    run, files = run_and_files(arguments)
    if not files and (sys.stdin.isatty() or stdin_is_empty()):
        raise click.UsageError("no FILE to score: name one, or pipe a text in")
    if per == "total" and (top, sort, above, below) != (None, False, None, None):
        raise click.UsageError("--top, --sort, --above and --below select files, lines or characters: add --per")
    if by == "worst" and per != "line":
        raise click.UsageError("--by worst selects lines: add --per line")
    if above is not None and below is not None and above >= below:
        raise click.UsageError(f"nothing is above {above:g} and below {below:g}: give --above less than --below")
    if adapt and reset == "line":
        raise click.UsageError("--adapt learns across lines: leave out --reset line")
    if adapt and html:
        raise click.UsageError("--html shows the model without --adapt: leave one out")
    sources = files or ["-"]
    reading = how_to_read(sources, glob, encoding)
    page = SurprisalPage(html) if html else None
    model = load(run, mix=mix)
    show_warning(model)
    reset = reset or model.usual_reset
    if adapt and reset == "line":
        raise click.UsageError("--adapt learns across lines, and this model reads each on its own: add --reset file")
    texts, unseen = _Kept(read_texts(sources, **reading)), Unseen(model.vocabulary)
    counted = unseen.of(page.of(texts) if page else texts)
    found = entries(model, counted, "file" if per == "total" else per, reset=reset, adapt=adapt or 0.0)
    if per == "total":
        show_total(found, as_json)
    else:
        show_list(ranked(found, by=by, top=top, sort=sort, above=above, below=below), per, by, as_json)
    if page:
        echo(page.write(model, reset=reset), err=True)
    show_mix(model)
    for note in filter(None, [*clean_up_notes(texts.seen), str(unseen)]):
        echo(note, err=True)


class _Kept:
    """Texts, kept for the notes on their clean-up, which is known only when they have been read."""

    def __init__(self, texts: Iterable[Text]) -> None:
        self.seen: list[Text] = []
        self._texts = texts

    def __iter__(self) -> Iterator[Text]:
        for text in self._texts:
            self.seen.append(text)
            yield text
