"""Whom the server listens to without a token, and what people say through them.

PagerDuty and Slack prove who they are by a signature, the systems that report alerts by a secret of
their own. What a person says there is said by the person: who that is, the policy tells.
"""

import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from knowngood.adapters.egress import Egress
from knowngood.adapters.inbound.pagerduty import RESOLVED, PagerEvent
from knowngood.adapters.inbound.slack import Press, say
from knowngood.adapters.secrets import resolve
from knowngood.core.addressing import people_of
from knowngood.core.asking import Answer
from knowngood.core.errors import (
    Forbidden,
    KnowngoodError,
    NothingAsked,
    StaleState,
    StoreUnavailable,
)
from knowngood.core.history import Outgoing
from knowngood.core.model import Severity
from knowngood.core.people import Person
from knowngood.core.policy import PolicyFile
from knowngood.server.act import Ask
from knowngood.server.answers import about, answer
from knowngood.server.desk import Desk
from knowngood.server.errors import NotReady
from knowngood.server.links import Link
from knowngood.server.roles import Caller, Need, Role, may

PAGERDUTY, SLACK = "pagerduty", "slack"
ANSWERS = Need(Role.OPERATOR)
DECIDING = ("on-call", "product-owner")  # the roles of people who are asked

log = structlog.get_logger("knowngood.server")


class Copied(Forbidden):
    """This press of a button was taken already."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """The secrets of those who send us something: of PagerDuty, of Slack, and by source."""

    pagerduty: tuple[str, ...] = ()
    slack: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)

    def is_from(self, source: str, given: str) -> bool:
        """Whether this is the source's secret; False for a source that has none."""
        secret = self.sources.get(source)
        return secret is not None and hmac.compare_digest(secret.encode(), given.encode())


def hooks_of(policy: PolicyFile, environ: Mapping[str, str] = os.environ) -> Hooks:
    """The secrets that the policy names. Raises BadPolicy for one that is not there."""

    def of_kind(kind: str, option: str) -> tuple[str, ...]:
        return tuple(
            resolve(channel.options[option], f"channels.{channel.name}.{option}", environ).reveal()
            for channel in policy.channels
            if channel.kind == kind and option in channel.options
        )

    return Hooks(
        of_kind(PAGERDUTY, "webhook_secret"),
        of_kind(SLACK, "signing_secret"),
        {
            rule.source: resolve(rule.secret, f"inbound.{rule.source}.secret", environ).reveal()
            for rule in policy.inbound
            if rule.secret
        },
    )


# --- What people say through others


def from_pager(desk: Desk, event: PagerEvent, now_ms: int) -> dict[str, Any]:
    """Somebody acknowledged or resolved a page at PagerDuty: then nobody else is told.

    `outcome` is `acknowledged`, `unchanged` when that is known, or `left_alone` for what is none of
    ours. A resolution there stops the escalation; whether the prompt is well, is for the evidence
    to say. Raises NotReady where PagerDuty should send it again.
    """
    taken = desk.store.outside
    if not event.is_answer:
        return {"outcome": "left_alone", "because": f"nothing to do for {event.kind or 'this'}"}
    if taken.has_taken(PAGERDUTY, event.id):
        return {"outcome": "unchanged", "because": "this event was taken already"}
    person = next((p for p in desk.policy.people if p.pagerduty == event.agent_id != ""), None)
    actor = f"{person.name if person else event.agent or 'somebody'} via PagerDuty"
    verb = "resolved" if event.kind == RESOLVED else "acknowledged"
    ask = Ask(actor, f"{verb} in PagerDuty", caller=Caller(person.name if person else ""))
    try:
        _check_thread(event.thread)
        # PagerDuty knows one page from another: an acknowledged one must not swallow the next.
        done = answer(desk, event.thread, Answer.ACK, None, ask, now_ms, alone=True)
        changed = done["outcome"] == "changed"
        said = {"outcome": "acknowledged" if changed else "unchanged", "because": ask.because}
    except StoreUnavailable:
        raise
    except StaleState as error:
        raise NotReady("the incident changes all the while; send it again") from error
    except KnowngoodError as error:
        # A refusal would be dropped for good, and three of them silence PagerDuty for a day.
        log.info("pagerduty", thread=event.thread, refused=error.message)
        said = {"outcome": "left_alone", "because": error.message}
    # Only now: what was lost in a crash before this is sent again, and changes nothing twice.
    taken.take_once(PAGERDUTY, event.id, now_ms)
    return said


