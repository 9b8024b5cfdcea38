"""Messages on their way out: from the outbox to the channels, at least once, never in the way.

What a channel has answered stands in the delivery log, so that after a crash only those are asked
again that have not answered. `hand_over_due` talks to one channel; `settle` talks to none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from knowngood.core.addressing import channels_of, people_of, reaching
from knowngood.core.asking import Alarm, Answer, Purpose
from knowngood.core.drill import DRILL_AUDIENCE
from knowngood.core.errors import StaleState
from knowngood.core.evolve import incident_of
from knowngood.core.handing import (
    FOLLOWS,
    Ended,
    HandOver,
    InThread,
    Later,
    after_failure,
    answers_of,
    hand_over,
    last_word,
    order,
    unreached,
    words,
)
from knowngood.core.history import Delivery, Outcome, Outgoing
from knowngood.core.model import Change, State
from knowngood.core.people import Person
from knowngood.core.policy import PolicyFile
from knowngood.core.steps.escalate import is_delegated
from knowngood.ports import Button, Delivered, Notifier, Page, Picture, Rejected, Retry, Store

BATCH_COUNT = 100  # a tick hands over this many at most, so that a flood delays nothing else
# All that waits is looked at: what a dead channel leaves lying must not hide what came later. A
# message ends within a day, so that ten thousand are three days of an incident every minute.
WAITING_MAX = 10_000
TRIES_MAX = 1_000  # of one thread, in which a pager's last word is looked for
EVER_MS = 2**62  # whenever it is to be tried again
ACTOR = "system"
WORDS_MAX = 300  # of what a faulty notifier says

Link = Callable[[Outgoing, Answer, tuple[Person, ...], int], str]
Draw = Callable[[Outgoing, int], Picture | None]
Where = Callable[[Outgoing], str]
TEXTS = {
    Answer.APPROVE: "Roll back",
    Answer.DECLINE: "Do not, I investigate",
    Answer.ACK: "I am looking",
}


def no_link(message: Outgoing, answer: Answer, people: tuple[Person, ...], now_ms: int) -> str:
    """Without an address of our own there are no links."""
    return ""


def nowhere(message: Outgoing) -> str:
    """Nor is there a page that shows more."""
    return ""


@dataclass(frozen=True, slots=True)
class Post:
    """What delivering needs: the store, who is told where, and the channels by name.

    `link` makes the signed link of an answer, and `where` says at which address a browser shows
    what a message is about. `paces` says how many messages some channels take in a tick. `picture`
    draws what a page is about, for channels that ask for it; it never raises.
    """

    store: Store
    policy: PolicyFile
    notifiers: Mapping[str, Notifier]
    link: Link = no_link
    where: Where = nowhere
    paces: Mapping[str, int] = field(default_factory=dict)
    picture: Draw | None = None


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A message that waits, with the channels it goes to and what they have answered so far."""

    message: Outgoing
    channels: tuple[str, ...]
    tries: Mapping[str, Sequence[Delivery]]

    def of(self, channel: str) -> Sequence[Delivery]:
        return self.tries.get(channel, ())


@dataclass(frozen=True, slots=True)
class _View:
    """Everything that waits, oldest first, and by thread."""

    waiting: Sequence[_Waiting] = ()
    threads: Mapping[str, Sequence[_Waiting]] = field(default_factory=dict)


def tick_deliver(post: Post, now_ms: int) -> int:
    """Hand every due message to its channels, one after the other; how many messages were sent."""
    for channel in post.notifiers:
        hand_over_due(post, channel, lambda: now_ms)
    return settle(post, now_ms)


def hand_over_due(
    post: Post,
    channel: str,
    clock: Callable[[], int],
    goes_on: Callable[[], bool] = lambda: True,
    told: Callable[[Delivery, Outgoing], None] = lambda delivery, message: None,
) -> list[Delivery]:
    """Hand the channel what is due for it; its answers, which are in the delivery log.

    One message that fails stands before no other. Ends early when `goes_on` says so; `told` hears
    of each answer once it is written, and to which message.
    """
    made: list[Delivery] = []
    handed_count = 0
    view = _view(post)
    for each in sorted(view.waiting, key=lambda each: order(each.message)):
        if handed_count >= post.paces.get(channel, BATCH_COUNT) or not goes_on():
            break
        if channel not in each.channels or last_word(each.of(channel)):
            continue
        thread = _thread(post, view, each.message, channel, made)
        match hand_over(each.message, each.of(channel), thread, clock()):
            case HandOver():
                made.append(_hand_over(post, each, channel, clock))
                handed_count += 1
            case Ended() as ended:
                made.append(_ended(each.message, channel, ended, clock()))
            case Later():
                continue
        post.store.deliveries.add(made[-1])
        told(made[-1], each.message)
    return made


