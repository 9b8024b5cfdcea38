"""What is added and moves nothing: versions and environments."""

from typing import Any

from knowngood.core.content import (
    check_environment_name,
    check_prompt_name,
    check_version_name,
    digest,
    parse_content,
)
from knowngood.core.errors import BadRequest, ContentConflict, UnknownPrompt
from knowngood.core.history import AuditEntry
from knowngood.core.model import FLEET, Version
from knowngood.server.act import NOTE_CHARS_MAX, Ask
from knowngood.server.desk import Desk, split
from knowngood.server.read import version_data


def push(
    desk: Desk, prompt: str, version: str, data: object, ask: Ask, note: str, now_ms: int
) -> dict[str, Any]:
    """Add a version; `outcome` is `new`, or `unchanged` if this very content is there already.

    Raises BadRequest, BadContent, or ContentConflict when the name is taken by other content.
    """
    name, wanted = split(prompt, version)
    check_prompt_name(name)
    content = parse_content(data)
    if len(note) > NOTE_CHARS_MAX:
        raise BadRequest(f"the note has {len(note)} characters; the limit is {NOTE_CHARS_MAX}")
    pushed = Version(
        prompt=name,
        version=check_version_name(wanted),
        content=content,
        digest=digest(content),
        author=ask.actor,
        created_ms=now_ms,
        note=note,
    )
    there = _same_name(desk, pushed)
    if ask.dry_run:
        new = there is None
    else:
        new = desk.store.registry.put(pushed)
    if new and not ask.dry_run:
        desk.store.log.append([_pushed(desk, pushed, ask)])
    shown = pushed if new or there is None else there
    outcome = "new" if new else "unchanged"
    return {"outcome": outcome, "dry_run": ask.dry_run, **version_data(shown)}


def add_environment(desk: Desk, name: str, ask: Ask, now_ms: int) -> dict[str, Any]:
    """Add an environment; one that is there already is left as it is. Raises BadRequest."""
    check_environment_name(name)
    new = name not in desk.store.states.environments()
    if new and not ask.dry_run:
        desk.store.states.environments(add=name)
        entry = AuditEntry(
            at_ms=now_ms,
            environment=name,
            prompt=FLEET,
            kind="environment.added",
            because=ask.because or "added",
            actor=ask.actor,
            revision=0,
            generation=0,
            policy_revision=desk.policy.revision,
        )
        desk.store.log.append([entry])
    outcome = "new" if new else "unchanged"
    return {"outcome": outcome, "dry_run": ask.dry_run, "name": name}


def _same_name(desk: Desk, pushed: Version) -> Version | None:
    """The version that has this name, if there is one. Raises ContentConflict."""
    try:
        versions = desk.store.registry.versions(pushed.prompt)
    except UnknownPrompt:
        return None
    there = next((v for v in versions if v.version == pushed.version), None)
    if there is not None and there.digest != pushed.digest:
        raise ContentConflict(
            f"{pushed.prompt}:{pushed.version} exists with other content "
            f"({there.digest[:12]}, pushed by {there.author}); versions are immutable",
            known=[v.version for v in versions],
            next_step="push it under another version name",
        )
    return there


def _pushed(desk: Desk, pushed: Version, ask: Ask) -> AuditEntry:
    return AuditEntry(
        at_ms=pushed.created_ms,
        environment="",
        prompt=pushed.prompt,
        kind="version.pushed",
        because=ask.because or pushed.note or "pushed",
        actor=ask.actor,
        revision=0,
        generation=0,
        policy_revision=desk.policy.revision,
        detail={"version": pushed.version, "digest": pushed.digest},
    )
