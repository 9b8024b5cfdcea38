"""An incident's record as a Markdown document: the same data that the API gives, for people."""

from collections.abc import Iterator
from typing import Any

from knowngood.core.explain import percent
from knowngood.server.incidents import took
from knowngood.server.markdown import fenced, paragraph, plain_text, table

HASH_SHOWN = 12  # digits of a line's hash: enough to find it in the history


def incident_text(data: dict[str, Any]) -> str:
    """The document of `incidents.one`'s answer."""
    return "\n".join(_lines(data)).rstrip() + "\n"


def _lines(data: dict[str, Any]) -> Iterator[str]:
    yield f"# {plain_text(data['title'])}"
    yield ""
    yield from head(data)
    for title, part in (
        ("Clocks", clocks(data)),
        ("Impact", impact(data)),
        ("Evidence", evidence(data)),
        ("Decision", decision(data)),
        ("Action", action(data)),
        ("Other prompts", affected_lines(data)),
        ("Gates", gates(data)),
        ("Path through the policy", [fenced(data["way"], "text")]),
        ("Pages", _pages(data)),
        ("Notes", notes(data)),
        ("Timeline", timeline(data, HASH_SHOWN)),
    ):
        if lines := list(part):
            yield from ("", f"## {title}", "", *lines)


def head(data: dict[str, Any]) -> Iterator[str]:
    """What identifies the incident, as a list."""
    yield f"- Incident: {plain_text(data['id'])}"
    yield f"- State: {data['state'].replace('_', ' ')}{_of(data)}"
    risen = " → ".join(f"{r['severity']} ({clock_time(r['since'])})" for r in data["severities"])
    yield f"- Severity: {risen}"
    good = f", rolled back to {plain_text(data['good_version'])}" if data["good_version"] else ""
    yield f"- Version: {plain_text(data['version'])}{good}"
    closed = f", closed {clock_time(data['closed'])}" if data["closed"] else ", still open"
    yield f"- Opened: {clock_time(data['opened'])}{closed} ({data['took']})"
    if data["part_of"]:
        yield f"- Part of: {plain_text(data['part_of'])}"
    if data["fixed_by"]:
        yield f"- Fixed later by: {plain_text(data['fixed_by'])}"
    for name, person in data["roles"].items():
        yield f"- {plain_text(name).capitalize()}: {plain_text(person)}"


def _of(data: dict[str, Any]) -> str:
    return f" of {plain_text(data['duplicate_of'])}" if data["duplicate_of"] else ""


def clocks(data: dict[str, Any]) -> Iterator[str]:
    """A row for each clock, against its limit."""
    yield table(
        ("", "took", "limit", ""),
        [
            (
                clock["name"],
                f"{clock['words']}{' so far' if clock['running'] else ''}",
                limit_words(clock),
                {"within": "✓ within", "late": "! late", "over": "✗ over"}.get(clock["kept"], ""),
            )
            for clock in data["clocks"]
        ],
    )


def limit_words(clock: dict[str, Any]) -> str:
    """`1 min, at most 5 min`; empty without a limit."""
    if clock["limit_ms"] is None:
        return ""
    at_most = f", at most {took(clock['at_most_ms'])}" if clock["at_most_ms"] else ""
    return f"{took(clock['limit_ms'])}{at_most}"


def impact(data: dict[str, Any]) -> Iterator[str]:
    """What users got of the bad version."""
    found = data["impact"]
    if found is None:
        yield "Not known: what was reported at that time is not kept any more."
        return
    yield (
        f"{plain_text(data['version'])} served {found['calls']:,} calls from "
        f"{clock_time(found['since'])} on, {percent(found['served_share'])} of all; "
        f"{found['failed']:,} of them failed ({percent(found['failed_share'])})."
    )


