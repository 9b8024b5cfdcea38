"""The page of the policy: what is in force, where it comes from, and what it means today."""

import re
from html import unescape

import pytest

from knowngood.core.policy import parse
from knowngood.core.tree import render_tree, tree
from tests.server.world import PROMPT
from tests.web.world import page, site

POLICY = """
policy: 1
defaults: {flap: {cooldown: 15m}}
prompts:
  "customer-*":
    window: 3m
    triggers: {error_high: {limit: 11m}}
  customer-support:
    bake: {holdback: 10%}
    triggers: {error_high: {limit: 12m}}
  other: {keep: {hot: 9}}
"""


@pytest.fixture
def layered(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    with site(policy=str(path)) as world:
        world.route_two()
        yield world


def words(text):
    """The page as it reads, without its markup."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def row_of(text, path):
    """The cells of a value in the table of what is set here."""
    found = re.search(rf"<tr><th[^>]*><code>{re.escape(path)}</code>.*?</tr>", text, re.S)
    assert found, path
    return words(found[0])


def test_each_value_says_where_it_comes_from(layered):
    """The last layer that changed it, and what it was before."""
    text = page(layered, "/policy", prompt=PROMPT)
    assert row_of(text, "window") == "window 3m 5m prompts.customer-*"
    assert row_of(text, "triggers.error_high.limit").endswith("12m 11m prompts.customer-support")
    assert row_of(text, "flap.cooldown").endswith("15m 10m defaults")
    assert "<code>keep.hot</code>" not in text
    read = words(text)
    assert "knowngood → defaults → prompts.customer-* → prompts.customer-support" in read


def test_by_default_only_the_file_counts(layered):
    """And the prompts with a say of their own are named, with links to what holds for them."""
    text = page(layered, "/policy")
    assert row_of(text, "flap.cooldown").endswith("defaults")
    assert "<code>window</code></th>" not in text
    assert f'href="/policy?prompt={PROMPT}"' in text and "no prompt of this name" in text


def test_nothing_set_is_said(pages):
    """Without a file everything is as it comes."""
    assert "no policy file says anything else" in page(pages, "/policy")


def test_the_tree_is_drawn_with_every_node(pages):
    """As nested lists, each condition and each response in core's words."""
    text = page(pages, "/policy")
    drawn = words(text)
    for line in render_tree(tree(parse({}).for_prompt(""))).splitlines():
        label = line.lstrip("│├└─ ")
        before, arrow, after = label.partition("→")
        assert " ".join(f"{before}{'→ then ' if arrow else ''}{after}".split()) in drawn, label
    assert text.count("<ul>") == text.count("</ul>")


def test_limits_follow_the_age_of_the_version_on_trial(layered):
    """What holds now, for how long, and what comes then."""
    layered.clock.ms += 600_000
    read = words(page(layered, "/policy", prompt=PROMPT))
    assert "v2.0.0 is on trial here, 10 min at its share" in read
    assert "In force now for 50 min more" in read and "Comes in 50 min" in read
    layered.post("/api/vouch", prompt=PROMPT, version="v2.0.0", because="fine")
    read = words(page(layered, "/policy", prompt=PROMPT))
    assert "v2.0.0 is settled" in read
    assert read.index("settled from 1 h on") < read.index("In force now")


def test_a_limit_that_health_passes_is_named(pages):
    """In the words of the check, with what it waits on."""
    pages.push("v1.9.0")
    pages.push("v2.0.0")
    pages.promote("v1.9.0")
    pages.live(30, "v1.9.0", ok=99, bad=1)
    pages.promote("v2.0.0")
    pages.live(5, "v2.0.0", ok=20)
    read = words(page(pages, "/policy", prompt=PROMPT))
    assert "first_hour.error_rate is not separable. errors of 1.0% are normal here" in read
    assert "is judged instead" in read


def test_verdicts_of_now_stand_beside_the_triggers(pages):
    """What the engine sees of the version on trial."""
    pages.route_two()
    pages.live(60, "v2.0.0", ok=96, bad=4)
    assert "breach" in words(page(pages, "/policy", prompt=PROMPT)).split("Alerts by age")[0]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"prompt": "nobody"}, 404),
        ({"prompt": "<script>alert(1)</script>"}, 404),
        ({"prompt": "x" * 5000}, 404),
        ({"prompt": "\x00"}, 404),
        ({"environment": "nowhere"}, 404),
        ({"prompt": "   "}, 200),
    ],
)
def test_what_is_not_there(pages, query, status):
    """Is said on a page, and nothing of the address becomes markup."""
    assert "<script>alert" not in page(pages, "/policy", status, **query)
