"""Arguments that several commands share."""

from __future__ import annotations

import os
from pathlib import Path

import click

from charlm import TrainedModel, newest_run
from charlm.runs.config import is_run


def as_utf8(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Text from the command line as UTF-8, whatever the locale made of its bytes. An option's callback."""
    if value is None or not any("\ud800" <= character <= "\udfff" for character in value):
        return value
    try:
        return os.fsencode(value).decode("utf-8")
    except UnicodeDecodeError:
        raise click.BadParameter("it is not UTF-8 text", ctx, param) from None


def run_or_newest(target: str | Path | None) -> Path:
    """The run that was named, or the newest one under ./checkpoints, which is then said on stderr."""
    if target is not None:
        return Path(target)
    path = newest_run()
    click.echo(f"Using the newest run, {path}", err=True)
    return path


def run_and_files(arguments: tuple[str, ...]) -> tuple[Path, list[str]]:
    """Split `[RUN] [FILE...]`: the first argument is the run if it is a run directory or a checkpoint file."""
    first, files = arguments[:1], list(arguments)
    if first and (is_run(first[0]) or first[0].endswith(".safetensors")):
        return Path(first[0]), files[1:]
    if len(files) > 1 and files[0] != "-" and not Path(files[0]).exists():
        raise click.UsageError(f"{files[0]} is neither a run, nor a checkpoint, nor a text: see what is misspelt")
    return run_or_newest(None), files


mix_option = click.option(
    "--mix",
    is_flag=True,
    help="Mix with the run's n-gram, by the weight that was best on the validation part, where that is better.",
)


def say_mix(model: TrainedModel) -> None:
    """On stderr, what --mix came to."""
    if (mix := model.mix) is None:
        return
    if model.mixture is None:
        said = f"Not mixed: on the validation part {mix.network_nats:.3f} nats per character become {mix.nats:.3f}"
    else:
        said = (
            f"Mixed: {mix.weight:.2f} of the network and {1 - mix.weight:.2f} of a {model.ngram_order}-gram; "
            f"on the validation part {mix.network_nats:.3f} and {mix.ngram_nats:.3f} nats per character, together "
            f"{mix.nats:.3f}"
        )
    click.echo(said, err=True)
