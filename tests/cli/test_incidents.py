"""`knowngood incident` and `postmortem`: with a server and, for what is read, without one."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

BOT = "support-bot"
ID = f"production/{BOT}/g2.1"
SVG = "{http://www.w3.org/2000/svg}svg"


@pytest.fixture
def shop(world):
    """A bad version was promoted, found out, rolled back, and that is proven."""
    for version in ("v1", "v2"):
        world.file(f"{version}.txt", f"I am {version}")
        assert world.run("push", BOT, version, f"{version}.txt").exit_code == 0
    world.run("promote", BOT, "v1", "--because", "first")
    world.calls(f"{BOT}:v1", "ok=2000", "for", "20", "s")
    world.run("promote", BOT, "v2", "--now", "--because", "new")
    world.calls(f"{BOT}:v2", "ok=880", "prompt=120", "for", "10", "s")
    world.calls(f"{BOT}:v1", "ok=2000", "for", "20", "s")
    return world


def said(world, *words: str) -> str:
    result = world.run(*words)
    assert result.exit_code == 0, result.stderr
    return str(result.stdout)


def test_an_incident_is_read_with_and_without_a_server(shop):
    """The same list, record, export and draft, from the server and from its file."""
    reads = (
        ["incident", "list", "--json"],
        ["incident", "list", BOT, "--env", "production"],
        ["incident", "show", ID],
        ["incident", "export", ID, "--format", "json"],
        ["incident", "export", ID],
        ["postmortem", ID],
        ["postmortem", ID, "--theme", "dark", "--json"],
    )
    served = {" ".join(words): said(shop, *words) for words in reads}
    shop.server_stops()
    for words in reads:
        assert said(shop, *words, "--db", "kg.db") == served[" ".join(words)], words
    shown = served[f"incident show {ID}"]
    for part in ("critical, resolved", "v2 -> v1, instant", "not asked: everybody got it at once"):
        assert part in shown
    assert json.loads(served[f"incident export {ID} --format json"])["id"] == ID
    assert served[f"incident export {ID}"].startswith(f"# {BOT} v2: errors 12.0%")


def test_people_write_into_the_timeline(shop):
    """A note, an update, a role, and what it was: each a line of the history with its author."""
    said(shop, "incident", "note", ID, "It *was* <the> vendor", "--as", "Ana")
    said(shop, "incident", "note", ID, "all well", "--update", "--next", "30m", "--as", "Ana")
    said(shop, "incident", "role", ID, "commander", "Ben", "--as", "Ana")
    done = said(shop, "incident", "close-as", ID, "reviewed", "--because", "gone over")
    assert done == f"recorded incident.reviewed by eve (unverified) in {ID}\n"
    shown = said(shop, "incident", "show", ID)
    for words in (
        "critical, reviewed", "commander: Ben", "note by Ana (unverified): It *was* <the> vendor",
        "update by Ana (unverified): all well",
    ):  # fmt: skip
        assert words in shown
    kinds = [line["kind"] for line in json.loads(said(shop, "audit", "--json"))["entries"]]
    assert kinds[-4:] == ["incident.note", "incident.note", "incident.role", "incident.reviewed"]
    assert "chain whole" in said(shop, "audit", "verify")


def test_a_post_mortem_is_written_with_its_charts_beside_it(shop):
    """Every image that the document names is there, and is one."""
    out = said(shop, "postmortem", ID, "-o", "report.md", "--theme", "dark")
    text = Path("report.md").read_text(encoding="utf-8")
    images = sorted(path.name for path in Path().glob("report-*.svg"))
    assert images == ["report-error-rate.svg", "report-p99.svg", "report-propagation.svg",
                      "report-traffic-share.svg"]  # fmt: skip
    for name in images:
        assert f"]({name})" in text and name in out
        assert ElementTree.parse(name).getroot().tag == SVG  # noqa: S314 - we wrote it
        assert "http" not in Path(name).read_text(encoding="utf-8").replace("http://www.w3.org", "")


def test_what_is_wrong_is_said(shop):
    """With what is known, and what to do next."""
    for words, complaint in (
        (("incident", "show", "nonsense"), "is no incident"),
        (("incident", "show", f"production/{BOT}/g9.9"), ID),
        (("incident", "note", ID, " "), "needs a text"),
        (("incident", "note", ID, "x", "--next", "1h"), "--next goes with --update"),
        (("incident", "close-as", ID, "reviewed"), "--because"),
        (("incident", "close-as", ID, "duplicate_of", "--because", "x"), "names the incident"),
        (("postmortem", ID, "-o", "no/such/folder.md"), "cannot write"),
        (("incident", "note", ID, "x", "--url", "http://127.0.0.1:9/x y"), ""),
    ):
        result = shop.run(*words)
        assert result.exit_code != 0
        assert complaint in result.stderr, words


def test_the_open_incident_and_its_clock_stand_in_status_and_explain(world):
    """Whoever asks how things are is told its id, and for how long what is waited on."""
    for version in ("v1", "v2"):
        world.file(f"{version}.txt", f"I am {version}")
        world.run("push", BOT, version, f"{version}.txt")
    world.run("promote", BOT, "v1", "--because", "first")
    world.calls(f"{BOT}:v1", "ok=2000", "for", "20", "s")
    world.run("promote", BOT, "v2", "--now", "--because", "new")
    world.calls(f"{BOT}:v2", "ok=880", "prompt=120", "for", "10", "s")
    assert f"incident {ID} (critical, recovering for" in said(world, "status")
    shown = said(world, "explain", BOT)
    assert f"knowngood incident show {ID}" in shown and "recovering for" in shown
    assert f"{ID}  " in said(world, "incident", "list", "--open")
