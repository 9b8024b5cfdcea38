"""Runbooks over the API: filled, rehearsed, run step by step, and no step ever done twice."""

from dataclasses import replace

import pytest

from knowngood.core.errors import StaleState
from knowngood.core.runbook_run import Mark, StepRun, Word
from knowngood.server import act, runbook_runs
from knowngood.server.runbook_file import BadRunbook
from knowngood.server.settings import BadSettings
from tests.server.world import PROMPT
from tests.server.world import world as new_world

PEOPLE = """
policy: 1
people:
  ana: {roles: [product-owner]}
  ben: {roles: [on-call]}
"""
OWN = """\
---
id: error-spike
title: Our own
severity: high
triggers: [error_high]
reviewed_at: 2026-01-01
vars: {channel: incidents}
---
Call the team of {{prompt}} in {{channel}}.

## Confirm

```yaml {step=confirm kind=check}
expect: error_rate > 2%
over: 1m
within: 10s
```

## Wait a little

```yaml {step=pause kind=wait}
for: 5s
```

## Approve

```yaml {step=approve kind=approve}
role: product-owner
```

## Roll back

```yaml {step=rollback kind=action}
verb: rollback
version: "{{good_version}}"
```

## Tell

```yaml {step=tell kind=notify}
audience: "{{channel}}"
subject: "{{prompt}} is back on {{good_version}}"
```
"""


@pytest.fixture
def start(tmp_path):
    """A server with our own runbook in its folder, and 3 % errors on a new version."""
    worlds = []

    def begin(bad=True, **settings):
        folder = tmp_path / "runbooks"
        folder.mkdir(exist_ok=True)
        (folder / "own.runbook.md").write_text(OWN, encoding="utf-8")
        policy = tmp_path / "policy.yaml"
        policy.write_text(PEOPLE, encoding="utf-8")
        worlds.append(new_world(**{"policy": str(policy), "runbooks": str(folder), **settings}))
        world = worlds[-1].__enter__()
        world.route_two()
        world.live(20, "v2.0.0", 97 if bad else 100, 3 if bad else 0)
        return world

    yield begin
    for context in worlds:
        context.__exit__(None, None, None)


def incident(world):
    """The id of the incident that is open."""
    return world.state().incident.id


def run(world, runbook="error-spike", **more):
    return world.post("/api/runbook-runs", runbook=runbook, incident=incident(world), **more)


def say(world, made, answer=None, who=None, **more):
    headers = {"X-Knowngood-Actor": who} if who else None
    body = {"run": made["id"], **more} | ({"answer": answer} if answer else {})
    return world.post("/api/runbook-runs/answer", headers=headers, **body)


def marks(made):
    return {step["step"]: step["mark"] for step in made["steps"] if step["mark"]}


def to_the_rollback(world):
    """A run whose next step is the rollback."""
    made = say(world, run(world))
    say(world, made)
    world.tick(6)
    say(world, made)
    made = say(world, made, "go", "ana")
    assert made["next"]["step"] == "rollback"
    return made


def test_a_runbook_is_filled_with_the_incident(start):
    """Its own names, numbers and commands, quoted for the shell."""
    world = start()
    shown = world.get("/api/runbooks/rollback-failed", incident=incident(world))
    assert shown["values"]["bad_version"] == "v2.0.0"
    assert shown["values"]["good_version"] == "v1.9.0"
    assert shown["values"]["error_rate"] == "3.0%"
    assert shown["incident"] == incident(world) == "production/customer-support/g2.1"
    own = world.get("/api/runbooks/error-spike", incident=incident(world))
    assert own["intro"] == "Call the team of customer-support in incidents."
    commands = [step["command"] for step in own["steps"] if step["command"]]
    assert commands == ["knowngood rollback customer-support v1.9.0 --because 'see the runbook'"]


def test_own_runbooks_take_the_place_of_shipped_ones(start):
    """By their id; the others are there as ever."""
    world = start()
    rows = {row["id"]: row for row in world.get("/api/runbooks")["runbooks"]}
    assert len(rows) == 9
    assert rows["error-spike"]["title"] == "Our own"
    assert rows["flapping"]["origin"] == "knowngood"


