"""A digest of the code behind a stage, so that editing it reruns the stage.

Snakemake notices an edited script, not an edited module. The digest covers the named modules and every
`explaind` module they import, directly or not, as syntax trees without comments and docstrings: rewording a
comment reruns nothing. Neither does rewording a declaration, or an option's description.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from explaind.config.declarations import declares
from explaind.errors import ConfigError

PACKAGE = Path(__file__).resolve().parent.parent

#: Modules that shape messages and command lines, or let a killed job go on, never a number: following them would rerun all for a
#: typo.
IGNORED = (
    "explaind",
    "explaind.errors",
    "explaind.runtime.progress",
    "explaind.runtime.durable",
    "explaind.config",
    "explaind.cli",
)


@cache
def source_digest(*modules: str, experiment: str | None = None) -> str:
    """Digest of `modules` and of the `explaind` modules they import.

    Args:
        modules: dotted names ("explaind.stages.train"). A package stands for its `__init__`; "explaind.figures.*"
            for all its files.
        experiment: whose modules are added where experiments are built, which happens by name.

    Returns:
        Sixteen hexadecimal digits. They depend on the Python version too, whose syntax trees differ.

    Raises:
        ConfigError: a module does not exist or is not valid Python.
    """
    seen = _closure([name for module in modules for name in _expand(module)], {})
    if experiment and any(name.startswith("explaind.experiments") for name in seen):
        seen = _closure(_expand(f"explaind.experiments.{experiment}.*"), seen)
    text = "\n".join(f"{name} {digest}" for name, digest in sorted(seen.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _closure(pending: list[str], seen: dict[str, str]) -> dict[str, str]:
    """Digests of the pending modules and of all that they import, beside those seen already."""
    while pending:
        name = pending.pop()
        if name in seen or name in IGNORED or _is_configuration(name):
            continue
        seen[name], imported = _read(name)
        pending.extend(imported)
    return seen


def _is_configuration(name: str) -> bool:
    """What options mean and may be: their values enter a job's parameters. But which checkpoints there are is computed."""
    if name.startswith("explaind.config."):
        return name != "explaind.config.checkpoints"
    return name.endswith(".options") and name.split(".")[1] in ("experiments", "datasets")


def _expand(module: str) -> list[str]:
    """The module itself, or every file of "package.*", subfolders included."""
    if not module.endswith(".*"):
        return [module]
    package = module.removesuffix(".*")
    folder = PACKAGE.parent / Path(*package.split("."))
    files = sorted(folder.rglob("*.py"))
    if not files:
        raise ConfigError(f"There is no package {package!r} to digest.", expected=f"Python files in {folder}")
    names = [".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts) for file in files]
    return [name.removesuffix(".__init__") for name in names]


def _path(module: str) -> Path | None:
    stem = PACKAGE.parent / Path(*module.split("."))
    for path in (stem / "__init__.py", stem.with_suffix(".py")):
        if path.is_file():
            return path
    return None


@cache
def _read(module: str) -> tuple[str, tuple[str, ...]]:
    """Digest of one module's own code, and the `explaind` modules it imports, also inside functions."""
    path = _path(module)
    if path is None:
        raise ConfigError(
            f"There is no module {module!r} to digest.", expected=f"a Python file below {PACKAGE}"
        )
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        raise ConfigError(
            f"{path} is not valid Python.", got=f"{error.msg} in line {error.lineno}"
        ) from error
    # What a module declares shapes the workflow, not the numbers: options enter a job's parameters by value.
    tree.body = [node for node in tree.body if not declares(node)]
    imported: set[str] = set()
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in _statements(tree):
        _drop_docstring(node)
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(node, package)
            imported.add(source)
            imported.update(f"{source}.{alias.name}" for alias in node.names)
    digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    # Importing a.b.c also runs a/__init__.py and a/b/__init__.py.
    parents = {
        ".".join(name.split(".")[:depth])
        for name in imported | {module}
        for depth in range(1, name.count(".") + 1)
    }
    followed = {
        name for name in imported | parents if name.split(".")[0] == "explaind" and _path(name) is not None
    }
    return digest, tuple(sorted(followed))


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """The module and every statement in it, inner ones too: only these import or have docstrings, and expressions are many."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        yield node
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            pending.extend(getattr(node, block, ()))


def _drop_docstring(node: ast.AST) -> None:
    body = getattr(node, "body", None)
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or not body:
        return
    first = body[0]
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        del body[0]


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if node.level == 0:
        return node.module or ""
    base = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*base, *(node.module or "").split(".")]).strip(".")
