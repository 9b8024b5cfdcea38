"""What reading and acting stand on: a store, the policy, and what was last judged."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from threading import BoundedSemaphore, Lock, Thread
from typing import TypeVar

from knowngood.core.content import NAME_CHARS_MAX
from knowngood.core.errors import BadRequest, UnknownEnvironment, UnknownPrompt, UnknownVersion
from knowngood.core.look import LOOKBACK_MS
from knowngood.core.model import Sibling, State, Version
from knowngood.core.policy import PolicyFile
from knowngood.engine.ingest import closed_until_ms
from knowngood.engine.observe import Outlook
from knowngood.engine.reconcile import Look, Reconciler, look
from knowngood.ports import Store
from knowngood.server.figures import Figures
from knowngood.server.rolls import Rolls
from knowngood.server.tokens import Roster

T = TypeVar("T")
DROP_EVERY_MS = 60_000
# As many as orders may be carried out at once. One that hangs keeps its thread and its connection
# to the database; when all hang, the next order goes on without evidence at once.
LEFT_BEHIND_MAX = 4
_readers = BoundedSemaphore(LEFT_BEHIND_MAX)

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(slots=True)
class Desk:
    """Where people's questions and orders are answered, in a server or with the server down.

    `live` is the server's own reconciler, read for what it last judged of other prompts and never
    changed. `rolls` is who holds a token: nobody where nobody can be told from anybody.
    Thread-safe.
    """

    store: Store
    policy: PolicyFile
    live: Reconciler | None = None
    rolls: Rolls = field(default_factory=Rolls)
    figures: Figures = field(init=False)
    _outlook: Outlook = field(init=False)
    _lock: Lock = field(default_factory=Lock, init=False)
    _dropped_ms: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._outlook = self._new_outlook()
        self.figures = Figures(self.store.series)

    @property
    def roster(self) -> Roster:
        """Everybody who holds a token now."""
        return self.rolls.now()

    def look(self, environment: str, prompt: str, now_ms: int) -> Look:
        """Observe and decide as the engine would now, and change nothing."""
        (seen,) = self.looks(environment, [prompt], now_ms)
        return seen

    def looks(self, environment: str, prompts: list[str], now_ms: int) -> list[Look]:
        """A look at each of the prompts; what they share is read once."""
        until_ms = self.written_until_ms(now_ms)
        with self._lock:
            self._outlook.begin_tick()
            eyes = self._eyes(self._outlook)
            seen = [look(eyes, environment, prompt, until_ms, now_ms) for prompt in prompts]
            if now_ms - self._dropped_ms >= DROP_EVERY_MS:
                self._dropped_ms = now_ms
                self._outlook.recent.drop_idle(now_ms - LOOKBACK_MS)
        return seen

    def glances(self, environment: str) -> dict[str, Look]:
        """What the engine saw last of each prompt; of many prompts nothing is read anew."""
        if self.live is None:
            return {}
        seen = list(self.live.seen.items())
        return {prompt: look for (where, prompt), look in seen if where == environment}

    def look_afresh(self, environment: str, prompt: str, now_ms: int) -> Look:
        """A look that waits for nobody else's reading."""
        eyes = self._eyes(self._new_outlook())
        return look(eyes, environment, prompt, closed_until_ms(now_ms), now_ms)

    def _new_outlook(self) -> Outlook:
        """An outlook of our own: the engine's belongs to the engine's thread."""
        return Outlook(self.store, self.live.outlook.listening_since_ms if self.live else 0)

    def written_until_ms(self, now_ms: int) -> int:
        """Where the buckets end that are final and in the store.

        What has been read up to here is never read again, so it must not run ahead of the engine.
        """
        written_ms = self.live.until_ms if self.live else None
        closed_ms = closed_until_ms(now_ms)
        return closed_ms if written_ms is None else min(closed_ms, written_ms)

    def _eyes(self, outlook: Outlook) -> Reconciler:
        moods = dict(list(self.live.moods.items())) if self.live else {}
        return Reconciler(self.store, self.policy, outlook, siblings=self._siblings(), moods=moods)

    def _siblings(self) -> dict[tuple[str, str], dict[str, Sibling]]:
        """A copy: the engine goes on writing while we read. (A list of items is made in one go.)"""
        if self.live is None:
            return {}
        return {key: dict(list(each.items())) for key, each in list(self.live.siblings.items())}

    # --- Names

    def check_environment(self, environment: str) -> str:
        """The environment. Raises UnknownEnvironment, with those that are known."""
        known = self.store.states.environments()
        if environment not in known:
            raise UnknownEnvironment(f"there is no environment {environment!r}", known=known)
        return environment

    def check_prompt(self, prompt: str) -> str:
        """The prompt. Raises UnknownPrompt, with those that are known."""
        known = self.store.registry.prompts()
        # What cannot be a name is not looked for: databases refuse some characters.
        if len(prompt) > NAME_CHARS_MAX or not _NAME.fullmatch(prompt) or prompt not in known:
            raise UnknownPrompt(f"there is no prompt {prompt!r}", known=known)
        return prompt

    def versions(self, prompt: str) -> list[Version]:
        """The prompt's versions, oldest first. Raises UnknownPrompt, with those that are known."""
        return self.store.registry.versions(self.check_prompt(prompt))

    def resolve(self, prompt: str, version: str | None = None) -> tuple[str, str | None]:
        """(prompt, version) by any of their names: a version may be said as `name:version`.

        Raises UnknownPrompt or UnknownVersion, with what is known, and BadRequest when the two
        names contradict each other.
        """
        name, wanted = split(prompt, version)
        if wanted is None:
            return self.check_prompt(name), None
        return name, self.version(name, wanted).version

    def version(self, prompt: str, version: str) -> Version:
        """One version. Raises UnknownPrompt, UnknownVersion or BadRequest.

        Of thousands only this one is read, with its content.
        """
        name, wanted = split(prompt, version)
        self.check_prompt(name)
        assert wanted is not None
        # What cannot be a name is not looked for, as with prompts.
        if wanted.isprintable() and len(wanted) <= NAME_CHARS_MAX:
            with suppress(UnknownVersion):
                return self.store.registry.get(name, wanted)
        known = [each.version for each in self.versions(name)]
        raise UnknownVersion(f"{name} has no version {wanted!r}", known=known)

    def state(self, environment: str, prompt: str) -> State:
        """What is remembered of the prompt. Raises UnknownEnvironment or UnknownPrompt."""
        self.check_environment(environment)
        self.check_prompt(prompt)
        return self.store.states.get(environment, prompt)


