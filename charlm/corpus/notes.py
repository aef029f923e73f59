"""What to tell about texts that were read: what was passed over, changed, or is suspicious."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from charlm.corpus.encoding import UTF_8, shown
from charlm.corpus.reader import Text


def clean_up_notes(texts: Sequence[Text]) -> tuple[str, ...]:
    """What was passed over, changed or is suspicious in texts that have been read: a sentence for each kind."""
    listings = dict.fromkeys(text.listing for text in texts if text.listing)
    left_out = [listing.note for listing in listings if listing.note]
    return (*left_out, *_on_copies(texts), *_on_changes(texts), *_on_encodings(texts))


def _on_copies(texts: Sequence[Text]) -> Iterator[str]:
    if copies := [(copy, text.source) for text in texts for copy in text.copies]:
        copy, source = copies[0]
        others = len(copies) - 1
        more = f", and {others:,} more {'is a copy' if others == 1 else 'are copies'}, too" if others else ""
        yield f"{copy} has the same text as {source}{more}: read once; --duplicates reads each"


def _on_changes(texts: Sequence[Text]) -> Iterator[str]:
    if with_bom := [text for text in texts if text.had_bom]:
        yield f"{_first_of(with_bom)}: dropped the byte order mark"
    if folded := [text for text in texts if text.folded_line_ends]:
        count = sum(text.folded_line_ends for text in texts)
        yield f"{_first_of(folded)}: folded {count:,} CR or CRLF line ends to LF"


def _on_encodings(texts: Sequence[Text]) -> Iterator[str]:
    if found := [text for text in texts if text.controls]:
        count, name = sum(text.controls for text in found), found[0].encoding
        move = "if so, read the original with --encoding windows-1252"
        if name != UTF_8:
            move = f"if so, use --encoding windows-1252 in place of {shown(name)}"
        yield (
            f"{_first_of(found)}: {count:,} C1 control character{'s' * (count > 1)}: was this windows-1252 decoded as "
            f"latin-1? {move}"
        )
    if found := [text for text in texts if text.replaced]:
        count = sum(text.replaced for text in found)
        yield (
            f"{_first_of(found)}: {count:,} replacement character{'s' * (count > 1)} (U+FFFD): an earlier conversion "
            "lost what was there; convert the original again"
        )
    if found := [text for text in texts if text.is_utf8]:
        yield (
            f"{_first_of(found)}: read as {shown(found[0].encoding)}, but it is UTF-8, too: leave out --encoding if "
            "letters are wrong"
        )


def _first_of(texts: Sequence[Text]) -> str:
    first = texts[0].source
    return first if len(texts) == 1 else f"{first} and {len(texts) - 1:,} more"
