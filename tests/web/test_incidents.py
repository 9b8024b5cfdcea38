"""The pages of incidents: all that is known of one, from the breach to the post-mortem."""

import io
import re
import zipfile
from html import unescape
from typing import Any

import pytest

from tests.server.test_incidents import ID, breaks, recovers
from tests.server.test_runbooks import OWN, PEOPLE
from tests.server.world import PROMPT
from tests.web.world import form_of, page, send, site

PAGE = f"/incidents/{ID}"


@pytest.fixture
def over(pages):
    """A critical incident, from the deploy to the proven recovery."""
    breaks(pages)
    recovers(pages)
    return pages


@pytest.fixture
def asks(tmp_path):
    """3 % errors on a new version: on-call is asked, and our own runbook is for it."""
    folder = tmp_path / "runbooks"
    folder.mkdir()
    (folder / "own.runbook.md").write_text(OWN, encoding="utf-8")
    policy = tmp_path / "policy.yaml"
    policy.write_text(PEOPLE, encoding="utf-8")
    with site(policy=str(policy), runbooks=str(folder)) as world:
        world.route_two()
        world.live(20, "v2.0.0", 97, 3)
        yield world


def forms_of(text):
    """The hidden fields of each form, by where it is sent."""
    found = re.findall(r'<form[^>]*action="(/do/[a-z]+)"[^>]*>(.*?)</form>', text, re.S)
    return {action: form_of(body) for action, body in found}


def plain(text):
    """The page's words alone."""
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text)))


def refused_in_words(text, words):
    assert "Nothing was changed." in text and words in plain(text), plain(text)


# --- The list


def test_no_incident_yet(pages):
    """An empty list says what will stand there, and follows by itself."""
    text = page(pages, "/incidents")
    assert "No incident in production yet" in text and 'id="rows"' in text


def test_the_list_says_what_how_long_and_how_it_ended(over):
    """Also who decided; a filter that lets nothing through says so."""
    text = plain(page(over, "/incidents"))
    for words in (PROMPT, "v2.0.0", "critical", "rolled back by itself", "system", "recovered"):
        assert words in text, words
    assert "No incident matches" in page(over, "/incidents", show="open")
    assert "No incident matches" in page(over, "/incidents", prompt="Not A Name")
    assert PAGE in page(over, "/incidents", show="closed", prompt=PROMPT)


def test_an_open_incident_is_on_the_list_with_its_clock(asks):
    """And with nobody's decision yet."""
    text = plain(page(asks, "/incidents", show="open"))
    assert "so far" in text and "undecided for" in text and "not yet" in text


def test_older_ones_are_a_page_further(pages, monkeypatch):
    """Those of one instant are not torn apart."""
    monkeypatch.setattr("knowngood.server.incident_rows.PAGE", 1)
    breaks(pages)
    recovers(pages)
    pages.clock.ms += 3_600_000
    pages.push("v3.0.0")
    pages.promote("v3.0.0")
    pages.live(7, "v3.0.0", 44, 6)
    recovers(pages)
    text = page(pages, "/incidents")
    older = re.search(r'rel="next" href="([^"]*)"', text)
    assert older and PAGE not in text and "v3.0.0" in text
    text = page(pages, older[1].replace("&amp;", "&"))
    assert PAGE in text and "v3.0.0" not in text and "Newest" in text


# --- One


def test_an_incident_that_is_over_shows_each_part(over):
    """From the evidence to the proof, in the words of the record."""
    text = page(over, PAGE)
    words = plain(text)
    for part in (
        "recovered", "kept: within 2 min", "kept: within 1 min", "of 350 calls failed",
        "rollback.confirmed", "came by:", "STAND DOWN",
        "Automatic", "verified: errors 0.0%", "1 of 1", "not asked: everybody got it at once",
        "Runbook: Error rate is up", "delivered", "Nobody has written anything",
        "Mark as reviewed", "Read the draft", "None: nothing was released with v2.0.0",
    ):  # fmt: skip
        assert part in words, part
    assert "Roll back</a>" not in text, "the version serves nobody any more"
    assert f'data-chart="/charts{PAGE}/error-rate"' in text
    assert text.count("style=") == 0


