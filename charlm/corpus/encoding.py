"""Names of character encodings, and the guess which one a file that is not UTF-8 has."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Sequence
from difflib import get_close_matches
from encodings.aliases import aliases

from charlm.corpus.file_types import has_controls
from charlm.errors import SpecError, in_short

UTF_8 = "utf-8"
NOT_OF_FILES = {"idna", "punycode", "unicode_escape", "raw_unicode_escape", "charmap"}  # codecs of other things
WESTERN = "cp1252"
GUESSED = (  # what texts outside of UTF-8 come in; latin-1 is left out: windows-1252 reads it, and its quotes, too
    *(WESTERN, "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "iso8859_2", "iso8859_5"),
    *("iso8859_7", "koi8_r", "koi8_u", "cp437", "cp850", "cp866", "mac_roman"),
    *("cp932", "euc_jp", "gb18030", "big5", "cp949"),
)
CLOSE_MESS, CLOSE_COHERENCE = 0.02, 0.1  # what the detector does not tell apart
MOST_GUESSES = 3
MOST_WESTERN = 0.15  # of the bytes of a text in a western language
ENOUGH = 8  # bytes beyond ASCII to guess from
LEAST_UNITS = 16  # of UTF-16 without a NUL; any short text can be read as a few Chinese characters
NUL_SHARE = 0.5  # of the high bytes
READABLE = 0.98  # of the characters of a text
MOST_NAME = 40  # characters
UNREADABLE = {"Cc", "Cn", "Co", "Cs"}
WIDE = (("utf-32-le", 4), ("utf-32-be", 4), ("utf-16-le", 2), ("utf-16-be", 2))


def known_encoding(name: str | None) -> str:
    """The name that Python gives an encoding. Raises SpecError for one that it does not have."""
    if name is None:
        return UTF_8
    found = _found(name)
    if found is None:
        raise SpecError(_unknown(name))
    return UTF_8 if found == "utf-8-sig" else found  # the byte order mark is dropped in any case


def _found(name: str) -> str | None:
    try:
        found = codecs.lookup(name).name
        b"a".decode(found, "replace")  # refuses what is no character encoding, such as rot13
        codecs.getincrementaldecoder(found)
    except (LookupError, ValueError):
        return None
    return None if found.replace("-", "_") in NOT_OF_FILES else found


def shown(name: str) -> str:
    """A name of an encoding as people know it, which Python knows, too."""
    return re.sub(r"\Acp(125\d|874)\Z", r"windows-\1", name).replace("_", "-")


def _unknown(name: str) -> str:
    names = sorted({shown(each) for each in {*aliases, *aliases.values()} if _found(each)})
    close = get_close_matches(shown(name.lower()[:MOST_NAME]), names, n=2)
    advice = f"did you mean {' or '.join(close)}?" if close else "windows-1252, utf-16 and shift-jis are some"
    return f"encoding must be a character encoding that Python knows, not {in_short(name)!r}: {advice}"


def wide_encoding(beginning: bytes) -> str | None:
    """UTF-16 or UTF-32 without a byte order mark, from the beginning of a file; None if it is neither."""
    found = []
    for name, width in WIDE:
        if len(beginning) % width or not _is_readable(beginning, name):
            continue
        if width == 4:
            return name
        high, low = beginning[name == "utf-16-le" :: 2], beginning[name == "utf-16-be" :: 2]
        is_wide = has_controls(beginning)  # which texts in 8 bits and in multibyte encodings do not have
        if high.count(0) >= NUL_SHARE * len(high) or (is_wide and len(low) >= LEAST_UNITS):
            found.append((len(set(high)), name))
    return min(found)[1] if found else None


def _is_readable(units: bytes, name: str) -> bool:
    """Whether some bytes are a text in that encoding."""
    try:
        text = codecs.getincrementaldecoder(name)("strict").decode(units)  # a surrogate pair may be cut at the end
    except UnicodeDecodeError:
        return False
    good = sum(character in "\t\n\r" or unicodedata.category(character) not in UNREADABLE for character in text)
    return text != "" and "\0" not in text and good >= READABLE * len(text)


def probable_encodings(sample: bytes) -> Sequence[str]:
    """The encodings that a sample may have, the most probable first; empty if there is no good guess."""
    from charset_normalizer import from_bytes

    matches = list(from_bytes(sample, cp_isolation=[*GUESSED]))
    if not matches:
        return []
    names = [name for match in matches for name in _candidates(match.encoding, match.could_be_from_charset)]
    best = matches[0]
    for match in matches:
        is_close = match.chaos <= best.chaos + CLOSE_MESS and match.coherence >= best.coherence - CLOSE_COHERENCE
        if is_close and WESTERN in match.could_be_from_charset:
            names.insert(0, WESTERN)  # by far the most frequent of those that the detector does not tell apart
    return list(dict.fromkeys(names))[:MOST_GUESSES]


def may_be_western(sample: bytes, few: bool) -> bool:
    """Whether a sample may be windows-1252, in a language that needs few characters beyond ASCII.

    few: with too few of them to tell from other encodings.
    """
    try:
        sample.decode(WESTERN)
    except UnicodeDecodeError:
        return False
    beyond = sum(byte > 0x7F for byte in sample)
    return beyond <= MOST_WESTERN * len(sample) and (not few or beyond < ENOUGH)


def _candidates(best: str, equal: Sequence[str]) -> Sequence[str]:
    return [best, *(name for name in equal if name in GUESSED)]