def evidence(data: dict[str, Any]) -> Iterator[str]:
    found = data["evidence"]
    if found is None:
        return
    for finding in found["findings"]:
        proof = f" ({finding['proof_words']})" if finding.get("proof_words") else ""
        words = f"{finding['words']}{proof}"
        yield f"- {finding['verdict']}: {finding['trigger']}: ".replace("_", "\\_") + plain_text(
            words
        )
    again = f"; `knowngood audit replay {found['entry']}` makes the decision again"
    yield ""
    yield f"Frozen in entry {found['entry']}{again if found['can_be_replayed'] else ''}."


def decision(data: dict[str, Any]) -> Iterator[str]:
    found = data["decision"]
    if found is None:
        return
    limit = f", within {took(found['limit_ms'])}" if found["limit_ms"] else ""
    yield (
        f"{found['how'].capitalize()}, by {plain_text(found['actor'])} at "
        f"{clock_time(found['at'])}: {plain_text(found['because'])}."
    )
    if found["who"]:
        yield f"The policy leaves it to {plain_text(found['who'])}{limit}."
    if found["known_good"]:
        yield f"Known good then: {plain_text(', '.join(found['known_good']))}."


def action(data: dict[str, Any]) -> Iterator[str]:
    found, verified = data["action"], data["verification"]
    if found is None:
        return
    how = "stage by stage" if found["method"] == "gradual" else "at once"
    way = plain_text(f"{found['from']} → {found['to']}")
    yield f"- {clock_time(found['at'])}: {way}, {how}, generation {found['generation']}"
    for spread in data["propagation"][1:]:  # the first is where everybody begins
        count = f"{spread['current_count']} of {spread['live_count']} processes"
        yield f"- {took(spread['after_ms'])} after the switch: {count}"
    if verified:
        yield f"- {clock_time(verified['at'])}: {plain_text(verified['because'])}"


def affected_lines(data: dict[str, Any]) -> Iterator[str]:
    words = {"part": "part of this", "released_with": "released with it", "related": "related"}
    for each in data["affected"]:
        went = f", {each['from']} → {each['to']}" if each.get("to") else ""
        named = f" ({each['incident']})" if each["incident"] else ""
        yield f"- {plain_text(each['prompt'] + named)}: {words[each['how']]}{plain_text(went)}"


def gates(data: dict[str, Any]) -> Iterator[str]:
    """What each gate said of the version before it reached everybody."""
    names = {"soak": "Soak", "evaluation": "Evaluation", "canary": "Canary", "ab": "A/B"}
    for gate in data["gates"]:
        yield f"- {names[gate['name']]}: {plain_text(gate['words'])}"


def _pages(data: dict[str, Any]) -> Iterator[str]:
    if data["pages"]:
        rows = [
            (clock_time(page["at"]), page["channel"], page["outcome"], page["key"], page["answer"])
            for page in data["pages"]
        ]
        yield table(("at", "channel", "outcome", "message", "answer"), rows)


def notes(data: dict[str, Any]) -> Iterator[str]:
    """What people wrote."""
    for note in data["notes"]:
        kind = "Status update" if note["update"] else "Note"
        then = f" (next by {clock_time(note['next'])})" if note["next"] else ""
        yield f"{kind} by {plain_text(note['actor'])}, {clock_time(note['at'])}{then}:"
        yield paragraph(note["text"])
        yield ""


def timeline(data: dict[str, Any], hash_digits: int = 0) -> Iterator[str]:
    """Every line of the history that belongs to it, with so many digits of its hash."""
    yield table(
        ("at", "what", "by", "because", "entry"),
        [
            (
                clock_time(line["at"]),
                line["kind"],
                line["actor"],
                line["because"],
                f"{line['id']} {line['hash'][:hash_digits]}".rstrip(),
            )
            for line in data["timeline"]
        ],
    )


def clock_time(iso: str) -> str:
    """`2026-01-01 12:00:04Z` of an instant in ISO form."""
    return f"{iso[:10]} {iso[11:19]}Z"
