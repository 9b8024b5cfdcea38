"""`knowngood list`: every prompt with what is routed where, or a prompt's versions."""

from collections.abc import Iterator
from typing import Any

from knowngood.cli.backend import Backend, connect
from knowngood.cli.keep import print_shelf
from knowngood.cli.names import prompt_of
from knowngood.cli.options import DEFAULT_URL, Db, Json, OptionalName, Token, Url
from knowngood.cli.output import print_json, say, table

PAGE = 1_000
PAGES_MAX = 100  # 100,000 prompts: beyond that it is no list that a person reads


def list_prompts(
    name: OptionalName = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
    db: Db = None,
    as_json: Json = False,
) -> None:
    """List all prompts and what is served where; of one prompt, what is kept of it and why.

    A version is hot (in the memory of every process), archived, or purgeable.
    """
    backend = connect(url, token, db=db)
    if name:
        answer = backend.get("/api/retention", prompt=prompt_of(name))
        if as_json:
            print_json(answer)
        else:
            print_shelf(answer["prompts"][0]["versions"])
        return
    if as_json:
        print_json(backend.get("/api/prompts", limit=PAGE))
        return
    rows = [row for page in _pages(backend) for row in page]
    if not rows:
        say("there are no prompts yet")
        say("next: knowngood push NAME VERSION FILE")
        return
    table(("prompt", "versions", "newest", "routes"), map(_cells, rows))


def _pages(backend: Backend) -> Iterator[list[dict[str, Any]]]:
    after = ""
    for _ in range(PAGES_MAX):
        answer = backend.get("/api/prompts", after=after, limit=PAGE)
        yield answer["prompts"]
        after = answer["next_after"] or ""
        if not after:
            return


def _cells(row: dict[str, Any]) -> tuple[str, str, str, str]:
    routes = "; ".join(
        f"{name}: {data['route']}" for name, data in sorted(row["environments"].items())
    )
    return row["name"], str(row["versions_count"]), row["newest"], routes or "not routed"