def test_an_open_incident_says_what_to_do(asks):
    """The question with its buttons, the pages, and the way back to this page."""
    text = page(asks, PAGE)
    for verb in ("approve", "decline", "ack", "gradual", "false_positive"):
        assert re.search(rf'href="/do/{verb}\?[^"]*back=%2Fincidents%2F', text), verb
    assert "nobody has acknowledged" in text and "left of 5 min" in plain(text)
    assert "Nobody has decided yet." in text


def test_an_answer_leads_back_to_the_incident(asks):
    """Approved there, told there, and the record goes on."""
    where = re.search(r'href="(/do/approve\?[^"]*)"', page(asks, PAGE))
    assert where
    text = page(asks, where[1].replace("&amp;", "&"))
    answer = send(asks, "/do/approve", form_of(text), because="users complain", name="Ana")
    assert answer.headers["location"].startswith(f"{PAGE}?done=")
    text = plain(page(asks, answer.headers["location"]))
    assert "Approved , by Ana (unverified)" in text and "recovery is being verified" in text


def test_an_unknown_incident_is_a_page_that_says_so(over):
    """With those that there are, in the design of the others."""
    text = page(over, f"/incidents/production/{PROMPT}/g99.1", 404)
    assert "That did not work" in text and ID in text and "style.css" in text
    assert "no runbook" in page(over, PAGE, 404, runbook="nope")


def test_the_timeline_goes_either_way(over):
    """Newest first, or oldest first; each line with its time since it was detected."""
    newest, oldest = page(over, PAGE), page(over, PAGE, timeline="oldest")

    def place(text, kind):
        found = re.search(rf'class="kind[^"]*">{kind}<', text)
        assert found, kind
        return found.start()

    assert place(newest, "rollback.verified") < place(newest, "rollback.suspected")
    assert place(oldest, "rollback.verified") > place(oldest, "rollback.suspected")
    assert ">detected</span>" in newest and "+1 s" in newest and "6 s before" in newest


def test_no_observations_are_left(over, monkeypatch):
    """The page stands on what was frozen, and says what is gone."""
    monkeypatch.setattr(over.runtime.store.series, "read", lambda *_: [])
    text = page(over, PAGE)
    assert "there is nothing left to draw" in text and "not kept any more" in text
    assert "errors 12.0%" in text
    assert over.client.get(f"/charts{PAGE}/error-rate").status_code == 204


def test_its_charts(over):
    """Specifications with their figures; an unknown one, and an unknown incident, are refused."""
    found = over.get(f"/charts{PAGE}/error-rate")
    assert found["spec"]["width"] == "container" and found["table"]["rows"]
    assert over.client.get(f"/charts{PAGE}/quality").status_code == 204
    assert "no chart" in page(over, f"/charts{PAGE}/nope", 404)
    assert "That did not work" in page(over, "/charts/incidents/production/x/g1.1/p99", 404)


# --- What people say of it


def test_a_note_is_shown_as_it_was_written(over):
    """Its HTML is text, and so is that of whatever else people wrote."""
    form = forms_of(page(over, PAGE))["/do/note"]
    send(over, "/do/note", {**form, "once": "2"}, because="just a note")
    text = page(over, PAGE)
    assert "just a note" in text and "Status update" not in text
    said = "<script>alert(1)</script> & **bold**"
    send(over, "/do/note", form, because=said, update="yes", name="<b>Ann</b>")
    text = page(over, PAGE)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; **bold**" in text
    assert "<script>alert" not in text and "<b>Ann</b>" not in text
    assert "Status update" in text and "&lt;i&gt;answers&lt;/i&gt;" in text
    paper = page(over, f"{PAGE}/postmortem")
    assert "<script>alert" not in paper and "<i>answers</i>" not in paper
    assert "&lt;script&gt;" in paper


