"""A decision made again from what was frozen with it: the same, byte for byte, or what differs."""

import json

import pytest

from knowngood.core.frozen import FROZEN
from tests.server.history import change, without_evidence
from tests.server.world import PROMPT, error_of
from tests.server.world import world as new_world

OTHER_POLICY = """
policy: 1
defaults: {triggers: {error_critical: {when: error_rate > 80%}, error_high: null}}
"""


def entries(world, **query):
    return world.get("/api/audit", prompt=PROMPT, limit=1000, **query)["entries"]


def entry_of(world, kind):
    return next(e for e in entries(world) if e["kind"] == kind)


def rolled_back(world):
    """v2.0.0 fails half of its calls, is rolled back, and v1.9.0 recovers."""
    world.route_two()
    world.live(10, "v2.0.0", ok=10, bad=10)
    world.report("v1.9.0", ok=10)
    world.live(20, "v1.9.0", ok=10)


def test_a_rollback_comes_out_the_same(world):
    """The decision that switched the route, asked for by any of the lines that it wrote."""
    rolled_back(world)
    for kind in ("rollback.confirmed", "rollback.target", "rollback.switched"):
        entry = entry_of(world, kind)
        again = world.get(f"/api/audit/{entry['id']}/replay")
        assert again["same"], again
        assert again["again"] == again["recorded"]
        assert [line["kind"] for line in again["again"]] == [
            "rollback.confirmed", "rollback.target", "rollback.switched"
        ]  # fmt: skip
        assert again["frozen_in"] == entry_of(world, "rollback.confirmed")["id"]
        assert (again["id"], again["kind"], again["because"]) == (
            entry["id"], kind, entry["because"]
        )  # fmt: skip
        assert again["judged_ms"] == entry["at_ms"]
        assert again["policy_revision"] == world.runtime.desk.policy.revision


def a_slow_leak(world):
    """A few of a quiet version's calls fail: an alert, then a question."""
    for second in range(240):
        world.live(1, "v2.0.0", ok=1, bad=int(second % 14 == 13))


def held(world):
    """The breach is there, and automation is off."""
    world.post("/api/automation", state="off", because="calm", **{"for": "1h"})
    world.live(10, "v2.0.0", ok=10, bad=10)


def a_burst_that_ended(world):
    """Failures that a long clean stretch follows: alerts and questions, and their end."""
    world.live(30, "v2.0.0", ok=97, bad=3)
    world.live(330, "v2.0.0", ok=100)


def failing_target(world):
    """The version that is rolled back to fails as well."""
    world.live(10, "v2.0.0", ok=10, bad=10)
    world.live(70, "v1.9.0", ok=10, bad=10)


def silence(world):
    """After the rollback nobody calls, and then nobody reports."""
    world.live(10, "v2.0.0", ok=10, bad=10)
    world.tick(320)


@pytest.mark.parametrize("story", [a_slow_leak, held, a_burst_that_ended, failing_target, silence])
def test_whatever_the_system_wrote_comes_out_the_same(world, story):
    """Suspicions, alerts, questions, holds, pages, verifications: each line, whatever it says."""
    world.route_two()
    story(world)
    mine = [e for e in entries(world) if e["actor"] == "system"]
    assert mine
    differ = [e["kind"] for e in mine if not world.get(f"/api/audit/{e['id']}/replay")["same"]]
    assert not differ, [e["kind"] for e in mine]


def test_a_rollback_by_hand_comes_out_with_the_same_findings(world):
    """What a person did is no decision of ours; what was seen of it is."""
    world.route_two()
    world.live(3, "v2.0.0", ok=10, bad=10)
    world.post("/api/rollback", prompt=PROMPT, because="it is broken")
    for kind in ("rollback.requested", "rollback.switched"):
        again = world.get(f"/api/audit/{entry_of(world, kind)['id']}/replay")
        assert again["same"]
        (line,) = again["again"]
        assert line["kind"] == "rollback.requested"
        critical = next(f for f in line["findings"] if f["trigger"] == "error_critical")
        assert (critical["n"], critical["bad"], critical["verdict"]) == (20, 10, "unsure")


def test_a_long_history_hides_no_decision(world):
    """What was decided long ago can be made again, however much was written since."""
    rolled_back(world)
    for _ in range(60):
        for body in ({"state": "off", "for": "1h"}, {"state": "on"}):
            world.post("/api/automation", prompt=PROMPT, because="calm", **body)
    entry = entry_of(world, "rollback.confirmed")
    assert world.get(f"/api/audit/{entry['id']}/replay")["same"]


