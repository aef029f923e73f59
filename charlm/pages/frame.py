"""The frame of every page: one self-contained HTML file, which is safe for any text."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from charlm.pages.style import variables
from charlm.version import __version__

# The policy is a second line of defence: only the page's own script may run, and nothing may be loaded.
FRAME = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; \
script-src 'sha256-{script_hash}'">
<meta name="generator" content="charlm {version}">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
{body}
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def page(title: str, body: str, *, style: str, script: str, data: Any) -> bytes:
    """A whole page as UTF-8. body: HTML; style, script: code of this package; data: what the script reads as JSON."""
    html = FRAME.format(
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        version=__version__,
        title=escape(title),
        style=variables() + asset("style.css") + style,
        body=body,
        data=as_json(data),
        script=script,
    )
    return html.encode("utf-8", "replace")  # a lone surrogate cannot be encoded


@cache
def asset(name: str) -> str:
    """The text of a file in this package."""
    return (files("charlm.pages") / name).read_text(encoding="utf-8")


def as_json(data: Any) -> str:
    """JSON for a script element: it holds nothing that could end the element or begin a comment."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