def test_a_note_that_is_too_long_is_refused_and_comes_back(over):
    """Nothing that was written is lost."""
    form = forms_of(page(over, PAGE))["/do/note"]
    said = "very long " * 1_001
    text = send(over, "/do/note", form, 422, because=said).text
    refused_in_words(text, "the note has 10010 characters; the limit is 10000")
    assert said.strip() in text
    assert "Nobody has written anything" in page(over, PAGE)


def test_somebody_is_given_a_role(over):
    """It stands on top of the page; no name is no person."""
    form = forms_of(page(over, PAGE))["/do/role"]
    send(over, "/do/role", form, role="commander", person="Ana")
    assert "Commander: Ana" in plain(page(over, PAGE)).replace("Commander: </strong>", "")
    text = send(over, "/do/role", {**form, "once": "2"}, 422, role="commander", person="x" * 101)
    refused_in_words(text.text, "is no name of a role or a person")


@pytest.mark.parametrize(
    ("verb", "more", "words"),
    [
        ("review", {}, "over, and reviewed"),
        ("false_positive", {}, "a false positive"),
    ],
)
def test_it_is_said_what_it_was(over, verb, more, words):
    """Rehearsed first, then done, with its reason in the timeline."""
    text = page(over, f"/do/{verb}", prompt=PROMPT, incident=ID, back=PAGE)
    assert "the record says that it was" in text and "errors 12" not in form_of(text)
    send(over, f"/do/{verb}", form_of(text), because="we looked at every call", **more)
    text = plain(page(over, PAGE))
    assert words in text and "we looked at every call" in text


def test_a_duplicate_names_the_incident_that_it_repeats(over):
    """One that exists, and not itself."""
    text = page(over, "/do/duplicate", prompt=PROMPT, incident=ID, back=PAGE)
    form = form_of(text)
    assert "Which incident it repeats" in text
    refused_in_words(
        send(over, "/do/duplicate", form, 404, because="the same", of="production/x/g1.1").text,
        "no incident",
    )
    refused_in_words(
        send(over, "/do/duplicate", form, 422, because="the same", of=ID).text,
        "cannot repeat itself",
    )


def test_an_open_one_is_closed_as_a_false_positive(asks):
    """Its version goes on, watched anew; nobody is asked any more."""
    text = page(asks, "/do/false_positive", prompt=PROMPT, incident=ID, back=PAGE)
    assert "the incident is closed" in text
    send(asks, "/do/false_positive", form_of(text), because="a broken probe")
    assert asks.state().incident is None
    assert "a false positive" in page(asks, PAGE)


# --- Papers


