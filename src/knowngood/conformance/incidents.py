"""The laws of filed incidents."""

from dataclasses import replace
from typing import Any

import pytest

from knowngood.conformance.examples import AWKWARD, NOW_MS, change, notify
from knowngood.core.errors import StaleState, UnknownIncident
from knowngood.core.incident import Filed, Rise
from knowngood.core.model import (
    Incident,
    MoveRoute,
    Outcome,
    Record,
    Response,
    SetIncident,
    Severity,
    whole,
)
from knowngood.ports import Store

OPENED = Incident(
    "production/support/g1.1", "v2", 1, Severity.HIGH, Response.ASK, ("error_high",), NOW_MS,
)  # fmt: skip


def opened(
    prompt: str = "support",
    number: int = 1,
    severity: Severity = Severity.HIGH,
    part_of: str = "",
) -> Incident:
    """An incident of the prompt; later numbers are opened later."""
    return replace(
        OPENED,
        id=f"production/{prompt}/g1.{number}",
        opened_ms=NOW_MS + number,
        severity=severity,
        part_of=part_of,
    )


class IncidentsConformance:
    """What is opened is found, and so is what is over."""

    def test_incident_is_filed_with_its_state(self, store: Store) -> None:
        """Opened, worse and closed: each is filed in the change's transaction, or not at all."""
        store.states.apply([change(MoveRoute(whole("v2")), SetIncident(OPENED))], NOW_MS)
        first = Filed("production", "support", OPENED, severities=(Rise(Severity.HIGH, NOW_MS),))
        assert store.incidents.get(OPENED.id) == first
        worse = replace(OPENED, severity=Severity.CRITICAL, outcome=Outcome.NOT_RECOVERED)
        with pytest.raises(StaleState):
            store.states.apply([change(SetIncident(worse), seen=7)], NOW_MS + 1)
        assert store.incidents.get(OPENED.id) == first
        store.states.apply([change(SetIncident(worse), notify("n1"), seen=1)], NOW_MS + 1)
        rises = (*first.severities, Rise(Severity.CRITICAL, NOW_MS + 1))
        second = replace(first, incident=worse, severities=rises)
        assert store.incidents.get(OPENED.id) == second
        store.states.apply(
            [change(SetIncident(None), Record("incident.closed", AWKWARD), seen=2)], NOW_MS + 2
        )
        assert store.incidents.get(OPENED.id) == replace(second, closed_ms=NOW_MS + 2)

    def test_another_incident_closes_the_open_one(self, store: Store) -> None:
        """A state has one open incident; what takes its place ends it, in one change too."""
        first, second, third = (opened(number=n) for n in (1, 2, 3))
        store.states.apply([change(SetIncident(first))], NOW_MS)
        store.states.apply([change(SetIncident(second), SetIncident(third), seen=1)], NOW_MS + 5)
        assert [
            (each.id, each.closed_ms) for each in store.incidents.find("production", "support")
        ] == [(third.id, None), (second.id, NOW_MS + 5), (first.id, NOW_MS + 5)]

    def test_incidents_are_found_newest_first(self, store: Store) -> None:
        """By environment and prompt, open or over, and page by page."""
        for number, prompt in enumerate(("a", "b", "a.b")):
            store.states.apply([change(SetIncident(opened(prompt, number)), prompt=prompt)], NOW_MS)
        store.states.apply([change(SetIncident(None), prompt="b", seen=1)], NOW_MS + 9)

        def found(*place: str, **named: Any) -> list[str]:
            return [each.prompt for each in store.incidents.find(*place, **named)]

        assert found() == ["a.b", "b", "a"]
        assert found("staging") == [] == found("production", "c") == found(limit=0)
        assert found("production", "a") == ["a"]
        assert found(is_open=True) == ["a.b", "a"]
        assert found(is_open=False) == ["b"]
        assert found(before_ms=NOW_MS + 2, limit=1) == ["b"]

    def test_parts_of_an_incident(self, store: Store) -> None:
        """What other prompts have to do with an incident is found under its id."""
        part = opened("tax", part_of=OPENED.id)
        store.states.apply([change(SetIncident(OPENED))], NOW_MS)
        store.states.apply([change(SetIncident(part), prompt="tax")], NOW_MS)
        assert [each.id for each in store.incidents.parts(OPENED.id)] == [part.id]
        assert store.incidents.parts(part.id) == []

    @pytest.mark.parametrize("name", ["production/support/g9.9", "", AWKWARD])
    def test_unknown_incident(self, store: Store, name: str) -> None:
        """Whoever mistypes an id is told the newest that there are."""
        store.states.apply([change(SetIncident(OPENED))], NOW_MS)
        with pytest.raises(UnknownIncident) as wrong:
            store.incidents.get(name)
        assert wrong.value.known == [OPENED.id]
