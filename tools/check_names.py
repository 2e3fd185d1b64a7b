"""Check the shape of `src/miliary`: names that stand twice, rooms, functions and modules that are too large.

Fails where

- two modules have one name (``__init__`` apart), or two public classes;
- a folder holds more than 20 modules, the root of the package more than 6 (``__init__`` apart);
- the body of a function is longer than 60 lines, docstring apart; functions compiled by numba are not held to
  it, since a compiled loop nest is one function;
- a module is longer than 800 lines.

`allowed_names.toml` lists what is known and still stands, each with its reason. An entry that no longer
applies fails as well, so the list only gets shorter.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ALLOWANCES = ROOT / "tools" / "allowed_names.toml"

MAX_ROOM_MODULES = 20
MAX_ROOT_MODULES = 6
MAX_BODY_LINES = 60
MAX_MODULE_LINES = 800
_COMPILERS = {"jit", "njit", "vectorize", "guvectorize", "stencil", "cfunc"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def read_modules(package: Path) -> dict[Path, str]:
    """Text of every module below a package, by its path relative to the package."""
    return {
        path.relative_to(package): path.read_text(encoding="utf-8") for path in sorted(package.rglob("*.py"))
    }


def find_faults(modules: Mapping[Path, str]) -> dict[str, str]:
    """Every violation: a stable key (the kind and the name) and a sentence."""
    trees = {path: ast.parse(text) for path, text in modules.items()}
    faults: dict[str, str] = {}
    faults.update(_find_twins(trees))
    faults.update(_find_full_rooms(modules))
    for path, text in modules.items():
        n_lines = text.count("\n")
        if n_lines > MAX_MODULE_LINES:
            faults[f"module-length {path}"] = f"{path} has {n_lines} lines, at most {MAX_MODULE_LINES}"
        faults.update(_find_long_bodies(path, trees[path]))
    return faults


def _find_twins(trees: Mapping[Path, ast.Module]) -> Iterator[tuple[str, str]]:
    modules: defaultdict[str, list[str]] = defaultdict(list)
    classes: defaultdict[str, list[str]] = defaultdict(list)
    for path, tree in trees.items():
        if path.stem != "__init__":
            modules[path.stem].append(str(path))
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                classes[node.name].append(str(path))
    for kind, found in (("module", modules), ("class", classes)):
        for name, places in sorted(found.items()):
            if len(places) > 1:
                yield f"{kind}-twice {name}", f"{kind} {name} stands in {', '.join(places)}"


def _find_full_rooms(modules: Mapping[Path, str]) -> Iterator[tuple[str, str]]:
    rooms = Counter(path.parent for path in modules if path.stem != "__init__")
    for room, n_modules in sorted(rooms.items()):
        most = MAX_ROOT_MODULES if room == Path() else MAX_ROOM_MODULES
        if n_modules > most:
            yield f"room {room}", f"{room} holds {n_modules} modules, at most {most}"


def _find_long_bodies(path: Path, tree: ast.Module) -> Iterator[tuple[str, str]]:
    for name, function in _list_functions(tree, ""):
        n_lines = _count_body_lines(function)
        if n_lines > MAX_BODY_LINES and not _is_compiled(function):
            yield (
                f"function-length {path}:{name}",
                f"{path}: the body of {name} has {n_lines} lines, at most {MAX_BODY_LINES}",
            )


def _list_functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function | ast.ClassDef):
            name = f"{prefix}{child.name}"
            if not isinstance(child, ast.ClassDef):
                yield name, child
            yield from _list_functions(child, f"{name}.")
        else:
            yield from _list_functions(child, prefix)


def _count_body_lines(function: Function) -> int:
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def _is_compiled(function: Function) -> bool:
    return any(
        isinstance(part, ast.Name | ast.Attribute)
        and (part.id if isinstance(part, ast.Name) else part.attr) in _COMPILERS
        for decorator in function.decorator_list
        for part in ast.walk(decorator)
    )


def read_allowances(path: Path) -> dict[str, str]:
    """The reason of every violation that still stands, by its key."""
    return {str(key): str(reason) for key, reason in tomllib.loads(path.read_text(encoding="utf-8")).items()}


def judge(faults: Mapping[str, str], allowed: Mapping[str, str]) -> list[str]:
    """What must be mended: faults that are not allowed, and allowances that no longer apply."""
    new = [sentence for key, sentence in faults.items() if not allowed.get(key)]
    gone = [
        f"{key}: no longer so; take it off tools/allowed_names.toml" for key in allowed if key not in faults
    ]
    return new + gone


def main() -> int:
    """Print one line per fault; exit 1 where there is one."""
    faults = find_faults(read_modules(ROOT / "src" / "miliary"))
    allowed = read_allowances(ALLOWANCES)
    wrong = judge(faults, allowed)
    print("\n".join(wrong) or f"names and sizes of modules hold; {len(allowed)} allowed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
