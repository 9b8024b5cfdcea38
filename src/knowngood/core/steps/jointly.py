"""What a person orders of one prompt is ordered of all that it was released with.

The choices that a server, a simulated person or a command makes are the same ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from knowngood.core.errors import BadRequest
from knowngood.core.frozen import FROZEN, freeze
from knowngood.core.model import Action, Join, MoveRoute, Partner, Record, State
from knowngood.core.release import Member, Release
from knowngood.core.steps import operator
from knowngood.core.steps.case import Case, env_option, evidence
from knowngood.core.steps.parts import moving_part, part_of, release_of, same_way
from knowngood.core.steps.target import choose_target
from knowngood.core.steps.together import Along, Back, back_together, follow_up

Verb = Callable[[State], tuple[Action, ...]]
Orders = tuple[tuple[State, tuple[Action, ...]], ...]


def roll_back(
    case: Case, request: operator.RollbackRequest, actor: str
) -> tuple[tuple[Action, ...], Along]:
    """A person's rollback, and what goes along. Raises as `operator.roll_back`.

    A prompt that has gone back already is not changed again; what it left behind follows it.
    """
    actions = operator.roll_back(case, request)
    back = Back(request.because, False, request.gradual, request.quarantine, actor)
    asked = [a for a in actions if isinstance(a, Record) and a.kind == "rollback.requested"]
    if asked:
        along = back_together(case, asked[0].detail["to"], back)
        return (*actions, *along.actions), along
    along = Along() if request.if_confirmed else follow_up(case, back)
    if not along.changes:
        return (), Along()
    return (_requested(case, request), *along.actions), along


def _requested(case: Case, request: operator.RollbackRequest) -> Record:
    """The order, in the history of the prompt that it named."""
    assert case.state.route is not None
    to = case.state.route.control.version
    frozen = {FROZEN: freeze(case.state, case.observed, case.now_ms)}
    because = f"{request.because} ({to} serves already; what was released with it follows)"
    return Record("rollback.requested", because, {"to": to, **evidence(case, ()), **frozen})


def joined(release: Release, begun: Orders, salt: str) -> Orders:
    """The promotions of a release's members as one: the same users get all of it.

    A version that serves everybody already is not moved, and is no part of what goes back later;
    but a line of its history fences it: were it taken off meanwhile, half would be promoted.
    """
    if not any(actions for _, actions in begun):
        return ()
    versions = {member.prompt: member.version for member in release.members}
    return tuple(
        (state, _joins(actions, versions[state.prompt], release, salt)) for state, actions in begun
    )


def _joins(
    actions: tuple[Action, ...], version: str, release: Release, salt: str
) -> tuple[Action, ...]:
    if not actions:
        words = f"{version} serves everybody already: the release {release.name} is whole with it"
        return (Record("release.whole", words, {"version": version, "release": release.name}),)
    moved = (replace(each, salt=salt) if isinstance(each, MoveRoute) else each for each in actions)
    return (*moved, Join(version, release))


def check_fresh(state: State, member: Member) -> None:
    """Raises BadRequest for a version that has a share already: its users are others."""
    candidate = state.route.candidate if state.route else None
    if candidate is not None and candidate.version == member.version:
        raise BadRequest(
            f"{member.prompt}:{member.version} has a share of the traffic already",
            next_step="abort its rollout, or promote it to everybody, then the release",
        )


def order(state: State, partners: tuple[Partner, ...], verb: Verb) -> Orders:
    """What a verb does to a prompt and to its partners, in one transaction.

    Prompts that need no change are left out. One without a rollout of its own hands the order on
    to its partners'. Raises what the verb raises for any of them: then nothing is done.
    """
    mates = [partner.state for partner in _mates(state, partners)]
    every = mates if state.rollout is None and mates else [state, *mates]
    return tuple((each, actions) for each in every if (actions := verb(each)))


def _mates(state: State, partners: tuple[Partner, ...]) -> tuple[Partner, ...]:
    """The partners on the same way; of a prompt without a rollout, those that have one."""
    if state.rollout is not None:
        return same_way(state, partners)
    release = release_of(state)
    return tuple(p for p in partners if release and moving_part(p.state) == release)


def check_abort(state: State, partners: tuple[Partner, ...]) -> None:
    """Raises BadRequest when a part of the release serves for good: it would stay behind."""
    release = moving_part(state) or release_of(state)
    if release is None:
        return
    every = (state, *(partner.state for partner in partners))
    serving = [each for each in every if part_of(each, release) is not None]
    done = _through(serving)
    if done and len(done) < len(serving):
        names = ", ".join(sorted(each.prompt for each in done))
        raise BadRequest(
            f"the release {release.name} is through on {names}: an abort would leave half of it",
            next_step=f"knowngood release rollback {release.name}{env_option(state)} --because ... "
            "takes all of it off",
        )


def _through(serving: list[State]) -> list[State]:
    """The prompts on which nothing is left to abort."""
    return [each for each in serving if each.rollout is None]


def leader(release: Release, members: Sequence[Partner]) -> State | None:
    """The prompt that a rollback of the whole release is asked of; None when none serves it.

    One that has a version to go back to; the others go along, or are named. Raises BadRequest when
    something newer is on trial above each of them.
    """
    serving = [m for m in members if part_of(m.state, release) is not None]
    if not serving:
        return None
    on_top = [m for m in serving if release_of(m.state) == release]
    if not on_top:
        names = ", ".join(member.state.prompt for member in serving)
        raise BadRequest(
            f"newer versions than those of {release.name} are on trial: {names}",
            next_step="abort them, or roll them back, and then the release",
        )
    able = [m for m in on_top if choose_target(m.state, _suspect(m.state), m.unfit)]
    return (able or on_top)[0].state


def _suspect(state: State) -> str:
    assert state.route is not None
    return state.route.suspect.version
