"""The house rules that a machine can check, over src/ and tests/."""

import ast
import os
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "knowngood"
CORE = PACKAGE / "core"
TESTS = ROOT / "tests"

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600
COLUMNS_MAX = 100
MAKE_TARGETS_MAX = 15
PORT_METHODS_MAX = 5

# Exceptions with the number that was measured; it may fall and never rise. Key: "path" or
# "path:function". Kept empty: an entry is a debt with somebody's name on it.
RATCHET: dict[str, int] = {}

# The data tools of the standard library. No clocks, no dice, no files, no network, no threads.
CORE_MAY_IMPORT = {
    "__future__", "abc", "bisect", "collections", "dataclasses", "datetime", "difflib", "enum",
    "fractions", "functools", "hashlib", "heapq", "itertools", "json", "math", "operator", "re",
    "string", "textwrap", "types", "typing",
}  # fmt: skip
SQL = {"aiosqlite", "alembic", "asyncpg", "psycopg", "sqlalchemy", "sqlite3"}

SKIPPED_FOLDERS = {"__pycache__", "build", "dist", "node_modules"}
TEXT_SUFFIXES = {
    "", ".cfg", ".css", ".html", ".ini", ".js", ".json", ".jsonl", ".lock", ".mako", ".md",
    ".npmrc", ".py", ".sh", ".sql", ".toml", ".txt", ".yaml", ".yml",
}  # fmt: skip
# Put together from parts, so that this file passes its own rules.
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX")) + r")\b")
MACHINE_PATH = re.compile(r"(?<![\w.])/(work|root)" + "/")
REGISTRY_HOSTS = [
    ".".join(name)
    for name in (
        ("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"),
        ("yarnpkg", "com"), ("crates", "io"), ("debian", "org"),
    )
]  # fmt: skip

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def python_files(*folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(text_of(path), filename=str(path))))


def functions_of(path: Path) -> list[Function]:
    return [node for node in nodes_of(path) if isinstance(node, Function)]


def classes_of(path: Path) -> list[ast.ClassDef]:
    return [node for node in nodes_of(path) if isinstance(node, ast.ClassDef)]


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Every absolute import anywhere in the file, also inside functions: (line, module)."""
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, node.module or ""


def calls_of(path: Path) -> Iterator[tuple[int, str]]:
    """Every call in the file: (line, what is called as written)."""
    for node in nodes_of(path):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


def our_text_files() -> Iterator[Path]:
    """Everything a reader of the repository can open; environments and caches are not ours."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(
            f for f in folders if f == ".ci" or not (f.startswith(".") or f in SKIPPED_FOLDERS)
        )
        # In a second working tree `.git` is a file, and git's own.
        paths = (Path(folder, file) for file in sorted(files) if file != ".git")
        yield from (path for path in paths if path.suffix in TEXT_SUFFIXES)


def lines_that_match(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name_of(path)}:{number}"
        for path in our_text_files()
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if pattern.search(line)
    ]


def expect_none(offences: Iterable[str]) -> None:
    found = sorted(offences)
    assert not found, "\n".join(["", *found])


def expect_within(limit: int, measured: Iterable[tuple[str, int]]) -> None:
    """Nothing is above its limit, nor above what the ratchet remembers of it."""
    expect_none(f"{key}: {size}" for key, size in measured if size > RATCHET.get(key, limit))


def decorator_keywords(decorator: ast.expr) -> dict[str, str]:
    if not isinstance(decorator, ast.Call):
        return {}
    return {keyword.arg or "**": ast.unparse(keyword.value) for keyword in decorator.keywords}


def is_dataclass(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return ast.unparse(called) in {"dataclass", "dataclasses.dataclass"}


def is_protocol(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base).split("[")[0].endswith("Protocol") for base in node.bases)


def named_annotations(path: Path) -> Iterator[tuple[int, str, str]]:
    """Every annotated field, variable and argument: (line, name, annotation)."""
    for node in nodes_of(path):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.lineno, node.target.id, ast.unparse(node.annotation)
        elif isinstance(node, ast.arg) and node.annotation:
            yield node.lineno, node.arg, ast.unparse(node.annotation)


def test_functions_are_short():
    """A function fits on a screen."""
    expect_within(
        FUNCTION_LINES_MAX,
        (
            (f"{name_of(path)}:{node.name}", (node.end_lineno or 0) - node.lineno + 1)
            for path in python_files(PACKAGE, TESTS)
            for node in functions_of(path)
        ),
    )


def test_files_are_short():
    """A file can be read in one sitting."""
    expect_within(
        FILE_LINES_MAX,
        ((name_of(path), len(text_of(path).splitlines())) for path in python_files(PACKAGE, TESTS)),
    )


def test_lines_are_narrow():
    """Two files fit side by side."""
    expect_within(
        COLUMNS_MAX,
        (
            (f"{name_of(path)}:{number}", len(line))
            for path in python_files(PACKAGE, TESTS)
            for number, line in enumerate(text_of(path).splitlines(), 1)
        ),
    )


def test_core_imports_data_tools_only():
    """The judgement is replayable: core cannot reach a clock, dice, a file or a network."""
    expect_none(
        f"{name_of(path)}:{line} imports {module}"
        for path in python_files(CORE)
        for line, module in imports_of(path)
        if module.split(".")[0] not in CORE_MAY_IMPORT and not module.startswith("knowngood.core")
    )


