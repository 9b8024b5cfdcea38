"""Orders from a page: rehearsed first, then done once, and only as they were shown."""

import pytest

from tests.server.doors import SECRETS
from tests.server.world import PROMPT
from tests.web.world import form_of, page, send, site

ROLLBACK = "/do/rollback"


@pytest.fixture
def routed(pages):
    pages.route_two()
    return pages


def served(world):
    return [arm.version for arm in world.state().route.arms]


def test_a_rollback_is_shown_before_it_is_done(routed):
    """The page names both versions, and looking at it changes nothing."""
    text = page(routed, ROLLBACK, prompt=PROMPT)
    assert "v2.0.0" in text and "serve v1.9.0 100%" in text
    assert form_of(text)["to"] == "v1.9.0" and form_of(text)["suspect"] == "v2.0.0"
    assert served(routed) == ["v2.0.0"]


def test_a_rollback_is_done_and_its_result_told(routed):
    """The history names who did it and why; the page that they come back to says so."""
    form = form_of(page(routed, ROLLBACK, prompt=PROMPT, back=f"/prompts/{PROMPT}"))
    answer = send(routed, ROLLBACK, form, because="errors are up", name="Ann")
    assert served(routed) == ["v1.9.0"]
    where = answer.headers["location"]
    assert where.startswith(f"/prompts/{PROMPT}?done=")
    text = page(routed, where)
    assert "errors are up" in text and "Ann (unverified)" in text
    assert "knowngood_name=Ann" in answer.headers["set-cookie"]


def test_a_second_click_changes_nothing_and_is_told_the_same(routed):
    """Two clicks on one form are one order."""
    form = form_of(page(routed, ROLLBACK, prompt=PROMPT))
    first = send(routed, ROLLBACK, form, because="twice")
    second = send(routed, ROLLBACK, form, because="twice")
    assert first.headers["location"] == second.headers["location"]
    assert routed.kinds().count("rollback.switched") == 1


def test_a_stale_tab_is_refused_with_what_has_changed(routed):
    """The version that the tab has shown serves nobody any more: another one is not rolled back."""
    form = form_of(page(routed, ROLLBACK, prompt=PROMPT))
    routed.push("v3.0.0")
    routed.promote("v3.0.0")
    text = send(routed, ROLLBACK, form, 409, because="late").text
    assert "Nothing was changed" in text and "v2.0.0 is no longer on trial" in text
    assert served(routed) == ["v3.0.0"]
    # The page shows what the order would be now, and takes it.
    fresh = form_of(text)
    assert fresh["suspect"] == "v3.0.0"
    send(routed, ROLLBACK, fresh, because="now I mean it")
    assert served(routed) == ["v1.9.0"]


def test_a_note_does_not_hold_a_rollback_up(routed):
    """A rollback is bound to what it moves, not to the revision."""
    form = form_of(page(routed, ROLLBACK, prompt=PROMPT))
    routed.post("/api/automation", prompt=PROMPT, state="off", **{"for": "1h"}, because="calm")
    send(routed, ROLLBACK, form, because="errors are up")
    assert served(routed) == ["v1.9.0"]


def test_what_could_surprise_is_bound_to_the_revision(routed):
    """Vouching after somebody else's change is refused with what has changed."""
    form = form_of(page(routed, "/do/vouch", prompt=PROMPT, version="v2.0.0"))
    routed.post("/api/automation", prompt=PROMPT, state="off", **{"for": "1h"}, because="calm")
    text = send(routed, "/do/vouch", form, 409, because="looks fine").text
    assert "has changed" in text and "calm" in text


def test_no_reason_no_order(routed):
    """A blank reason is refused, and the form comes back."""
    form = form_of(page(routed, ROLLBACK, prompt=PROMPT))
    assert "a reason is needed" in send(routed, ROLLBACK, form, 422, because="  ").text
    assert served(routed) == ["v2.0.0"]


