"""What may be seen: plain JSON-able data over a desk, for the API and for the command line alike.

Every sentence in here is one of `knowngood.core.explain`. Instants are given twice: `*_ms` since
the Unix epoch for programs, and as ISO text in UTC for people.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from knowngood.core.chain import FIRST, Verified, verify
from knowngood.core.content import content_data, flat_config
from knowngood.core.content import diff as content_diff
from knowngood.core.errors import BadRequest, UnknownEntry
from knowngood.core.frozen import FROZEN
from knowngood.core.history import AuditEntry
from knowngood.core.look import LOOKBACK_MS
from knowngood.core.model import (
    FLEET,
    ClientSeen,
    Severity,
    State,
    Version,
)
from knowngood.core.policy import PolicyFile, warnings
from knowngood.core.render import compile_content
from knowngood.core.retention import hot_versions
from knowngood.core.tree import render_tree, tree
from knowngood.engine.compared import compared
from knowngood.engine.observe import LIVE_MS, SILENT_MS, census
from knowngood.engine.retain import pins_by_prompt
from knowngood.server.desk import Desk
from knowngood.server.kept import kept_of
from knowngood.server.words import hold_data, iso, route_data, when
from knowngood.wire import PromptSnapshot, Snapshot, VersionContent

PAGE_MAX = 1_000  # rows in one answer: what a person scrolls and a program takes in one bite
CLIENTS_MAX = 1_000
# Following a line takes up to a millisecond where it froze a decision: an answer within seconds.
VERIFIED_MAX = 2_000
VERIFIED_PAGE = 200  # lines in memory at a time, some 8 MB
HASH = re.compile(r"[0-9a-f]{64}")
ENTRY_ID_MAX = 2**63 - 1  # what a database's row number can be


# --- Prompts and versions


def prompts(desk: Desk, after: str = "", limit: int = 100) -> dict[str, Any]:
    """The prompts in alphabetical order from the one after `after`, with their routes."""
    names = desk.store.registry.prompts()
    page = [name for name in names if name > after][: min(limit, PAGE_MAX)]
    states = _states_of(desk.store.states.all(), set(page))
    last = page[-1] if page else ""
    return {
        "prompts": [_prompt_row(desk, name, states.get(name, {})) for name in page],
        "total": len(names),
        "next_after": last if page and last != names[-1] else None,
    }


def prompt(desk: Desk, name: str, first: int = 0, limit: int | None = None) -> dict[str, Any]:
    """One prompt: its versions, newest first, and its route and ledger in each environment.

    Of many versions, `limit` from the one at `first` on.
    """
    versions = desk.versions(name)[::-1]
    states = _states_of_one(desk, name)
    kept = kept_of(desk, name, states)
    shown = versions[first:] if limit is None else versions[first : first + limit]
    return {
        "name": name,
        "versions": [{**_version_row(v, states), **kept(v.version)} for v in shown],
        "versions_count": len(versions),
        "environments": {env: route_data(state) for env, state in states.items()},
        "policy_revision": desk.policy.revision,
        "policy_entries": list(desk.policy.entries_of(name)),
    }


def version(desk: Desk, name: str, wanted: str) -> dict[str, Any]:
    """One version with its content and its standing in each environment."""
    found = desk.version(name, wanted)
    states = _states_of_one(desk, found.prompt)
    kept = kept_of(desk, found.prompt, states)(found.version)
    return {**_version_row(found, states), **kept, "content": content_data(found.content)}


def diff(desk: Desk, name: str, a: str, b: str) -> dict[str, Any]:
    """How version `b` differs from version `a`."""
    before, after = desk.version(name, a), desk.version(name, b)
    found = content_diff(before, after)
    return {
        "prompt": name,
        "a": before.version,
        "b": after.version,
        "identical": found.identical,
        "texts": [
            {"where": t.where, "lines": [{"kind": ln.kind, "text": ln.text} for ln in t.lines]}
            for t in found.texts
        ],
        "config": [{"key": c.key, "before": c.before, "after": c.after} for c in found.config],
        "unified": found.unified(),
    }


def config_rows(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A configuration line by line: each key, dotted where it is nested, and its value as JSON."""
    return sorted(flat_config("", config))


def version_data(found: Version) -> dict[str, Any]:
    """What identifies a version, and what it asks to be filled in."""
    return {
        "prompt": found.prompt,
        "version": found.version,
        "digest": found.digest,
        "author": found.author,
        "note": found.note,
        **when("created", found.created_ms),
        "variables": list(compile_content(found.content).variables),
        "kind": "text" if found.content.messages is None else "messages",
        "model": found.content.config.get("model"),
    }


def _states_of(states: Iterable[State], names: set[str]) -> dict[str, dict[str, State]]:
    """The states by prompt and environment, of these prompts."""
    found: dict[str, dict[str, State]] = {}
    for state in states:
        if state.prompt in names:
            found.setdefault(state.prompt, {})[state.environment] = state
    return found


