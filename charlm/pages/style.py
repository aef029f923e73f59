"""The colours of `charlm.plotting.colours` as CSS, for light and for dark screens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from charlm.plotting.colours import DARK_PAGE, DARK_TEXT, LIGHT_PAGE, LIGHT_TEXT, text_colour

DARK_SCREEN = "@media (prefers-color-scheme: dark)"


def level_rules(prefix: str, light: Sequence[str], dark: Sequence[str]) -> str:
    """The rules of the classes prefix0, prefix1 and so on, one for each level of a colour scale."""

    def rules(colours: Sequence[str]) -> str:
        return "\n".join(
            f".{prefix}{level} {{ background: {colour}; color: {text_colour(colour)}; }}"
            for level, colour in enumerate(colours)
        )

    return f"{rules(light)}\n{DARK_SCREEN} {{\n{rules(dark)}\n}}\n"


def variables() -> str:
    """The page's own colours, as style.css names them."""

    def declarations(colours: Mapping[str, str]) -> str:
        return " ".join(f"--{name}: {colour};" for name, colour in colours.items())

    light = {
        "page": LIGHT_PAGE,
        "text": DARK_TEXT,
        "muted": "#5c5c66",
        "border": "#d9d7d2",
        "card": "#f6f4f0",
        "accent": "#0b57a4",
    }
    dark = {
        "page": DARK_PAGE,
        "text": LIGHT_TEXT,
        "muted": "#a5a5ad",
        "border": "#3a3d45",
        "card": "#1f2229",
        "accent": "#8cc4ff",
    }
    return f":root {{ {declarations(light)} }}\n{DARK_SCREEN} {{ :root {{ {declarations(dark)} }} }}\n"
