"""What was released as one goes back as one, in one transaction."""

from dataclasses import dataclass, replace

from knowngood.core.explain import duration, few
from knowngood.core.model import (
    Action,
    Change,
    Hold,
    Incident,
    Observed,
    Partner,
    Record,
    SetIncident,
    SetRollout,
    Severity,
    Stand,
    Standing,
    State,
    Told,
    Wait,
)
from knowngood.core.release import Release
from knowngood.core.rollout import Ladder, Pause, RolloutKind
from knowngood.core.steps.brakes import in_force
from knowngood.core.steps.case import Case, Step, env_option, incident_for, page, title
from knowngood.core.steps.parts import led, part_of, parts, with_words
from knowngood.core.steps.switch import SYSTEM, gradual_actions, switch_actions
from knowngood.core.steps.target import choose_target

LEFT_BEHIND = "left_behind:"


@dataclass(frozen=True, slots=True)
class Going:
    """A partner that goes back from `versions` to `target`; without one it stays, for `why`."""

    partner: Partner
    release: Release
    versions: tuple[str, ...]
    target: str | None
    why: str = ""

    @property
    def prompt(self) -> str:
        """Whose it is."""
        return self.partner.state.prompt


@dataclass(frozen=True, slots=True)
class Back:
    """How a rollback is made: what the partners' share of it has in common with the lead's."""

    because: str
    automatic: bool
    gradual: Ladder | None = None
    quarantine: bool = True
    actor: str = SYSTEM
    lead: Incident | None = None  # the incident that it is for; theirs are part of it


@dataclass(frozen=True, slots=True)
class Along:
    """The partners' part of a rollback: what the lead's history says of it, and their changes."""

    actions: tuple[Action, ...] = ()
    changes: tuple[Change, ...] = ()
    going: tuple[Going, ...] = ()

    @property
    def with_it(self) -> list[str]:
        """The prompts that go back."""
        return [each.prompt for each in self.going if each.target is not None]

    @property
    def left_behind(self) -> dict[str, str]:
        """The prompts that stay, and why."""
        return {each.prompt: each.why for each in self.going if each.target is None}


def going(case: Case, target: str, *, automatic: bool) -> tuple[Going, ...]:
    """Everybody whose part of a release goes when the prompt goes back to `target`.

    Whatever a partner's own way back takes off its route takes its release along, too.
    """
    return _following(case, _leaving(case.state, target), automatic=automatic)


def _following(case: Case, todo: list[Release], *, automatic: bool) -> tuple[Going, ...]:
    found: dict[str, Going] = {}
    seen: list[Release] = []
    while todo:
        release = todo.pop(0)
        if release in seen:
            continue
        seen.append(release)
        for partner in case.observed.partners:
            version = part_of(partner.state, release)
            if version is None:
                continue
            before = found.get(partner.state.prompt)
            versions = (*(before.versions if before else ()), version)
            each = _judge(case, partner, release, versions, automatic)
            found[each.prompt] = each
            if each.target is not None:
                todo += _leaving(partner.state, each.target)
    return tuple(found.values())


def _leaving(state: State, target: str) -> list[Release]:
    """The releases of what leaves the route when everybody gets the target."""
    return [release for version, release in parts(state).items() if version != target]


def _judge(
    case: Case, partner: Partner, release: Release, versions: tuple[str, ...], automatic: bool
) -> Going:
    """Where a partner goes back to, or why it cannot."""
    state = partner.state
    hold = state.automation
    if automatic and hold is not None and in_force(hold, case.now_ms):
        return Going(partner, release, versions, None, _hold_words(hold, case.now_ms))
    without = {**partner.unfit, **dict.fromkeys(versions, "part of the release")}
    target = choose_target(state, _from(state, versions), without)
    why = "" if target else f"it has no known-good version to go back to: {_ledger_words(partner)}"
    return Going(partner, release, versions, target, why)