def test_a_run_goes_step_by_step(start):
    """Each result is an audit line of the incident; actions are really carried out."""
    world = start()
    made = run(world)
    assert made["next"]["step"] == "confirm" and not made["next"]["needs_word"]
    made = say(world, made)
    assert marks(made) == {"confirm": "passed"}
    made = say(world, made)
    assert made["next"]["step"] == "pause"  # it stands in the row until when
    assert say(world, made)["next"]["step"] == "pause"
    world.tick(6)
    made = say(world, made)
    assert made["next"]["step"] == "approve" and made["next"]["needs_word"]
    assert say(world, made)["next"]["step"] == "approve"
    error = world.client.post(
        "/api/runbook-runs/answer",
        json={"run": made["id"], "answer": "go"},
        headers={"X-Knowngood-Actor": "ben"},
    )
    assert error.status_code == 403 and error.json()["error"]["known"] == ["ana"]
    made = say(world, made, "go", "ana")
    made = say(world, made, "go", "ben", because="it is bad")
    assert world.state().route.control.version == "v1.9.0"
    made = say(world, made)
    assert made["state"] == "done" and made["next"] is None
    lines = [
        e
        for e in world.get("/api/audit", prompt=PROMPT, limit=1000)["entries"]
        if e["kind"].startswith("runbook.")
    ]
    assert {e["detail"]["incident"] for e in lines} == {made["incident"]}
    assert [e["detail"].get("step") for e in lines] == [
        None, "confirm", "pause", "approve", "rollback", "tell", None,
    ]  # fmt: skip
    assert [e["kind"] for e in lines[::6]] == ["runbook.started", "runbook.ended"]
    switched = next(
        e
        for e in world.get("/api/audit", prompt=PROMPT, limit=1000)["entries"]
        if e["kind"] == "rollback.requested"
    )
    assert switched["actor"].startswith("ben")
    assert "step rollback: it is bad" in switched["because"]
    told = [m for m in world.runtime.store.outbox.due(world.clock.ms, 100) if made["id"] in m.key]
    assert [m.subject for m in told] == ["customer-support is back on v1.9.0"]


def test_a_step_is_never_done_twice(start):
    """Killed after the order and before the row: the order's own line of history says so."""
    world = start()
    made = to_the_rollback(world)
    store = world.runtime.store
    before = store.runs.get(made["id"])
    say(world, made, "go", "ben")
    after = store.runs.get(made["id"])
    # As if the server had ended before it wrote the row: the step stands as begun.
    claim = StepRun("rollback", Mark.BEGUN, "begun", "ben", world.clock.ms, log_id=0)
    store.runs.save(replace(after, steps=(*before.steps, claim), state=before.state))
    world.promote("v2.0.0", override=["quarantined", "in_progress"])
    again = say(world, made)
    assert marks(again)["rollback"] == "passed"
    assert "found done" in next(s for s in again["steps"] if s["step"] == "rollback")["words"]
    assert world.kinds().count("rollback.requested") == 1
    assert world.state().route.control.version == "v2.0.0"


def test_a_step_that_was_only_begun_is_done(start):
    """Killed before the order: it is given once, by whoever goes on."""
    world = start()
    made = to_the_rollback(world)
    store = world.runtime.store
    there = store.runs.get(made["id"])
    claim = StepRun("rollback", Mark.BEGUN, "begun", "ben", world.clock.ms, log_id=0)
    store.runs.save(replace(there, steps=(*there.steps, claim)))
    assert marks(say(world, made))["rollback"] == "passed"
    assert world.kinds().count("rollback.requested") == 1


def test_of_two_who_do_a_step_at_once_one_gives_the_order(start, monkeypatch):
    """The other looked at an older revision, and finds the order's line instead."""
    world = start()
    made = to_the_rollback(world)
    first = act.rollback
    nested: list[object] = []

    def rollback(desk, environment, prompt, target, ask, now_ms, **more):
        if not nested:
            nested.append(True)
            other = act.Ask("cleo")
            nested.append(runbook_runs.answer(desk, made["id"], Word.GO, other, now_ms))
        return first(desk, environment, prompt, target, ask, now_ms, **more)

    monkeypatch.setattr(act, "rollback", rollback)
    again = say(world, made, "go", "ben")
    assert marks(again)["rollback"] == "passed"
    assert world.kinds().count("rollback.requested") == 1


