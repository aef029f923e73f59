"""Arguments that several commands share."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

from charlm import TrainedModel, is_run, newest_run
from charlm.cli.streams import echo


def as_utf8(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """The callback of an option: its text decoded as UTF-8, in any locale."""
    if value is None or not any("\ud800" <= character <= "\udfff" for character in value):
        return value
    try:
        return os.fsencode(value).decode("utf-8")
    except UnicodeDecodeError:
        raise click.BadParameter("expected UTF-8 text, and this is not: convert it", ctx, param) from None


ESCAPES = {"\\n": ("\n", "a line end"), "\\t": ("\t", "a tab"), "\\\\": ("\\", "a backslash")}


def with_escapes(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """The callback of an option: UTF-8 text in which \\n, \\t and \\\\ are a line end, a tab and a backslash.

    What was understood is printed to stderr.
    """
    text = as_utf8(ctx, param, value)
    if text is None:
        return None
    written = re.findall(r"\\[nt\\]", text)
    if written:
        read = ", ".join(f"{escape} is read as {ESCAPES[escape][1]}" for escape in dict.fromkeys(written))
        advice = "" if "\\\\" in written else " (write \\\\ for a backslash)"
        echo(f"In {param.opts[0]}, {read}{advice}", err=True)
    return re.sub(r"\\[nt\\]", lambda found: ESCAPES[found[0]][0], text)


def run_or_newest(target: str | Path | None) -> Path:
    """The given run, or the newest one under ./checkpoints, whose name is printed to stderr."""
    if target is not None:
        return Path(target)
    path = newest_run()
    echo(f"Using the newest run, {path}", err=True)
    return path


def run_and_files(arguments: tuple[str, ...]) -> tuple[Path, list[str]]:
    """Split `[RUN] [FILE...]`: the first argument is the run if it is a run directory or a checkpoint file.

    Raises UsageError if it does not exist, and RunError if no run is given and there is none.
    """
    first, files = arguments[:1], list(arguments)
    if first and (is_run(first[0]) or first[0].endswith(".safetensors")):
        return Path(first[0]), files[1:]
    if len(files) > 1 and files[0] != "-" and not Path(files[0]).exists():
        raise click.UsageError(f"{files[0]} is neither a run, nor a checkpoint, nor a text: check the spelling")
    return run_or_newest(None), files


mix_option = click.option(
    "--mix",
    is_flag=True,
    help="Interpolate with the run's n-gram, with the weight that is best on the validation part, if that is better "
    "than the network alone.",
)


def show_mix(model: TrainedModel) -> None:
    """Print to stderr what --mix does: the weights, and the losses on the validation part."""
    if (mix := model.mix) is None:
        return
    if model.mixture is None:
        message = (
            f"Not mixed: on the validation part the mixture has {mix.nats:.3f} nats per character, the network alone "
            f"{mix.network_nats:.3f}"
        )
    else:
        message = (
            f"Mixed: {mix.weight:.2f} of the network and {1 - mix.weight:.2f} of a {model.ngram_order}-gram; "
            f"on the validation part {mix.network_nats:.3f} and {mix.ngram_nats:.3f} nats per character, together "
            f"{mix.nats:.3f}"
        )
    echo(message, err=True)