def _from(state: State, versions: tuple[str, ...]) -> str:
    """The one of the versions that the rollback is about: the suspect, if it is one of them."""
    assert state.route is not None
    suspect = state.route.suspect.version
    return suspect if suspect in versions else versions[0]


def _hold_words(hold: Hold, now_ms: int) -> str:
    left = duration(hold.until_ms - now_ms)
    return f"its automation is off by {hold.actor}: {hold.because} ({left} left)"


def _ledger_words(partner: Partner) -> str:
    serves = parts(partner.state)
    others = [e for e in partner.state.ledger if e.version not in serves]
    listed = [f"{e.version} ({partner.unfit.get(e.version, e.standing.value)})" for e in others]
    return ", ".join(listed) or "no other version"


def back_together(case: Case, target: str, back: Back) -> Along:
    """What a rollback to `target` takes along, in the same transaction.

    Each partner goes to its own newest known-good version. What goes back is quarantined, so that
    nothing chooses the half of a release again. A partner that cannot go back holds up nobody: it
    stays, its rollout is paused, and people are told.
    """
    return _along(case, target, going(case, target, automatic=back.automatic), back)


def follow_up(case: Case, back: Back) -> Along:
    """The partners of what the prompt was taken off before: they go where it has gone already."""
    last = last_release(case.state)
    if last is None or case.state.route is None:
        return Along()
    target = case.state.route.control.version
    return _along(case, target, _following(case, [last], automatic=back.automatic), back)


def stranded(case: Case) -> Step:
    """What is left of a release that went back waits for a person."""
    told = (notice for notice in case.state.told if notice.startswith(LEFT_BEHIND))
    names = [notice.removeprefix(LEFT_BEHIND) for notice in told]
    return Step(waiting_on=tuple(Wait("left_behind", detail=name) for name in names))


def last_release(state: State) -> Release | None:
    """The release of what was rolled back last, if it was that."""
    served = [arm.version for arm in state.route.arms] if state.route else []
    gone = [e for e in state.ledger if e.left_ms is not None and e.version not in served]
    last = max(gone, key=lambda entry: entry.left_ms or 0, default=None)
    if last is None or last.standing is not Standing.QUARANTINED:
        return None
    return last.release


def _along(case: Case, target: str, found: tuple[Going, ...], back: Back) -> Along:
    if not found:
        return Along()
    changes = [
        led(case.state, each.partner.state, actions, back.actor, case.policy.revision)
        for each in found
        if (actions := _actions(case, each, back))
    ]
    return Along((_record(found), *_keeps(case, target, found)), tuple(changes), found)


def _keeps(case: Case, target: str, found: tuple[Going, ...]) -> tuple[Action, ...]:
    """What is said when the target is itself a part of what a partner's way back takes off.

    That partner had not proven its own part. The lead has, and goes there all the same.
    """
    kept = parts(case.state).get(target)
    if kept is None:
        return ()
    gone = [
        each
        for each in found
        if each.target is not None
        and (version := part_of(each.partner.state, kept)) is not None
        and version != each.target
    ]
    if not gone:
        return ()
    names = few([each.prompt for each in gone])
    words = f"{target} stays of the release {kept.name}, which {names} had to leave"
    key = f"{case.state.environment}/{case.state.prompt}/g{case.generation}:left-behind:{kept.name}"
    subject = f"{title(case)}: {words}"
    return (
        Told(f"{LEFT_BEHIND}{kept.name}"),
        Record("release.left_behind", words, {"version": target, "release": kept.name}),
        *page(case, key, "on-call", Severity.HIGH, subject, f"{words}. Is it well without?"),
    )


def _record(found: tuple[Going, ...]) -> Record:
    went = [f"{g.prompt} {g.versions[0]} -> {g.target}" for g in found if g.target is not None]
    stays = [f"{g.prompt} stays: {g.why}" for g in found if g.target is None]
    names = ", ".join(dict.fromkeys(g.release.name for g in found))
    return Record(
        "rollback.together",
        f"with the release {names}: {'; '.join([*went, *stays])}",
        {
            "with": [g.prompt for g in found if g.target is not None],
            "left_behind": [g.prompt for g in found if g.target is None],
        },
    )


