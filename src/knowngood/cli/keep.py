"""`knowngood pin`, `unpin` and `purge`: what is kept of versions, and what goes."""

from collections.abc import Callable, Iterator
from typing import Any

from rich.text import Text

from knowngood.cli.backend import Backend, connect
from knowngood.cli.errors import need_because
from knowngood.cli.names import prompt_of, version_of
from knowngood.cli.options import (
    DEFAULT_URL,
    As,
    Because,
    DryRun,
    Json,
    Name,
    OptionalName,
    OptionalVersion,
    Token,
    Url,
)
from knowngood.cli.output import print_json, say, styled, table, when

PAGES_MAX = 1_000  # 100,000 prompts, as many as `knowngood list` goes through
Data = dict[str, Any]


def _word(verb: str, about: str) -> Callable[..., None]:
    """The command that posts `verb` for a version; `about` is its help."""

    def command(
        name: Name,
        version: OptionalVersion = "",
        because: Because = "",
        dry_run: DryRun = False,
        url: Url = DEFAULT_URL,
        token: Token = "",
        actor: As = "",
        as_json: Json = False,
    ) -> None:
        prompt, wanted = version_of(name, version)
        body = {
            "prompt": prompt,
            "version": wanted,
            "because": need_because(because),
            "dry_run": dry_run or None,
        }
        _print_word(connect(url, token, actor).post(f"/api/{verb}", body), verb, as_json)

    command.__doc__ = about
    return command


pin = _word(
    "pin",
    """Keep a version whatever becomes of it.

    It is never purged, and every process of its prompt holds it.
    """,
)
unpin = _word("unpin", "Keep a version no longer than any other.")


def purge(
    name: OptionalName = "",
    because: Because = "",
    dry_run: DryRun = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Take away for good what nothing refers to and nobody used for long.

    What a route, an incident or the ledger refers to stays, and what is pinned. --dry-run says what
    would go, what stays, and why.
    """
    prompt = prompt_of(name) if name else None
    body: Data = {"prompt": prompt, "dry_run": dry_run or None}
    body["because"] = because or None if dry_run else need_because(because)
    answer = _whole(connect(url, token, actor), body)
    if as_json:
        print_json(answer)
    else:
        _print_purge(answer, prompt)


def _whole(backend: Backend, body: Data) -> Data:
    """The answers for all prompts as one."""
    pages = list(_pages(backend, body))
    rows = [row for page in pages for row in page["prompts"]]
    return {
        "outcome": "changed" if any(p["outcome"] == "changed" for p in pages) else "unchanged",
        "dry_run": pages[0]["dry_run"],
        "purged_count": sum(page["purged_count"] for page in pages),
        "kept_count": sum(page["kept_count"] for page in pages),
        "prompts": rows,
    }


def _pages(backend: Backend, body: Data) -> Iterator[Data]:
    after = None
    for _ in range(PAGES_MAX):
        answer = backend.post("/api/purge", {**body, "after": after})
        yield answer
        after = answer["next_after"]
        if after is None:
            return


def _print_word(answer: Data, verb: str, as_json: bool) -> None:
    title = f"{verb} {answer['prompt']}:{answer['version']}"
    if as_json:
        print_json(answer)
    elif answer["outcome"] == "unchanged":
        say(f"{title}: unchanged, it is so already")
    elif answer["dry_run"]:
        say(Text(f"{title}: dry run, nothing was changed", style="bold yellow"))
    else:
        say(Text(f"{title}: done", style="bold green"))
        say(f"  audit entry {answer['id']}")


def _print_purge(answer: Data, prompt: str | None) -> None:
    title = f"purge {prompt or 'all prompts'}"
    went, stayed = answer["purged_count"], answer["kept_count"]
    if answer["dry_run"]:
        say(Text(f"{title}: dry run, nothing was changed", style="bold yellow"))
        say(f"  would purge {_versions(went)} and keep {stayed}")
    else:
        say(Text(f"{title}: done", style="bold green"))
        say(f"  purged {_versions(went)}, kept {stayed}")
    for row in answer["prompts"]:
        # Of all prompts, only those that lose something: a fleet is no list that a person reads.
        if prompt is None and not row["purged"]:
            continue
        say()
        say(Text(row["prompt"], style="bold"))
        gone = "would go" if answer["dry_run"] else "went"
        lines = [(v["version"], gone, v["words"]) for v in row["purged"]]
        lines += [(v["version"], v["kept"], v["words"]) for v in row["kept"]]
        table(("version", "", "why"), lines, indent=2)


def print_shelf(versions: list[Data]) -> None:
    """Print what is kept of a prompt."""
    rows = [(v["version"], when(v["used_ms"]), styled(v["kept"]), v["words"]) for v in versions]
    table(("version", "last used", "kept", "why"), rows)


def _versions(count: int) -> str:
    return "1 version" if count == 1 else f"{count} versions"