def _states_of_one(desk: Desk, name: str) -> dict[str, State]:
    """The prompt's states by environment, where one was written."""
    states = desk.store.states
    found = {environment: states.get(environment, name) for environment in states.environments()}
    return {environment: state for environment, state in found.items() if state.revision}


def _prompt_row(desk: Desk, name: str, states: dict[str, State]) -> dict[str, Any]:
    versions = desk.store.registry.versions(name)
    return {
        "name": name,
        "versions_count": len(versions),
        "newest": versions[-1].version,
        "environments": {env: route_data(state) for env, state in states.items()},
    }


def _version_row(found: Version, states: dict[str, State]) -> dict[str, Any]:
    standing = {}
    for environment, state in states.items():
        entry = state.entry(found.version)
        if entry is not None:
            standing[environment] = {
                "standing": entry.standing,
                "because": entry.because,
                "actor": entry.actor,
                "weight_bp": state.route.weight_bp(found.version) if state.route else 0,
                **when("since", entry.since_ms),
                **when("routed", entry.routed_ms),
            }
    return {**version_data(found), "standing": standing}


# --- Environments and processes


def environments(desk: Desk) -> dict[str, Any]:
    """All environments, each with its generation and the hold of its automation."""
    states = desk.store.states
    return {
        "environments": [
            {"name": name, "generation": states.generation(name)} for name in states.environments()
        ]
    }


def clients(desk: Desk, environment: str, now_ms: int) -> dict[str, Any]:
    """The census: which processes run which generation, those in need of attention first."""
    desk.check_environment(environment)
    generation = desk.store.states.generation(environment)
    heard = desk.store.clients.clients(environment, now_ms - SILENT_MS)
    found = census(heard, generation, now_ms)
    order = {"behind": 0, "silent": 1, "current": 2, "closed": 3}
    rows = [(standing_of(client, generation, now_ms), client) for client in heard]
    rows.sort(key=lambda row: (order[row[0]], row[1].id))
    return {
        "environment": environment,
        "words": census_words(found.current_count, found.live_count, generation),
        "generation": generation,
        "live_count": found.live_count,
        "current_count": found.current_count,
        "behind": list(found.behind[:CLIENTS_MAX]),
        "silent": list(found.silent[:CLIENTS_MAX]),
        "clients": [
            {
                "id": client.id,
                "standing": standing,
                "generation": client.generation,
                **when("seen", client.seen_ms),
            }
            for standing, client in rows[:CLIENTS_MAX]
        ],
    }


def census_of(desk: Desk, environment: str, now_ms: int) -> str:
    """How many of the environment's processes run its generation, in words."""
    generation = desk.store.states.generation(environment)
    heard = desk.store.clients.clients(environment, now_ms - LOOKBACK_MS)
    found = census(heard, generation, now_ms)
    return census_words(found.current_count, found.live_count, generation)


def census_words(current_count: int, live_count: int, generation: int) -> str:
    """`4 of 4 on generation 3`; without any live process, that there is none."""
    if live_count == 0:
        return f"no process reports (generation {generation})"
    return f"{current_count} of {live_count} on generation {generation}"


def standing_of(client: ClientSeen, generation: int, now_ms: int) -> str:
    """How a process stands: `current`, `behind`, `silent`, or `closed` when it said goodbye."""
    if client.closed:
        return "closed"
    if now_ms - client.seen_ms > LIVE_MS:
        return "silent"
    return "current" if client.generation >= generation else "behind"


# --- History


def audit(
    desk: Desk,
    environment: str | None = None,
    name: str | None = None,
    after_id: int = 0,
    limit: int = 100,
    before_id: int | None = None,
    kind: str = "",
) -> dict[str, Any]:
    """The newest lines of history after the entry `after_id`, oldest first.

    Before the entry `before_id`, if given, and of the kinds that contain the text `kind`.
    """
    if environment is not None:
        desk.check_environment(environment)
    if name is not None and name != FLEET:
        desk.check_prompt(name)
    if not kind.isprintable():  # databases refuse some characters, and no kind has any of them
        return {"entries": [], "next_after": after_id}
    entries = desk.store.log.read(
        environment, name, after_id, min(limit, PAGE_MAX), before_id, kind
    )
    return {
        "entries": [entry_data(_without_look(entry)) for entry in entries],
        "next_after": entries[-1].id if entries else after_id,
    }


def _without_look(entry: AuditEntry) -> AuditEntry:
    """A line for a list: the look that is frozen in it is large, and shown with the line alone."""
    return replace(entry, detail={k: v for k, v in entry.detail.items() if k != FROZEN})


