"""Nothing on a page points nowhere: links, headings, commands, options, addresses, modules."""

import os
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from docs import generate
from knowngood.cli.app import app
from tests.docs.pages import ROOT, blocks

SKIPPED = {"__pycache__", "build", "dist", "node_modules"}


def pages() -> list[Path]:
    """Every Markdown file of the repository; environments and caches are not ours."""
    found: list[Path] = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [f for f in folders if not f.startswith(".") and f not in SKIPPED]
        found += [Path(folder, name) for name in files if name.endswith(".md")]
    return sorted(found)


PAGES = pages()
EVERY_PAGE = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix()
)


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@cache
def prose_of(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text_of(page), flags=re.DOTALL | re.MULTILINE)


@cache
def anchors(page: Path) -> frozenset[str]:
    """The names that headings can be linked by: as GitHub makes them."""
    found: list[str] = []
    for heading in re.findall(r"^#+ +(.+?) *$", prose_of(page), re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")
        found.append(f"{plain}-{found.count(plain)}" if plain in found else plain)
    return frozenset(found)


def links(page: Path) -> Iterator[str]:
    """The targets of a page's links and pictures that stay in the repository."""
    text = re.sub(r"`[^`\n]*`", "", prose_of(page))
    pictures = re.findall(r'(?:src|srcset)="([^"]+)"', text)
    for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text) + pictures:
        if not re.match(r"[a-z]+:", target):
            yield target


@EVERY_PAGE
def test_links_lead_somewhere(page):
    """Every relative link points to a file that exists and, behind a #, to one of its headings."""
    broken = []
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


def test_every_page_of_the_documentation_can_be_found():
    """The index names every page."""
    docs = ROOT / "docs"
    index = docs / "README.md"
    named = {(docs / target.partition("#")[0]).resolve() for target in links(index)}
    assert not [p for p in PAGES if p.is_relative_to(docs) and p != index and p not in named]


def commands(page: Path) -> Iterator[list[str]]:
    """The words behind each `knowngood` on a page: in backquotes, and typed in a block."""
    inline = re.findall(r"`(knowngood [^`\n]*)`", prose_of(page))
    typed = re.findall(r"^\$ (knowngood [^\n]*)$", text_of(page), re.MULTILINE)
    scripts = "".join(block.text for block in blocks(page) if block.language == "sh")
    typed += re.findall(r"^(knowngood [^\n]*)$", scripts, re.MULTILINE)
    for command in dict.fromkeys([*inline, *typed]):
        without_texts = re.sub(r"'[^']*'|\"[^\"]*\"", "TEXT", command.partition(" | ")[0])
        yield without_texts.split()[1:]


def problem_with(words: list[str]) -> str | None:
    """What is wrong with a command, if anything: a verb or an option that does not exist."""
    command: Any = get_command(app)
    path = ["knowngood"]
    options = {"--help", "-h"}
    for word in words:
        below = getattr(command, "commands", {})
        if word.startswith("-"):
            known = options | {name for p in command.params for name in p.opts}
            if word.partition("=")[0].rstrip(".,;") not in known:
                return f"{' '.join(path)} has no option {word}"
        elif below and word in below:
            command = below[word]
            path.append(word)
        elif below and len(path) == 1:
            return f"there is no verb {word}"
    return None


@EVERY_PAGE
def test_commands_exist(page):
    """Every verb of `knowngood` that a page names exists, with the options that it is given."""
    if page == generate.CLI_PAGE:
        return  # written by the program itself
    assert not [found for words in commands(page) if (found := problem_with(words))]


def test_commands_that_do_not_exist_are_found():
    """The check itself would see a typing error."""
    assert problem_with(["rolback", "x"]) == "there is no verb rolback"
    assert problem_with(["rollback", "x", "--becuase", "TEXT"])
    assert problem_with(["policy", "show", "--three"])
    assert problem_with(["policy", "show", "--tree", "x"]) is None
    assert problem_with(["status", "--db", "FILE"]) is None
    assert problem_with(["--version"]) is None


@cache
def addresses() -> list[re.Pattern[str]]:
    """The paths that the server answers."""
    paths = [*generate.openapi()["paths"], "/openapi.json"]
    return [re.compile(re.sub(r"\{\w+\}", "[^/]+", path)) for path in paths]


@EVERY_PAGE
def test_addresses_exist(page):
    """Every path of the API that a page names in backquotes is answered by the server."""
    named = re.findall(
        r"`(?:[A-Z]+ )?(/(?:api|healthz|readyz|metrics|openapi)[^`\s?]*)`", text_of(page)
    )
    assert not [path for path in named if not any(p.fullmatch(path) for p in addresses())]


@EVERY_PAGE
def test_targets_of_make_exist(page):
    """Every `make …` that a page names is a target."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = re.findall(r"(?:`|^\$ |^)make ([a-z][a-z-]*)", text_of(page), re.MULTILINE)
    assert not [target for target in named if f"\n{target}:" not in makefile]


@EVERY_PAGE
def test_variables_are_read(page):
    """Every environment variable that a page names is read by the program or its tests."""
    sources = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("src", "tests/cli")
        for path in (ROOT / folder).rglob("*.py")
    )
    assert not [v for v in re.findall(r"\bKNOWNGOOD_[A-Z_]+\b", text_of(page)) if v not in sources]


@EVERY_PAGE
def test_extras_exist(page):
    """What `pip install '.[…]'` names is an extra of the project."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = re.findall(r"pip install '(?:\.|knowngood)\[([a-z,]+)\]'", text_of(page))
    extras = {name for group in named for name in group.split(",")}
    assert extras <= set(project["optional-dependencies"])
