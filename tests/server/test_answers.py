"""A person's answers over the API: carried out once, refused when they come too late."""

import pytest

from knowngood.core.asking import Purpose
from knowngood.core.model import FLEET, Change, Notify, Severity
from tests.server.world import PROMPT
from tests.server.world import world as new_world

ANSWERS = "/api/answers"


@pytest.fixture
def world():
    """On-call was asked a moment ago about 3 % of failures on v2.0.0."""
    with new_world() as made:
        made.route_two()
        for _ in range(30):
            made.live(1, "v2.0.0", 97, 3)
            if "incident.opened" in made.kinds():
                break
        assert question(made)["stage"] == "asked"
        yield made


def question(world):
    return world.get(f"/api/prompts/{PROMPT}/explain")["state"]["question"]


def incident(world):
    return world.state().incident.id


def answer(world, said, status=200, **body):
    order = {"about": PROMPT, "answer": said, "because": "because", **body}
    if status != 200:
        return world.refused(ANSWERS, status, **order)
    return world.post(ANSWERS, **order)


def test_what_is_asked_is_shown(world):
    """What, by whom, until when, and the commands that answer it."""
    asked = question(world)
    assert (asked["number"], asked["who"], asked["target"]) == (1, "on-call", "v1.9.0")
    assert asked["words"].startswith(
        "on-call to decide about error_high: roll v2.0.0 back to v1.9.0"
    )
    assert 0 < asked["left_ms"] <= 300_000
    assert f"knowngood approve {PROMPT} --question 1" in asked["answers"]
    (page,) = world.get(f"/api/prompts/{PROMPT}/explain")["state"]["pages"]
    assert page["thread"] == incident(world) and page["acknowledged_by"] is None


@pytest.mark.parametrize("by", ["prompt", "incident"])
def test_an_approval_rolls_back_once(world, by):
    """The second of two who press the button is told who was first."""
    about = PROMPT if by == "prompt" else incident(world)
    done = answer(world, "approve", about=about, question=1)
    assert (done["answer"], done["outcome"], done["to_version"]) == (
        "approve",
        "switched",
        "v1.9.0",
    )
    assert world.kinds()[-3:] == ["question.approved", "rollback.requested", "rollback.switched"]
    error = answer(world, "approve", 409, about=about, question=1)
    assert error["code"] == "nothing_asked"
    assert "rollback.switched by api" in error["message"]
    assert world.kinds().count("rollback.switched") == 1


def test_an_answer_to_another_question_is_refused(world):
    """It says what is asked now, and nothing is done."""
    error = answer(world, "approve", 409, question=7)
    assert error["code"] == "stale_answer" and error["known"] == ["1"]
    assert "now it is question 1, on-call to decide about error_high" in error["message"]
    assert "rollback.switched" not in world.kinds()


def test_an_incident_that_is_over_is_refused(world):
    """Whoever names an incident means that one, and not the next of the same prompt."""
    before = incident(world)
    world.live(320, "v2.0.0", 100)
    assert world.state().incident is None
    error = answer(world, "approve", 409, about=before)
    assert error["code"] == "nothing_asked" and "incident.resolved" in error["message"]
    for _ in range(400):
        world.live(1, "v2.0.0", 97, 3)
        if world.state().incident:
            break
    assert incident(world) != before
    error = answer(world, "approve", 409, about=before)
    assert error["code"] == "stale_answer" and incident(world) in error["message"]


def test_somebody_investigates(world):
    """Nothing is changed, the pages are taken, and the question stays for later."""
    done = answer(world, "decline", question=1)
    assert done["outcome"] == "changed"
    asked = question(world)
    assert (asked["stage"], asked["answered_by"], asked["because"]) == (
        "investigating",
        "api (unverified)",
        "because",
    )
    assert answer(world, "decline", question=1)["outcome"] == "unchanged"
    assert answer(world, "approve", question=1)["outcome"] == "switched"


def test_somebody_takes_the_page(world):
    """No reason is needed at night; the second to take it changes nothing."""
    assert answer(world, "ack", about=incident(world), because="")["outcome"] == "changed"
    (page,) = world.get(f"/api/prompts/{PROMPT}/explain")["state"]["pages"]
    assert page["acknowledged_by"] == "api (unverified)"
    assert question(world)["stage"] == "asked"
    assert answer(world, "ack", because="")["outcome"] == "unchanged"


def test_a_rehearsal_changes_nothing(world):
    """`dry_run` says what an approval would do."""
    done = answer(world, "approve", dry_run=True)
    assert any("serve v1.9.0" in line for line in done["would"])
    assert world.state().route.suspect.version == "v2.0.0"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"about": "nobody"}, 404, "there is no prompt"),
        ({"about": "a/b"}, 422, "neither a prompt nor an incident"),
        ({"about": "mars/customer-support/g1.1"}, 404, "there is no environment"),
        ({"answer": "maybe"}, 422, "answer"),
        ({"because": ""}, 422, "a reason is needed"),
        ({"question": 0}, 422, "question"),
    ],
)
def test_what_cannot_be_meant(world, body, status, words):
    """Each refusal says what is wrong, in the one shape."""
    order = {"about": PROMPT, "answer": "approve", "because": "because", **body}
    error = world.refused(ANSWERS, status, **order)
    assert words in error["message"]


def test_nothing_known_good_to_go_to():
    """The question says so, and an approval asks for a version."""
    with new_world() as world:
        world.push("v1.9.0")
        world.promote("v1.9.0")
        for _ in range(30):
            world.live(1, "v1.9.0", 97, 3)
            if world.state().question:
                break
        assert question(world)["target"] is None
        error = answer(world, "approve", 422)
        assert "say what to serve" in error["message"]


def test_the_engines_own_page_can_be_taken(world):
    """It is about no prompt: its thread is named."""
    store, thread = world.runtime.store, f"production/{FLEET}:engine:deliver"
    page = Notify(thread, "on-call", Severity.CRITICAL, "s", "b", Purpose.PAGE, thread)
    store.states.apply([Change("production", FLEET, 0, (page,), "system")], world.clock.ms)
    assert answer(world, "ack", about=thread)["outcome"] == "changed"
    (alarm,) = store.states.get("production", FLEET).alarms
    assert alarm.acked_by == "api (unverified)"
    assert answer(world, "ack", about=thread)["outcome"] == "unchanged"
    error = world.refused(ANSWERS, 409, about=f"{thread}s", answer="ack", because="")
    assert "production/* is over" in error["message"]
