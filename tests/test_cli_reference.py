"""docs/cli.md, and the help texts that it is made of."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from make_cli_reference import PAGE, commands_of, reference

from charlm.cli import COMMANDS, charlm

README = Path(__file__).resolve().parent.parent / "README.md"
FOUND = dict(commands_of(charlm))


def test_the_page_is_up_to_date() -> None:
    """Law: docs/cli.md is what the script writes."""
    is_current = PAGE.read_text(encoding="utf-8") == reference()
    assert is_current, "docs/cli.md is not that of the present help texts: run python scripts/make_cli_reference.py"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_a_help_text(name: str) -> None:
    """Law: each command has a short and a long one, and each option has one and a row of the page."""
    command = FOUND[name]
    assert command.short_help == COMMANDS[name] and command.help
    section = reference().split(f"\n## charlm {name}\n")[1].split("\n## ")[0]
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.opts
            assert parameter.name == "debug" or f"`{parameter.opts[-1]}`" in section


def test_the_page_shows_values_and_defaults() -> None:
    """Law: choices, ranges and defaults are in it, whether click or the help text has them."""
    page = reference()
    for row in (
        "| `--against` | `steps`, `characters` or `minutes` | The x axis. | steps |",
        "| `--hidden` | INTEGER | Units per layer. | chosen automatically |",
        "| `-n`, `--length` | INTEGER | Characters to add. | 500 |",
        "| `--units` | INTEGER, at least 1, at most 64 | Units to show. | 12 |",
    ):
        assert f"\n{row}\n" in page
    assert re.search(r"\| `--adapt` \| RATE, above 0, at most \d+ \|", page)
    assert re.search(r"\| `--residual`, `--no-residual` \|  \|.*\| `--residual` \|", page)
    assert "- `CHARLM_TRAIN_LEARNING_RATE` is `charlm train --lr`\n" in page


def test_every_command_is_in_the_readme() -> None:
    """Law: the README shows a line to type for each."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    lines = [line.split() for block in blocks for line in block.splitlines()]
    assert {line[1] for line in lines if line[:1] == ["charlm"]} >= set(COMMANDS)
