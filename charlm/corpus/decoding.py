"""Decode a text strictly, piece by piece, and say in one line what a file is that cannot be decoded."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from charlm.corpus.encoding import UTF_8, WESTERN, may_be_western, probable_encodings, shown, wide_encoding
from charlm.corpus.file_types import file_type, has_controls
from charlm.errors import CorpusError
from charlm.text.position import Position

SAMPLE = 2**16  # bytes at the beginning of a file, and at the error, that are looked at
LINES = 2**13
DAMAGE = 10  # so many times more good characters than bad bytes make a damaged UTF-8 text
CESU_8 = re.compile(b"\xed[\xa0-\xbf]|\xc0\x80")
C1 = (0x80, 0xA0)  # control characters, of which
NEXT_LINE = "\x85"  # is a line end


@dataclass
class Sample:
    """What is kept of a file for the case of an error: a bounded number of bytes at two places."""

    beginning: bytes = b""
    after: bytes = b""  # from the error on
    offset: int = 0  # of the error

    def add(self, chunk: bytes) -> None:
        """The next bytes of the file, before an error."""
        self.beginning += chunk[: SAMPLE - len(self.beginning)]

    def end_at(self, offset: int, chunks: Iterator[bytes], rest: bytes) -> None:
        """The error is there; read all that follows. rest: the bytes from the error on that were read."""
        self.offset, self.after = offset, rest[:SAMPLE]
        self.beginning = self.beginning[:offset]
        for chunk in chunks:
            self.after += chunk[: SAMPLE - len(self.after)]

    @property
    def whole(self) -> bytes:
        """The beginning and what follows the error, without a gap if both meet."""
        return self.beginning + self.after

    @property
    def lines_beyond_ascii(self) -> bytes:
        """The lines from which an encoding can be guessed, as many as LINES bytes; whole ones if possible."""
        text = self.whole if self.offset <= SAMPLE else self.after.partition(b"\n")[2] or self.after
        if len(self.after) == SAMPLE:
            text = text[: text.rfind(b"\n") + 1] or text
        lines: list[bytes] = []
        size = 0
        for line in text.split(b"\n"):
            if not line.isascii() and size < LINES:
                lines.append(line)
                size += len(line)
        return b"\n".join(lines)


@dataclass
class Decoder:
    """Decodes one source. After the last piece it knows what notes are made of.

    encoding: a name of `known_encoding`. controls, replaced: how many C1 control characters and U+FFFD there are.
    is_utf8: the text was read in another encoding, although it is UTF-8 with characters beyond ASCII.
    """

    source: str
    encoding: str = UTF_8
    controls: int = field(default=0, init=False)
    replaced: int = field(default=0, init=False)
    is_utf8: bool = field(default=False, init=False)

    def pieces(self, chunks: Iterator[bytes]) -> Iterator[str]:
        """The text, in non-empty pieces. After an error the rest is still read: errors of the whole file take
        precedence. Raises CorpusError for bytes that are not text in the encoding."""
        decoder = codecs.getincrementaldecoder(self.encoding)("strict")
        utf8 = None if self.encoding == UTF_8 else codecs.getincrementaldecoder(UTF_8)()
        sample, position, nul_line = Sample(), Position(), 0
        read, characters, last = 0, 0, b""  # bytes and characters so far, and the last byte
        for chunk in chain(chunks, [b""]):
            state = decoder.getstate()
            try:
                text = decoder.decode(chunk, not chunk)
                _require_characters(text, self.encoding)
            except UnicodeError as error:
                before, rest = _around(decoder, state, chunk, error)
                sample.add(chunk)
                sample.end_at(read + len(chunk) - len(rest), chunks, rest)
                extra = sample.offset - characters - len(before)
                raise CorpusError(self._not_text(sample, position.after(before), extra, not chunk)) from None
            sample.add(chunk)
            if "\0" in text and not nul_line:
                nul_line = position.after(text[: text.index("\0")]).line
            utf8 = utf8 and self._check_utf8(utf8, chunk)
            if self.encoding != UTF_8 or b"\xc2" in chunk or last == b"\xc2":  # the first byte of C1 in UTF-8
                self.controls += _c1_controls(text)
            self.replaced += text.count("\ufffd")
            if text and not nul_line:
                yield text
            position, last = position.after(text), chunk[-1:]
            read, characters = read + len(chunk), characters + len(text)
        if nul_line:
            raise CorpusError(self._has_nul(nul_line, sample.beginning))

    def _check_utf8(self, decoder: codecs.IncrementalDecoder, chunk: bytes) -> codecs.IncrementalDecoder | None:
        """Decode the same bytes as UTF-8; None from the first that are not."""
        try:
            if not decoder.decode(chunk, not chunk).isascii():
                self.is_utf8 = True
        except UnicodeDecodeError:
            self.is_utf8 = False
            return None
        return decoder

    def _kind(self, beginning: bytes) -> str | None:
        """The file type; a byte order mark is to be expected in UTF-16 and UTF-32."""
        return None if self.encoding.startswith(("utf-16", "utf-32")) else file_type(beginning)

    def _has_nul(self, line: int, beginning: bytes) -> str:
        if kind := self._kind(beginning):
            return f"{self.source} is {kind}"
        if self.encoding == UTF_8 and (wide := wide_encoding(beginning)):
            return self._is_wide(wide)
        what = "this is binary data, not text" if has_controls(beginning) else "a text has none"
        other = "" if self.encoding == UTF_8 else f", or leave out --encoding {shown(self.encoding)}"
        return f"{self.source}, line {line}: a NUL character: {what}; name a text file{other}, or remove it"

    def _not_text(self, sample: Sample, position: Position, extra: int, is_end: bool) -> str:
        """extra: how many bytes before the error are not the first of a character."""
        if kind := self._kind(sample.whole):
            return f"{self.source} is {kind}"
        if self.encoding != UTF_8:
            return self._not_in_encoding(sample, position, is_end)
        if wide := wide_encoding(sample.whole[:SAMPLE]):
            return self._is_wide(wide)
        place = f"{self.source}, {position}: "
        is_known = is_end and (extra > 0 or len(sample.after) > 1)  # one byte alone may be a letter in 8 bits
        if is_known:
            return place + self._cut(sample)
        place += f"byte 0x{sample.after[0]:02x} is not UTF-8: "
        if CESU_8.match(sample.after):
            return place + "it is CESU-8 or modified UTF-8, of Java and some databases: export the text again as UTF-8"
        good, bad = _utf8_characters(sample.after)
        if extra + good >= DAMAGE * max(1, bad):
            return place + "all around it is UTF-8, so the file is damaged here: copy it again, or mend this line"
        if has_controls(sample.whole):
            return place + "this looks like binary data, not text: name a text file, or try --encoding NAME"
        return place + _guess(sample) + (", or it is UTF-8 and cut off here" if is_end else "")

    def _not_in_encoding(self, sample: Sample, position: Position, is_end: bool) -> str:
        name = shown(self.encoding)
        place = f"{self.source}, {position}: "
        if is_end:
            return place + self._cut(sample)
        advice = "leave out --encoding to see what it may be"
        good, bad = _utf8_characters(sample.whole)
        if good and not bad:
            advice = "the file is UTF-8: leave out --encoding"
        return f"{place}byte 0x{sample.after[0]:02x} is not {name}: {advice}"

    def _cut(self, sample: Sample) -> str:
        count = len(sample.after)
        return (
            f"the text ends in the middle of a character: {count} byte{'s' * (count > 1)}; the file is cut off: copy "
            "it again, or remove the last bytes"
        )

    def _is_wide(self, encoding: str) -> str:
        kind, order = encoding.upper().rsplit("-", 1)
        end = "little" if order == "LE" else "big"
        return (
            f"{self.source} is {kind}, not UTF-8, {end}-endian and without a byte order mark: --encoding {encoding} "
            "reads it"
        )


def _require_characters(text: str, encoding: str) -> None:
    """Raise UnicodeEncodeError for halves of surrogate pairs, which UTF-7 can hold."""
    if encoding != UTF_8:
        text.encode()


def _around(
    decoder: codecs.IncrementalDecoder, state: tuple[bytes, int], chunk: bytes, error: UnicodeError
) -> tuple[str, bytes]:
    """The text of a chunk before an error in it, and the bytes from the error on, some perhaps of the chunk before."""
    if not isinstance(error, UnicodeDecodeError):
        return "", chunk
    start = error.start - (len(error.object) - len(chunk))
    decoder.setstate(state)
    return decoder.decode(chunk[: max(0, start)]), error.object[error.start :]


def _c1_controls(text: str) -> int:
    if text.isascii():
        return 0
    codes = np.frombuffer(text.encode("utf-32-le"), "<u4")
    return int(np.count_nonzero((codes >= C1[0]) & (codes < C1[1]))) - text.count(NEXT_LINE)


def _utf8_characters(sample: bytes) -> tuple[int, int]:
    """How many characters beyond ASCII a sample has as UTF-8, and how many other bytes, but for its last three."""
    text = sample.decode(UTF_8, "surrogateescape")
    beyond = [character for character in text[:-3] if character > "\x7f"]
    bad = sum("\ud800" <= character <= "\udfff" for character in beyond)
    return len(beyond) - bad, bad


def _guess(sample: Sample) -> str:
    names = [shown(name) for name in probable_encodings(sample.lines_beyond_ascii)]
    if may_be_western(sample.whole, few=bool(names)):
        return f"it is probably {shown(WESTERN)}: --encoding {shown(WESTERN)} reads it"
    if not names:
        return "name its encoding with --encoding NAME, or convert the file to UTF-8"
    others = f" (or {', '.join(names[1:])})" if names[1:] else ""
    return f"it is probably {names[0]}{others}: --encoding {names[0]} reads it"
