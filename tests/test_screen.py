"""What is printed to a terminal has no control sequences and fits."""

from __future__ import annotations

import json
import shutil
import subprocess
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.cli.screen import columns_of, cut, cut_left, for_terminal, harmless, json_line
from charlm.errors import in_shell

ANY = st.text(max_size=30) | st.text("ab漢字e\u0301\u200d\U0001f600", max_size=30)
PRINTABLE = ANY.map(harmless)


@given(ANY)
def test_harmless(text: str) -> None:
    """Law: all is printable; printable characters stay, and others are escaped as in a Python string."""
    shown = harmless(text)
    assert shown.isprintable()
    assert shown == "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


@pytest.mark.parametrize("evil", ["\x1b[2J", "\x9b2J", "\x1b]0;x\x07", "\r", "\t", "\x08", "\u202e", "\u2028", "\x85"])
def test_control_sequences(evil: str) -> None:
    """Law: no escape sequence, no movement of the cursor, no change of direction is left."""
    assert not any(unicodedata.category(c).startswith(("C", "Z")) for c in harmless(evil))


def width(text: str) -> int:
    """The columns of a text."""
    return sum(map(columns_of, text))


@given(PRINTABLE, st.integers(0, 40))
def test_cut(text: str, columns: int) -> None:
    """Law: the longest beginning that fits."""
    part = cut(text, columns)
    assert text.startswith(part) and width(part) <= columns
    assert part == text or width(text[: len(part) + 1]) > columns


@given(PRINTABLE, st.integers(1, 40))
def test_cut_left(text: str, columns: int) -> None:
    """Law: the whole text, or "…" and the longest end that fits after it."""
    part = cut_left(text, columns)
    assert width(part) <= columns
    if width(text) <= columns:
        assert part == text
    else:
        assert part[0] == "…" and text.endswith(part[1:])
        assert width(text[len(text) - len(part) :]) >= columns


@pytest.mark.parametrize(("character", "columns"), [("a", 1), ("é", 1), ("漢", 2), ("ｆ", 2), ("\u0301", 0), ("😀", 2)])
def test_columns(character: str, columns: int) -> None:
    """Law: wide characters take two columns, combining marks none."""
    assert columns_of(character) == columns


@given(ANY)
def test_for_terminal(text: str) -> None:
    """Law: printable characters, line ends, tabs, blanks and the joiners of scripts stay; all else is escaped."""
    shown = for_terminal(text)
    kept = {"\n", "\t", "\u200c", "\u200d"}
    blank = {c for c in text if unicodedata.category(c) == "Zs"}
    assert shown == "".join(c if c.isprintable() or c in kept | blank else ascii(c)[1:-1] for c in text)
    assert shown == "".join(map(for_terminal, text))  # a sample is written character by character


@pytest.mark.parametrize("text", ["می\u200cخواهم", "\u3000春眠", "« oui\u00a0»", "a\tb\n", "👩\u200d🚀"])
def test_scripts_stay_readable(text: str) -> None:
    """Law: what a script needs is no command: joiners, wide and unbreakable blanks, tabs, line ends."""
    assert for_terminal(text) == text


@pytest.mark.parametrize(
    "value",
    [
        "φως",
        "\x1b[2J",
        "\x9b2J",
        "\u202e",
        "\udce9",
        "\ud800",
        "a'b",
        "a\\'b\x07",
        "\n",
        "\udccf\udc86",
        "𝄞\x85\udc9b1",
    ],
)
def test_in_shell(value: str) -> None:
    """Law: one printable line; a shell reads the same bytes from it."""
    quoted = in_shell(value)
    assert quoted.isprintable()
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    expected = value.encode("utf-8", "surrogatepass" if value == "\ud800" else "surrogateescape")
    done = subprocess.run([bash, "-c", f"printf %s {quoted}"], capture_output=True, env={"LC_ALL": "C"})
    assert done.stdout == expected


@given(st.text(st.characters(), max_size=20))
def test_json_line(text: str) -> None:
    """Law: one line of UTF-8 that reads back as the same text; bytes of a name that are UTF-8 are decoded."""
    line = json_line({"text": text})
    assert "\n" not in line and json.loads(line.encode("utf-8")) == {"text": text}


def test_json_of_names() -> None:
    """Law: a byte that is not UTF-8 is a lone surrogate, escaped; UTF-8 that the locale did not know is text."""
    assert json_line("caf\udce9\ud800") == '"caf\\udce9\\ud800"'
    assert json_line("\udccf\udc86") == '"φ"'
