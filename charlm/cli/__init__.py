"""The command line: parse, call, print. One file per command, imported when it is used."""

from __future__ import annotations

import signal
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

import click

from charlm import CharlmError, __version__
from charlm.cli.streams import drop_unwritten, echo, prepare_streams

COMMANDS = {
    "train": "Train a model on a text.",
    "sample": "Write text that continues a seed text.",
    "plot": "Draw the loss of one or several runs.",
    "score": "Measure how well a model predicts a text.",
    "inspect": "Show what the hidden units of a model follow.",
    "info": "Show a run: sizes, vocabulary, where it stands.",
}

STOPPED_BY_CTRL_C = 130


class LazyGroup(click.Group):
    """A group that imports a command when it is used; `charlm --help` imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order in which one uses them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command, imported from its file; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"charlm.cli.{cmd_name}").command
        if not any(parameter.name == "debug" for parameter in command.params):
            command.params.append(_debug_option())
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the short help of every command, without importing it."""
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
    charlm train corpora/lanterns.txt      a short play, in seconds
    charlm sample --seed T                 from the newest run
    charlm COMMAND --help                  the options of a command

    Exit codes: 0 done, 1 error, 2 usage, 3 training diverged, 130 or 143 stopped by Ctrl-C or SIGTERM.
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 error, 2 usage, 3 training diverged, 130 or 143 stopped by a signal."""
    prepare_streams()
    with suppress(ValueError):  # only the main thread may set a handler
        signal.signal(signal.SIGTERM, _terminate)
    try:
        code = _exit_code(list(sys.argv[1:] if arguments is None else arguments))
    finally:
        drop_unwritten()
    sys.exit(code)


def _exit_code(arguments: list[str]) -> int:
    debug: dict[str, Any] = {}
    try:
        if any("\0" in argument for argument in arguments):  # impossible from a shell, but not from a program
            raise click.UsageError("an argument holds a NUL character: leave it out")
        with charlm.make_context("charlm", arguments) as ctx:
            debug = ctx.meta
            charlm.invoke(ctx)
            sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        return 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:  # usage errors are 2
        _show(error)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        echo("Stopped.", err=True)
        return STOPPED_BY_CTRL_C
    except (CharlmError, OSError, MemoryError) as error:
        if debug.get("debug"):
            traceback.print_exc()
        echo(f"charlm: {_one_line(error)}", err=True)
        return int(getattr(error, "exit_code", 1))
    return 0


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def _show(error: click.ClickException) -> None:
    if isinstance(error, click.UsageError) and error.ctx:
        echo(f"{error.ctx.get_usage()}\nTry '{error.ctx.command_path} --help' for help.\n", err=True)
    echo(f"Error: {' '.join(error.format_message().split())}", err=True)


def _one_line(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}; use a smaller --hidden, --batch or --window"
    if isinstance(error, OSError) and error.filename is None:  # those of files name them
        return f"cannot write to standard output: {error.strerror}; free some space, or write to another place"
    return " ".join(str(error).split())
