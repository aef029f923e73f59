"""Colour scales for numbers: their levels differ in lightness, so any colour vision can tell them apart.

Text is readable on every level. Each scale exists twice, for a light page and for a dark one.
"""

from __future__ import annotations

import math

DARK_TEXT, LIGHT_TEXT = "#1b1b1f", "#ece9e4"
LIGHT_PAGE, DARK_PAGE = "#ffffff", "#15171c"

# From expected, which is the page's own colour, to surprising.
SURPRISAL_LIGHT = (LIGHT_PAGE, "#fff1d6", "#ffe0a8", "#ffca78", "#fbad4d", "#ef8c2c", "#b04605", "#853208", "#5f2005")
SURPRISAL_DARK = (DARK_PAGE, "#2c2418", "#46321a", "#644316", "#855410", "#d98a2b", "#f2ad4e", "#ffcd85", "#fff0d0")

# From -1, blue, over 0, the page's own colour, to 1, orange.
_BLUE_LIGHT = ("#dfecf7", "#b5d3ec", "#7fb2dd", "#2669a8", "#084a91")
_ORANGE_LIGHT = ("#fdebd3", "#fbd3a3", "#f5b267", "#ad4906", "#7f2f00")
_BLUE_DARK = ("#1b2a3c", "#1f3f61", "#245a8e", "#6fb0e6", "#c5e2fb")
_ORANGE_DARK = ("#35261a", "#553618", "#7d4a10", "#e39a3f", "#ffd9a0")
SIGNED_LIGHT = (*reversed(_BLUE_LIGHT), LIGHT_PAGE, *_ORANGE_LIGHT)
SIGNED_DARK = (*reversed(_BLUE_DARK), DARK_PAGE, *_ORANGE_DARK)
MIDDLE = len(SIGNED_LIGHT) // 2  # the level of 0


def signed_level(value: float) -> int:
    """The index in SIGNED_LIGHT and SIGNED_DARK of a number from -1 to 1."""
    return MIDDLE + math.floor(value * MIDDLE + 0.5)


def luminance(colour: str) -> float:
    """Relative luminance of "#rrggbb", from 0, black, to 1, white (WCAG 2.2)."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, from 1 to 21 (WCAG 2.2). Text needs at least 4.5."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def text_colour(background: str) -> str:
    """The colour of text on a background: the one with the higher contrast."""
    return max(DARK_TEXT, LIGHT_TEXT, key=lambda colour: contrast(colour, background))
