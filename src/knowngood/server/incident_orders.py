"""What a person can say and do on an incident's page, in the shape of a rehearsed order.

Each returns the id of the line of history that it wrote, and with `dry_run` what it would do.
"""

import re
from collections.abc import Mapping
from typing import Any

from knowngood.core.errors import BadRequest
from knowngood.core.incident_record import CLOSED, NOTE, REVIEWED, ROLE, Progress
from knowngood.core.runbook_run import Word
from knowngood.core.units import duration_ms
from knowngood.server import incidents, runbook_runs
from knowngood.server.act import Ask
from knowngood.server.desk import Desk
from knowngood.server.incident_values import place_of
from knowngood.server.runbook_work import KIND
from knowngood.server.runbooks import Library

Given = Mapping[str, str]
Data = dict[str, Any]

RECENT_COUNT = 50  # the newest lines of a prompt, in which the one is looked for that was written
CALLED = {
    Progress.FALSE_POSITIVE: "a false positive",
    Progress.DUPLICATE: "a duplicate",
    Progress.REVIEWED: "reviewed",
}


def note(desk: Desk, given: Given, ask: Ask, now_ms: int) -> Data:
    """A note, or with `update` a status update, the next one due in `next`."""
    is_update = bool(given.get("update"))
    said = given.get("next", "").strip() if is_update else ""
    next_ms = duration_ms(said) if said else None
    named = _incident(given)
    incidents.note(desk, named, ask.because, ask, now_ms, update=is_update, next_ms=next_ms)
    kind = "status update" if is_update else "note"
    return _result(desk, given, ask, (NOTE,), f"the {kind} is added to the timeline")


def role(desk: Desk, given: Given, ask: Ask, now_ms: int) -> Data:
    """Who has which role; the last word holds."""
    name, person = given.get("role", "").strip(), given.get("person", "").strip()
    if ask.dry_run and not person:  # it is asked for
        desk.store.incidents.get(_incident(given))
    else:
        incidents.role(desk, _incident(given), name, person, ask, now_ms)
    return _result(desk, given, ask, (ROLE,), f"{person or 'somebody'} is {name}")


def false_positive(desk: Desk, given: Given, ask: Ask, now_ms: int) -> Data:
    """Nothing was wrong."""
    return _close(desk, given, ask, Progress.FALSE_POSITIVE, now_ms)


def duplicate(desk: Desk, given: Given, ask: Ask, now_ms: int) -> Data:
    """It repeats another one."""
    return _close(desk, given, ask, Progress.DUPLICATE, now_ms)


def review(desk: Desk, given: Given, ask: Ask, now_ms: int) -> Data:
    """It was what it seemed, and has been gone over."""
    return _close(desk, given, ask, Progress.REVIEWED, now_ms)


def _close(desk: Desk, given: Given, ask: Ask, how: Progress, now_ms: int) -> Data:
    named, of = _incident(given), given.get("of", "").strip()
    filed = desk.store.incidents.get(named)
    if not (ask.dry_run and how is Progress.DUPLICATE and not of):  # which one is asked for
        incidents.close_as(desk, named, how, of or None, ask, now_ms)
    would = [f"the record says that it was {CALLED[how]}{f' of {of}' if of else ''}"]
    if filed.closed_ms is None:
        would += ["the incident is closed", f"the evidence on {filed.incident.version} begins anew"]
    return _result(desk, given, ask, (CLOSED, REVIEWED), *would)


def begin(desk: Desk, given: Given, ask: Ask, now_ms: int, library: Library) -> Data:
    """Begin a run of a runbook; rehearsed, every step says what it would find or do now."""
    place = place_of(desk, _incident(given), None)
    name = given.get("runbook", "")
    made = runbook_runs.begin(desk, library, name, place, ask, now_ms)
    steps = [
        f"{step['title']}: {_plain(step['words'] or step['mark'])}"
        for step in (made["steps"] if ask.dry_run else ())
    ]
    return _result(desk, given, ask, ("runbook.started",), *steps)


def step(desk: Desk, given: Given, ask: Ask, now_ms: int) -> Data:
    """A word on the step that is next, and on no other."""
    run, name, word = given.get("run", ""), given.get("step", ""), _word(given)
    if ask.dry_run:
        would = runbook_runs.rehearse(desk, run, name, word, ask, now_ms)
        return _result(desk, given, ask, (), *(_plain(words) for words in would))
    made = runbook_runs.answer(desk, run, word, ask, now_ms, step=name)
    after = next(each for each in made["steps"] if each["step"] == name)
    if after["mark"] == "begun":  # it is looked at again later, and no line of history yet
        return {"id": None, "outcome": "begun", "dry_run": False, "did": [after["words"]]}
    return _result(desk, given, ask, (KIND,), after["words"])


def _word(given: Given) -> Word:
    said = given.get("word") or Word.GO.value
    if said not in [each.value for each in Word]:
        raise BadRequest(
            f"{said[:80]!r} is no answer to a step", known=[each.value for each in Word]
        )
    return Word(said)


def _plain(words: str) -> str:
    """An outcome's name, which ends the words of a rehearsed order, as people write it."""
    return re.sub(r"\bwould_(\w+)", r"would \1", words)


def _incident(given: Given) -> str:
    return given.get("incident", "")


def _result(desk: Desk, given: Given, ask: Ask, kinds: tuple[str, ...], *did: str) -> Data:
    entry = None if ask.dry_run else _newest(desk, given, ask, kinds)
    return {"id": entry, "outcome": "changed", "dry_run": ask.dry_run, "did": list(did)}


def _newest(desk: Desk, given: Given, ask: Ask, kinds: tuple[str, ...]) -> int | None:
    """The line that was written just now."""
    environment, _, rest = _incident(given).partition("/")
    lines = desk.store.log.read(environment, rest.partition("/")[0], limit=RECENT_COUNT)
    mine = [
        line.id
        for line in lines
        if line.kind in kinds
        and line.actor == ask.actor
        and line.detail.get("incident") == _incident(given)
    ]
    return mine[-1] if mine else None
