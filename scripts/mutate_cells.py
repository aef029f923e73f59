"""Mutation testing of the cells: plants one fault at a time and checks that some test fails.

    python scripts/mutate_cells.py              all cells: a table of faults and the first test that fails
    python scripts/mutate_cells.py nn/gru       only these files of charlm/

Faults come from the syntax tree, so none is omitted by hand: + and - are exchanged in operators, in-place operators
and np.add / np.subtract; a unary minus is removed; the operands of np.subtract are exchanged; a slice of gates is
replaced by its complement; any two names that are unpacked together are exchanged. The package with the fault is a
copy in a temporary folder. No test can find the exchange of names that are treated alike: da_i, da_f and da_g in lstm.
"""

from __future__ import annotations

import ast
import copy
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FAST = (
    "test_gates",
    "test_activations",
    "test_cell",
    "test_gated_cells",
    "test_model",
    "test_gradients",
    "test_parity",
)
FILES = {  # with the tests that are to find their faults
    **{f"nn/{name}": FAST for name in ("gru", "gru_reset_after", "lstm", "rnn", "bidirectional", "gates")},
    **{f"reference/{name}": ("test_reference",) for name in ("gru", "lstm", "rnn", "shapes")},
    "textbook": ("test_textbook",),
}
FLIPPED = {ast.Add: ast.Sub, ast.Sub: ast.Add}
RENAMED = {"add": "subtract", "subtract": "add"}


def places(tree: ast.AST) -> Iterator[tuple[int, str, int]]:
    """Every possible fault: the number of its node in walking order, its kind, its variant."""
    for number, node in enumerate(ast.walk(tree)):
        if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in FLIPPED and not _is_index(node, tree):
            yield number, "sign", 0
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in RENAMED:
            yield number, "sign of np", 0
            if node.func.attr == "subtract":
                yield number, "operands", 0
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and not _is_index(node, tree):
            yield number, "minus", 0
        if isinstance(node, ast.Subscript) and _other_half(node) is not None:
            yield number, "slice", 0
        for variant, _ in enumerate(itertools.combinations(_names(node), 2)):
            yield number, "names", variant


def _names(node: ast.AST) -> list[ast.expr]:
    """The names that an assignment or a for statement unpacks together."""
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target if isinstance(node, ast.For) else None
    if not isinstance(target, ast.Tuple) or (isinstance(node, ast.Assign) and _are_buffers(node)):
        return []
    return target.elts


def _are_buffers(node: ast.Assign) -> bool:
    """Buffers of one shape that are unpacked together are alike: exchanging them is no fault."""
    return "_buffers" in ast.unparse(node.value)


def _other_half(node: ast.Subscript) -> ast.expr | None:
    """The complement of a slice of gates: [2:] for [:2]; None for other subscripts."""
    last = node.slice.elts[-1] if isinstance(node.slice, ast.Tuple) else node.slice
    if not isinstance(last, ast.Slice) or last.step is not None or ast.unparse(last) not in (":2", ":3"):
        return None
    if (last.lower is None) == (last.upper is None):
        return None
    other = ast.Slice(lower=last.upper, upper=last.lower)
    return ast.Tuple([*node.slice.elts[:-1], other], node.slice.ctx) if isinstance(node.slice, ast.Tuple) else other


def _is_index(node: ast.AST, tree: ast.AST) -> bool:
    """Whether a node is part of a shape or a slice (T + 1), which is no arithmetic of the cell."""
    inside = (ast.Subscript, ast.Call)
    for parent in ast.walk(tree):
        if isinstance(parent, inside):
            parts = [parent.slice] if isinstance(parent, ast.Subscript) else _size_arguments(parent)
            if any(node is child for part in parts for child in ast.walk(part)):
                return True
    return False


def _size_arguments(call: ast.Call) -> list[ast.expr]:
    """The sizes in a request for a buffer."""
    return call.args if "_buffers" in ast.unparse(call.func) else []


def planted(tree: ast.Module, place: tuple[int, str, int]) -> tuple[str, str]:
    """The source with one fault, and the line that has it."""
    number, kind, variant = place
    tree = copy.deepcopy(tree)
    node = next(itertools.islice(ast.walk(tree), number, None))
    if kind == "sign" and isinstance(node, ast.BinOp | ast.AugAssign):
        node.op = FLIPPED[type(node.op)]()
    elif kind == "sign of np" and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        node.func.attr = RENAMED[node.func.attr]
    elif kind == "minus" and isinstance(node, ast.UnaryOp):
        node.op = ast.UAdd()
    elif kind == "slice" and isinstance(node, ast.Subscript):
        node.slice = _other_half(node) or node.slice
    elif kind == "operands" and isinstance(node, ast.Call):
        node.args[:2] = node.args[1::-1]
    elif names := _names(node):
        a, b = list(itertools.combinations(range(len(names)), 2))[variant]
        names[a], names[b] = names[b], names[a]
    return ast.unparse(tree), ast.unparse(node).partition("\n")[0]


def first_failure(folder: Path, names: Sequence[str]) -> str | None:
    """The first of some tests that fails with the package in `folder`; None if all pass."""
    tests = [str(folder / "tests" / f"{name}.py") for name in names]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "not network and not slow",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "--no-header",
        *tests,
    ]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode == 0:
        return None
    found = re.search(r"^(?:FAILED|ERROR) tests/(.+?)(?: - |$)", done.stdout, re.MULTILINE)
    return found[1].replace(".py::", ": ")[:76] if found else "the tests do not start"


def main() -> None:
    """Plant every fault and print the test that finds it; exit with 1 if a fault was not found."""
    missed = tried = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in ("charlm", "tests", "corpora"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy2(ROOT / "pyproject.toml", folder)
        for name in sys.argv[1:] or FILES:
            path = folder / "charlm" / f"{name}.py"
            source = path.read_text(encoding="utf-8")
            tree = ast.parse(source)
            for place in places(tree):
                faulty, line = planted(tree, place)
                path.write_text(faulty, encoding="utf-8")
                found_by = first_failure(folder, FILES[name])
                tried += 1
                missed += found_by is None
                print(f"{name:16} {place[1]:10} {line[:70]:70} {found_by or 'NOT FOUND'}", flush=True)
            path.write_text(source, encoding="utf-8")
    print(f"{tried} faults, {missed} not found")
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()
