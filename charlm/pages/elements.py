"""HTML elements that several pages share: a coloured text, and a histogram."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from html import escape

JOINERS = "\u200c\u200d"  # they shape their neighbours, which a symbol between would undo
TAGS = range(0xE0000, 0xE0080)  # they make flags of emoji


def coloured_text(text: str, classes: Iterable[str]) -> str:
    """A text with every character in an element of its own, which has its CSS classes.

    Newlines and hidden characters are shown by a symbol that is not part of the text: it is not selected or copied.
    """
    attributes = 'role="group" aria-label="Text. The arrow keys move from character to character."'
    return f'<div class="text" tabindex="0" {attributes}>{"".join(map(_character, text, classes))}</div>'


def _character(character: str, classes: str) -> str:
    if character == "\n":
        return f'<b class="{classes} n">\n</b>'
    if is_hidden(character):
        content = "&#13;" if character == "\r" else character  # a plain carriage return would be parsed as a newline
        return f'<b class="{classes} x" data-symbol="U+{ord(character):04X}">{content}</b>'
    return f'<b class="{classes}">{escape(character)}</b>'


def is_hidden(character: str) -> bool:
    """Whether a character is invisible, or changes how others are displayed."""
    if character == "\t" or character in JOINERS or ord(character) in TAGS:
        return False
    return unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp")


def label(character: str) -> str:
    """A character as a label: itself if it is visible, otherwise its name."""
    names = {"\n": "line end", " ": "space", "\t": "tab"}
    if character in names:
        return names[character]
    if unicodedata.category(character)[0] not in "CMZ":
        return character
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X}{' ' if name else ''}{name.lower()}"


def histogram(shares: Sequence[float], classes: Sequence[str], ticks: Mapping[float, str], description: str) -> str:
    """One bar for each share, with its CSS class.

    ticks: labels by their place on the x axis, from 0 to 1. description: for screen readers.
    """
    top = max(shares, default=0) or 1
    bars = "".join(
        f'<i class="{kind}" style="height:{100 * share / top:.1f}%" title="{share:.1%}"></i>'
        for share, kind in zip(shares, classes, strict=True)
    )
    below = "".join(f'<span style="left:{100 * x:.4g}%">{escape(tick)}</span>' for x, tick in ticks.items())
    return (
        f'<div class="bars" role="img" aria-label="{escape(description)}">{bars}</div>'
        f'<div class="ticks" aria-hidden="true">{below}</div>'
    )
