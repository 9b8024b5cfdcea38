"""The pages of a version, of the difference of two, and of a prompt with thousands of them."""

import re
import time
from html import unescape

import pytest

from tests.server.doors import SECRETS
from tests.server.world import PROMPT
from tests.web.world import page, send, site

HERE = f"/prompts/{PROMPT}"
NASTY = (
    "Hello {{user}} <script>alert(1)</script>\n\x1b[31mred \u202egnp.exe\u202c z\u200bw "
    '"><img src=x onerror=alert(1)> \\{{literal}}'
)


def words(text):
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def is_harmless(text):
    """Nothing of what was pushed is markup, and nothing of it hides."""
    assert "<script>alert" not in text and "<img src=x" not in text
    assert not set("\x1b\u202e\u202c\u200b") & set(text)
    return True


def test_content_is_shown_as_text_with_its_variables_marked(pages):
    """Markup, terminal codes, turns of direction and invisible characters are all named."""
    pages.push("v1", NASTY, config={"model": "<script>alert(1)</script>"}, note=NASTY)
    text = page(pages, f"{HERE}/versions/v1")
    assert is_harmless(text)
    assert '<b class="variable">{{user}}</b>' in text and ">ESC</span>[31mred" in text
    assert "right-to-left override" in text and r"\{{literal}}" in text


def test_messages_are_shown_by_role(pages):
    """Each with its role, and the configuration key by key."""
    body = {
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "{{q}}"},
        ],
        "config": {"model": "m1", "tools": {"search": True}},
    }
    pages.post(f"/api/prompts/{PROMPT}/versions", 201, version="v1", **body)
    read = words(page(pages, f"{HERE}/versions/v1"))
    assert "system message 1 of 2 Be kind. user message 2 of 2 {{q}}" in read
    assert 'model "m1" tools.search true' in read and "Asks for q" in read


def test_a_huge_prompt_is_shown_in_part_and_quickly(pages):
    """256 KB: the beginning at once, all of it on request."""
    lines = "\n".join(f"Line {i} of {{{{name}}}} says what it says." for i in range(6_000))
    pages.push("huge", lines)
    began = time.process_time()
    text = page(pages, f"{HERE}/versions/huge")
    assert time.process_time() - began < 2 and len(text) < 60_000
    assert "more characters" in text and "Line 5999" not in text
    whole = page(pages, f"{HERE}/versions/huge", all="yes")
    assert "Line 5999" in whole and "more characters" not in whole


def test_what_can_be_done_follows_its_standing(pages):
    """Promote what never served, vouch for what is on trial, lift what is quarantined."""
    pages.route_two()
    pages.push("v3.0.0")

    def verbs(version):
        text = page(pages, f"{HERE}/versions/{version}")
        return re.findall(r'class="button[^"]*" href="/do/(\w+)', text)

    assert verbs("v3.0.0") == ["promote"]
    assert verbs("v2.0.0") == ["vouch"]
    assert verbs("v1.9.0") == ["rollback", "promote"]
    pages.post("/api/rollback", prompt=PROMPT, because="bad")
    assert verbs("v2.0.0") == ["unquarantine"] and verbs("v1.9.0") == []


def test_gates_and_evaluations_are_named_with_their_reasons(pages):
    """Allow, deny and not yet, each with its because."""
    pages.route_two()
    pages.push("v3.0.0")
    found = {"suite": "baseline", "passed": 88, "failed": 12, "because": "nightly"}
    pages.post("/api/evaluations", 201, prompt=PROMPT, version="v3.0.0", **found)
    read = words(page(pages, f"{HERE}/versions/v3.0.0"))
    assert "in_progress deny: v2.0.0 bakes" in read and "freeze allow: no change freeze" in read
    assert "baseline 88 of 100 passed" in read and "nightly" in read


def test_any_name_of_a_version_has_a_page(pages):
    """Slashes, signs of addresses, other scripts: the prompt's page leads there."""
    names = ["release/2026", "50% <b>off</b>?#1&x=y", "名前 β", "a+b"]
    for name in names:
        pages.push(name, f"text of {name}")
    listed = page(pages, HERE)
    for name in names:
        found = re.findall(r'href="(/prompts/[^"]*/versions/[^"]*)"', listed)
        assert any(
            words(page(pages, unescape(where))).find(f"text of {name}") > 0 for where in found
        )
    assert "<b>off</b>" not in listed