def audit_entry(desk: Desk, entry_id: int) -> dict[str, Any]:
    """One line of history with everything that was frozen in it. Raises UnknownEntry."""
    if not 0 < entry_id <= ENTRY_ID_MAX:
        raise UnknownEntry(f"there is no entry {entry_id}")
    return entry_data(desk.store.log.get(entry_id))


def audit_verify(
    desk: Desk,
    after_id: int = 0,
    before: str = FIRST,
    expect: str | None = None,
    limit: int = VERIFIED_MAX,
) -> dict[str, Any]:
    """Follow the chain of the history from the line after `after_id`, which follows hash `before`.

    `next_after` is where to go on, with `head` as `before`; None at the newest line or at a break.
    `expected_id` is the line whose hash is `expect`, if it was among these. Raises BadRequest for
    what is no hash.
    """
    for given in (before, expect):
        if given and not HASH.fullmatch(given):
            raise BadRequest(f"{given[:80]!r} is no hash: 64 digits from 0 to f")
    count, found = 0, Verified(0, before, after_id)
    expected_id = None
    while count < limit:
        wanted = min(limit - count, VERIFIED_PAGE)
        lines = desk.store.log.follow(found.last_id, wanted)
        seen = verify(lines, found.head, expect)
        count += seen.line_count
        expected_id = expected_id or seen.expected_id
        found = replace(seen, last_id=seen.last_id or found.last_id)
        if found.broken_id is not None or len(lines) < wanted:
            break
    goes_on = found.broken_id is None and count >= limit
    return {
        "lines": count,
        "whole": found.broken_id is None,
        "head": found.head,
        "head_id": found.last_id,
        "broken_id": found.broken_id,
        "why": found.why,
        "expected_id": expected_id,
        "next_after": found.last_id if goes_on else None,
    }


def entry_data(entry: AuditEntry) -> dict[str, Any]:
    """A line of history as data."""
    return {
        "id": entry.id,
        **when("at", entry.at_ms),
        "environment": entry.environment,
        "prompt": entry.prompt,
        "kind": entry.kind,
        "because": entry.because,
        "actor": entry.actor,
        "revision": entry.revision,
        "generation": entry.generation,
        "policy_revision": entry.policy_revision,
        "hash": entry.hash,
        "detail": dict(entry.detail),
    }


# --- Policy


def policy(desk: Desk, name: str | None = None) -> dict[str, Any]:
    """The policy in force, as its canonical data and as a tree, for one prompt or by default."""
    file: PolicyFile = desk.policy
    # No prompt of this name can exist, so nothing under `prompts:` but `*` applies to it.
    in_force = file.for_prompt(name if name is not None else "")
    return {
        "prompt": name,
        "revision": file.revision,
        "entries": list(file.entries_of(name)) if name is not None else [],
        "tree": render_tree(tree(in_force)),
        "warnings": warnings(file),
        "policy": json.loads(file.canonical),
        "people": {
            severity.value: sorted({t.who for t in in_force.triggers if t.severity is severity})
            for severity in Severity
        },
    }


# --- Serving


def snapshot(desk: Desk, environment: str, boot: str = "") -> Snapshot:
    """All that a process needs to serve the environment.

    Each routed prompt comes with its hot versions: what is routed, the newest known-good ones
    (`keep: hot`), and what is pinned. Raises UnknownEnvironment.
    """
    # The generation is read first: a newer route under an older number is fetched again, an older
    # one under a newer number would stay.
    generation = desk.store.states.generation(environment)
    states = [state for state in desk.store.states.all(environment) if state.route is not None]
    pins = pins_by_prompt(desk.store)
    served = {
        state.prompt: hot_versions(
            state,
            desk.policy.for_prompt(state.prompt),
            [pin.version for pin in pins.get(state.prompt, ())],
        )
        for state in states
    }
    keys = [(name, version) for name, versions in served.items() for version in versions]
    contents = {(v.prompt, v.version): v for v in desk.store.registry.contents(keys)}
    found = {}
    for state in states:
        assert state.route is not None
        versions = {
            name: VersionContent(contents[key].content, contents[key].digest)
            for name in served[state.prompt]
            if (key := (state.prompt, name)) in contents
        }
        # A route without its content cannot be served; `doctor` reports it.
        if all(arm.version in versions for arm in state.route.arms):
            found[state.prompt] = PromptSnapshot(state.route, versions, compared(state))
    return Snapshot(environment, generation, desk.policy.scores, found, boot)


def fleet_hold(desk: Desk, environment: str, now_ms: int) -> dict[str, Any] | None:
    """The hold of automation for all prompts of the environment, if one is in force."""
    return hold_data(desk.store.states.get(environment, FLEET).automation, now_ms)


def stamp(now_ms: int) -> dict[str, Any]:
    """When an answer was made."""
    return {"now_ms": now_ms, "now": iso(now_ms)}
