"""A fleet with something of everything: what pages are looked at with, and photographed."""

from typing import Any

from knowngood.core.window import latency_bucket
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
QUIET_S, STEP_S = 600, 5  # ten minutes of calls, for every figure of a page
BREACH_S = 22
FAILS_S, RECOVERS_S = 9, 15  # of the release that rolled back by itself
# How the latencies of a hundred calls are spread.
SPREAD = ((180, 20), (310, 40), (450, 25), (700, 12), (1_300, 3))
# What a hundred of its calls are like: failures, how much slower than the others, its score.
Kind = tuple[int, float, int]
WELL: Kind = (0, 1.0, 88)
CALLS: dict[tuple[str, str], int] = {
    ("faq", "2025-11"): 40, ("order-status", "v4"): 25, ("summarise", "a3f9"): 8,
    ("search-rewriter", "v1"): 60,
}  # fmt: skip


def set_stage(site: Opened) -> None:
    """An incident that is over, one that is asked about, a canary, and some that are well."""
    for prompt, version, text in (
        (PROMPT, "v1.9.0", TEXT), (PROMPT, "v2.0.0", NEXT_TEXT),
        ("faq", "2025-11", "Answer from the FAQ: {{question}}"),
        ("order-status", "v4", "Say where {{order}} is."),
        ("order-status", "v5", "Say where {{order}} is, kindly."),
        ("summarise", "a3f9", "Summarise {{text}} in five lines."),
        ("search-rewriter", "v1", "Rewrite {{query}} for search."),
        ("search-rewriter", "v2", "Rewrite {{query}} for search, in one line."),
        ("translate", "v7", "Translate {{text}} into {{language}}."),
    ):  # fmt: skip
        _push(site, prompt, version, text)
    _push(site, PROMPT, "v2.1.0-rc.1", f"{NEXT_TEXT}\n{HOSTILE}", note=HOSTILE)
    for prompt, version in ((PROMPT, "v1.9.0"), ("translate", "v7"), *CALLS):
        _promote(site, prompt, version, now=True)
    calls = {**CALLS, (PROMPT, "v1.9.0"): 90}
    for _ in range(0, QUIET_S // 2, STEP_S):
        _calls(site, calls, STEP_S)
    _promote(site, "search-rewriter", "v2", now=True)
    for _ in range(FAILS_S):
        _calls(site, {**calls, ("search-rewriter", "v2"): 60}, 1, {"v2": (12, 1.0, 88)})
    for _ in range(RECOVERS_S):
        _calls(site, calls, 1)
    for _ in range(0, QUIET_S // 2, STEP_S):
        _calls(site, calls, STEP_S)
    _promote(site, "order-status", "v5")
    _promote(site, PROMPT, "v2.0.0", now=True)
    for _ in range(BREACH_S):
        more = {(PROMPT, "v2.0.0"): 90, ("order-status", "v5"): 1}
        _calls(site, {**CALLS, **more}, 1, {"v2.0.0": (3, 1.1, 84)})


def _calls(
    site: Opened,
    calls: dict[tuple[str, str], int],
    seconds: int,
    kinds: dict[str, Kind] | None = None,
) -> None:
    """Some seconds of calls everywhere, a little different from those before."""
    generation = site.runtime.store.states.generation("production")
    wave = 90 + (site.clock.ms // 1_000 * 7) % 23
    rows = [
        _row(*key, n * seconds * wave // 100 or 1, (kinds or {}).get(key[1], WELL))
        for key, n in calls.items()
    ]
    site.post("/api/observations", **site.batch("shop-1:4711:a1", rows=rows, generation=generation))
    site.clock.ms += (seconds - 1) * 1_000
    site.tick()


def _row(prompt: str, version: str, n: int, kind: Kind) -> dict[str, Any]:
    bad_in_100, slower, score = kind
    bad = round(n * bad_in_100 / 100)
    bins = {str(latency_bucket(ms * slower)): n * part // 100 for ms, part in SPREAD}
    labels = max(1, n // 15)
    return {
        "prompt": prompt,
        "version": version,
        "ago_ms": 0,
        "ok": n - bad,
        "errors": {"prompt": bad} if bad else {},
        "latency": {index: count for index, count in bins.items() if count},
        "scores": {"quality": {str(score): labels}},
    }


def _push(site: Opened, prompt: str, version: str, text: str, **more: Any) -> None:
    site.post(f"/api/prompts/{prompt}/versions", 201, version=version, text=text, **more)


def _promote(site: Opened, prompt: str, version: str, **more: Any) -> None:
    order = {"because": f"release of {version}", "override": ["in_progress"], **more}
    site.post("/api/promote", prompt=prompt, version=version, **order)
