"""The counter: parse, call, print. One file per command, each loaded only when it is used."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import IO, Any, NoReturn

import click

from charlm import CharlmError, __version__

COMMANDS = {
    "train": "Train a model on a text.",
    "sample": "Write text that continues a seed text.",
    "plot": "Draw the loss of one or several runs.",
    "score": "Tell how well a model predicts a text.",
    "inspect": "Show what the hidden units of a model follow.",
    "info": "Show a run: sizes, vocabulary, where it stands.",
}

STOPPED_BY_CTRL_C = 130


class LazyGroup(click.Group):
    """A group whose commands are imported when asked for: `charlm --help` loads none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's file."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"charlm.cli.{cmd_name}").command
        if not any(parameter.name == "debug" for parameter in command.params):
            command.params.append(_debug_option())
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands' short helps, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _debug_option() -> click.Option:
    return click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=lambda ctx, _, value: ctx.find_root().meta.update({"debug": True}) if value else None,
        help="Show the traceback of an error.",
    )


@click.group(
    cls=LazyGroup,
    params=[_debug_option()],
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "CHARLM"},
)
@click.version_option(__version__, message="charlm %(version)s")
def charlm() -> None:
    """A character-level language model you train on your own text.

    \b
    charlm train corpora/lanterns.txt      three minutes on two cores
    charlm sample --seed T                 from the newest run
    charlm COMMAND --help                  the options of a command
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 error, 2 usage, 3 training diverged, 130 or 143 stopped by a signal."""
    _open_what_is_closed()
    with suppress(ValueError):  # only the main thread may; elsewhere somebody else sees to signals
        signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        _speak_utf8(stream)
    debug: dict[str, Any] = {}
    try:
        with charlm.make_context("charlm", list(sys.argv[1:] if arguments is None else arguments)) as ctx:
            debug = ctx.meta
            charlm.invoke(ctx)
            sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:  # usage errors are 2
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("Stopped.", err=True)
        sys.exit(STOPPED_BY_CTRL_C)
    except (CharlmError, OSError, MemoryError) as error:
        if debug.get("debug"):
            traceback.print_exc()
        click.echo(f"charlm: {_one_line(error)}", err=True)
        sys.exit(getattr(error, "exit_code", 1))
    sys.exit(0)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def _one_line(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}; use a smaller --hidden, --batch or --window"
    return " ".join(str(error).split())


def _open_what_is_closed() -> None:
    """A stream that the caller closed (`>&-`, `<&-`) is an empty one."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nothing = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - open as long as the process
            setattr(sys, name, nothing)


def _speak_utf8(stream: IO[str]) -> None:
    """Text is UTF-8 whatever the locale; a terminal that is not shows what it can."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")