def test_core_opens_nothing():
    """No built-in reaches the outside from core either."""
    expect_none(
        f"{name_of(path)}:{line} calls {called}"
        for path in python_files(CORE)
        for line, called in calls_of(path)
        if called in {"open", "input", "eval", "exec", "__import__", "globals"}
        or called.split(".")[-1] in {"now", "today", "utcnow"}  # a date is data, the clock is not
    )


def test_sql_lives_in_the_store():
    """Only the store and its tests know that there is a database."""
    homes = (PACKAGE / "store", TESTS / "store")
    expect_none(
        f"{name_of(path)}:{line} imports {module}"
        for path in python_files(PACKAGE, TESTS)
        if not any(path.is_relative_to(home) for home in homes)
        for line, module in imports_of(path)
        if module.split(".")[0] in SQL
    )


def test_only_commands_print():
    """Standard output belongs to the command line and the simulator's command."""
    expect_none(
        f"{name_of(path)}:{line}"
        for path in python_files(PACKAGE)
        if not path.is_relative_to(PACKAGE / "cli") and path != PACKAGE / "sim" / "__main__.py"
        for line, called in calls_of(path)
        if called == "print"
    )


def test_every_package_says_what_belongs_there():
    """Somebody with new code can tell from a folder's first lines whether it goes there."""
    folders = {path.parent for path in python_files(PACKAGE)}
    expect_none(name_of(folder) for folder in folders if not says_what_belongs(folder))


def says_what_belongs(folder: Path) -> bool:
    init, readme = folder / "__init__.py", folder / "README.md"
    docstring = ast.get_docstring(ast.parse(text_of(init))) if init.exists() else None
    return bool(docstring) or (readme.exists() and bool(text_of(readme).strip()))


def test_nothing_is_left_unfinished():
    """What is not done is in the issue tracker, not in the code."""
    expect_none(lines_that_match(UNFINISHED))


def test_no_path_of_one_machine():
    """The repository works wherever it is cloned."""
    expect_none(lines_that_match(MACHINE_PATH))


def test_no_registry_host():
    """A mirror is the reader's choice: no file names the host of a package registry."""
    hosts = "|".join(re.escape(host) for host in REGISTRY_HOSTS)
    expect_none(lines_that_match(re.compile(hosts)))


def test_makefile_stays_a_toolbox():
    """The whole toolbox can be remembered."""
    targets = re.findall(r"^([a-z][a-z-]*):(?!=)", text_of(ROOT / "Makefile"), re.MULTILINE)
    assert len(targets) == len(set(targets)) <= MAKE_TARGETS_MAX


def test_core_dataclasses_are_values():
    """What core passes around cannot be changed afterwards, nor grow a field by a typing error."""
    expect_none(
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in python_files(CORE)
        for node in classes_of(path)
        for decorator in filter(is_dataclass, node.decorator_list)
        if not {"frozen": "True", "slots": "True"}.items() <= decorator_keywords(decorator).items()
    )


def test_ports_are_small():
    """A port asks little enough that a third party can write an adapter in an afternoon."""
    methods = {
        f"{name_of(path)}:{node.name}": sum(isinstance(item, Function) for item in node.body)
        for path in python_files(PACKAGE)
        if path.name == "ports.py"
        for node in filter(is_protocol, classes_of(path))
    }
    expect_within(PORT_METHODS_MAX, methods.items())


def test_units_come_last():
    """Names that belong together sort together: age_min_ms, age_max_ms; never ms_age."""
    unit_first = re.compile(r"(^|_)(ms|bp)_")
    expect_none(
        f"{name_of(path)}:{line} {name}"
        for path in python_files(PACKAGE)
        for line, name, _ in named_annotations(path)
        if unit_first.search(name)
    )


def test_units_are_whole():
    """Instants, spans and traffic weights are integers; only a latency is a measurement."""
    expect_none(
        f"{name_of(path)}:{line} {name}: {annotation}"
        for path in python_files(CORE)
        for line, name, annotation in named_annotations(path)
        if name.endswith(("_ms", "_bp", "_count")) and "latency" not in name
        if "float" in annotation
    )


def test_now_comes_last():
    """Core is told the time, always as the last positional argument."""
    expect_none(
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in python_files(CORE)
        for node in functions_of(path)
        if "now_ms" in [argument.arg for argument in node.args.args[:-1]]
    )


def test_tests_do_not_sleep():
    """A test waits for an event or moves a clock; it never sleeps and hopes."""
    expect_none(
        f"{name_of(path)}:{line}"
        for path in python_files(TESTS)
        for line, called in calls_of(path)
        if called in {"time.sleep", "sleep", "asyncio.sleep"}
    )


def test_every_test_states_its_law():
    """A failing test explains itself: its docstring is the law it checks."""
    expect_none(
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in python_files(TESTS)
        for node in functions_of(path)
        if node.name.startswith("test_") and not ast.get_docstring(node)
    )


def test_ratchet_is_empty():
    """There are no exceptions to the limits today; whoever adds one argues for it here."""
    assert not RATCHET
