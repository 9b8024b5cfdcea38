"""When a message is handed to a channel: now, later, or never; and what follows from a refusal.

Everything is worked out from the message, the channel's earlier tries and the alarm, so that a
server that was killed goes on where it was, and two servers come to the same end.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from knowngood.core.asking import Alarm, Answer, Purpose
from knowngood.core.explain import duration
from knowngood.core.history import Delivery, Outcome, Outgoing
from knowngood.core.model import Action, Record, SetAlarm

# What ends or answers a page, and never overtakes it.
FOLLOWS = (Purpose.ACKNOWLEDGED, Purpose.RESOLVED)

MINUTE_MS, HOUR_MS = 60_000, 3_600_000

# How long a message is of use to anybody. A page that comes half an hour late tells of something
# that others were told of meanwhile; that something is over is worth knowing a day later.
LIVES_MS = {
    Purpose.PAGE: 30 * MINUTE_MS,
    Purpose.NOTE: 6 * HOUR_MS,
    Purpose.ACKNOWLEDGED: 24 * HOUR_MS,
    Purpose.RESOLVED: 24 * HOUR_MS,
    Purpose.CHANGE: HOUR_MS,
}

# The pauses after each try of a page: tries at 0, 5, 15 and 45 s, 2 and 5 min. Then its channel is
# given up, at the time at which an unanswered page goes to the next level by default.
PAGE_PAUSES_MS = (5_000, 10_000, 30_000, 75_000, 180_000)
# All else: 5 s, twice as long each time, a quarter of an hour at most, until it is too old.
FIRST_PAUSE_MS = 5_000
PAUSE_MAX_MS = 15 * MINUTE_MS


@dataclass(frozen=True, slots=True)
class HandOver:
    """Hand it over now."""


@dataclass(frozen=True, slots=True)
class Later:
    """Not before `at_ms`."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The channel's last word on this message."""

    outcome: Outcome
    why: str = ""


@dataclass(frozen=True, slots=True)
class InThread:
    """What of a message's thread is under way: its alarm, and what waits at the same channel."""

    alarm: Alarm | None = None
    page_ms: int | None = None  # an earlier page has no last word yet, and is tried next then
    resolved_waits: bool = False  # a later message says that it is over


def onward_key(thread: str) -> str:
    """How the keys of an escalation's pages begin."""
    return f"{thread}:level:"


def _is_onward(message: Outgoing) -> bool:
    """Whether it tells a further level of what others were told before."""
    return bool(message.thread) and message.key.startswith(onward_key(message.thread))


def last_word(tries: Sequence[Delivery]) -> Ended | None:
    """How the channel ended with the message; None while it may still be tried."""
    if tries and tries[-1].outcome is not Outcome.RETRY:
        return Ended(tries[-1].outcome, tries[-1].answer)
    return None


def hand_over(
    message: Outgoing, tries: Sequence[Delivery], thread: InThread, now_ms: int
) -> HandOver | Later | Ended:
    """What to do with a message at one channel, whose earlier `tries` these are.

    An escalation's page is skipped once its alarm was acknowledged or is over; a page that failed
    before is skipped once its end is known, so that nothing is opened that nobody would close. What
    follows a page waits until that one has gone out or has ended.
    """
    if ended := last_word(tries):
        return ended
    if why := _needless(message, tries, thread):
        return Ended(Outcome.SKIPPED, why)
    life_ms = LIVES_MS[message.purpose]
    if now_ms - message.created_ms >= life_ms:
        said = f"; the last answer was: {tries[-1].answer}" if tries else ""
        return Ended(Outcome.EXPIRED, f"of no use any more after {duration(life_ms)}{said}")
    if tries and tries[-1].next_ms > now_ms:
        return Later(tries[-1].next_ms)
    if thread.page_ms is not None and message.purpose in FOLLOWS:
        return Later(max(thread.page_ms, now_ms))
    return HandOver()


def _needless(message: Outgoing, tries: Sequence[Delivery], thread: InThread) -> str:
    """Why nobody needs the page any more; empty when somebody does, or when it is none."""
    if message.purpose is not Purpose.PAGE:
        return ""
    if _is_onward(message) and thread.alarm is None:
        return "it was over before this went out"
    if _is_onward(message) and thread.alarm and thread.alarm.acked_ms is not None:
        return f"{thread.alarm.acked_by or 'somebody'} had acknowledged before this went out"
    if tries and thread.resolved_waits:
        return "it was over before this could be handed over"
    return ""


def after_failure(
    message: Outgoing, tries: Sequence[Delivery], asked_ms: int | None, now_ms: int
) -> Later | Ended:
    """When to try again after one more failure; `asked_ms` is the pause the provider asks for.

    A provider may ask for a longer pause than ours, never for a shorter one.
    """
    failed_count = len(tries) + 1
    if message.purpose is Purpose.PAGE:
        if failed_count > len(PAGE_PAUSES_MS):
            return Ended(Outcome.GAVE_UP, f"given up after {failed_count} tries")
        pause_ms = PAGE_PAUSES_MS[failed_count - 1]
    else:
        pause_ms = min(PAUSE_MAX_MS, FIRST_PAUSE_MS << min(failed_count - 1, 16))
    # Looked at once more at its end, to be told as too old.
    end_ms = message.created_ms + LIVES_MS[message.purpose]
    return Later(min(now_ms + max(pause_ms, asked_ms or 0), max(end_ms, now_ms + pause_ms)))


def unreached(
    page: Outgoing,
    alarm: Alarm | None,
    endings: Mapping[str, Ended],
    escalators: Collection[str] | None = None,
) -> list[Action]:
    """What a page changes that reached nobody, or not the pager that would have escalated it.

    `endings` are the last words of the channels that could have woken somebody. Its alarm goes to
    the next level at once when none of them took the page. `escalators`, where the policy leaves
    escalating to a pager, are those that know of the alarm: without any, escalating is ours again.
    Nothing changes when somebody has acknowledged, or when a later level was told meanwhile.
    """
    if page.purpose is not Purpose.PAGE or alarm is None or alarm.undelivered:
        return []
    if alarm.acked_ms is not None or alarm.told_ms > page.created_ms:
        return []
    detail = {"key": page.key, "thread": page.thread, "channels": sorted(endings)}
    if not any(e.outcome in (Outcome.DELIVERED, Outcome.SKIPPED) for e in endings.values()):
        why = f"nobody was reached by {page.subject!r}: {words(endings)}"
        return [SetAlarm(replace(alarm, undelivered=True)), Record("page.undelivered", why, detail)]
    if escalators is None or escalators or alarm.is_ours:
        return []
    why = f"no pager that escalates has {page.subject!r}, so its levels are told: {words(endings)}"
    return [SetAlarm(replace(alarm, is_ours=True)), Record("page.undelegated", why, detail)]


def words(endings: Mapping[str, Ended]) -> str:
    """Each channel's last word."""
    said = (f"{name}: {ended.outcome.value} ({ended.why})" for name, ended in endings.items())
    return "; ".join(said) or "no channel takes it"


def answers_of(message: Outgoing) -> tuple[Answer, ...]:
    """What a message offers to say: an answer to its question, and that somebody looks."""
    answers: tuple[Answer, ...] = ()
    if message.question is not None:
        answers = (Answer.APPROVE, Answer.DECLINE)
    if message.purpose is Purpose.PAGE and message.thread:
        answers = (*answers, Answer.ACK)
    return answers


def order(message: Outgoing) -> tuple[bool, int]:
    """Pages overtake the rest; otherwise the older message comes first."""
    return message.purpose is not Purpose.PAGE, message.id
