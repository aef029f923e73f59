"""The output of `charlm score`: a total, a table, or JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from charlm import CharlmError, Entry, Score
from charlm.cli.screen import cut, cut_left, harmless, json_line, screen_width
from charlm.cli.streams import echo

SOURCE_SHARE = 3  # in a terminal a file's name takes at most a third of a row, and leaves room for the text


def show_total(found: Iterable[Entry], as_json: bool) -> None:
    """Print one result for all entries. Raises CharlmError if they have no characters."""
    scored = list(found)
    total = sum((entry.score for entry in scored), Score(0, 0.0))
    of_adapting = [entry.adapted for entry in scored if entry.adapted is not None]
    adapted = sum(of_adapting, Score(0, 0.0)) if of_adapting else None
    if not total.characters:
        raise CharlmError("the text is empty, so there is nothing to score: give a text of at least one character")
    if as_json:
        echo(json_line(_figures(total) | ({"adapted": _figures(adapted)} if adapted else {})))
        return
    echo(f"{total.characters:>14,} characters")
    echo(f"{total.nats:>14,.1f} nats           {total.bits:>14,.1f} bits")
    echo(f"{total.nats_per_char:>14.4f} nats per char  {total.bits_per_char:>14.4f} bits per char")
    echo(f"{total.perplexity:>14.3f} perplexity")
    if adapted:
        gained = total.bits_per_char - adapted.bits_per_char
        echo(f"{adapted.nats_per_char:>14.4f} nats per char  {adapted.bits_per_char:>14.4f} bits per char, adapting")
        echo(f"{abs(gained):>14.4f} bits per char {'gained' if gained >= 0 else 'lost'} by adapting")


def show_list(found: Iterable[Entry], per: str, by: str, as_json: bool) -> None:
    """Print a row or a JSON object per entry, as it comes. A row is always one line, and cut in a terminal."""
    width = screen_width()
    for number, entry in enumerate(found):
        if as_json:
            echo(json_line(_record(entry)))
            continue
        if number == 0:
            echo(_heading(per, by, entry.adapted is not None))
        echo(_row(entry, per, by, width))


def _heading(per: str, by: str, adapting: bool) -> str:
    columns = ["bits" if per == "char" else "bits/char"]
    columns += ["adapting"] * adapting + ["worst"] * (by == "worst")
    heading = "".join(f"{column:>10}" for column in columns)
    return f"{heading}{'characters':>13}  file" if per == "file" else f"{heading}  where"


def _row(entry: Entry, per: str, by: str, width: int | None) -> str:
    scores = [entry.score, entry.adapted, entry.worst if by == "worst" else None]
    row = "".join(f"{_rate(score):>10}" for score in scores if score)
    text = entry.text.removesuffix("\n") if per == "line" else entry.text
    source, text = harmless(entry.source), harmless(text)  # in a pipe, too: its reader may be a pager
    if width is not None and per != "file":
        source = cut_left(source, width // SOURCE_SHARE)
    if per == "file":
        row += f"{entry.score.characters:>13,}  {source}"
    else:
        place = f"{entry.line}" if per == "line" else f"{entry.line}:{entry.column}"
        row += f"  {source}:{place}  {text}"
    return row if width is None else cut(row, width)


def _rate(score: Score) -> str:
    return f"{score.bits_per_char:.3f}" if score.characters else "-"


def _figures(score: Score) -> dict[str, Any]:
    return {
        "characters": score.characters,
        "nats": score.nats,
        "bits": score.bits,
        "nats_per_char": score.nats_per_char if score.characters else None,
        "bits_per_char": score.bits_per_char if score.characters else None,
        "perplexity": score.perplexity if score.characters else None,
    }


def _record(entry: Entry) -> dict[str, Any]:
    where = {"file": entry.source, "line": entry.line, "column": entry.column, "text": entry.text or None}
    record = {name: value for name, value in where.items() if value is not None} | _figures(entry.score)
    if entry.worst:
        record["worst_bits_per_char"] = entry.worst.bits_per_char
    return record | ({"adapted": _figures(entry.adapted)} if entry.adapted else {})
