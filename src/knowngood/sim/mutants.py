"""Planted bugs, each of which some law must catch: a line that none can miss has no reason.

A mutant changes the product in place, for the time of a `with` block. One that a random world
meets too rarely has a story in which it must show.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from knowngood.core import commit as core_commit
from knowngood.core import decide as core_decide
from knowngood.core import detect, evolve, look, track
from knowngood.core.errors import InProgress
from knowngood.core.model import (
    Change,
    Confirming,
    Enter,
    Evidence,
    MoveRoute,
    Notify,
    Record,
    State,
    Verdict,
    Verifying,
)
from knowngood.core.steps import (
    attribution,
    brakes,
    case,
    confirm,
    notice,
    operator,
    respond,
    switch,
    verify,
)
from knowngood.core.steps.case import IDLE, Case, Step
from knowngood.engine import deliver, ingest, recent, reconcile
from knowngood.ports import Delivered, Rejected
from knowngood.sdk import worker
from knowngood.sdk.snapshot import parse_snapshot
from knowngood.sim import traps, world
from knowngood.sim.answerers import ANSWERS
from knowngood.sim.comparers import COMPARISON
from knowngood.sim.keepers import RETENTION
from knowngood.sim.mutants_answers import ANSWER_MUTANTS, ANSWER_STORIES
from knowngood.sim.mutants_comparison import COMPARISON_MUTANTS, COMPARISON_STORIES
from knowngood.sim.mutants_releases import RELEASE_MUTANTS, RELEASE_STORIES
from knowngood.sim.mutants_retention import RETENTION_MUTANTS
from knowngood.sim.mutants_rollouts import ROLLOUT_MUTANTS, ROLLOUT_STORIES
from knowngood.sim.scenarios import Scenario

Patch = tuple[Any, str, Any]
DAY_MS = 86_400_000


# --- P1: decisions that are lost


def answered_unwritten() -> list[Patch]:
    """One apply in ten is answered and not written."""
    real = world.memory.MemoryStates.apply

    def apply(self: Any, changes: Sequence[Change], now_ms: int) -> list[State]:
        data = self._data
        before = dict(data.states)
        after: list[State] = real(self, changes, now_ms)
        if sum(state.revision for state in after) % 10 == 9:
            data.states.clear()
            data.states.update(before)
        return after

    return [(world.memory.MemoryStates, "apply", apply)]


def messages_lost() -> list[Patch]:
    """What the incident channel is told is never queued."""
    real = evolve.outgoing

    def outgoing(change: Change, now_ms: int) -> list[Any]:
        return [m for m in real(change, now_ms) if m.audience != "incidents"]

    return [(core_commit, "outgoing", outgoing)]


# --- P2: more than one outcome


def no_fencing() -> list[Patch]:
    """The store applies a change whatever revision it was decided on."""
    real = core_commit.commit

    def commit(
        changes: Sequence[Change], before: Mapping[tuple[str, str], State], *rest: Any
    ) -> core_commit.Commit:
        forced = [
            replace(c, revision_seen=before[c.environment, c.prompt].revision) for c in changes
        ]
        return real(forced, before, *rest)

    return [(world.memory, "commit", commit)]


# --- P3: people who cannot


def brakes_hold_people() -> list[Patch]:
    """A person's rollback is refused while automation is off or a breach is being confirmed."""
    real = operator.roll_back

    def roll_back(case: Case, request: operator.RollbackRequest) -> Any:
        fleet = case.observed.fleet.automation if case.observed.fleet else None
        held = any(brakes.in_force(hold, case.now_ms) for hold in (case.state.automation, fleet))
        if held or isinstance(case.state.phase, Confirming):
            raise InProgress("a brake holds")
        return real(case, request)

    return [(operator, "roll_back", roll_back)]


# --- P4: processes that go backwards


def older_snapshot_taken() -> list[Patch]:
    """A process serves whatever snapshot came last."""
    real = worker.Worker._take

    def take(self: worker.Worker, answer: Any) -> None:
        self._catalog = None
        real(self, answer)

    return [(worker.Worker, "_take", take)]


def canary_drawn_anew() -> list[Patch]:
    """Each step of a canary gives the candidate to other users."""
    real = operator.move

    def move(state: State, *given: Any) -> Any:
        return tuple(
            replace(action, salt=f"{action.salt}{state.revision}")
            if isinstance(action, MoveRoute)
            else action
            for action in real(state, *given)
        )

    return [(operator, "move", move)]


# --- P5: late


def one_generation_late() -> list[Patch]:
    """A process skips a snapshot that is just one generation newer than its own."""
    real = worker.Worker._take

    def take(self: worker.Worker, answer: Any) -> None:
        held = self._catalog
        new = parse_snapshot(answer.body, self._recorder.environment)
        if held is None or new.generation != held.snapshot.generation + 1:
            real(self, answer)

    return [(worker.Worker, "_take", take)]