def test_what_was_not_judged_is_refused(world):
    """A deploy or a push rests on nobody's evidence; what does not exist is not found."""
    world.route_two()
    for kind in ("version.pushed", "route.moved"):
        answer = world.client.get(f"/api/audit/{entry_of(world, kind)['id']}/replay")
        error = error_of(answer, 409)
        assert error["code"] == "not_frozen"
        assert kind in error["message"] and "audit" in error["next"]
    for number in (0, 999, 2**70):
        assert error_of(world.client.get(f"/api/audit/{number}/replay"), 404)


def test_the_look_is_shown_with_its_line_alone(world):
    """A list of history stays small; the line itself holds all that it rested on."""
    rolled_back(world)
    assert not [e for e in entries(world) if FROZEN in e["detail"]]
    line = world.get(f"/api/audit/{entry_of(world, 'rollback.confirmed')['id']}")
    look = line["detail"][FROZEN]
    assert look["now_ms"] == line["at_ms"]
    assert set(look["versions"]) == {"v2.0.0"}
    reading = look["versions"]["v2.0.0"]["reading"]
    assert reading["rates"] and all(sign["log_e"] for signs in reading["rates"].values()
                                    for sign in signs)  # fmt: skip
    assert "buckets" not in json.dumps(look)


def test_a_look_is_kilobytes(world):
    """What is put away are sums, however long the version served and however many calls it had."""
    sizes = []
    for version, seconds in (("v1.9.0", 10), ("v2.0.0", 600)):
        world.push(version)
        world.promote(version)
        latency = {str(500 + number): 1 for number in range(80)}
        for _ in range(seconds):
            world.report(version, 80, latency=latency)
            world.tick()
        world.live(20, version, ok=40, bad=40)
        kind = "rollback.suspected"
        entry = [e for e in entries(world) if e["kind"] == kind][-1]
        look = world.get(f"/api/audit/{entry['id']}")["detail"][FROZEN]
        sizes.append(len(json.dumps(look)))
    assert max(sizes) < 20_000
    assert sizes[1] - sizes[0] < 10_000  # the second one holds a healthy day besides


# --- Other policies, and history that somebody changed


def test_the_policy_of_then_judges(tmp_path, monkeypatch):
    """Another policy in force today changes nothing of what was decided under that of then."""
    path, db = tmp_path / "policy.yaml", str(tmp_path / "k.db")
    path.write_text(OTHER_POLICY, encoding="utf-8")
    with new_world(db=db) as made:
        rolled_back(made)
        entry = entry_of(made, "rollback.confirmed")
    with new_world(db=db, policy=str(path)) as made:
        again = made.get(f"/api/audit/{entry['id']}/replay")
        assert again["same"]
        assert again["policy_revision"] != made.runtime.desk.policy.revision
        monkeypatch.setattr(type(made.runtime.store.policies), "get", lambda *_: None)
        error = error_of(made.client.get(f"/api/audit/{entry['id']}/replay"), 404)
        assert again["policy_revision"][:12] in error["message"]


def other_figures(detail):
    """The recorded finding is said to have been worse."""
    detail["findings"][0]["bad"] += 1


def other_time(detail):
    """The look is said to have been made later."""
    detail[FROZEN]["now_ms"] += 1


@pytest.mark.parametrize("edit", [without_evidence, other_figures, other_time])
def test_history_that_was_changed_is_found(world, monkeypatch, edit):
    """A look or a finding that somebody changed does not lead to what was recorded."""
    rolled_back(world)
    entry_id = entry_of(world, "rollback.confirmed")["id"]
    change(monkeypatch, world.runtime.store.log, entry_id, edit)
    again = world.get(f"/api/audit/{entry_id}/replay")
    assert not again["same"]
    assert again["again"] != again["recorded"]


def test_a_look_of_another_time_is_not_guessed_at(world, monkeypatch):
    """A format that this version does not know is refused."""
    rolled_back(world)
    entry_id = entry_of(world, "rollback.confirmed")["id"]
    log = world.runtime.store.log
    change(monkeypatch, log, entry_id, lambda detail: detail[FROZEN].update(format=99))
    error = error_of(world.client.get(f"/api/audit/{entry_id}/replay"), 409)
    assert (error["code"], "99" in error["message"]) == ("not_frozen", True)