def test_a_failed_check_stops_the_run(start):
    """Until somebody tries again or skips it with a reason; nothing behind it is done."""
    world = start(bad=True)
    made = run(world)
    world.clock.ms += 15 * 60_000  # what was seen is gone
    say(world, made)
    world.tick(11)
    made = say(world, made)
    assert made["state"] == "stopped" and marks(made) == {"confirm": "failed"}
    assert made["next"]["words"] == "blind: no reports arrive"
    refused = world.refused("/api/runbook-runs/answer", 409, run=made["id"], answer="go")
    assert refused["code"] == "run_closed" and refused["known"] == ["again", "skip"]
    assert say(world, made, "again")["state"] == "running"
    world.tick(11)
    assert say(world, made)["state"] == "stopped"
    assert world.refused("/api/runbook-runs/answer", 422, run=made["id"], answer="skip")
    made = say(world, made, "skip", because="I have looked myself")
    assert made["state"] == "running" and made["next"]["step"] == "pause"


def test_declined_is_not_done(start):
    """The run stops where somebody said no."""
    world = start()
    made = to_the_rollback(world)
    made = say(world, made, "decline", because="it is the provider")
    assert made["state"] == "stopped"
    assert world.state().route.control.version == "v2.0.0"


def test_a_run_is_about_its_own_bad_version(start):
    """Another version that came meanwhile is not rolled back by a step that means the old one."""
    world = start()
    made = to_the_rollback(world)
    world.push("v3.0.0")
    world.promote("v3.0.0")
    made = say(world, made, "go", "ben")
    assert "off the route already" in next(
        s["words"] for s in made["steps"] if s["mark"] and s["step"] == "rollback"
    )
    assert world.state().route.control.version == "v3.0.0"


def test_a_run_goes_on_with_the_text_that_it_began_with(start, tmp_path):
    """Whatever becomes of the file: the text is pinned by its hash."""
    world = start()
    made = run(world)
    (tmp_path / "runbooks" / "own.runbook.md").write_text("nothing", encoding="utf-8")
    assert len(say(world, made)["steps"]) == 5
    assert run(world)["id"] == made["id"]  # the one that is not over


def test_a_dry_run_changes_nothing(start):
    """Looks are real, orders are only thought out, and nothing is written down."""
    world = start()
    before = len(world.kinds())
    made = run(world, dry_run=True)
    assert marks(made) == {
        "confirm": "passed",
        "pause": "would_wait",
        "approve": "would_ask",
        "rollback": "would_do",
        "tell": "would_do",
    }
    assert len(world.kinds()) == before
    assert world.get("/api/runbook-runs")["runs"] == []
    assert world.state().route.control.version == "v2.0.0"


def test_a_prompt_without_an_incident_has_runbooks_too(start):
    """Blind, for example, is no incident; an unknown incident is refused with the open ones."""
    world = start(bad=False)
    made = world.post("/api/runbook-runs", runbook="metrics-blind", prompt=PROMPT)
    assert made["incident"] == "production/customer-support/g2"
    error = world.refused(
        "/api/runbook-runs",
        404,
        runbook="metrics-blind",
        incident="production/customer-support/g9.1",
    )
    assert error["code"] == "unknown_incident"
    assert world.refused("/api/runbook-runs", 422, runbook="metrics-blind")["known"]
    assert world.refused("/api/runbook-runs", 404, runbook="nope", prompt=PROMPT)["known"]


def test_a_bad_runbook_stops_the_start(start, tmp_path):
    """As a bad policy does, with its line."""
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "x.runbook.md").write_text(OWN.replace("kind=check", "kind=chek"), encoding="utf-8")
    with pytest.raises(BadRunbook, match="line 13: unknown kind of step 'chek'"):
        start(runbooks=str(folder))
    with pytest.raises((BadRunbook, BadSettings), match="no folder"):
        start(runbooks=str(tmp_path / "nowhere"))


def test_the_server_checks_a_text(start):
    """Everything that is wrong, by line, with what was probably meant."""
    world = start()
    assert world.post("/api/runbooks/check", runbook=OWN)["valid"]
    found = world.post("/api/runbooks/check", runbook=OWN.replace("{{good_version}}", "{{god}}"))
    assert [p["words"] for p in found["problems"]] == ["unknown variable 'god'"] * 2


def test_a_race_for_the_row_is_refused(start):
    """A step's end is written by whoever has seen the newest row."""
    world = start()
    made = run(world)
    store = world.runtime.store
    old = store.runs.get(made["id"])
    say(world, made)
    with pytest.raises(StaleState):
        store.runs.save(old)
