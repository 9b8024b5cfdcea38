"""What a decision rested on, put away with it, so that anybody can make the decision again.

A frozen look is the state, every sum that was asked for, and what the detectors showed. With the
policy of its revision the same decision follows, byte for byte (promise P8).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from knowngood.core.codec import from_data, to_data
from knowngood.core.errors import KnowngoodError
from knowngood.core.explain import NAMES_KEPT
from knowngood.core.look import newest_good
from knowngood.core.model import (
    Census,
    Evidence,
    Observed,
    Partner,
    Related,
    Sibling,
    State,
)
from knowngood.core.reading import Reading
from knowngood.core.unit_sums import Arms
from knowngood.core.window import EMPTY, Bucket, from_row, to_row

FORMAT = 1
FROZEN = "frozen"  # where the look stands in an audit line's detail


class NotFrozen(KnowngoodError):
    """No look was put away with this line of the history."""

    code = "not_frozen"


@dataclass(frozen=True, slots=True)
class FrozenLook:
    """A look as it was: what was remembered, what was seen, and when."""

    state: State
    observed: Observed
    now_ms: int


def freeze(state: State, observed: Observed, now_ms: int) -> dict[str, Any]:
    """The look as JSON data; call it after the decision, which asked for all that it needs."""
    return {
        "format": FORMAT,
        "now_ms": now_ms,
        "state": to_data(_lean(state)),
        "until_ms": observed.until_ms,
        "versions": {version: _evidence(e) for version, e in observed.versions.items()},
        "census": to_data(_short(observed.census)),
        "fleet": to_data(observed.fleet) if observed.fleet else None,
        "siblings": [to_data(sibling) for sibling in observed.siblings],
        "provider": observed.provider,
        "related": [to_data(related) for related in observed.related],
        "unrelated_clear": list(observed.unrelated_clear),
        "unfit": dict(observed.unfit),
        "partners": [to_data(replace(p, state=_lean(p.state))) for p in observed.partners],
        "arms": to_data(observed.arms) if observed.arms else None,
        "authors": dict(observed.authors),
    }


def thaw(data: Mapping[str, Any]) -> FrozenLook:
    """The look that `freeze` put away. Raises NotFrozen for a format that is not known."""
    if data.get("format") != FORMAT:
        raise NotFrozen(
            f"the look was frozen in format {data.get('format')!r}; this knowngood knows {FORMAT}",
            next_step="ask the version of knowngood that wrote it",
        )
    until_ms = data["until_ms"]
    observed = Observed(
        until_ms=until_ms,
        versions={name: _thawed(each) for name, each in data["versions"].items()},
        census=from_data(Census, data["census"]),
        fleet=from_data(State, data["fleet"]) if data["fleet"] else None,
        siblings=tuple(from_data(Sibling, each) for each in data["siblings"]),
        provider=data["provider"],
        related=tuple(from_data(Related, each) for each in data["related"]),
        unrelated_clear=tuple(data["unrelated_clear"]),
        unfit=data.get("unfit", {}),
        partners=tuple(from_data(Partner, each) for each in data.get("partners", ())),
        arms=from_data(Arms, data["arms"]) if data.get("arms") else None,
        authors=data.get("authors", {}),
    )
    return FrozenLook(from_data(State, data["state"]), observed, data["now_ms"])


def _evidence(evidence: Evidence) -> dict[str, Any]:
    return {
        "sums": {str(ms): to_row(evidence.sums[ms]) for ms in sorted(evidence.sums)},
        "lifetime": to_row(evidence.lifetime),
        "reading": to_data(evidence.reading),
        "last_ms": evidence.last_ms,
    }


def _thawed(data: Mapping[str, Any]) -> Evidence:
    last_ms = data["last_ms"]
    return Evidence(
        buckets=() if last_ms is None else (Bucket(last_ms, EMPTY),),
        lifetime=from_row(data["lifetime"]),
        reading=from_data(Reading, data["reading"]),
        sums={int(ms): from_row(row) for ms, row in data["sums"].items()},
        is_frozen=True,
    )


def _short(census: Census) -> Census:
    """The census with the names that a decision may write down, and how many more there were."""
    behind, silent = census.behind[:NAMES_KEPT], census.silent[:NAMES_KEPT]
    return replace(
        census,
        behind=behind,
        silent=silent,
        unnamed_behind_count=census.unnamed_behind_count + len(census.behind) - len(behind),
        unnamed_silent_count=census.unnamed_silent_count + len(census.silent) - len(silent),
    )


def _lean(state: State) -> State:
    """The state without the healthy days that no decision about this route reads.

    The ledger never shrinks, and a day is by far the largest part of a line.
    """
    versions = [arm.version for arm in state.route.arms] if state.route else []
    kept = set(versions)
    for version in versions:
        if found := newest_good(state, besides=version, with_baseline=True):
            kept.add(found.version)
    ledger = tuple(e if e.version in kept else replace(e, baseline=None) for e in state.ledger)
    return replace(state, ledger=ledger)
