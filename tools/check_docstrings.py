"""Check the docstrings of the public names of `src/miliary`.

Fails where a public module, class, function or method has no docstring, and where the section Parameters of a
docstring, if it has one, does not name exactly the parameters of the signature (for a dataclass: its fields).
Public is what has no underscore in front of its name or of a name around it.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

_SECTION = re.compile(r"^Parameters\n-{3,}\n(?P<body>.*?)(?=^\S[^\n]*\n-{3,}$|\Z)", re.MULTILINE | re.DOTALL)


def list_public(tree: ast.Module) -> Iterator[tuple[str, Documented]]:
    """Name and node of the module, and of its public classes, functions and methods."""
    yield "", tree
    yield from _list_members(tree, "")


def _list_members(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[str, Documented]]:
    for child in node.body:
        if isinstance(child, Function | ast.ClassDef) and not child.name.startswith("_"):
            if isinstance(child, Function) and _has_decorator(child, "overload", "setter"):
                continue
            yield f"{prefix}{child.name}", child
            if isinstance(child, ast.ClassDef):
                yield from _list_members(child, f"{prefix}{child.name}.")


def _has_decorator(node: Function | ast.ClassDef, *names: str) -> bool:
    return any(
        (part.id if isinstance(part, ast.Name) else part.attr) in names
        for decorator in node.decorator_list
        for part in ast.walk(decorator)
        if isinstance(part, ast.Name | ast.Attribute)
    )


def read_documented_parameters(docstring: str) -> list[str] | None:
    """Names in the section Parameters, in their order; None where there is no such section."""
    found = _SECTION.search(docstring)
    if found is None:
        return None
    heads = [line for line in found["body"].splitlines() if line and not line[0].isspace()]
    return [name.strip().lstrip("*") for head in heads for name in head.partition(" :")[0].split(",")]


def list_parameters(node: Function | ast.ClassDef, *, is_method: bool) -> list[str] | None:
    """Parameters of a function, or of the making of a class; None where a class does not say them itself."""
    if isinstance(node, ast.ClassDef):
        makers = [c for c in node.body if isinstance(c, Function) and c.name in {"__init__", "__new__"}]
        if makers:
            return list_parameters(makers[0], is_method=True)
        if node.bases and not _has_decorator(node, "dataclass"):
            return None
        return [
            child.target.id
            for child in node.body
            if isinstance(child, ast.AnnAssign)
            and isinstance(child.target, ast.Name)
            and not child.target.id.startswith("_")
            and "ClassVar" not in ast.unparse(child.annotation)
            and "init=False" not in ast.unparse(child).replace(" ", "")
        ]
    a = node.args
    names = [one.arg for one in (*a.posonlyargs, *a.args)]
    names += [a.vararg.arg] if a.vararg else []
    names += [one.arg for one in a.kwonlyargs]
    names += [a.kwarg.arg] if a.kwarg else []
    return names[1:] if names[:1] in (["self"], ["cls"]) and is_method else names


def find_faults(path: Path, text: str) -> dict[str, str]:
    """Every fault of one module: a stable key and a sentence."""
    faults = {}
    for name, node in list_public(ast.parse(text)):
        key = f"{path}:{name}" if name else str(path)
        docstring = ast.get_docstring(node)
        if not docstring:
            faults[f"missing {key}"] = f"{key} has no docstring"
            continue
        documented = read_documented_parameters(docstring)
        if documented is None or isinstance(node, ast.Module):
            continue
        taken = list_parameters(node, is_method="." in name)
        if taken is not None and sorted(documented) != sorted(taken):
            faults[f"parameters {key}"] = (
                f"{key} documents {', '.join(documented)}; its parameters are {', '.join(taken)}"
            )
    return faults


def read_faults(package: Path) -> tuple[dict[str, str], int]:
    """Faults of every module of a package, and how many public names were looked at."""
    faults: dict[str, str] = {}
    n_public = 0
    for path in sorted(package.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        n_public += sum(1 for _ in list_public(ast.parse(text)))
        faults.update(find_faults(path.relative_to(package), text))
    return faults, n_public


def main() -> int:
    """Print one line per fault; exit 1 where there is one."""
    faults, n_public = read_faults(ROOT / "src" / "miliary")
    print("\n".join(faults.values()) or f"{n_public} public names are documented")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
