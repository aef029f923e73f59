"""The frame of every page: one HTML file in which text is text, whatever it holds, and nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from charlm.pages.style import variables
from charlm.version import __version__

# Only the page's own script may run, and nothing may be fetched, whatever else should come to stand in the page.
FRAME = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; \
script-src 'sha256-{script_hash}'">
<meta name="generator" content="charlm {version}">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
{body}
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""

SYMBOLS = {"\n": "↵", "\t": "→"}
JOINERS = "\u200c\u200d"  # shape what stands beside them: a mark between would undo it
TAGS = range(0xE0000, 0xE0080)  # the same, of flags


def page(title: str, body: str, *, style: str, script: str, data: Any) -> bytes:
    """A whole page as UTF-8. body: HTML; style, script: code of this package; data: what the script reads as JSON."""
    html = FRAME.format(
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        version=__version__,
        title=escape(title),
        style=variables() + asset("look.css") + style,
        body=body,
        data=as_json(data),
        script=script,
    )
    return html.encode("utf-8", "replace")  # half of a surrogate pair is no character


@cache
def asset(name: str) -> str:
    """A file of this folder."""
    return (files("charlm.pages") / name).read_text(encoding="utf-8")


def as_json(data: Any) -> str:
    """JSON that can stand in a script element: nothing in it ends that, or begins a comment."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def coloured(text: str, classes: Iterable[str]) -> str:
    """A text, every character in an element of its own with its classes.

    A line end and what cannot be seen get a symbol that is no part of the text: it is neither selected nor copied.
    """
    said = 'role="group" aria-label="Text: the arrow keys walk through it"'
    return f'<div class="text" tabindex="0" {said}>{"".join(map(_character, text, classes))}</div>'


def _character(character: str, classes: str) -> str:
    if character == "\n":
        return f'<b class="{classes} n">\n</b>'
    if is_hidden(character):
        return f'<b class="{classes} x" data-symbol="U+{ord(character):04X}">{_reference(character)}</b>'
    return f'<b class="{classes}">{escape(character)}</b>'


def _reference(character: str) -> str:
    return "&#13;" if character == "\r" else character  # a plain one would be read as a line end


def is_hidden(character: str) -> bool:
    """Whether a character shows nothing, or changes how others are shown."""
    if character == "\t" or character in JOINERS or ord(character) in TAGS:
        return False
    return unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp")


def label(character: str) -> str:
    """A character as it is spoken of: itself where it can be seen, its name otherwise."""
    named = {"\n": "line end", " ": "space", "\t": "tab"}
    if character in named:
        return named[character]
    if unicodedata.category(character)[0] not in "CMZ":
        return character
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X}{' ' if name else ''}{name.lower()}"


def bars(shares: Sequence[float], classes: Sequence[str], ticks: Mapping[float, str], spoken: str) -> str:
    """A histogram: one bar for each share. ticks: what stands below it, from 0 at its left end to 1 at its right.

    spoken: what it shows, for who does not see it.
    """
    top = max(shares, default=0) or 1
    drawn = "".join(
        f'<i class="{kind}" style="height:{100 * share / top:.1f}%" title="{share:.1%}"></i>'
        for share, kind in zip(shares, classes, strict=True)
    )
    under = "".join(f'<span style="left:{100 * at:.4g}%">{escape(tick)}</span>' for at, tick in ticks.items())
    return (
        f'<div class="bars" role="img" aria-label="{escape(spoken)}">{drawn}</div>'
        f'<div class="ticks" aria-hidden="true">{under}</div>'
    )