def test_the_post_mortem_is_read_and_taken_away(over):
    """As a page with its charts, as Markdown, and packed with the pictures."""
    text = page(over, f"{PAGE}/postmortem")
    assert "<h1>Post-mortem:" in text and f'src="/charts{PAGE}/error-rate.svg"' in text
    assert f'<div><figure class="chart" data-chart="/charts{PAGE}/error-rate">' in text
    assert "Action items" in text and "<p>Who noticed" in text
    answer = over.client.get(f"/files{PAGE}/postmortem.md")
    assert (
        answer.text.startswith("# Post-mortem")
        and "attachment" in answer.headers["content-disposition"]
    )
    answer = over.client.get(f"/files{PAGE}/postmortem.zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        names = packed.namelist()
        assert names[0] == "postmortem.md" and "postmortem-error-rate.svg" in names
        assert packed.read("postmortem-error-rate.svg").startswith(b"<svg")
    assert over.client.get(f"/files{PAGE}/record.json").json()["id"] == ID
    assert "# customer-support" in over.client.get(f"/files{PAGE}/record.md").text
    assert "no file" in page(over, f"/files{PAGE}/passwd", 404)


# --- Its runbook


def begin(world):
    """The form of the step that is next, of a run that has just begun."""
    text = page(world, "/do/runbook", prompt=PROMPT, incident=ID, runbook="error-spike",
                back=f"{PAGE}#runbook")  # fmt: skip
    assert "Confirm" in text and "would" in text
    answer = send(world, "/do/runbook", form_of(text), because="I am on it", name="ana")
    assert re.fullmatch(rf"{PAGE}\?done=\d+#runbook", answer.headers["location"])


def go(world, status=303, **more):
    """The button of a step that needs one click."""
    text = page(world, PAGE)
    run = re.search(r'form="steps" name="run" value="([^"]*)"', text)
    step = re.search(r'form="steps" name="step" value="([^"]*)"', text)
    assert run and step, plain(text)
    fields = {**forms_of(text)["/do/step"], "run": run[1], "step": step[1], **more}
    return send(world, "/do/step", fields, status, name="ana"), fields


def test_a_runbook_is_filled_with_the_incident(asks):
    """Its names, numbers and commands; another one is a click away."""
    text = plain(page(asks, PAGE))
    assert f"Call the team of {PROMPT} in incidents." in text
    assert "knowngood rollback customer-support v1.9.0" in text
    assert "Run it step by step" in text and "Several prompts" in text


def test_a_runbook_is_gone_through_from_the_page(asks):
    """Looking is one click, an order is confirmed, and each step says who did it, and when."""
    begin(asks)
    assert "Now: " in plain(page(asks, PAGE))
    go(asks)
    assert "ana (unverified)" in plain(page(asks, PAGE))
    answer, _ = go(asks)  # the wait has begun
    assert answer.headers["location"] == f"{PAGE}#runbook"
    assert "under way" in page(asks, PAGE) and "Look again" in page(asks, PAGE)
    asks.tick(6)
    go(asks)
    for word in ("Approve", "Rehearse and do"):
        where = re.search(rf'href="(/do/step\?[^"]*)"[^>]*>{word}<', page(asks, PAGE))
        assert where, word
        text = page(asks, where[1].replace("&amp;", "&"))
        assert asks.state().route.arms[-1].version == "v2.0.0"
        send(asks, "/do/step", form_of(text), because="as the runbook says", name="ana")
    assert asks.state().route.arms[-1].version == "v1.9.0"
    text = plain(page(asks, PAGE))
    assert "approved as product-owner" in text and "as the runbook says" in text
    assert "runbook.step" in text


def test_a_step_is_not_done_twice(asks):
    """A tab that was left open is told who did it, and nothing is done."""
    begin(asks)
    _, fields = go(asks)
    text = send(asks, "/do/step", {**fields, "once": "another"}, 409, name="ben").text
    refused_in_words(text, "'Confirm' is passed already, by ana (unverified)")
    text = send(asks, "/do/step", {**fields, "once": "3", "step": "rollback"}, 409).text
    refused_in_words(text, "it is not the turn of 'Roll back' yet: 'Wait a little' comes first")
    assert "has no step" in send(asks, "/do/step", {**fields, "once": "4", "step": "x"}, 422).text


def test_a_step_is_skipped_with_a_reason_or_declined(asks):
    """Skipped it goes on, declined it stops; a person may try again."""
    begin(asks)
    fields: dict[str, Any] = {
        "prompt": PROMPT,
        "incident": ID,
        "run": f"{ID}/error-spike.1",
        "back": PAGE,
    }
    for step, word, words in (("confirm", "skip", "it is skipped"),
                              ("pause", "skip", "it is skipped"),
                              ("approve", "decline", "the run stops")):  # fmt: skip
        text = page(asks, "/do/step", step=step, word=word, **fields)
        assert words in text
        send(asks, "/do/step", form_of(text), because="known already", name="ana")
    text = page(asks, PAGE)
    assert "Stopped" in text and "Try again" in text and "known already" in text


def test_no_runbook_is_for_it(asks, monkeypatch):
    """The page says so and offers the others."""
    monkeypatch.setattr(type(asks.runtime.library), "runbook_for", lambda *_: None)
    text = page(asks, PAGE)
    assert "No runbook is for what this incident is about" in text and "?runbook=flapping" in text
    assert "Our own" in page(asks, PAGE, runbook="error-spike")
