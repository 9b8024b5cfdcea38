"""Whom a message goes to: on which channels, and which people it is for."""

from collections.abc import Collection, Mapping

from knowngood.core.asking import Purpose
from knowngood.core.handing import FOLLOWS
from knowngood.core.history import Outgoing
from knowngood.core.people import AUTHOR, Person
from knowngood.core.policy import PolicyFile
from knowngood.core.steps.escalate import EVERYBODY

LOG = "log"  # the kind of channel that reaches a file, and nobody's pocket


def channels_of(
    message: Outgoing,
    policy: PolicyFile,
    notifiers: Collection[str],
    receipts: Mapping[str, str],
) -> tuple[str, ...]:
    """The names of the notifiers that the message goes to, in the order of `notifiers`.

    Of those that the policy declares: the message's own, else those of its audience, and for what
    follows a page also those that have a receipt in its thread; each only if it takes messages of
    this purpose. A notifier that no policy declares (the server's `--notify`) gets everything.
    """
    declared = {channel.name: channel for channel in policy.channels}
    if message.purpose is Purpose.CHANGE:
        takers = policy.takers_of_changes
        return tuple(n for n in notifiers if n not in declared or n in takers)
    wanted = {name for name in message.channels if name in declared}
    if EVERYBODY in message.targets:
        wanted = set(declared)
    if not wanted:  # also when every channel that was named is gone from the policy
        wanted = {channel.name for channel in policy.channels_for(message.audience)}
    if message.purpose in FOLLOWS:
        wanted |= set(receipts)
    return tuple(
        name
        for name in notifiers
        if name not in declared or (name in wanted and message.purpose in declared[name].takes)
    )


def reaching(channels: Collection[str], policy: PolicyFile) -> tuple[str, ...]:
    """Those of the channels that can wake somebody; all of them when there are only logs."""
    declared = {channel.name: channel.kind for channel in policy.channels}
    awake = tuple(name for name in channels if declared.get(name, name) != LOG)
    return awake or tuple(channels)


def people_of(message: Outgoing, policy: PolicyFile) -> tuple[Person, ...]:
    """The people that the message is for: those of its targets, else of its audience; each once."""
    found: dict[str, Person] = {}
    if EVERYBODY in message.targets:
        return policy.people
    for who in message.targets or (message.audience,):
        names: tuple[str, ...] = (who,)
        if who == AUTHOR:
            names = (who, *policy.for_prompt(message.prompt).authors)
        for name in names:
            found.update((person.name, person) for person in policy.people_for(name))
    return tuple(found.values())
