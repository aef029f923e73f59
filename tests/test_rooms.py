"""The plan of the house, read from the imports: they only point down, and each outside library has one room."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import charlm

PACKAGE = Path(charlm.__file__).parent

FOLDERS = (
    "nn",
    "text",
    "optim",
    "store",
    "parallel",
    "plotting",
    "pages",
    "cli",
)  # any other file is a room of its own
FRONT_DOOR = "the front door"

LOWER = {"errors", "version", "budget", "memory", "journal", "colours"}
LOWER |= {"nn", "text", "optim", "ngram", "store", "parallel"}
VERBS = {"training", "scoring", "sampling", "plotting", "adapting", "predicting", "inspecting"}
ABOVE_VERBS = {"plan", "recipe", "baselines", "mixing", "fitting", "novelty"}
ABOVE_VERBS |= {"trained", "standing", "starting", "listing", "pages", "warm"}

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "version": set(),
    "budget": set(),
    "memory": {"errors", "nn"},
    "colours": set(),
    "nn": {"errors"},
    "text": {"errors"},
    "ngram": set(),
    "optim": {"errors"},
    "parallel": {"errors"},
    "store": {"errors", "nn", "text", "ngram"},
    "journal": {"errors", "store"},
    "learner": {"errors", "nn", "optim", "parallel"},
    "plan": LOWER | {"learner"},
    "baselines": LOWER | {"plan"},
    "novelty": LOWER | {"plan"},
    "mixing": {"nn", "text", "ngram"},
    "fitting": LOWER | {"plan", "baselines", "mixing", "lanes"},
    "training": LOWER | {"scoring", "learner", "plan"},
    "reader": {"nn", "parallel"},
    "lanes": {"nn", "reader"},
    "lines": {"nn", "reader", "lanes"},
    "scoring": LOWER | {"lanes", "lines"},
    "adapting": LOWER,
    "sampling": LOWER | {"mixing"},
    "predicting": LOWER,
    "inspecting": LOWER | {"predicting"},
    "plotting": LOWER | {"inspecting", "baselines"},
    "trained": LOWER | VERBS | {"mixing", "fitting"},
    "listing": {"errors", "nn", "text", "scoring", "trained"},
    "pages": LOWER | {"predicting", "inspecting", "plotting", "listing", "trained"},
    "reference": set(),
    "standing": LOWER | VERBS | {"plan", "baselines", "fitting"},
    "speed": {"nn", "optim", "parallel"},
    "recipe": LOWER | {"plan", "speed"},
    "starting": LOWER | VERBS | {"plan", "recipe", "speed"},
    "warm": LOWER | VERBS | {"plan", "recipe", "starting", "trained"},
    FRONT_DOOR: LOWER | VERBS | ABOVE_VERBS | {"learner"},
    "cli": {FRONT_DOOR},
    "__main__": {"cli"},
}

ONLY_IN = {  # where a library may be imported: a room, or one file of it
    "click": "cli",
    "tqdm": "cli",
    "matplotlib": "plotting",
    "safetensors": "store.tensors",
    "threadpoolctl": "parallel.blas",
    "mpi4py": "parallel.mpi",
}
ONLY_IN_FUNCTIONS = {"matplotlib", "safetensors", "threadpoolctl", "mpi4py"}
WITHOUT_NUMPY = {"errors", "version", "budget", "colours", "cli", FRONT_DOOR, "__main__"}


class Import(NamedTuple):
    """One import: the full name of what is imported, its line, and whether it waits inside a function."""

    name: str
    line: int
    in_function: bool


def module_name(path: Path, root: Path = PACKAGE) -> str:
    """nn/gru.py is nn.gru; nn/__init__.py is nn; __init__.py is the empty name."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(module: str) -> str:
    """The room of a module that is named without the leading `charlm.`."""
    return module.split(".")[0] or FRONT_DOOR


def is_type_checking(test: ast.expr) -> bool:
    """True for `TYPE_CHECKING` and `typing.TYPE_CHECKING`."""
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def is_import_call(node: ast.Call) -> bool:
    """True for import_module("a.b") and its kind, where the name is written out."""
    function = ast.unparse(node.func).split(".")[-1]
    return function in ("import_module", "__import__") and bool(node.args) and isinstance(node.args[0], ast.Constant)


