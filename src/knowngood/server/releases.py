"""Versions of several prompts that come, and go, as one: in one transaction or not at all."""

from collections.abc import Callable
from typing import Any

from knowngood.core.approvals import GATE as APPROVALS
from knowngood.core.errors import BadLadder, BadRequest, GateClosed, NotRouted, StaleState
from knowngood.core.history import AuditEntry
from knowngood.core.model import FLEET, Action, Change, Partner, State
from knowngood.core.news import with_news
from knowngood.core.release import Member, Release, is_same, new_release
from knowngood.core.routing import new_salt
from knowngood.core.steps.jointly import check_fresh, joined, leader
from knowngood.engine.observe import unfit
from knowngood.server.act import ATTEMPTS, Ask, check_ask, rollback
from knowngood.server.approvals import tell_approvers
from knowngood.server.desk import Desk
from knowngood.server.rollouts import (
    Steps,
    change_of,
    planned,
    promoted_before,
    promotion_actions,
)
from knowngood.server.words import action_words, when

LISTED_MAX = 100


def create(desk: Desk, name: str, members: list[str], ask: Ask, now_ms: int) -> dict[str, Any]:
    """Name a set of versions; `outcome` is `new`, or `unchanged` for the same set again.

    Raises Unknown… for a version that does not exist, BadRequest, or ReleaseConflict.
    """
    check_ask(ask, because=False)
    found: list[Member] = []
    for each in members:
        if ":" not in each:
            raise BadRequest(f"{each!r} names no version", next_step="write it as name:version")
        prompt, version = desk.resolve(each)
        found.append(Member(prompt, version or ""))
    release = new_release(name, found, ask.actor, ask.because, now_ms)
    if ask.dry_run:
        new = not any(is_same(each, release) for each in _of_name(desk, name))
    else:
        new = desk.store.releases.put(release)
    if new and not ask.dry_run:
        desk.store.log.append([_created(desk, release)])
    shown = release if new else desk.store.releases.get(name)
    outcome = "new" if new else "unchanged"
    return {"outcome": outcome, "dry_run": ask.dry_run, **release_data(desk, shown, None)}


def _of_name(desk: Desk, name: str) -> list[Release]:
    return [each for each in desk.store.releases.all(LISTED_MAX) if each.name == name]


def _created(desk: Desk, release: Release) -> AuditEntry:
    return AuditEntry(
        at_ms=release.created_ms,
        environment="",
        prompt=FLEET,
        kind="release.created",
        because=release.because or f"release {release.name}",
        actor=release.actor,
        revision=0,
        generation=0,
        policy_revision=desk.policy.revision,
        detail={"release": release.name, "members": _named(release)},
    )


def releases(desk: Desk, environment: str) -> dict[str, Any]:
    """The newest releases, and how much of each is served in the environment."""
    desk.check_environment(environment)
    found = desk.store.releases.all(LISTED_MAX)
    return {"releases": [release_data(desk, release, environment) for release in found]}


def release(desk: Desk, name: str, environment: str) -> dict[str, Any]:
    """One release. Raises UnknownRelease."""
    desk.check_environment(environment)
    return release_data(desk, desk.store.releases.get(name), environment)


def release_data(desk: Desk, found: Release, environment: str | None) -> dict[str, Any]:
    """A release as data; with an environment, the share that each of its versions has there."""
    members = [{"prompt": m.prompt, "version": m.version} for m in found.members]
    if environment is not None:
        members = [{**each, **_serving(desk, environment, each)} for each in members]
    return {
        "name": found.name,
        "members": members,
        "because": found.because,
        "actor": found.actor,
        **when("created", found.created_ms),
    }


def _serving(desk: Desk, environment: str, member: dict[str, Any]) -> dict[str, Any]:
    state = desk.store.states.get(environment, member["prompt"])
    route, entry = state.route, state.entry(member["version"])
    return {
        "weight_bp": route.weight_bp(member["version"]) if route else 0,
        "standing": entry.standing.value if entry else None,
    }


# --- Orders