def settle(post: Post, now_ms: int) -> int:
    """End what has ended, with nobody asked for anything; how many messages were sent.

    A message is sent when all its channels have taken it, and given up when all have ended and one
    did not. A page that reached nobody has its alarm told so first.
    """
    view = _view(post)
    return sum(_settle(post, view, each, now_ms) for each in view.waiting)


def _settle(post: Post, view: _View, each: _Waiting, now_ms: int) -> bool:
    message = each.message
    endings: dict[str, Ended] = {}
    next_ms = []
    for channel in each.channels:
        tries = each.of(channel)
        thread = _thread(post, view, message, channel)
        match hand_over(message, tries, thread, now_ms):
            case Ended() as ended:
                endings[channel] = ended
                if not last_word(tries):
                    post.store.deliveries.add(_ended(message, channel, ended, now_ms))
            case Later(at_ms):
                next_ms.append(at_ms)
            case HandOver():
                next_ms.append(message.next_try_ms)
    if next_ms:
        if min(next_ms) > message.next_try_ms:
            post.store.outbox.retry(message.id, min(next_ms), words(endings))
        return False
    return _end(post, message, endings, now_ms)


def _end(post: Post, message: Outgoing, endings: Mapping[str, Ended], now_ms: int) -> bool:
    """Take the message from the outbox; True if it was sent."""
    if not post.notifiers:  # nobody is told anything here, as in a replay
        post.store.outbox.sent(message.id, "there is no channel at all", now_ms)
        return True
    state = post.store.states.get(message.environment, message.prompt)
    could_wake = {name: endings[name] for name in reaching(list(endings), post.policy)}
    alarm = _alarm(state, message.thread)
    escalators = _escalators(post, message, alarm, endings)
    if actions := unreached(message, alarm, could_wake, escalators):
        revision = post.policy.for_prompt(message.prompt).revision
        seen = state.revision, tuple(actions), ACTOR, revision
        try:
            post.store.states.apply([Change(message.environment, message.prompt, *seen)], now_ms)
        except StaleState:
            return False  # looked at anew by the next tick
    if endings and all(e.outcome is Outcome.DELIVERED for e in endings.values()):
        post.store.outbox.sent(message.id, words(endings), now_ms)
        return True
    post.store.outbox.gave_up(message.id, words(endings), now_ms)
    return False


def _escalators(
    post: Post, message: Outgoing, alarm: Alarm | None, endings: Mapping[str, Ended]
) -> list[str] | None:
    """The pagers that escalate by themselves and have this alarm; None where none is left to."""
    policy = post.policy.for_prompt(message.prompt)
    if message.purpose is not Purpose.PAGE or alarm is None or not is_delegated(policy, alarm):
        return None
    pagers = [c.name for c in post.policy.channels if c.escalates]
    took = (Outcome.DELIVERED, Outcome.SKIPPED)
    have = [name for name in pagers if name in endings and endings[name].outcome in took]
    if have:
        return have
    tries = post.store.deliveries.recent(TRIES_MAX, message.thread)
    return [
        each.channel
        for each in tries
        if each.channel in pagers
        and each.outcome is Outcome.DELIVERED
        and each.at_ms >= alarm.told_ms
    ]


def _view(post: Post) -> _View:
    """Read it anew."""
    messages = post.store.outbox.due(EVER_MS, WAITING_MAX)
    if not messages:
        return _View()
    tries = post.store.deliveries.of(message.id for message in messages)
    found: list[_Waiting] = []
    threads: dict[str, list[_Waiting]] = {}
    for message in messages:
        receipts = {}
        if message.purpose in FOLLOWS:
            receipts = post.store.deliveries.receipts(message.thread)
        by_channel: dict[str, list[Delivery]] = {}
        for each in tries[message.id]:
            by_channel.setdefault(each.channel, []).append(each)
        channels = channels_of(message, post.policy, tuple(post.notifiers), receipts)
        found.append(_Waiting(message, channels, by_channel))
        threads.setdefault(message.thread, []).append(found[-1])
    return _View(found, threads)


