"""Do the tests notice a wrong sign or two gates mixed up? Plants each such fault in turn and runs the tests on it.

    python scripts/mutate_cells.py              all cells, a table of faults and the first test that fails
    python scripts/mutate_cells.py gru lstm     only these files of charlm/nn

Faults are made from the syntax tree, so none is left out by hand: every + becomes - and every - becomes +, in
operators, in-place operators and np.add / np.subtract; a minus before a number goes; the operands of every
np.subtract change places; a slice of gates becomes the rest of them; every pair of names that are unpacked together
changes places. The faulty package lies in a temporary folder.
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
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CELLS = ("gru", "gru_after", "lstm", "rnn", "bidirectional", "gates")
TESTS = ("test_reference", "test_gates", "test_gru", "test_sequence", "test_gradients", "test_parity")
FLIPPED = {ast.Add: ast.Sub, ast.Sub: ast.Add}
RENAMED = {"add": "subtract", "subtract": "add"}


def places(tree: ast.AST) -> Iterator[tuple[int, str, int]]:
    """Every fault that the tree has room for: the number of its node in walking order, its kind, its variant."""
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
    """What an assignment or the head of a loop unpacks together."""
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target if isinstance(node, ast.For) else None
    if not isinstance(target, ast.Tuple) or (isinstance(node, ast.Assign) and _are_buffers(node)):
        return []
    return target.elts


def _are_buffers(node: ast.Assign) -> bool:
    """Buffers of one shape that are unpacked together are alike: mixing them up is no fault."""
    return "_buffers" in ast.unparse(node.value)


def _other_half(node: ast.Subscript) -> ast.expr | None:
    """The complement of a slice of gates: [:2] for [2:], and the other way round."""
    last = node.slice.elts[-1] if isinstance(node.slice, ast.Tuple) else node.slice
    if not isinstance(last, ast.Slice) or last.step is not None or ast.unparse(last) not in (":2", ":3"):
        return None
    if (last.lower is None) == (last.upper is None):
        return None
    other = ast.Slice(lower=last.upper, upper=last.lower)
    return ast.Tuple([*node.slice.elts[:-1], other], node.slice.ctx) if isinstance(node.slice, ast.Tuple) else other


def _is_index(node: ast.AST, tree: ast.AST) -> bool:
    """Sums inside of shapes and slices (T + 1) are not arithmetic of the cell."""
    inside = (ast.Subscript, ast.Call)
    for parent in ast.walk(tree):
        if isinstance(parent, inside):
            parts = [parent.slice] if isinstance(parent, ast.Subscript) else _size_arguments(parent)
            if any(node is child for part in parts for child in ast.walk(part)):
                return True
    return False


def _size_arguments(call: ast.Call) -> list[ast.expr]:
    return call.args if "_buffers" in ast.unparse(call.func) else []


def planted(tree: ast.Module, place: tuple[int, str, int]) -> tuple[str, str]:
    """The source with one fault, and the faulty line."""
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
    return ast.unparse(tree), ast.unparse(node)


def first_failure(folder: Path) -> str | None:
    """The first test that fails with the package in `folder`; None if all pass."""
    tests = [str(folder / "tests" / f"{name}.py") for name in TESTS]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", *tests]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode == 0:
        return None
    found = re.search(r"^(?:FAILED|ERROR) tests/(\S+)", done.stdout, re.MULTILINE)
    return found[1].replace(".py::", ": ")[:76] if found else "the tests do not start"


def main() -> None:
    """Plant, test, tell; exit 1 if a fault went unseen."""
    unseen = tried = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in ("charlm", "tests"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy2(ROOT / "pyproject.toml", folder)
        for cell in sys.argv[1:] or CELLS:
            path = folder / "charlm" / "nn" / f"{cell}.py"
            source = path.read_text(encoding="utf-8")
            tree = ast.parse(source)
            for place in places(tree):
                faulty, line = planted(tree, place)
                path.write_text(faulty, encoding="utf-8")
                killer = first_failure(folder)
                tried += 1
                unseen += killer is None
                print(f"{cell:14} {place[1]:10} {line[:70]:70} {killer or 'NOT SEEN'}", flush=True)
            path.write_text(source, encoding="utf-8")
    print(f"{tried} faults, {unseen} not seen")
    sys.exit(unseen > 0)


if __name__ == "__main__":
    main()