def test_a_form_of_somebody_else_is_refused(routed):
    """Without the session's token, or with another one, nothing is changed."""
    form = form_of(page(routed, ROLLBACK, prompt=PROMPT))
    for token in ("", "x" * 43):
        text = send(routed, ROLLBACK, {**form, "form": token}, 403, because="x").text
        assert "not made for this session" in text
    answer = routed.client.post(
        ROLLBACK, data={**form, "because": "x"}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert answer.status_code == 403 and served(routed) == ["v2.0.0"]


def test_nobody_is_sent_to_another_site(routed):
    """`back` is a page of ours or nothing."""
    for back in ("https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:1"):
        form = form_of(page(routed, "/do/hold", prompt=PROMPT, back=back))
        assert form["back"] == "/", back


def test_a_canary_is_paused_resumed_and_aborted(pages):
    """Each from its page, each with its reason in the history."""
    pages.push("v1.9.0")
    pages.push("v2.0.0")
    pages.promote("v1.9.0")
    for verb in ("promote", "pause", "resume", "skip", "abort"):
        text = page(pages, f"/do/{verb}", prompt=PROMPT, version="v2.0.0")
        send(pages, f"/do/{verb}", form_of(text), 303, because=f"to {verb}")
    assert served(pages) == ["v1.9.0"]
    said = " ".join(
        e["because"] for e in pages.get("/api/audit", prompt=PROMPT, limit=100)["entries"]
    )
    assert all(f"to {verb}" in said for verb in ("promote", "pause", "resume", "skip", "abort"))


def test_a_viewer_sees_what_would_change_and_may_not_do_it():
    """The page says which role it takes; the form that is sent all the same is refused."""
    with site(tokens=(SECRETS["vera"], SECRETS["ana"])) as world:
        send(world, "/login", {"token": "ana:a-secret-of-anas-own"})
        # The client keeps ana's cookie; she sets the stage through pages alone.
        ana = {"Authorization": "Bearer ana:a-secret-of-anas-own"}
        for version in ("v1.9.0", "v2.0.0"):
            body = {"version": version, "text": version}
            world.post(f"/api/prompts/{PROMPT}/versions", 201, headers=ana, **body)
            world.post(
                "/api/promote",
                headers=ana,
                prompt=PROMPT,
                version=version,
                now=True,
                because="test",
                override=["in_progress"],
            )
        form = form_of(page(world, ROLLBACK, prompt=PROMPT))
        world.client.cookies.clear()
        send(world, "/login", {"token": "vera:a-secret-of-veras-own"})
        text = page(world, ROLLBACK, prompt=PROMPT)
        assert "needs the role operator" in text and not form_of(text)
        send(world, ROLLBACK, form, 403, because="x")
        assert served(world) == ["v2.0.0"]


def test_a_second_person_is_asked_for_and_agrees():
    """Who promotes learns that another one has to agree, and asks; that one gives their word."""
    with site(tokens=(SECRETS["ana"], SECRETS["ben"])) as world:
        ana = {"Authorization": "Bearer ana:a-secret-of-anas-own"}
        path, promotion = f"/api/prompts/{PROMPT}/versions", {"prompt": PROMPT, "version": "v1"}
        world.post(path, 201, headers=ana, version="v1", text="hello")
        send(world, "/login", {"token": "ana:a-secret-of-anas-own"})
        text = page(world, "/do/promote", 200, **promotion)
        assert "Ask for approval" in text
        text = send(world, "/do/promote", form_of(text), 409, because="it is better").text
        assert (
            "Whoever may approve it has been told" in text and "<form" not in text.split("<h1>")[1]
        )
        world.client.cookies.clear()
        send(world, "/login", {"token": "ben:a-secret-of-bens-own"})
        text = page(world, "/do/agree", 200, **promotion)
        send(world, "/do/agree", form_of(text), because="I have read it")
        world.client.cookies.clear()
        send(world, "/login", {"token": "ana:a-secret-of-anas-own"})
        send(world, "/do/promote", form_of(page(world, "/do/promote", 200, **promotion)),
             because="now")  # fmt: skip
        assert served(world) == ["v1"]


def test_a_version_that_gets_a_canary_on_top_is_not_mistaken_for_it(routed):
    """The form has shown that v2 goes; by now v3 is on trial. Neither is touched."""
    form = form_of(page(routed, ROLLBACK, prompt=PROMPT))
    routed.push("v3.0.0")
    arms = [{"version": "v2.0.0", "weight_bp": 9500}, {"version": "v3.0.0", "weight_bp": 500}]
    order = {"because": "by hand", "override": ["in_progress"]}
    routed.post("/api/route", prompt=PROMPT, arms=arms, **order)
    text = send(routed, ROLLBACK, form, 409, because="late").text
    assert "v2.0.0 is no longer on trial" in text
    assert served(routed) == ["v2.0.0", "v3.0.0"]


def test_a_refused_form_keeps_its_environment_and_its_target(routed):
    """Whoever forgot the reason is asked about the very same order again."""
    for version in ("v1.9.0", "v2.0.0", "v3.0.0"):
        if version == "v3.0.0":
            routed.push(version)
        routed.promote(version, environment="staging")
        routed.post(
            "/api/vouch", prompt=PROMPT, version=version, environment="staging", because="x"
        )
    where = {"prompt": PROMPT, "environment": "staging", "to": "v1.9.0"}
    text = page(routed, ROLLBACK, 200, **where)
    assert form_of(text)["to"] == "v1.9.0"
    again = send(routed, ROLLBACK, form_of(text), 422, because=" ").text
    assert f"{PROMPT}, staging" in again and form_of(again)["to"] == "v1.9.0"
    assert "<option selected>staging" in again


def test_a_form_without_its_ticket_or_its_revision_is_no_form_of_ours(routed):
    """Nothing is done by half a form, and no form is taken for another one."""
    form = form_of(page(routed, "/do/vouch", prompt=PROMPT, version="v2.0.0"))
    for spoiled in ({"once": ""}, {"revision": ""}, {"revision": "²"}):
        send(routed, "/do/vouch", {**form, **spoiled}, 422, because="x")
    hold = form_of(page(routed, "/do/hold", prompt=PROMPT))
    send(routed, "/do/vouch", {**form, "once": "same"}, because="x")
    send(routed, "/do/hold", {**form_of(page(routed, "/do/hold", prompt=PROMPT)), "once": "same"},
         because="x")  # fmt: skip
    assert hold["once"] != form["once"]
    assert routed.state().automation is not None


def test_an_old_address_does_not_say_that_something_was_done(routed):
    """`done` tells of what was done just now."""
    form = form_of(page(routed, ROLLBACK, prompt=PROMPT, back=f"/prompts/{PROMPT}"))
    where = send(routed, ROLLBACK, form, because="errors").headers["location"]
    assert 'id="told"' in page(routed, where)
    routed.clock.ms += 600_000
    assert 'id="told"' not in page(routed, where)


def test_what_was_so_already_is_not_said_to_be_done(routed):
    """An order that had nothing to change says that, and leaves no line of history."""
    before = routed.kinds()
    form = form_of(page(routed, "/do/release", prompt=PROMPT, back=f"/prompts/{PROMPT}"))
    where = send(routed, "/do/release", form, because="to be sure").headers["location"]
    text = page(routed, where)
    assert "Nothing had to change." in text and "Done." not in text
    assert routed.kinds() == before