def looks_rarely() -> list[Patch]:
    """Reports wake nobody: a prompt is looked at once a minute."""
    return [
        (reconcile, "_wake_touched", lambda *given: None),
        (core_decide, "ACTIVE_RECHECK_MS", 60_000),
    ]


# --- P6: blind, or not enough


def no_evidence() -> list[Patch]:
    """The plain threshold is enough: whatever passes it is a breach."""
    return [(detect, "is_proof", lambda log_e, alpha: True)]


def ticks_not_capped() -> list[Patch]:
    """One burst of failures is all the evidence that an alarm needs."""
    return [(track, "cap_of", lambda alpha: 1e9)]


def folded_again_after_restart() -> list[Patch]:
    """An engine that begins anew counts the last minute before its checkpoint once more."""
    real = track.Track.load

    def load(data: Any, plan: Any) -> track.Track:
        loaded = real(data, plan)
        loaded.until_ms = max(loaded.since_ms, loaded.until_ms - 60_000)
        return loaded

    return [(track.Track, "load", staticmethod(load))]


def evidence_not_cut() -> list[Patch]:
    """A version is judged by what it did when it was on the route before."""
    return [(recent, "evidence_since_ms", lambda state, version: 0)]


def confirm_skipped() -> list[Patch]:
    """The first look at a breach rolls back."""
    real = respond.respond

    def at_once(case: Case) -> Step:
        step = real(case)
        for action in step.actions:
            if isinstance(action, Enter) and isinstance(action.phase, Confirming):
                return confirm.confirm(case, replace(action.phase, seen_ms=0))
        return step

    return [(core_decide, "respond", at_once)]


def verify_ignores_propagation() -> list[Patch]:
    """A recovery is verified without asking who runs the new route."""
    line = Record("rollback.propagated", "nobody was asked")
    return [(verify, "_propagation", lambda case, phase: line)]


def blind_is_healthy() -> list[Patch]:
    """No news of the target is good news."""
    real = verify._errors

    def errors(case: Case, phase: Verifying) -> verify.Seen:
        seen = real(case, phase)
        return seen if seen.n else replace(seen, safe=True)

    def never(*given: Any) -> bool:
        return False

    return [
        (verify, "_errors", errors),
        (look, "is_blind", never),
        (verify, "is_blind", never),
        (notice, "is_blind", never),
    ]


def old_buckets_count() -> list[Patch]:
    """A recovery is proven by everything that was ever seen of the target."""
    real = Evidence.since

    def since(self: Evidence, since_ms: int) -> Any:
        return real(self, 0)

    return [(Evidence, "since", since)]


def late_calls_prove() -> list[Patch]:
    """What was reported late proves a recovery like what came in time."""
    return [(ingest, "_marked_late", lambda window: window)]


def late_switch_unnoticed() -> list[Patch]:
    """The proof begins with the decision, however much later it was carried out."""
    return [(verify, "PROMPT_LOOK_MS", DAY_MS)]


def blindness_untold() -> list[Patch]:
    """Nobody is told that all reports are missing."""
    return [(core_decide, "blindness", lambda case: IDLE)]


def flushes_repeated() -> list[Patch]:
    """A flush that comes twice counts twice."""
    return [(ingest.Ingest, "_is_repeat", lambda *given: False)]


def labels_repeated() -> list[Patch]:
    """A label that is given twice, or corrected, counts twice."""
    return [(world.memory.MemorySeries, "scores", lambda self, calls: {})]


def retries_counted() -> list[Patch]:
    """Every failure of a unit that tries again and again is evidence."""
    real = ingest.Ingest._declared_scores

    def counted(self: Any, window: Any, ignored: Any) -> Any:
        more = {"prompt": window.errors.get("prompt", 0) + window.repeat}
        return real(self, replace(window, errors={**window.errors, **more}), ignored)

    return [(ingest.Ingest, "_declared_scores", counted)]


def control_not_asked() -> list[Patch]:
    """The candidate is to blame, though its control fails in the same way."""
    guilty = attribution.Attribution(attribution.Blame.VERSION)
    return [
        (confirm, "attribute", lambda *given: guilty),
        (brakes, "attribute", lambda *given: guilty),
    ]


# --- P7: flapping


def flap_guard_off() -> list[Patch]:
    """Nothing keeps automatic rollbacks apart."""
    return [(brakes, "_flap", lambda case: None)]


def quarantine_ignored() -> list[Patch]:
    """A rollback goes to whatever served last, however it ended."""

    def newest(state: State, suspect: str, unfit: Mapping[str, str]) -> str | None:
        served = [e for e in state.ledger if e.version != suspect and e.routed_ms is not None]
        return max(served, key=lambda e: e.routed_ms or 0).version if served else None

    return [(confirm, "choose_target", newest), (operator, "choose_target", newest)]


# --- P8: unexplained


def evidence_not_kept() -> list[Patch]:
    """What a suspicion rests on is not written down."""
    return [(respond, "evidence", lambda case, found: {})]


def reasons_left_out() -> list[Patch]:
    """The history says what was done, and not why."""
    return [(respond, "sentence", lambda found: ""), (switch, "sentence", lambda found: "")]