def _actions(case: Case, each: Going, back: Back) -> tuple[Action, ...]:
    theirs = _case_of(case, each.partner)
    words = with_words(case.state, each.release, back.because)
    if each.target is None:
        return _stay(case, theirs, each, words)
    state, suspect = theirs.state, _from(theirs.state, each.versions)
    incident = _part_of(theirs, back.lead)
    opened = () if incident is state.incident else (SetIncident(incident),)
    gently = back.gradual is not None and each.versions == (theirs.suspect,)
    if gently and state.rollout is not None and state.rollout.kind is RolloutKind.GRADUAL:
        return ()  # it gives way already
    if back.gradual is not None and gently and _has_stages(state, back.gradual):
        gently_down = gradual_actions(
            theirs,
            each.target,
            back.gradual,
            words,
            incident,
            quarantine=back.quarantine,
            actor=back.actor,
        )
        return (*opened, *gently_down)
    more = tuple(
        Stand(version, Standing.QUARANTINED, f"rolled back: {words}")
        for version in each.versions
        if version != suspect and back.quarantine
    )
    switch = switch_actions(
        theirs,
        each.target,
        words,
        incident,
        quarantine=back.quarantine,
        automatic=back.automatic,
        leaving=suspect,
    )
    return (*opened, *more, *switch)


def _part_of(theirs: Case, lead: Incident | None) -> Incident | None:
    """The partner's incident, or one without a breach of its own, as a part of the lead's."""
    if lead is None:
        return theirs.state.incident
    own = incident_for(theirs, (), lead.severity, lead.response)
    return replace(own, part_of=lead.id)


def _stay(case: Case, theirs: Case, each: Going, words: str) -> tuple[Action, ...]:
    """It stays; half of a release climbs no further by itself, and somebody has to hear of it."""
    state, version = theirs.state, each.versions[0]
    notice = f"{LEFT_BEHIND}{each.release.name}"
    if theirs.told(notice):
        return ()
    because = f"{version} is left behind: {words}; {each.why}"
    held: tuple[Action, ...] = ()
    rollout = state.rollout
    if rollout is not None and rollout.kind is RolloutKind.CANARY and rollout.pause is None:
        pause = Pause(case.now_ms, f"{each.release.name} went back without it", SYSTEM)
        held = (SetRollout(replace(rollout, pause=pause)),)
    prompt, env = state.prompt, env_option(state)
    body = (
        f"{because}. `knowngood vouch {prompt} VERSION{env} --because ...` makes a version good, "
        f"`knowngood rollback {prompt} VERSION{env} --because ...` goes back to it."
    )
    key = f"{state.environment}/{prompt}/g{theirs.generation}:left-behind:{each.release.name}"
    return (
        Told(notice),
        *held,
        Record("release.left_behind", because, {"version": version, "release": each.release.name}),
        *page(
            theirs,
            key,
            "on-call",
            Severity.CRITICAL,
            f"{title(theirs)}: {version} left behind by the release {each.release.name}",
            body,
        ),
    )


def _has_stages(partner: State, gradual: Ladder) -> bool:
    """Whether a gradual rollback would have a stage between the share that there is and none."""
    assert partner.route is not None
    share_bp = partner.route.suspect.weight_bp
    return any(0 < bp < share_bp for bp in gradual.stages_bp)


def _case_of(case: Case, partner: Partner) -> Case:
    """What is known of a partner: what it is remembered by, and nothing that it reported."""
    verify = replace(case.policy.verify, deadline_ms=partner.deadline_ms)
    rules = replace(case.policy, verify=verify)
    return Case(partner.state, Observed(case.observed.until_ms), rules, (), case.now_ms)
