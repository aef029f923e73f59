"""Write docs/cli.md, the reference of the command line, from the commands themselves.

python scripts/make_cli_reference.py
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from charlm.cli import charlm

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
HEAD = """# The command line

Every command and option, from the help texts (`scripts/make_cli_reference.py` writes this page). Every command has
`--help`, or `-h`, too, and `--debug`, which shows the traceback of an error. `charlm --version` prints the version.
"""
ENVIRONMENT = """## Environment variables

An environment variable can set any option, for example `CHARLM_TRAIN_MINUTES=1` that of `charlm train --minutes`. The
command line takes precedence. Some options have another name there:
"""
CACHE = "`CHARLM_CACHE` is the folder for the ids of large texts, by default `~/.cache/charlm`.\n"
OF_EVERY_COMMAND = {"--help", "--debug"}
WORDS = {"integer": "INTEGER", "integer range": "INTEGER", "float": "NUMBER", "float range": "NUMBER", "path": "PATH"}


def reference() -> str:
    """The whole page."""
    sections = [HEAD, "    charlm [OPTIONS] COMMAND [ARGUMENTS]...\n", *paragraphs(charlm.help or "")]
    variables: dict[str, str] = {}
    for name, command in commands_of(charlm):
        sections += [f"## charlm {name}\n", f"    {usage(name, command)}\n", *paragraphs(command.help or "")]
        sections += [table(options_of(command))]
        variables |= renamed(name, command)
    rows = [f"- `{variable}` is `{option}`\n" for variable, option in variables.items()]
    return "\n".join([*sections, ENVIRONMENT, "".join(rows), CACHE])


def commands_of(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    """The names of the commands of a group, and the commands."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield name, command


def usage(name: str, command: click.Command) -> str:
    """The line that shows the arguments of a command."""
    arguments = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
    return " ".join(["charlm", name, "[OPTIONS]", *map(argument, arguments)])


def argument(parameter: click.Argument) -> str:
    """An argument as the usage line shows it."""
    if parameter.metavar:
        return parameter.metavar
    name = (parameter.name or "").upper()
    return (name if parameter.required else f"[{name}]") + "..." * (parameter.nargs == -1)


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a help text; one that starts with a backspace keeps its lines."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        lines = paragraph.split("\n")
        if lines[0] == "\b":
            yield "\n".join(f"    {line}" for line in lines[1:]) + "\n"
        else:
            yield in_code("\n".join(lines)) + "\n"


def options_of(command: click.Command) -> list[click.Option]:
    """The options of a command, without those that all commands have."""
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    return [option for option in options if not OF_EVERY_COMMAND & {*option.opts}]


def table(options: Iterable[click.Option]) -> str:
    """The options as a table."""
    rows = [["option", "value", "meaning", "default"], ["---"] * 4]
    for option in options:
        meaning, default = meaning_and_default(option)
        names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
        rows.append([names, value(option), in_code(meaning), in_code(default)])
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |\n" for row in rows)


def value(option: click.Option) -> str:
    """What an option takes; empty for a flag."""
    kind = option.type
    if option.is_flag:
        return ""
    if isinstance(kind, click.Choice):
        return either([f"`{choice}`" for choice in kind.choices])
    if option.metavar:
        return either(option.metavar.split("|")) + bounds(kind)
    return WORDS.get(kind.name, "TEXT") + bounds(kind)


def bounds(kind: click.ParamType[Any]) -> str:
    """The range of a number, if it has one."""
    if not isinstance(kind, click.IntRange | click.FloatRange):
        return ""
    least = kind.min is not None and f"{'above' if kind.min_open else 'at least'} {kind.min:g}"
    most = kind.max is not None and f"{'below' if kind.max_open else 'at most'} {kind.max:g}"
    return "".join(f", {bound}" for bound in (least, most) if bound)


def meaning_and_default(option: click.Option) -> tuple[str, str]:
    """The help text of an option without its default, and the default in words."""
    meaning, _, given = (option.help or "").removesuffix("]").partition("  [default: ")
    if given or not option.show_default or option.default is None:
        return meaning, given
    if option.secondary_opts:
        return meaning, (option.opts if option.default else option.secondary_opts)[0]
    return meaning, str(option.default)


def renamed(name: str, command: click.Command) -> dict[str, str]:
    """The environment variables that are not named after their option, and these options."""
    return {
        f"CHARLM_{name}_{option.name}".upper(): f"charlm {name} {option.opts[-1]}"
        for option in options_of(command)
        if f"--{option.name}".replace("_", "-") not in option.opts
    }


def either(choices: Sequence[str]) -> str:
    """The words for a choice, such as a, b or c."""
    return " or ".join([", ".join(choices[:-1]), choices[-1]]) if len(choices) > 1 else choices[0]


def in_code(text: str) -> str:
    """A text with the options in it as code."""
    return re.sub(r"(?<![\w`-])--[a-z][a-z-]*", lambda found: f"`{found[0]}`", text)


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
    print(f"Wrote {PAGE}")
