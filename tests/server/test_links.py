"""Signed links: what is signed is what is answered, until it ends."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowngood.core.asking import Answer, Purpose
from knowngood.core.history import Outgoing
from knowngood.core.model import Severity
from knowngood.core.people import Person
from knowngood.server.links import (
    LIVES_MS,
    BadLink,
    Link,
    LinkExpired,
    Links,
    kept_key,
    make,
    verify,
)
from knowngood.server.settings import BadSettings, Settings, settings_from
from knowngood.server.tokens import roster_of
from knowngood.store.memory import open_memory

KEY, NOW_MS = bytes(range(32)), 1_767_225_600_000
LINK = Link("production/cs/g3.1", Answer.APPROVE, 2, "ana", True, NOW_MS + 1)
MESSAGE = Outgoing(
    "key", "production", "cs", "on-call", Severity.HIGH, "", "", NOW_MS, NOW_MS,
    purpose=Purpose.PAGE, thread="production/cs/g3.1", question=2,
)  # fmt: skip
ANA, BEN = Person("ana"), Person("ben")


@given(
    st.builds(
        Link,
        thread=st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
        answer=st.sampled_from(Answer),
        number=st.none() | st.integers(0, 10**9),
        who=st.text(st.characters(exclude_categories=["Cs"]), max_size=50),
        is_person=st.booleans(),
        expires_ms=st.integers(NOW_MS + 1, NOW_MS * 2),
        to=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20)).map(tuple),
        held=st.booleans(),
    )
)
def test_what_is_signed_is_what_is_read(link):
    """Whatever it says."""
    token = make(KEY, link)
    assert token == "" or verify(KEY, token, NOW_MS) == link


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({}, "/incidents/production/cs/g3.1"),
        ({"thread": "production/cs/g3.1:rollback-failed"}, "/incidents/production/cs/g3.1"),
        ({"thread": ""}, "/prompts/cs?environment=production"),
        ({"thread": "production/cs/blind.3"}, "/prompts/cs?environment=production"),
        ({"thread": "", "prompt": "*", "environment": "eu 1"}, "/?environment=eu+1"),
    ],
)
def test_a_message_says_which_page_shows_more(changes, path):
    """The incident's, else the prompt's, else the fleet's; nothing where nobody could open it."""
    message = replace(MESSAGE, **changes)
    assert Links(KEY, "https://kg.example.com/").page(message) == f"https://kg.example.com{path}"
    assert Links(KEY).page(message) == ""


@given(st.integers(0, 10_000), st.sampled_from("Aa0-_.="))
def test_no_other_character_will_do(at, character):
    """Every one of them is signed, the last bits of the last one, too."""
    token = make(KEY, LINK)
    at %= len(token)
    if token[at] != character:
        with pytest.raises(BadLink):
            verify(KEY, token[:at] + character + token[at + 1 :], NOW_MS)


@pytest.mark.parametrize("token", ["", ".", "a.b", "ä.ö", "=.=", "x" * 5_000, make(KEY, LINK)[:-1],
                                   make(KEY, LINK) + "=", make(b"other" * 8, LINK)])  # fmt: skip
def test_what_is_not_ours(token):
    """Is refused, whatever it is."""
    with pytest.raises(BadLink) as refused:
        verify(KEY, token, NOW_MS)
    assert refused.value.next_step


def test_a_link_ends():
    """To the millisecond; then the command is named that does the same."""
    token = make(KEY, LINK)
    assert verify(KEY, token, NOW_MS).who == "ana"
    with pytest.raises(LinkExpired) as refused:
        verify(KEY, token, NOW_MS + 1)
    assert refused.value.next_step == "knowngood approve production/cs/g3.1"


def test_the_link_of_a_message():
    """Says its question to whoever it is for, for a day; an acknowledgement is of the page."""
    links = Links(KEY, "https://kg.example.com/")

    def said(answer, *people, **changes) -> Link:
        url = links.url(replace(MESSAGE, **changes), answer, people, NOW_MS)
        assert url.startswith("https://kg.example.com/answer/")
        return verify(KEY, url.rpartition("/")[2], NOW_MS)

    expected = replace(LINK, expires_ms=NOW_MS + LIVES_MS, to=("on-call",))
    assert said(Answer.APPROVE, ANA) == expected
    assert said(Answer.ACK, ANA) == replace(expected, answer=Answer.ACK, number=None)
    for people in ((), (ANA, BEN)):
        assert said(Answer.APPROVE, *people) == replace(expected, who="on-call", is_person=False)
    assert said(Answer.APPROVE, ANA, targets=("ana", "author")).to == ("ana", "author")
    assert said(Answer.ACK, ANA, thread="production/cs/g3.1:rollback-failed").thread.endswith(
        ":rollback-failed"
    )


@pytest.mark.parametrize(
    ("until", "held"), [("", True), (" until=2026-01-01", False), (" until=2026-01-02", True)]
)
def test_a_link_says_whether_its_person_held_a_token(until, held):
    """So that one whose token was taken back since is told from one who never had any."""
    roster = roster_of([f"operator/ana:a-secret-of-anas-own{until}"])
    links = Links(KEY, "https://kg.example.com", lambda: roster)
    for person, expected in ((ANA, held), (BEN, False)):
        url = links.url(MESSAGE, Answer.ACK, (person,), NOW_MS)
        assert verify(KEY, url.rpartition("/")[2], NOW_MS).held == expected


@pytest.mark.parametrize(
    ("links", "changes"),
    [
        (Links(KEY), {}),
        (Links(KEY, "https://kg.example.com"), {"thread": ""}),
        (Links(KEY, "https://kg.example.com"), {"thread": "t" * 5_000}),
    ],
)
def test_messages_without_links(links, changes):
    """Without an address of ours, without anything to answer, or with too much of it."""
    assert links.url(replace(MESSAGE, **changes), Answer.ACK, (), NOW_MS) == ""


def test_the_key_is_drawn_once():
    """All servers of a database sign alike, also after a restart; another database otherwise."""
    store = open_memory()
    first = kept_key(store.policies, NOW_MS)
    assert kept_key(store.policies, NOW_MS + 1) == first and len(first) == 32
    assert kept_key(open_memory().policies, NOW_MS) != first


def test_the_key_may_be_the_operators():
    """From the environment, and shown nowhere."""
    made = settings_from({}, {"KNOWNGOOD_LINK_KEY": "k" * 32})
    assert made.link_key == "k" * 32 and "kkk" not in repr(made)
    with pytest.raises(BadSettings, match="needs at least 32"):
        settings_from({}, {"KNOWNGOOD_LINK_KEY": "short"})


@pytest.mark.parametrize(
    "url",
    [
        "kg.example.com",
        "ftp://kg.example.com",
        "https://",
        "https://[",
        "https://kg.example.com/?a=1",
        "http://kg.example.com",
    ],
)
def test_addresses_that_no_link_can_begin_with(url):
    """No browser finds them, or everybody on the way reads what is answered."""
    with pytest.raises(BadSettings):
        Settings(public_url=url)


def test_the_public_name_is_one_of_ours():
    """A browser that follows the link sends it as the host."""
    assert "kg.example.com" in Settings(public_url="https://KG.example.com:8443/x").hosts
    assert Settings(public_url="http://localhost:8000").public_url