def imports_in(source: str, module: str, is_folder: bool = False) -> Iterator[Import]:
    """All imports that can run, in functions too: relative ones in full, and `from a import b` as a.b.

    A public name taken from the front door counts as the front door.
    """
    package = ["charlm", *module.split(".")] if module else ["charlm"]
    if not is_folder and module:
        package = package[:-1]

    def visit(node: ast.AST, in_function: bool) -> Iterator[Import]:
        if isinstance(node, ast.If) and is_type_checking(node.test):
            for child in node.orelse:
                yield from visit(child, in_function)
            return
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, in_function)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                public = start == "charlm" and alias.name in charlm.__all__
                yield Import("charlm" if public else f"{start}.{alias.name}", node.lineno, in_function)
        elif isinstance(node, ast.Call) and is_import_call(node):
            yield Import(str(ast.literal_eval(node.args[0])), node.lineno, in_function)
        inside = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside)

    yield from visit(ast.parse(source), False)


def room_behind(name: str) -> str:
    """The room that `charlm.a.b` leads to; what is no module is the front door's."""
    first = name.split(".")[1:2]
    return first[0] if first and any(room_of(module) == first[0] for module in MODULES) else FRONT_DOOR


def faults_in(source: str, module: str, is_folder: bool = False) -> list[str]:
    """What is wrong with the imports of a module, one line each."""
    room, faults = room_of(module), []
    for name, line, in_function in imports_in(source, module, is_folder):
        library = name.split(".")[0]
        fault = None
        if library == "charlm":
            target = room_behind(name)
            if target != room and target not in MAY_IMPORT[room]:
                fault = f"{room} must not know {target}"
        elif library in ONLY_IN:
            if ONLY_IN[library] not in (room, module):
                fault = f"{library} has its room in {ONLY_IN[library]}"
            elif library in ONLY_IN_FUNCTIONS and not in_function:
                fault = f"{library} is slow to load: import it in the function that needs it"
        elif library == "numpy":
            if room in WITHOUT_NUMPY:
                fault = f"{room} has no arithmetic on arrays"
        elif library not in sys.stdlib_module_names:
            fault = f"{library} has no room in this house"
        if fault:
            faults.append(f"{module or '__init__'}:{line}: {name}: {fault}")
    return faults


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module or "__init__")
def test_imports_only_point_down(module: str) -> None:
    """Every import of every file leads to a room that its own may know."""
    path = MODULES[module]
    assert room_of(module) in MAY_IMPORT, f"{path.name} is new: say in MAY_IMPORT what it may import"
    assert faults_in(path.read_text(encoding="utf-8"), module, path.name == "__init__.py") == []


def test_the_plan_itself_points_down() -> None:
    """No room may know a room that may know it, over however many corners."""
    below: dict[str, set[str]] = {}
    while len(below) < len(MAY_IMPORT):
        floor = {room for room, known in MAY_IMPORT.items() if room not in below and known <= below.keys()}
        assert floor, f"a circle among {MAY_IMPORT.keys() - below.keys()}"
        below |= {room: MAY_IMPORT[room] for room in floor}


def test_a_public_name_is_not_the_name_of_a_module() -> None:
    """Importing charlm.x binds the module to the name x of the front door: a public x would be gone."""
    assert set(charlm.__all__) & {room_of(module) for module in MODULES} == set()


