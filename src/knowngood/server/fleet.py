"""Every prompt of an environment at a glance, from what the engine saw last.

Nothing is judged here: a thousand looks take a second, and the engine has just made them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from knowngood.core.asking import Stage
from knowngood.core.look import LOOKBACK_MS, overall
from knowngood.core.model import Response, State, Steady, Verdict
from knowngood.engine.reconcile import Look
from knowngood.server.desk import Desk
from knowngood.server.judged import idle_row, is_troubled, seen_row
from knowngood.server.read import census_of, fleet_hold, stamp

ROWS = 100  # on one page: what a person scrolls through
TEXT_CHARS_MAX = 300
SPARK_BINS = 30  # of 20 s: the ten minutes that a look holds
# Unsure is the everyday state of a quiet prompt, and no reason to be on top.
RANKS = {Verdict.BREACH: 0, Verdict.BLIND: 1}


@dataclass(frozen=True, slots=True)
class Glance:
    """One prompt: what is remembered, what was seen last, and the verdict of that."""

    state: State
    look: Look | None
    verdict: Verdict | None

    @property
    def is_asking(self) -> bool:
        """Whether somebody has to decide."""
        question = self.state.question
        return question is not None and question.stage is Stage.ASKED


FILTERS: dict[str, Callable[[Glance], bool]] = {
    "all": lambda g: True,
    "asking": lambda g: g.is_asking,
    "incident": lambda g: g.state.incident is not None,
    "moving": lambda g: g.state.rollout is not None or not isinstance(g.state.phase, Steady),
    "breach": lambda g: g.verdict is Verdict.BREACH,
    "blind": lambda g: g.verdict is Verdict.BLIND,
    "unsure": lambda g: g.verdict is Verdict.UNSURE,
    "clear": lambda g: g.verdict is Verdict.CLEAR,
}


def fleet(
    desk: Desk,
    environment: str,
    now_ms: int,
    *,
    text: str = "",
    only: str = "all",
    page: int = 1,
) -> dict[str, Any]:
    """A page of prompts, open questions first, then incidents; with the count of each filter.

    `text` is looked for in names and versions on the route. An unknown filter is `all`, and a page
    beyond the last is the last. Raises UnknownEnvironment.
    """
    desk.check_environment(environment)
    seen = desk.glances(environment)
    states = desk.store.states.all(environment)
    glances = [_glance(state, seen.get(state.prompt), now_ms) for state in states]
    only = only if only in FILTERS else "all"
    words = text.strip().lower()[:TEXT_CHARS_MAX]
    named = [g for g in glances if _has(g, words)]
    found = sorted((g for g in named if FILTERS[only](g)), key=_urgency)
    pages = max(1, -(-len(found) // ROWS))
    page = min(max(1, page), pages)
    shown = found[(page - 1) * ROWS : page * ROWS]
    return {
        "environment": environment,
        **stamp(now_ms),
        "automation": fleet_hold(desk, environment, now_ms),
        "census": census_of(desk, environment, now_ms),
        "generation": desk.store.states.generation(environment),
        "rows": [_row(g, now_ms) for g in shown],
        "counts": {name: sum(map(wanted, named)) for name, wanted in FILTERS.items()},
        "total": len(glances),
        "found": len(found),
        "text": text.strip()[:TEXT_CHARS_MAX],
        "only": only,
        "page": page,
        "pages": pages,
    }


def row_of(desk: Desk, environment: str, prompt: str, now_ms: int) -> dict[str, Any]:
    """One prompt as a line of the fleet; one that nobody has routed yet is a line, too."""
    state = desk.store.states.get(environment, prompt)
    return _row(_glance(state, desk.glances(environment).get(prompt), now_ms), now_ms)


def _glance(state: State, look: Look | None, now_ms: int) -> Glance:
    if look is None or state.route is None or now_ms - look.now_ms > LOOKBACK_MS:
        return Glance(state, None, None)
    # The state may be newer than the look: an order shows before the engine has looked again.
    look = replace(look, state=state)
    triggers = [f for f in look.decision.findings if f.response is not Response.ALERT]
    return Glance(state, look, overall(triggers))


def _has(glance: Glance, words: str) -> bool:
    if not words or words in glance.state.prompt.lower():
        return True
    route = glance.state.route
    return route is not None and any(words in arm.version.lower() for arm in route.arms)


def _urgency(glance: Glance) -> tuple[bool, bool, bool, int, str]:
    state = glance.state
    rank = RANKS.get(glance.verdict, len(RANKS)) if glance.verdict else len(RANKS)
    return not glance.is_asking, state.incident is None, not is_troubled(state), rank, state.prompt


def _row(glance: Glance, now_ms: int) -> dict[str, Any]:
    if glance.look is None:
        return {**idle_row(glance.state, False, now_ms), "traffic": []}
    return {**seen_row(glance.look, now_ms), "traffic": traffic(glance.look)}


def traffic(look: Look) -> list[int]:
    """The prompt's calls in the last ten minutes, in bins of 20 s, oldest first."""
    width_ms = LOOKBACK_MS // SPARK_BINS
    counts = [0] * SPARK_BINS
    begin_ms = look.observed.until_ms - LOOKBACK_MS
    for evidence in look.observed.versions.values():
        for bucket in evidence.buckets:
            place = (bucket.at_ms - begin_ms) // width_ms
            if 0 <= place < SPARK_BINS:
                counts[place] += bucket.window.call_count
    return counts
