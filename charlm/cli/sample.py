"""charlm sample"""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Iterator
from typing import Any

import click

from charlm import Novelty, SampleSpec, Text, TrainedModel, TrainingText, Unseen, blas_threads, clean_up_notes, load
from charlm.analysis.memorisation import SPAN
from charlm.cli.arguments import as_utf8, encoding_option, mix_option, run_or_newest, show_mix, show_warning

MOST_AT_ONCE = 64  # samples generated in parallel
MOST_SHOWN = 80  # characters of the longest copy
FLUSH_SECONDS = 0.03  # flushing every character would take longer than generating it


@click.command("sample", short_help="Write text that continues a seed text.")
@click.argument("run", required=False, type=click.Path())
@click.option(
    "--seed",
    default="",
    callback=as_utf8,
    help="Seed text to continue, one character or more. (The random seed is --rng-seed.)  "
    "[default: the start of a line]",
)
@click.option(
    "--seed-file", type=click.Path(allow_dash=True), metavar="FILE", help="Continue all of a text; - is standard input."
)
@encoding_option
@click.option("-n", "--length", default=SampleSpec.length, show_default=True, help="Characters to add.")
@click.option(
    "--temperature",
    default=SampleSpec.temperature,
    show_default=True,
    help="Below 1: less varied; above 1: more varied; 0: always the most likely character.",
)
@click.option("--top-k", type=int, help="Sample from the K most likely characters only.")
@click.option("--top-p", type=float, help="Sample from the most likely characters only, up to this total probability.")
@click.option("--stop", callback=as_utf8, help="Stop before this string; $'\\n' is a line end.")
@click.option(
    "--rng-seed",
    type=click.IntRange(min=0),
    help="Random seed: the same number gives the same sample.  [default: a new one each time, printed to stderr]",
)
@mix_option
@click.option("--count", default=1, show_default=True, type=click.IntRange(min=1), help="Number of samples.")
@click.option(
    "--novelty",
    is_flag=True,
    help="Print to stderr what was copied from the training text, which must still be available.",
)
@click.option(
    "--corpus",
    multiple=True,
    type=click.Path(),
    metavar="FILE",
    help="Where --novelty finds the training text, if it was moved or renamed; repeat it for several files.  "
    "[default: where the text was]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per sample.")
def command(
    run: str | None,
    seed: str,
    seed_file: str | None,
    encoding: str | None,
    length: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    stop: str | None,
    rng_seed: int | None,
    mix: bool,
    count: int,
    novelty: bool,
    corpus: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write text that continues a seed text, character by character as it is generated.

    RUN is a run directory or a checkpoint file; by default the newest run under ./checkpoints. Only the sample goes to
    standard output. With --count, each sample ends with a line end.
    """
    if corpus and not novelty:
        raise click.UsageError("--corpus says where --novelty finds the training text: add --novelty")
    if encoding and seed_file is None:
        raise click.UsageError("--encoding is that of --seed-file: name one, or leave it out")
    if seed_file is not None:
        seed = _text_of(seed_file, seed, encoding)
    spec = SampleSpec(length, temperature, top_k, top_p, stop)
    path = run_or_newest(run)
    model = load(path, mix=mix)
    learned_from = TrainingText.of(path, corpus or None) if novelty else None
    show_warning(model)
    show_mix(model)
    unseen = Unseen(model.vocabulary)
    unseen.add(seed)
    if unseen.characters:
        click.echo(f"The model never saw {unseen.names}: read as the unknown character", err=True)
    if rng_seed is None:
        rng_seed = secrets.randbelow(2**32)
        click.echo(f"Random seed {rng_seed} (--rng-seed {rng_seed} gives this sample again)", err=True)

    with blas_threads(1 if count == 1 else None):  # one sample is too little work for several threads
        if count == 1 and not as_json:
            _show_one(model, seed, spec, rng_seed, learned_from)
        else:
            _show_all(model, seed, spec, rng_seed, count, learned_from, as_json)


def _text_of(path: str, seed: str, encoding: str | None) -> str:
    """The text of --seed-file. Raises UsageError if there is a --seed, too, or if the file is empty."""
    if seed:
        raise click.UsageError("--seed and --seed-file both give the seed text: leave one out")
    text = Text(path, encoding=encoding)
    found = "".join(text)
    if not found:
        raise click.UsageError(f"{text.source} is empty: put the text to continue there, or leave out --seed-file")
    for note in clean_up_notes([text]):
        click.echo(note, err=True)
    return found


def _show_one(
    model: TrainedModel, seed: str, spec: SampleSpec, rng_seed: int, learned_from: TrainingText | None
) -> None:
    """Write one sample while it is generated."""
    text = _stream(seed, model.sample(seed, spec, rng_seed=(rng_seed, 0)))
    if sys.stdout.isatty() and (seed + text)[-1:] != "\n":
        sys.stdout.write("\n")
    sys.stdout.flush()
    if learned_from:
        _show_novelty(learned_from.novelty(text))


def _show_all(
    model: TrainedModel,
    seed: str,
    spec: SampleSpec,
    rng_seed: int,
    count: int,
    learned_from: TrainingText | None,
    as_json: bool,
) -> None:
    """Write samples, each when it is complete; MOST_AT_ONCE are generated in parallel."""
    for first in range(0, count, MOST_AT_ONCE):
        numbers = range(first, min(first + MOST_AT_ONCE, count))
        texts = model.samples(seed, spec, rng_seed=rng_seed, numbers=numbers)
        for number, text in zip(numbers, texts, strict=True):
            found = learned_from.novelty(text) if learned_from else None
            if as_json:
                record = {"text": seed + text, "seed": seed, "rng_seed": rng_seed, "number": number}
                click.echo(json.dumps(record | _figures(found), ensure_ascii=False))
                continue
            click.echo(seed + text, nl=not (seed + text).endswith("\n"))
            if found:
                _show_novelty(found)


def _stream(seed: str, characters: Iterator[str]) -> str:
    """Write the seed text, then each character when it comes; returns the characters."""
    sys.stdout.write(seed)
    sys.stdout.flush()
    text, flushed = [], time.monotonic()
    for character in characters:
        text.append(character)
        sys.stdout.write(character)
        if time.monotonic() - flushed > FLUSH_SECONDS:
            sys.stdout.flush()
            flushed = time.monotonic()
    return "".join(text)


def _figures(found: Novelty | None) -> dict[str, Any]:
    """The fields of --json for --novelty."""
    return {"copied": found.copied, f"new_{SPAN}grams": found.share} if found else {}


def _show_novelty(found: Novelty) -> None:
    """Print to stderr what a sample has in common with the training text."""
    copied = repr(found.copied)
    if len(copied) > MOST_SHOWN:
        copied = f"{copied[: MOST_SHOWN - 4]}...{copied[-1]}"
    new = "" if found.share is None else f"; {found.share:.0%} of its runs of {SPAN} characters are new"
    click.echo(f"Longest run copied from the training text: {len(found.copied):,} characters, {copied}{new}", err=True)