def test_the_mathematics_imports_no_disk_and_no_screen() -> None:
    """nn, text, optim and ngram are pure: arrays in, arrays out; no files, no network, no clock, no printing."""
    impure = {"os", "io", "pathlib", "sys", "time", "socket", "subprocess", "logging", "tempfile", "shutil"}
    for module, path in MODULES.items():
        if room_of(module) in ("nn", "text", "optim", "ngram"):
            names = {found.name.split(".")[0] for found in imports_in(path.read_text(encoding="utf-8"), module)}
            assert not names & impure, module


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("nn.gru", "from charlm.runs.run import Run"),
        ("nn.gru", "from charlm.text.vocabulary import Vocabulary"),
        ("nn.gru", "from charlm.optim import clip"),
        ("nn.gru", "import charlm.text.vocabulary as v"),
        ("nn.gru", "from charlm import training"),
        ("nn.gru", "from charlm import Vocabulary"),
        ("nn.gru", "import charlm"),
        ("nn.gru", "from ..text import vocabulary"),
        ("nn.gru", "from .. import text"),
        ("nn.gru", "def f():\n    from charlm.optim.clip import global_norm"),
        ("nn.gru", "async def f():\n    if x:\n        import charlm.cli"),
        ("nn.gru", "try:\n    import charlm.cli\nexcept ImportError:\n    pass"),
        ("nn.gru", "if TYPE_CHECKING:\n    pass\nelse:\n    import charlm.cli"),
        ("nn.gru", "def f():\n    importlib.import_module('charlm.runs.run')"),
        ("optim.clip", "from charlm.arrays import NamedArrays"),
        ("text.streams", "from charlm.arrays import Ids"),
        ("store.run", "from charlm.optim.optimizers import SGD"),
        ("store.run", "from charlm.training.progress import Journal"),
        ("store.run", "from charlm.training.loop import TrainSpec"),
        ("parallel", "from charlm.arrays import NamedArrays"),
        ("budget", "from charlm.runs.run import Run"),
        ("journal", "from charlm.training.loop import TrainSpec"),
        ("scoring", "from charlm.training.loop import train"),
        ("sampling", "from charlm.scoring.score import score"),
        ("plotting.loss", "from charlm.training.loop import train"),
        ("plotting.units", "from charlm.trained_model import load"),
        ("inspecting", "from charlm.plotting.units import plot_units"),
        ("trained", "from charlm.pages.frame import page"),
        ("pages.frame", "def f():\n    from matplotlib.figure import Figure"),
        ("training", "from charlm.trained_model import load"),
        ("trained", "from charlm.cli import main"),
        ("cli.train", "from charlm.training.loop import train"),
        ("cli.train", "from charlm.nn.model import ModelSpec"),
        ("cli.train", "import numpy as np"),
        ("errors", "from charlm.version import __version__"),
        ("training", "import click"),
        ("training", "def f():\n    from tqdm import tqdm"),
        ("training", "def f():\n    import matplotlib.pyplot"),
        ("store.run", "def f():\n    from safetensors.numpy import save"),
        ("store.tensors", "from safetensors.numpy import save"),
        ("plotting.loss", "from matplotlib.figure import Figure"),
        ("parallel", "class A:\n    import threadpoolctl"),
        ("nn.gru", "import scipy"),
        ("training", "import torch"),
    ],
)
def test_the_checker_catches_an_import_that_points_up(module: str, source: str) -> None:
    """A planted fault is found, whatever it is wrapped in, and the line is named."""
    faults = faults_in(source, module)
    assert len(faults) == 1
    line = next(n for n, text in enumerate(source.splitlines(), start=1) if "import" in text)
    assert faults[0].startswith(f"{module}:{line}: ")


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("nn.gru", "import math\nimport numpy as np\nfrom charlm.nn.gates import sigmoid\nfrom .arrays import Ids"),
        ("nn.gru", "from charlm.errors import SpecError\nfrom ..errors import SpecError"),
        ("nn.gru", "if TYPE_CHECKING:\n    from charlm.runs.run import Run"),
        ("store.run", "from charlm.nn.model import ModelSpec\nfrom charlm.text import vocabulary"),
        ("training", "from charlm.scoring.score import score\nfrom charlm.optim import clip"),
        ("plotting.loss", "def f():\n    from matplotlib.figure import Figure"),
        ("store.tensors", "def f():\n    def g():\n        from safetensors.numpy import save"),
        ("cli.train", "import click\nfrom tqdm import tqdm\nfrom charlm import train\nfrom charlm.cli import main"),
        ("trained", "from charlm.sampling.sample import sample"),
    ],
)
def test_the_checker_lets_downward_imports_pass(module: str, source: str) -> None:
    """What the plan allows is no fault."""
    assert faults_in(source, module) == []
