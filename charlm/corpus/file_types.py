"""Recognise files that are not UTF-8 text by their first bytes."""

from __future__ import annotations

import codecs

CONVERT = "convert it, for example with iconv -f {} -t UTF-8"
SIGNATURES = (  # first bytes, file type, and what to do; the longer of two signatures first
    (codecs.BOM_UTF32_LE, "UTF-32, not UTF-8", CONVERT.format("UTF-32")),
    (codecs.BOM_UTF32_BE, "UTF-32, not UTF-8", CONVERT.format("UTF-32")),
    (codecs.BOM_UTF16_LE, "UTF-16, not UTF-8", CONVERT.format("UTF-16")),
    (codecs.BOM_UTF16_BE, "UTF-16, not UTF-8", CONVERT.format("UTF-16")),
    (b"\x1f\x8b", "gzip", "give it a name that ends in .gz, or unpack it"),
    (b"PK\x03\x04", "a zip archive (or .docx, .odt, .epub)", "name the text in it, saved as UTF-8"),
    (b"%PDF-", "a PDF", "save its text as UTF-8, for example with pdftotext"),
)


def file_type(beginning: bytes) -> str | None:
    """The type of a file that begins with these bytes, and what to do with it; None if it may be text."""
    return next((f"{kind}: {advice}" for mark, kind, advice in SIGNATURES if beginning.startswith(mark)), None)
