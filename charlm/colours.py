"""Colours for numbers: told apart by lightness alone, so by every kind of colour vision, and readable on every one."""

from __future__ import annotations

import math

INK, CHALK = "#1b1b1f", "#ece9e4"  # of text, on what is light and on what is dark
PAPER, SLATE = "#ffffff", "#15171c"  # the page by day and by night

# From what was expected, the page itself, to what was not.
SURPRISE_DAY = (PAPER, "#fff1d6", "#ffe0a8", "#ffca78", "#fbad4d", "#ef8c2c", "#b04605", "#853208", "#5f2005")
SURPRISE_NIGHT = (SLATE, "#2c2418", "#46321a", "#644316", "#855410", "#d98a2b", "#f2ad4e", "#ffcd85", "#fff0d0")

# From -1, blue, over 0, the page itself, to 1, orange.
_BLUE_DAY = ("#dfecf7", "#b5d3ec", "#7fb2dd", "#2669a8", "#084a91")
_ORANGE_DAY = ("#fdebd3", "#fbd3a3", "#f5b267", "#ad4906", "#7f2f00")
_BLUE_NIGHT = ("#1b2a3c", "#1f3f61", "#245a8e", "#6fb0e6", "#c5e2fb")
_ORANGE_NIGHT = ("#35261a", "#553618", "#7d4a10", "#e39a3f", "#ffd9a0")
SIGNED_DAY = (*reversed(_BLUE_DAY), PAPER, *_ORANGE_DAY)
SIGNED_NIGHT = (*reversed(_BLUE_NIGHT), SLATE, *_ORANGE_NIGHT)
HALF = len(SIGNED_DAY) // 2


def signed_level(share: float) -> int:
    """The place of a number between -1 and 1 in SIGNED_DAY and SIGNED_NIGHT."""
    return HALF + math.floor(share * HALF + 0.5)


def luminance(colour: str) -> float:
    """Relative luminance of "#rrggbb", from 0, black, to 1, white: WCAG 2.2."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, from 1 to 21; text wants 4.5 at least: WCAG 2.2."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def ink_on(colour: str) -> str:
    """The colour of text on a colour."""
    return max(INK, CHALK, key=lambda ink: contrast(ink, colour))
