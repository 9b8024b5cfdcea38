"""Which adapters there are. A name that is not here stops the start, not the first page."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from knowngood.adapters.egress import Egress, Refused
from knowngood.adapters.evals import junit, promptfoo, scores
from knowngood.adapters.notify.apprise import Apprise
from knowngood.adapters.notify.email import Email, MailServer
from knowngood.adapters.notify.log import LogNotifier
from knowngood.adapters.notify.pagerduty import PagerDuty
from knowngood.adapters.notify.slack import Slack
from knowngood.adapters.notify.slack_webhook import SlackWebhook
from knowngood.adapters.notify.webhook import Webhook
from knowngood.adapters.secrets import Secret, resolve
from knowngood.core.errors import BadPolicy, BadRequest
from knowngood.core.people import Channel
from knowngood.ports import Notifier, ResultReader

NOTIFIERS: dict[str, Callable[[], Notifier]] = {"log": LogNotifier}
RESULT_READERS: dict[str, ResultReader] = {
    "promptfoo": promptfoo.read,
    "junit": junit.read,
    "scores": scores.read,
}
# Messages a tick (a second): Slack takes about one a second and channel, PagerDuty 120 a minute
# and key.
PACES = {"slack": 1, "slack_webhook": 1, "pagerduty": 2, "apprise": 1}


@dataclass(frozen=True, slots=True)
class Means:
    """What channels are made with: the variables of the process, and its one way out."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    egress: Egress = field(default_factory=Egress)

    def secret(self, channel: Channel, option: str) -> Secret:
        """The secret that an option refers to. Raises BadPolicy."""
        name = f"channels.{channel.name}.{option}"
        return resolve(channel.options[option], name, self.environ)

    def url(self, channel: Channel, option: str = "url") -> Secret:
        """An address, or the one that an option refers to. Raises BadPolicy.

        It is kept as a secret: the addresses of webhooks are.
        """
        value = channel.options[option]
        is_plain = value.startswith(("https://", "http://"))
        return Secret(value) if is_plain else self.secret(channel, option)


def notifiers(names: Iterable[str]) -> dict[str, Notifier]:
    """The notifiers of these names. Raises BadRequest, listing those that are known."""
    made: dict[str, Notifier] = {}
    for name in names:
        make = NOTIFIERS.get(name)
        if make is None:
            raise BadRequest(f"there is no notifier {name!r}", known=sorted(NOTIFIERS))
        made[name] = make()
    return made


def channels(declared: Iterable[Channel], means: Means) -> dict[str, Notifier]:
    """The channels that a policy declares, by name, with their secrets.

    Raises BadPolicy, naming the channel, for a secret that is not there and for anything else that
    would keep it from working for ever.
    """
    return {channel.name: _channel(channel, means) for channel in declared}


def paces(declared: Iterable[Channel]) -> dict[str, int]:
    """How many messages a tick the channels take that do not take any number."""
    return {channel.name: PACES[channel.kind] for channel in declared if channel.kind in PACES}


def _channel(channel: Channel, means: Means) -> Notifier:
    try:
        return MAKERS[channel.kind](channel, means)
    except BadPolicy as error:
        place = f"channels.{channel.name}"
        said = error.message if error.message.startswith(place) else f"{place}: {error.message}"
        raise BadPolicy(said, known=error.known, next_step=error.next_step) from error


def _checked(url: Secret, egress: Egress) -> Secret:
    """The address, if it is one that may be talked to. Raises BadPolicy."""
    try:
        egress.check(url.reveal())
    except Refused as error:
        raise BadPolicy(f"its address: {error}", next_step="https://...") from error
    return url


def _own_url(channel: Channel, means: Means) -> str:
    """The address that replaces a provider's own; empty without one."""
    if "url" not in channel.options:
        return ""
    return _checked(means.url(channel), means.egress).reveal()


def _log(channel: Channel, means: Means) -> Notifier:
    return LogNotifier()


def _pagerduty(channel: Channel, means: Means) -> Notifier:
    return PagerDuty(
        means.egress,
        means.secret(channel, "routing_key"),
        channel.options.get("region", "us"),
        _own_url(channel, means),
    )


def _slack(channel: Channel, means: Means) -> Notifier:
    return Slack(
        means.egress,
        means.secret(channel, "token"),
        channel.options["channel"],
        _own_url(channel, means),
    )


def _slack_webhook(channel: Channel, means: Means) -> Notifier:
    return SlackWebhook(means.egress, _checked(means.url(channel), means.egress))


def _webhook(channel: Channel, means: Means) -> Notifier:
    egress = means.egress
    if channel.options.get("allow_private"):
        egress = replace(egress, private=True, loopback=True)  # through its proxy, if it has one
    secret = means.secret(channel, "secret") if "secret" in channel.options else None
    return Webhook(egress, _checked(means.url(channel), egress), secret)


def _email(channel: Channel, means: Means) -> Notifier:
    options: Mapping[str, Any] = channel.options
    server = MailServer(
        options["host"],
        options.get("security", "starttls"),
        options.get("port", 0),
        options.get("username", ""),
        means.secret(channel, "password") if "password" in options else None,
        means.egress.trust,
    )
    return Email(server, options["from"], options.get("to", ()))


def _apprise(channel: Channel, means: Means) -> Notifier:
    return Apprise(means.secret(channel, "url"))


MAKERS: dict[str, Callable[[Channel, Means], Notifier]] = {
    "log": _log,
    "pagerduty": _pagerduty,
    "slack": _slack,
    "slack_webhook": _slack_webhook,
    "webhook": _webhook,
    "email": _email,
    "apprise": _apprise,
}


def result_reader(form: str) -> ResultReader:
    """The reader of results in this form. Raises BadRequest, listing those that are known."""
    if form not in RESULT_READERS:
        raise BadRequest(f"{form!r} is no form of results", known=list(RESULT_READERS))
    return RESULT_READERS[form]
