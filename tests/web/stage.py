"""A fleet with something of everything: what pages are looked at with, and photographed."""

from typing import Any

from tests.server.world import PROMPT
from tests.web.opened import Opened

# What every page has to show as text, and never run.
HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)>'
TEXT = (
    "You are the support assistant of a bookshop. Answer {{question}} in at most three sentences.\n"
    "Never promise a refund; offer to ask a colleague instead."
)
NEXT_TEXT = (
    "You are the support assistant of a bookshop. Answer {{question}} as JSON with the keys\n"
    '"answer" and "sources". Never promise a refund; offer to ask a colleague instead.'
)
QUIET_SECONDS = 100  # long enough that every figure of a page is there
BREACH_SECONDS = 20


def set_stage(site: Opened) -> None:
    """Two deploys that went well, a canary on its way, a prompt that is asked about, one idle."""
    _push(site, PROMPT, "v1.9.0", TEXT)
    _push(site, PROMPT, "v2.0.0", NEXT_TEXT, note="answers for machines")
    _push(site, PROMPT, "v2.1.0-rc.1", NEXT_TEXT + f"\n{HOSTILE}", note=HOSTILE)
    _push(site, "faq", "2025-11", "Answer from the FAQ: {{question}}")
    _push(site, "order-status", "v4", "Say where {{order}} is.")
    _push(site, "order-status", "v5", "Say where {{order}} is, kindly.")
    _push(site, "summarise", "a3f9", "Summarise {{text}} in five lines.")
    _push(site, "search-rewriter", "v1", "Rewrite {{query}} for search.")
    for prompt, version in (
        (PROMPT, "v1.9.0"), ("faq", "2025-11"), ("order-status", "v4"), ("summarise", "a3f9"),
        ("search-rewriter", "v1"),
    ):  # fmt: skip
        _promote(site, prompt, version, now=True)
    for second in range(QUIET_SECONDS):
        _second(site, second, {(PROMPT, "v1.9.0"): (92, 0)})
    _promote(site, "order-status", "v5")
    _promote(site, PROMPT, "v2.0.0", now=True)
    for second in range(BREACH_SECONDS):
        _second(site, second, {(PROMPT, "v2.0.0"): (88, 3)})


def _second(site: Opened, second: int, more: dict[tuple[str, str], tuple[int, int]]) -> None:
    """One second of calls everywhere, a little different from the one before."""
    wave = (second * 7) % 13
    calls = {
        ("faq", "2025-11"): (40 + wave, 0),
        ("order-status", "v4"): (25 + wave, 0),
        ("summarise", "a3f9"): (6, 0),
        **more,
    }
    rows = [_row(*key, ok + wave, bad) for key, (ok, bad) in calls.items()]
    site.post("/api/observations", **site.batch("shop-1:4711:a1", rows=rows))
    site.tick()


def _row(prompt: str, version: str, ok: int, bad: int) -> dict[str, Any]:
    errors = {"prompt": bad} if bad else {}
    return {"prompt": prompt, "version": version, "ago_ms": 0, "ok": ok, "errors": errors}


def _push(site: Opened, prompt: str, version: str, text: str, **more: Any) -> None:
    site.post(f"/api/prompts/{prompt}/versions", 201, version=version, text=text, **more)


def _promote(site: Opened, prompt: str, version: str, **more: Any) -> None:
    order = {"because": f"release of {version}", "override": ["in_progress"], **more}
    site.post("/api/promote", prompt=prompt, version=version, **order)
