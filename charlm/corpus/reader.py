"""Read files, folders, packed files or standard input as clean text, in pieces of bounded size."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias

from charlm.corpus import packing
from charlm.corpus.decoding import Decoder
from charlm.corpus.encoding import UTF_8, known_encoding
from charlm.corpus.folder import Listing, list_folder
from charlm.corpus.packing import PackingError, packing_of, unpacked
from charlm.errors import CorpusError

STANDARD_INPUT = "-"
CHUNK = 2**18  # bytes read at a time; small enough that all arrays made of a chunk stay in the processor's cache

OnRead: TypeAlias = Callable[[int], object]
"""Is called after every read, with the number of bytes."""

Facts: TypeAlias = tuple[int, ...]
"""What was found in a text while it was read, see `Text.facts`."""


class Text:
    """The clean text of one source, as non-empty strings. It is read while it is iterated, which can be done once.

    encoding: of its bytes, by default UTF-8; decoding is strict. A byte order mark at the beginning is dropped, and
    line ends are folded to LF. Iteration raises CorpusError for a source that is not text or cannot be read whole. The
    attributes `had_bom` to `is_utf8`, `size` and `sha256` are valid after the last piece. Raises SpecError for an
    encoding that Python does not have.
    """

    def __init__(self, path: str | Path, on_read: OnRead = lambda count: None, *, encoding: str | None = None) -> None:
        self.path = path
        self.source = "standard input" if path == STANDARD_INPUT else str(path)
        self.encoding = known_encoding(encoding)
        self.packing = None if path == STANDARD_INPUT else packing_of(str(path))
        self.listing: Listing | None = None  # of the folder that it was found in
        self.copies: tuple[str, ...] = ()  # sources with the same text that are left out
        self.had_bom = False  # a byte order mark
        self.folded_line_ends = 0  # how many CR and CRLF became LF
        self.controls = 0  # C1 control characters
        self.replaced = 0  # U+FFFD, which stands for a character that was lost
        self.is_utf8 = False  # although it was read in another encoding
        self.size, self.sha256 = 0, ""  # of the source's bytes
        self.start = 0  # where it begins in a corpus of several texts, in characters
        self._on_read = on_read

    @property
    def facts(self) -> Facts:
        """What the clean-up changed, and what is suspicious in the text, as plain values."""
        return self.had_bom, self.folded_line_ends, self.controls, self.replaced, self.is_utf8

    def recall(self, facts: Facts) -> None:
        """Set what is known from an earlier reading of the same text."""
        had_bom, self.folded_line_ends, self.controls, self.replaced, is_utf8 = facts
        self.had_bom, self.is_utf8 = bool(had_bom), bool(is_utf8)

    @property
    def kind(self) -> str:
        """How its characters follow from its bytes."""
        packed = (self.packing or "text").removeprefix(".")
        return packed if self.encoding == UTF_8 else f"{packed} {self.encoding}"

    def anew(self, on_read: OnRead = lambda count: None) -> Text:
        """The same source, to be read once more."""
        text = Text(self.path, on_read, encoding=self.encoding)
        text.listing, text.copies = self.listing, self.copies
        return text

    def __iter__(self) -> Iterator[str]:
        decoder = Decoder(self.source, self.encoding)
        for piece in self._folded(decoder.pieces(self._chunks())):
            self.controls, self.replaced, self.is_utf8 = decoder.controls, decoder.replaced, decoder.is_utf8
            yield piece

    def read_sha256(self) -> None:
        """Set `size` and `sha256` from the source's bytes, without decoding them."""
        for _ in self._chunks(unpack=False):
            pass

    def _chunks(self, unpack: bool = True) -> Iterator[bytes]:
        """The bytes of the source, unpacked; no chunk is empty."""
        with _source_errors(self.path), _opened(self.path) as file:
            raw = _HashingReader(file, self._on_read)
            if unpack and self.packing:
                yield from unpacked(raw, self.packing, os.fstat(file.fileno()).st_size, CHUNK)
            else:
                yield from packing.read(raw, CHUNK)
            self.size, self.sha256 = raw.size, raw.sha256.hexdigest()

    def _folded(self, pieces: Iterator[str]) -> Iterator[str]:
        """Drop a byte order mark at the beginning, and replace every CRLF and CR by LF."""
        is_first, held = True, ""  # held: a CR at the end of a piece, which may be the first half of a CRLF
        for piece in pieces:
            if is_first and piece.startswith("\ufeff"):
                self.had_bom, piece = True, piece[1:]
            is_first, text = False, held + piece
            held = "\r" if text.endswith("\r") else ""
            text = text.removesuffix(held)
            if "\r" in text:
                self.folded_line_ends += text.count("\r")
                text = text.replace("\r\n", "\n").replace("\r", "\n")
            if text:
                yield text
        if held:
            self.folded_line_ends += 1
            yield "\n"


