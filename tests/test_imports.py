"""Who may import whom, and how light `import knowngood` stays."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "knowngood"

# What `import knowngood` may pull in of our own, besides the package itself.
SDK_MAY_LOAD = ("knowngood.core", "knowngood.sdk", "knowngood.wire")

LIST_LOADED = """
import sys
before = set(sys.modules)
import knowngood
for name in knowngood.__all__:
    getattr(knowngood, name)  # names load when they are first asked for
loaded = sorted(set(sys.modules) - before)
import json
print(json.dumps(loaded))
"""


def modules_loaded_by_the_sdk() -> list[str]:
    """In a fresh interpreter, without what the interpreter's own start brings along."""
    command = [sys.executable, "-W", "error", "-c", LIST_LOADED]
    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60)
    return json.loads(done.stdout)


def third_party_imports(part: Path) -> Iterator[str]:
    """Also the imports inside functions, which a fresh interpreter would not run."""
    for path in sorted([part] if part.is_file() else part.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for module in imported_by(node):
                if module.split(".")[0] not in {"knowngood", *sys.stdlib_module_names}:
                    yield f"{path.relative_to(ROOT)} imports {module}"


def imported_by(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        return [node.module or ""]
    return []


def test_every_import_contract_is_kept(monkeypatch, capsys):
    """The arrows in pyproject.toml (tool.importlinter) are the only arrows there are."""
    monkeypatch.chdir(ROOT)
    failed = lint_imports(no_cache=True, no_logo=True)
    assert not failed, capsys.readouterr().out


def test_importing_knowngood_loads_the_sdk_only():
    """A service that fetches prompts never pays for a server, a store or a command line."""
    ours = [name for name in modules_loaded_by_the_sdk() if name.startswith("knowngood.")]
    allowed = tuple(f"{package}." for package in SDK_MAY_LOAD)
    assert not [name for name in ours if not f"{name}.".startswith(allowed)]


def test_importing_knowngood_needs_the_standard_library_only():
    """The SDK brings nothing along that could clash with its host."""
    tops = {name.split(".")[0] for name in modules_loaded_by_the_sdk()}
    assert not tops - {"knowngood"} - sys.stdlib_module_names


def test_sdk_sources_name_no_third_party():
    """Not even a late import inside a function reaches outside the standard library."""
    light = [PACKAGE / part for part in ("core", "sdk", "wire.py", "ports.py")]
    assert not [offence for part in light for offence in third_party_imports(part)]