def from_slack(desk: Desk, press: Press, nonce: str, now_ms: int) -> dict[str, Any]:
    """Somebody pressed a button: their answer, as the policy knows them.

    Raises Copied for a press that was taken already, Forbidden for somebody whom the policy does
    not know and for who may not decide; and whatever the answer itself is refused for.
    """
    if not desk.store.outside.take_once(SLACK, nonce, now_ms):
        raise Copied()
    person = _pressed_by(desk, press, now_ms)
    choice = press.choice
    _check_thread(choice.thread)
    ask = Ask(
        f"{person.name} via Slack",
        f"{choice.answer.value} pressed in Slack",
        caller=Caller(person.name, Role.OPERATOR),
    )
    done = answer(desk, choice.thread, choice.answer, choice.question, ask, now_ms, alone=True)
    return {"outcome": done["outcome"], "answer": choice.answer.value, "actor": ask.actor}


def _check_thread(thread: str) -> None:
    """From outside, an answer names an incident or one of its pages. Raises NothingAsked."""
    if not about(thread, "").incident:
        raise NothingAsked(f"{thread[:100]!r} is no incident of ours")


def _pressed_by(desk: Desk, press: Press, now_ms: int) -> Person:
    """The person behind a member id, if they may decide. Raises Forbidden."""
    person = next((p for p in desk.policy.people if p.slack == press.user_id), None)
    if person is None:
        raise Forbidden(
            f"the policy knows nobody with the Slack member id {press.user_id} ({press.user})",
            next_step=f'add it: people: {{NAME: {{slack: "{press.user_id}", roles: [on-call]}}}}',
        )
    role = desk.roster.role_of(person.name, now_ms)
    _check_role(person.name, role)
    if role is None and not set(person.roles) & set(DECIDING):
        raise Forbidden(
            f"{person.name} is not among those who decide",
            known=list(DECIDING),
            next_step=f"give them one of these roles in the policy: people.{person.name}.roles",
        )
    return person


def check_link(desk: Desk, link: Link, now_ms: int) -> None:
    """Raises Forbidden when whoever the link was sent to may not answer by it any more.

    The policy and the tokens are asked as they are now: a link lives for a day, and people leave.
    One that was sent to many says nothing of who answers by it.
    """
    if not link.is_person:
        return
    person = next((p for p in desk.policy.people if p.name == link.who), None)
    if person is None:
        raise Forbidden(
            f"this link was sent to {link.who}, whom the policy does not know any more",
            next_step=_by_token(link),
        )
    role = desk.roster.role_of(person.name, now_ms)
    _check_role(person.name, role)
    if role is not None:
        return
    if link.held:
        raise Forbidden(
            f"the token of {person.name} was taken back, or has ended, since this link was sent",
            next_step=_by_token(link),
        )
    if person not in people_of(_as_sent(link), desk.policy):
        raise Forbidden(
            f"this link was sent to {' and '.join(link.to)}, and {person.name} is not among them "
            "any more",
            next_step=_by_token(link),
        )


def _check_role(name: str, role: Role | None) -> None:
    """Raises Forbidden for a token that lets its holder look and no more."""
    if role is not None and not may(role, ANSWERS):
        raise Forbidden(
            f"{name} may look and not decide: their token has the role {role.value}",
            next_step="knowngood token make NAME --role operator",
        )


def _as_sent(link: Link) -> Outgoing:
    """The link's message, as far as it says whom it is for."""
    what = about(link.thread, "")
    nothing: tuple[str, str, int, int] = ("", "", 0, 0)
    return Outgoing(
        "", what.environment, what.prompt, link.who, Severity.HIGH, *nothing, targets=link.to
    )


def _by_token(link: Link) -> str:
    return f"whoever holds a token: knowngood {link.answer.value} {link.thread} --because ..."


def tell_refused(egress: Egress, press: Press, error: KnowngoodError) -> None:
    """Tell who pressed a button why nothing came of it, in Slack and to them alone."""
    known = f" (known: {', '.join(error.known)})" if error.known else ""
    failed = say(egress, press, f"Nothing was changed: {error.message}{known}", error.next_step)
    if failed:
        log.warning("slack", thread=press.choice.thread, refused=error.message, not_told=failed)
