"""The layout of the package, read from its imports: arrows point down, and each outside library has one home."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import charlm

PACKAGE = Path(charlm.__file__).parent
SCRIPTS = PACKAGE.parent / "scripts"

FLOORS = (  # from the top down; a package imports only packages of lower floors
    ("scripts", "__main__"),
    ("cli",),
    ("__init__",),
    ("server", "exchange", "pages", "training"),
    ("trained_model",),
    ("plotting", "sampling", "analysis", "scoring"),
    ("predict",),
    ("runs",),
    ("corpus", "config"),
    ("files", "text", "nn", "optim", "parallel"),
    ("arrays",),
    ("errors", "version"),
)
APART = ("reference", "textbook")  # to be read alone: they import nothing of charlm
SAME_FLOOR = {("plotting", "analysis"), ("corpus", "config")}
MOST_ARROWS = 125

HOMES = {  # where an outside library may be imported: a package, or one module of it
    "numpy": None,  # everywhere
    "click": "cli",
    "tqdm": "cli",
    "matplotlib": "plotting",
    "safetensors": "files.tensors",
    "threadpoolctl": "parallel.blas",
    "mpi4py": "parallel.mpi",
    "charset_normalizer": "corpus.encoding",
}
ONLY_IN_FUNCTIONS = {"matplotlib", "safetensors", "threadpoolctl", "mpi4py", "charset_normalizer"}  # slow to load
WITHOUT_NUMPY = {"errors", "version", "cli", "__init__", "__main__"}  # so that `charlm --help` is instant
PURE = {"nn", "text", "optim", "arrays", "config"}
IMPURE_LIBRARIES = {"os", "io", "pathlib", "time", "socket", "subprocess", "logging", "tempfile", "shutil"}


class Import(NamedTuple):
    """One import: the full name of what is imported, its line, and whether it waits inside a function."""

    name: str
    line: int
    in_function: bool


def module_name(path: Path) -> str:
    """nn/gru.py is nn.gru, and nn/__init__.py is nn; scripts/demo.py is scripts.demo."""
    root = PACKAGE if path.is_relative_to(PACKAGE) else SCRIPTS.parent
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted([*PACKAGE.rglob("*.py"), *SCRIPTS.glob("*.py")])}
ROOMS = {module.split(".")[0] for module in MODULES}


def floor_of(room: str) -> int:
    """The floor of a package, from 0 at the top."""
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def imports_in(source: str, module: str) -> Iterator[Import]:
    """All imports, those for type checking too; relative ones in full, and `from a import b` as a.b."""
    package = ["charlm", *module.split(".")[:-1]]

    def visit(node: ast.AST, in_function: bool) -> Iterator[Import]:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            in_function = True  # it costs no time, but it is an arrow
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, in_function) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            yield from (Import(f"{start}.{alias.name}", node.lineno, in_function) for alias in node.names)
        inside = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside)

    yield from visit(ast.parse(source), False)


def room_behind(name: str) -> str:
    """The package that `charlm.a.b` leads to; a name that is not a module is one of the front door's."""
    second = name.split(".")[1:2]
    return second[0] if second and second[0] in ROOMS | set().union(*FLOORS) else "__init__"


def fault_of(found: Import, module: str) -> str | None:
    """What is wrong with an import of a module; None if it is as planned."""
    room, library = module.split(".")[0], found.name.split(".")[0]
    if library == "charlm":
        target = room_behind(found.name)
        if room in APART:
            return None if target == room else f"{room} is read alone"
        is_down = target == room or (room, target) in SAME_FLOOR or floor_of(target) > floor_of(room)
        return None if is_down else f"{room} must not import {target}"
    if room == "scripts" or library in sys.stdlib_module_names:
        return None
    if library == "numpy":
        return f"{room} must load without numpy" if room in WITHOUT_NUMPY else None
    if library not in HOMES:
        return f"{library} has no home in this package"
    if HOMES[library] not in (room, module):
        return f"{library} has its home in {HOMES[library]}"
    if library in ONLY_IN_FUNCTIONS and not found.in_function:
        return f"{library} is slow to load: import it in the function that needs it"
    return None


