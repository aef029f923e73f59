"""charlm score"""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import click

from charlm import CorpusError, Score, UnknownCharacterError, clean_up_notes, load, read_texts
from charlm.cli.arguments import run_and_files


@click.command("score", short_help="Tell how well a model predicts a text.")
@click.argument("arguments", nargs=-1, metavar="[RUN] [FILE]...", type=click.Path(allow_dash=True))
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(arguments: tuple[str, ...], as_json: bool) -> None:
    """Tell how well a model predicts a text: nats and bits per character, perplexity.

    RUN is a run directory or a checkpoint file; left out, the newest run under ./checkpoints. FILES are texts, .gz,
    folders of .txt, or - for standard input, as in charlm train; each is read from its own beginning.
    """
    run, files = run_and_files(arguments)
    if not files and sys.stdin.isatty():
        raise click.UsageError("no FILE to score: name one, or pipe a text in")
    model = load(run)
    total = Score(0, 0.0)
    texts = []
    for text in read_texts(files or ["-"]):
        try:
            total += model.score(text.text)
        except UnknownCharacterError as error:
            raise UnknownCharacterError(f"{text.source}, {error}") from None
        texts.append(replace(text, text=""))  # only its notes are still needed
    if not total.characters:
        raise CorpusError("the text is empty: there is nothing to score; name a text with at least one character")
    for note in clean_up_notes(texts):
        click.echo(note, err=True)
    result = {
        "characters": total.characters,
        "nats": total.nats,
        "bits": total.bits,
        "nats_per_char": total.nats_per_char,
        "bits_per_char": total.bits_per_char,
        "perplexity": total.perplexity,
    }
    if as_json:
        click.echo(json.dumps(result))
        return
    click.echo(f"{total.characters:>14,} characters")
    click.echo(f"{total.nats:>14,.1f} nats           {total.bits:>14,.1f} bits")
    click.echo(f"{total.nats_per_char:>14.4f} nats per char  {total.bits_per_char:>14.4f} bits per char")
    click.echo(f"{total.perplexity:>14.3f} perplexity")