# --- Messages


def pages_not_deduped() -> list[Patch]:
    """The outbox takes every message, though its key was queued before."""

    class Forgetful(set[str]):
        def __contains__(self, key: object) -> bool:
            return False

    real: Any = vars(world.memory)["Data"]

    def data() -> Any:
        made = real()
        made.queued = Forgetful()
        return made

    return [(world.memory, "Data", data)]


def rejected_is_sent() -> list[Patch]:
    """A message that a notifier will never take counts as delivered."""
    real = deliver._notify

    def notify(*given: Any) -> Any:
        answer = real(*given)
        return Delivered("") if isinstance(answer, Rejected) else answer

    return [(deliver, "_notify", notify)]


def gives_up_at_once() -> list[Patch]:
    """A notifier that is down for a moment is not tried again, and nothing says so."""

    def gave_up(self: Any, message_id: int, next_try_ms: int, error: str) -> None:
        self._done(message_id)

    return [(world.memory.MemoryOutbox, "retry", gave_up)]


def staging_pages() -> list[Patch]:
    """A breach in staging gets people out of bed."""
    return [(case, "QUIET_ENVIRONMENTS", ())]


def notices_forgotten() -> list[Patch]:
    """What people were told is not remembered: the judgement is no fixpoint."""
    return [(Case, "told", lambda self, notice: False)]


# --- Liveness


def verifies_for_ever() -> list[Patch]:
    """A verification that is not conclusive never ends and is never told."""
    return [(verify, "_inconclusive", lambda *given: IDLE)]


def nobody_is_told() -> list[Patch]:
    """A rollback that is held pages nobody."""

    def silent(*given: Any, **more: Any) -> tuple[Notify, ...]:
        return ()

    return [(confirm, "page", silent), (switch, "page", silent), (respond, "page", silent)]


def slow_is_well() -> list[Patch]:
    """Latencies and labels are measured, and never found wanting."""
    real = detect.detect

    def kind(trigger: Any, *given: Any) -> Any:
        found = real(trigger, *given)
        return found if found.metric == "error_rate" else replace(found, verdict=Verdict.CLEAR)

    return [(look, "detect", kind)]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A planted bug, by name; `story` is where it must show, if random worlds rarely meet it.

    One of an `activity` (flavours.ACTIVITIES) shows only in worlds that have it.
    """

    name: str
    patches: Callable[[], list[Patch]]
    story: Callable[[], Scenario] | None = None
    activity: str | None = None


STORIES: Mapping[Callable[[], list[Patch]], Callable[[], Scenario]] = {
    verify_ignores_propagation: traps.straggler,
    late_calls_prove: traps.late_reports,
    late_switch_unnoticed: traps.late_switch,
    blindness_untold: traps.darkness,
    control_not_asked: traps.shared_outage,
    flap_guard_off: traps.one_bad_deploy_after_another,
    folded_again_after_restart: traps.restart_before_a_breach,
    labels_repeated: traps.corrections,
    nobody_is_told: traps.nothing_to_go_back_to,
    slow_is_well: traps.three_times_as_slow,
    rejected_is_sent: traps.rejected,
    verifies_for_ever: traps.silence_after_a_rollback,
    brakes_hold_people: traps.rollback_under_a_hold,
    **ROLLOUT_STORIES,
    **COMPARISON_STORIES,
    **RELEASE_STORIES,
    **ANSWER_STORIES,
}
ACTIVITY_OF = {
    **dict.fromkeys(RETENTION_MUTANTS, RETENTION),
    **dict.fromkeys(COMPARISON_MUTANTS, COMPARISON),
    **dict.fromkeys(ANSWER_MUTANTS, ANSWERS),
}
MUTANTS = tuple(
    Mutant(patches.__name__, patches, STORIES.get(patches), ACTIVITY_OF.get(patches))
    for patches in (
        answered_unwritten,
        messages_lost,
        no_fencing,
        brakes_hold_people,
        older_snapshot_taken,
        canary_drawn_anew,
        one_generation_late,
        looks_rarely,
        no_evidence,
        ticks_not_capped,
        folded_again_after_restart,
        evidence_not_cut,
        confirm_skipped,
        verify_ignores_propagation,
        blind_is_healthy,
        old_buckets_count,
        late_calls_prove,
        late_switch_unnoticed,
        blindness_untold,
        flushes_repeated,
        labels_repeated,
        retries_counted,
        control_not_asked,
        flap_guard_off,
        quarantine_ignored,
        evidence_not_kept,
        reasons_left_out,
        pages_not_deduped,
        rejected_is_sent,
        gives_up_at_once,
        staging_pages,
        notices_forgotten,
        verifies_for_ever,
        nobody_is_told,
        slow_is_well,
        *ROLLOUT_MUTANTS,
        *RETENTION_MUTANTS,
        *COMPARISON_MUTANTS,
        *RELEASE_MUTANTS,
        *ANSWER_MUTANTS,
    )
)