def faults_in(source: str, module: str) -> list[str]:
    """The faults of all imports of a module, one line each."""
    return [
        f"{module}:{found.line}: {found.name}: {fault}"
        for found in imports_in(source, module)
        if (fault := fault_of(found, module))
    ]


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    """Law: every import of every module leads to a lower floor, and every outside library stays in its home."""
    room = module.split(".")[0]
    assert room in APART or any(room in rooms for rooms in FLOORS), f"{room} is new: give it a floor in FLOORS"
    assert faults_in(MODULES[module].read_text(encoding="utf-8"), module) == []


def test_modules_of_a_package_import_each_other_without_a_circle() -> None:
    """Law: there is an order in which all modules can be read, each after those that it imports."""
    known = {module: set[str]() for module in MODULES}
    for module, path in MODULES.items():
        for found in imports_in(path.read_text(encoding="utf-8"), module):
            inner = found.name.removeprefix("charlm.")
            known[module] |= {name for name in (inner, inner.rpartition(".")[0]) if name in MODULES} - {module}
    del known["__init__"]  # names its modules for type checkers, and loads none of them
    read: set[str] = {"__init__"}
    while known:
        ready = {module for module, others in known.items() if others <= read}
        assert ready, f"a circle among {sorted(known)}"
        read |= ready
        known = {module: others for module, others in known.items() if module not in ready}


def test_there_are_few_arrows() -> None:
    """Law: a stranger can keep the layout in mind: about 24 packages, and not too many arrows between them."""
    arrows = {
        (module.split(".")[0], room_behind(found.name))
        for module, path in MODULES.items()
        for found in imports_in(path.read_text(encoding="utf-8"), module)
        if found.name.split(".")[0] == "charlm"
    }
    assert len({arrow for arrow in arrows if arrow[0] != arrow[1]}) <= MOST_ARROWS
    assert len(ROOMS) <= 28


def test_the_mathematics_imports_no_disk_and_no_clock() -> None:
    """Law: these packages are pure: arrays in, arrays out."""
    for module, path in MODULES.items():
        if module.split(".")[0] in PURE:
            names = {found.name.split(".")[0] for found in imports_in(path.read_text(encoding="utf-8"), module)}
            assert not names & IMPURE_LIBRARIES, module


def test_a_public_name_is_not_the_name_of_a_module() -> None:
    """Law: importing charlm.x binds the module to the name x of the front door, so a public x would be lost."""
    assert set(charlm.__all__) & ROOMS == set()


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("nn.gru", "from charlm.runs.run import Run"),
        ("nn.gru", "import charlm.text.vocabulary as v"),
        ("nn.gru", "from charlm import Vocabulary"),
        ("nn.gru", "from ..text import vocabulary"),
        ("nn.gru", "def f():\n    from charlm.optim.clip import global_norm"),
        ("nn.gru", "try:\n    import charlm.cli\nexcept ImportError:\n    pass"),
        ("nn.gru", "if TYPE_CHECKING:\n    from charlm.runs.run import Run"),
        ("runs.run", "from charlm.training.loop import train_steps"),
        ("config", "from charlm.runs.run import Run"),
        ("cli.train", "import numpy as np"),
        ("reference", "from charlm.nn.gru import GRU"),
        ("training.loop", "def f():\n    from tqdm import tqdm"),
        ("plotting.loss", "from matplotlib.figure import Figure"),
        ("nn.gru", "import scipy"),
    ],
)
def test_a_planted_fault_is_found(module: str, source: str) -> None:
    """Law: the checker finds an import that points up, whatever it is wrapped in, and names its line."""
    (fault,) = faults_in(source, module)
    line = next(number for number, text in enumerate(source.splitlines(), start=1) if "import" in text)
    assert fault.startswith(f"{module}:{line}: ")


def test_planned_imports_pass() -> None:
    """Law: what the plan allows is not a fault."""
    assert faults_in("import math\nimport numpy as np\nfrom .gates import sigmoid_of_double", "nn.gru") == []
    assert faults_in("def f():\n    from matplotlib.figure import Figure", "plotting.loss") == []
    assert faults_in("import click\nfrom charlm import train", "cli.train") == []