def _thread(
    post: Post,
    view: _View,
    message: Outgoing,
    channel: str,
    made: Sequence[Delivery] = (),
) -> InThread:
    """What is under way in the message's thread; `made` are answers newer than the view."""
    if not message.thread:
        return InThread()
    alarm = None
    if message.purpose is Purpose.PAGE:
        state = post.store.states.get(message.environment, message.prompt)
        alarm = _alarm(state, message.thread)
    resolved, page_ms = False, None
    for other in view.threads[message.thread]:
        if other.message.id > message.id:
            resolved = resolved or other.message.purpose is Purpose.RESOLVED
        elif other.message.id < message.id and other.message.purpose is Purpose.PAGE:
            newer = [each for each in made if each.message_id == other.message.id]
            tries = [*other.of(channel), *newer]
            if channel in other.channels and not last_word(tries):
                page_ms = tries[-1].next_ms if tries else other.message.next_try_ms
    return InThread(alarm, page_ms, resolved)


def _hand_over(post: Post, each: _Waiting, channel: str, clock: Callable[[], int]) -> Delivery:
    message, now_ms = each.message, clock()
    receipt = post.store.deliveries.receipts(message.thread).get(channel, "")
    page = page_of(post, message, now_ms)
    answer = _notify(post.notifiers[channel], page, receipt, now_ms)
    now_ms = clock()
    match answer:
        case Delivered(said, new):
            given = Outcome.DELIVERED, said, 0, new
        case Rejected(error):
            given = Outcome.REJECTED, error, 0, ""
        case Retry(error, asked_ms):
            match after_failure(message, each.of(channel), asked_ms, now_ms):
                case Later(at_ms):
                    given = Outcome.RETRY, error, at_ms, ""
                case Ended(outcome, why):
                    given = outcome, f"{error} ({why})", 0, ""
    outcome, said, next_ms, new = given
    return _delivery(message, channel, outcome, said, now_ms, next_ms, new)


def _notify(
    notifier: Notifier, page: Page, receipt: str, now_ms: int
) -> Delivered | Retry | Rejected:
    try:
        return notifier.notify(page, receipt, now_ms)
    except Exception as error:  # a faulty notifier must not stand before all other messages
        return Retry(f"{type(error).__name__}: {error}"[:WORDS_MAX])


def page_of(post: Post, message: Outgoing, now_ms: int) -> Page:
    """The message as a notifier gets it."""
    people = people_of(message, post.policy)
    buttons = tuple(
        Button(answer, TEXTS[answer], post.link(message, answer, people, now_ms))
        for answer in answers_of(message)
    )
    picture = None
    if post.picture is not None and message.purpose is Purpose.PAGE:
        picture = partial(post.picture, message, now_ms)
    return Page(
        message.key,
        message.audience,
        message.severity,
        message.subject,
        message.body,
        message.environment,
        message.prompt,
        purpose=message.purpose,
        thread=message.thread,
        people=people,
        incident=incident_of(message.thread),
        question=message.question,
        buttons=buttons,
        url=post.where(message),
        created_ms=message.created_ms,
        drill=message.audience == DRILL_AUDIENCE,
        picture=picture,
    )


def _alarm(state: State, thread: str) -> Alarm | None:
    return next((alarm for alarm in state.alarms if thread and alarm.thread == thread), None)


def _ended(message: Outgoing, channel: str, ended: Ended, now_ms: int) -> Delivery:
    return _delivery(message, channel, ended.outcome, ended.why, now_ms)


def _delivery(
    message: Outgoing,
    channel: str,
    outcome: Outcome,
    answer: str,
    now_ms: int,
    next_ms: int = 0,
    receipt: str = "",
) -> Delivery:
    return Delivery(
        message.id, message.key, message.thread, channel, outcome, answer, now_ms, next_ms, receipt
    )
