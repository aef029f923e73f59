"""What a file is that is no UTF-8 text, where its beginning tells."""

from __future__ import annotations

import codecs

CONVERT = "convert it, for example with iconv -f {} -t UTF-8"
BEGINNINGS = (  # how a file begins, what it is, and the next move; the longer beginning first
    (codecs.BOM_UTF32_LE, "UTF-32, not UTF-8", CONVERT.format("UTF-32")),
    (codecs.BOM_UTF32_BE, "UTF-32, not UTF-8", CONVERT.format("UTF-32")),
    (codecs.BOM_UTF16_LE, "UTF-16, not UTF-8", CONVERT.format("UTF-16")),
    (codecs.BOM_UTF16_BE, "UTF-16, not UTF-8", CONVERT.format("UTF-16")),
    (b"\x1f\x8b", "gzip", "give it a name that ends in .gz, or unpack it"),
    (b"PK\x03\x04", "a zip archive (or .docx, .odt, .epub)", "name the text in it, saved as UTF-8"),
    (b"%PDF-", "a PDF", "save its text as UTF-8, for example with pdftotext"),
)


def what_it_is(beginning: bytes) -> str | None:
    """What begins so, and what to do with it; None for what may be text."""
    return next((f"{kind}: {advice}" for mark, kind, advice in BEGINNINGS if beginning.startswith(mark)), None)