def split(prompt: str, version: str | None = None) -> tuple[str, str | None]:
    """(prompt, version) where either may be said as `name:version`. Raises BadRequest."""
    name, colon, in_prompt = prompt.partition(":")
    if version is not None and ":" in version:
        other, _, version = version.partition(":")
        if other != name:
            raise BadRequest(f"{other}:{version} is a version of {other!r}, not of {name!r}")
    if colon and version is not None and version != in_prompt:
        raise BadRequest(f"{prompt!r} and {version!r} name two different versions")
    return name, in_prompt if colon else version


def within(limit_s: float, work: Callable[[], T]) -> T:
    """The work's result, if it comes in time. Raises TimeoutError, or what the work raised.

    The work is left behind in its own thread when it is late: it must not change anything. When too
    many were left behind already, it is not begun (TimeoutError).
    """
    if not _readers.acquire(blocking=False):
        raise TimeoutError(f"{LEFT_BEHIND_MAX} earlier questions have had no answer yet")
    done: list[T] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            done.append(work())
        except Exception as error:
            failed.append(error)
        finally:
            _readers.release()

    thread = Thread(target=run, daemon=True, name="knowngood-evidence")
    try:
        thread.start()
    except RuntimeError:  # no more threads
        _readers.release()
        raise
    thread.join(limit_s)
    if failed:
        raise failed[0]
    if not done:
        raise TimeoutError(f"no answer within {limit_s:g} s")
    return done[0]