def read_texts(
    sources: Sequence[str | Path],
    on_read: OnRead = lambda count: None,
    *,
    glob: Sequence[str] | None = None,
    encoding: str | None = None,
) -> Iterator[Text]:
    """The texts of all sources in order; a folder gives one for each file below it that is chosen, sorted by path.

    Nothing is read before a text is iterated. on_read: is called after every read, with the number of bytes. glob:
    patterns that choose the files of folders, see charlm.corpus.folder; by default those that end in .txt, packed or
    not. encoding: of all texts, by default UTF-8. Raises CorpusError for a folder that cannot be read or holds no such
    file, or little text in them; SpecError for an encoding that Python does not have.
    """
    known_encoding(encoding)
    return _texts(sources, on_read, glob, encoding)


def _texts(
    sources: Sequence[str | Path], on_read: OnRead, glob: Sequence[str] | None, encoding: str | None
) -> Iterator[Text]:
    for source in sources:
        if str(source) == STANDARD_INPUT or not os.path.isdir(source):
            yield Text(STANDARD_INPUT if str(source) == STANDARD_INPUT else Path(source), on_read, encoding=encoding)
            continue
        listing = list_folder(Path(source), glob)
        for file in listing.files:
            text = Text(file, on_read, encoding=encoding)
            text.listing = listing
            yield text


def total_bytes(sources: Sequence[str | Path]) -> int | None:
    """The size of all sources together; None if one of them is not a regular file, or is missing."""
    total = 0
    try:
        for text in read_texts(sources):
            status = os.stat(text.path) if text.path != STANDARD_INPUT else None
            if status is None or not stat.S_ISREG(status.st_mode):
                return None
            total += status.st_size
    except (CorpusError, OSError):  # reading raises it again
        return None
    return total


class _HashingReader(io.RawIOBase):
    """Counts and hashes the bytes that are read from a file."""

    def __init__(self, file: BinaryIO, on_read: OnRead) -> None:
        super().__init__()
        self.size = 0
        self.sha256 = hashlib.sha256()
        self._file = file
        self._on_read = on_read

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most `size`."""
        data = self._file.read(size)
        self.size += len(data)
        self.sha256.update(data)
        self._on_read(len(data))
        return data


@contextmanager
def _opened(path: str | Path) -> Iterator[BinaryIO]:
    """Open a source. Raises CorpusError at the end of the `with` block if the file was changed meanwhile."""
    if path == STANDARD_INPUT:
        yield sys.stdin.buffer
        return
    with Path(path).open("rb") as file:
        before = os.fstat(file.fileno())
        if stat.S_ISCHR(before.st_mode) or stat.S_ISBLK(before.st_mode):  # /dev/zero has no end
            raise CorpusError(f"{path} is a device, not a text: name a file, or - for standard input")
        try:
            yield file
        except Exception:  # in a file that is being written, errors are to be expected
            _require_unchanged(path, before, os.fstat(file.fileno()))
            raise
        _require_unchanged(path, before, os.fstat(file.fileno()))


def _require_unchanged(path: str | Path, before: os.stat_result, after: os.stat_result) -> None:
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) and stat.S_ISREG(before.st_mode):
        raise CorpusError(f"{path} was changed while it was read: wait until it is complete, and try again")


@contextmanager
def _source_errors(path: str | Path) -> Iterator[None]:
    """Raise CorpusError for an error of the whole file: it is missing, unreadable, or packed and damaged."""
    try:
        yield
    except FileNotFoundError:
        raise CorpusError(f"no such file: {path}; give a text file, a folder of .txt files, or - for input") from None
    except PackingError as error:
        raise CorpusError(f"{path} {error}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise CorpusError(f"cannot read {path}: {reason}; name a text file that you can read") from None
