"""The colours of `charlm.colours` as the pages' style: by day, and by night where the reader's screen is dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from charlm.colours import CHALK, INK, PAPER, SLATE, ink_on

NIGHT = "@media (prefers-color-scheme: dark)"


def rules(prefix: str, day: Sequence[str], night: Sequence[str]) -> str:
    """The style of classes prefix0, prefix1 and so on, by day and by night."""

    def styles(colours: Sequence[str]) -> str:
        return "\n".join(
            f".{prefix}{level} {{ background: {colour}; color: {ink_on(colour)}; }}"
            for level, colour in enumerate(colours)
        )

    return f"{styles(day)}\n{NIGHT} {{\n{styles(night)}\n}}\n"


def variables() -> str:
    """The page's own colours, as look.css names them."""

    def styles(colours: Mapping[str, str]) -> str:
        return " ".join(f"--{name}: {colour};" for name, colour in colours.items())

    day = {"paper": PAPER, "ink": INK, "quiet": "#5c5c66", "rule": "#d9d7d2", "card": "#f6f4f0", "mark": "#0b57a4"}
    night = {"paper": SLATE, "ink": CHALK, "quiet": "#a5a5ad", "rule": "#3a3d45", "card": "#1f2229", "mark": "#8cc4ff"}
    return f":root {{ {styles(day)} }}\n{NIGHT} {{ :root {{ {styles(night)} }} }}\n"