def promote(
    desk: Desk, environment: str, name: str, ask: Ask, steps: Steps, now_ms: int
) -> dict[str, Any]:
    """Begin to serve all of a release's versions, in one transaction.

    The same units get all of the new versions. Raises as a promotion of each of them would, and
    then nothing was changed.
    """
    desk.check_environment(environment)
    check_ask(ask, because=True)
    found = desk.store.releases.get(name)
    _refuse_unequal(desk, environment, found, steps)
    salt = new_salt(environment, f"release {name}", str(now_ms), 0)

    def decide(state: State, member: Member) -> tuple[Action, ...]:
        return promotion_actions(desk, state, member.version, ask, steps, now_ms)

    try:
        return _carry_out_all(desk, environment, found, ask, decide, salt, now_ms)
    except GateClosed as error:
        if error.known == [APPROVALS]:
            states = [desk.store.states.get(environment, m.prompt) for m in found.members]
            versions = [member.version for member in found.members]
            tell_approvers(desk, list(zip(states, versions, strict=True)), ask, now_ms)
        raise


def _refuse_unequal(desk: Desk, environment: str, found: Release, steps: Steps) -> None:
    """One ladder for all of it, from its bottom: else the same users would not get all of it."""
    ladders = {planned(desk.policy.for_prompt(m.prompt).canary, steps) for m in found.members}
    if len(ladders) > 1 and not steps.now:
        raise BadLadder(
            "the policy has different ladders for the prompts of this release",
            next_step="say one for all of them with --stages, --hold and --wait-at-most",
        )
    for member in found.members:
        check_fresh(desk.store.states.get(environment, member.prompt), member)


def roll_back(desk: Desk, environment: str, name: str, ask: Ask, now_ms: int) -> dict[str, Any]:
    """Roll back all of a release's versions that are served, in one transaction.

    Raises UnknownRelease, or NotRouted when none of it is.
    """
    desk.check_environment(environment)
    check_ask(ask, because=True)
    found = desk.store.releases.get(name)
    members = [_member(desk, environment, member.prompt, now_ms) for member in found.members]
    if lead := leader(found, members):
        suspect = next(m.version for m in found.members if m.prompt == lead.prompt)
        return rollback(desk, environment, lead.prompt, None, ask, now_ms, suspect=suspect)
    raise NotRouted(
        f"nothing of the release {name} is served in {environment}",
        next_step=f"knowngood release show {name} --env {environment}",
    )


def _member(desk: Desk, environment: str, prompt: str, now_ms: int) -> Partner:
    """A member as a partner: where it stands, and which of its versions are no targets."""
    state, rules = desk.store.states.get(environment, prompt), desk.policy.for_prompt(prompt)
    return Partner(state, unfit(desk.store, state, rules, now_ms), rules.verify.deadline_ms)


def _carry_out_all(
    desk: Desk,
    environment: str,
    found: Release,
    ask: Ask,
    decide: Callable[[State, Member], tuple[Action, ...]],
    salt: str,
    now_ms: int,
) -> dict[str, Any]:
    """Decide on every member's state and apply all of it, or nothing."""
    before = promoted_before(desk, ask, now_ms)
    for attempt in range(ATTEMPTS):
        states = [desk.store.states.get(environment, m.prompt) for m in found.members]
        begun = tuple(
            (state, decide(state, member))
            for state, member in zip(states, found.members, strict=True)
        )
        pairs = joined(found, begun, salt)
        changes: list[Change] = [change_of(desk, s, a, ask, before) for s, a in pairs]
        if changes and not ask.dry_run:
            try:
                desk.store.states.apply(with_news(changes, desk.policy), now_ms)
            except StaleState:
                if attempt + 1 == ATTEMPTS:
                    raise
                continue
        return {
            "outcome": "changed" if changes else "unchanged",
            "dry_run": ask.dry_run,
            "environment": environment,
            "did": {s.prompt: [action_words(each) for each in a] for s, a in pairs or begun},
            **release_data(desk, found, environment),
            **when("at", now_ms),
        }
    raise AssertionError("the last attempt returns or raises")


def _named(found: Release) -> list[str]:
    return [f"{member.prompt}:{member.version}" for member in found.members]