def test_a_difference_is_read_line_by_line(pages):
    """Signs, words, numbers; what is the same is folded; the configuration key by key."""
    same = "\n".join(f"rule {i}" for i in range(60))
    pages.push("v1", f"Be short and kind.\n{same}", config={"temperature": 0.2})
    pages.push("v2", f"Be brief and kind.\n{same}\nAsk a person.", config={"temperature": 0.7})
    text = page(pages, f"{HERE}/diff", a="v1", b="v2")
    assert "<del>short</del>" in text and "<ins>brief</ins>" in text
    read = words(text)
    assert "2 lines added, 1 removed , 1 setting changed" in read
    assert "lines that are the same" in read and "removed: temperature: 0.2" in read
    assert "a=v2&amp;b=v1" in text


def test_identical_content_is_said_in_words(pages):
    """Under two names, or one and the same version."""
    pages.push("v1", "same")
    pages.push("v2", "same")
    assert "The content is identical." in page(pages, f"{HERE}/diff", a="v1", b="v2")
    assert "one and the same version" in page(pages, f"{HERE}/diff", a="v1", b="v1")
    pages.push("v3", "same", config={"model": "m"})
    assert "The texts are the same" in page(pages, f"{HERE}/diff", a="v1", b="v3")


def test_unless_somebody_says_the_newest_is_held_against_what_serves(pages):
    """And against the one before it where nothing serves."""
    pages.push("v1")
    assert "no other version" in page(pages, f"{HERE}/diff")
    pages.push("v2")
    assert "<h1>v1 <small>and</small> v2</h1>" in page(pages, f"{HERE}/diff")
    pages.promote("v1")
    pages.push("v3")
    assert "<h1>v1 <small>and</small> v3</h1>" in page(pages, f"{HERE}/diff")


def test_a_difference_of_nasty_texts_is_text(pages):
    """On both sides, and in the configuration."""
    pages.push("v1", NASTY, config={"<script>alert(1)</script>": NASTY})
    pages.push("v2", NASTY.replace("red", "blue") + "\u202e", note=NASTY)
    assert is_harmless(page(pages, f"{HERE}/diff", a="v1", b="v2"))


def test_two_huge_prompts_are_compared_in_part(pages):
    """The first thousand lines, and the rest on request."""
    pages.push("v1", "\n".join(f"line {i}" for i in range(12_000)))
    pages.push("v2", "\n".join(f"LINE {i} is longer" for i in range(12_000)))
    text = page(pages, f"{HERE}/diff", a="v1", b="v2")
    assert text.count("<tr") < 1_100 and "more changed lines" in text


@pytest.mark.parametrize(
    "path",
    [f"{HERE}/versions/nope", "/prompts/nobody/versions/v1", f"{HERE}/versions/%00",
     f"{HERE}/versions/{'x' * 2000}", f"{HERE}/versions/v1?environment=nowhere",
     f"{HERE}/diff?a=nope&b=v1", f"{HERE}/diff?a=v1&b=%00", "/prompts/nobody/diff",
     "/prompts/%3Cscript%3E/diff", f"{HERE}/diff?environment=nowhere"],
)  # fmt: skip
def test_what_is_not_there(pages, path):
    """Is said on a page."""
    pages.push("v1")
    text = page(pages, path, 404)
    assert "That did not work" in text and "<script>" not in text


def test_many_versions_come_page_by_page(pages):
    """A hundred at a time, the newest first, each once."""
    for i in range(205):
        pages.push(f"v{i}")
    seen, where = [], HERE
    while where:
        text = page(pages, where)
        seen += re.findall(r'<a class="version" href="[^"]*/versions/(v\d+)"', text)
        onward = re.search(r'rel="next" href="([^"#]+)', text)
        where = unescape(onward[1]) if onward else ""
    assert seen == [f"v{i}" for i in range(204, -1, -1)]
    for absurd in ("0", "99999999999999999999", "²", "-1", "x"):
        page(pages, HERE, page=absurd)


def test_a_viewer_may_look_and_a_stranger_may_not():
    """Every one of these pages takes a session."""
    paths = [
        "/policy",
        "/history",
        "/history/1",
        "/processes",
        f"{HERE}/diff",
        f"{HERE}/versions/v1",
    ]
    with site(tokens=(SECRETS["vera"], SECRETS["ana"])) as world:
        ana = {"Authorization": "Bearer ana:a-secret-of-anas-own"}
        world.post(f"/api/prompts/{PROMPT}/versions", 201, headers=ana, version="v1", text="x")
        for path in paths:
            assert world.client.get(path, follow_redirects=False).status_code == 303, path
        send(world, "/login", {"token": "vera:a-secret-of-veras-own"})
        for path in paths:
            page(world, path)
