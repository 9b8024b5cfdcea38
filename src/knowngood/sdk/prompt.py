"""What `client.get` returns."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from knowngood.core.model import Content, Message
from knowngood.core.render import (
    BadValue,
    CompiledContent,
    MissingVariable,
    Scalar,
    compile_content,
)
from knowngood.sdk.call import CALLER, PROMPT, Call, failed_rendering
from knowngood.sdk.compared import ComparedArm
from knowngood.sdk.recorder import Recorder, unit_text


class Served:
    """A version as this process serves it, shared by all its prompts; never changed once built."""

    __slots__ = (
        "arm", "compiled", "config", "content", "digest", "generation", "name", "problem",
        "recorder", "version",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        version: str,
        content: Content,
        generation: int,
        recorder: Recorder,
        digest: str = "",
        compiled: CompiledContent | None = None,
    ) -> None:
        self.name = name
        self.version = version
        self.content = content
        self.config: Mapping[str, Any] = MappingProxyType(dict(content.config))
        self.generation = generation
        self.recorder = recorder
        self.digest = digest
        self.arm: ComparedArm | None = None  # set where the arms of its route are compared
        self.compiled = compiled
        self.problem: Exception | None = None
        if compiled is None:
            try:
                self.compiled = compile_content(content)
            except Exception as error:
                # The server checks contents when they are pushed; if one slips through, its route
                # must not keep the other prompts from being served.
                self.problem = error


class Prompt:
    """A version of a prompt, chosen for one unit. Falsy when there is nothing to serve.

    `reason` says how it was chosen: `static` (one version is routed), `split` (by the unit),
    `random` (no unit was given), or why there is none.
    """

    __slots__ = ("_served", "_unit", "reason")

    def __init__(self, served: Served, unit: str | None, reason: str) -> None:
        self._served = served
        self._unit = unit
        self.reason = reason

    def __bool__(self) -> bool:
        content = self._served.content
        return bool(content.text or content.messages)

    def __repr__(self) -> str:
        return f"Prompt({self.name!r}, version={self.version!r}, reason={self.reason!r})"

    @property
    def name(self) -> str:
        """The prompt's name, as asked for."""
        return self._served.name

    @property
    def version(self) -> str:
        """The version that is served; empty for a fallback and for an empty prompt."""
        return self._served.version

    @property
    def text(self) -> str | None:
        """The text with its placeholders; None for a prompt of chat messages."""
        return self._served.content.text

    @property
    def messages(self) -> tuple[Message, ...] | None:
        """The chat messages with their placeholders; None for a plain text."""
        return self._served.content.messages

    @property
    def config(self) -> Mapping[str, Any]:
        """The version's configuration (model, temperature and the like), read-only."""
        return self._served.config

    @property
    def digest(self) -> str:
        """The sha256 of the version's content; empty for a fallback."""
        return self._served.digest

    @property
    def generation(self) -> int:
        """The generation of the routes that this was chosen from; 0 when there was none."""
        return self._served.generation

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of its placeholders."""
        compiled = self._served.compiled
        return compiled.variables if compiled else ()

    def render(self, /, **variables: Scalar) -> Any:
        """The text, or the list of `{"role", "content"}`, with every placeholder filled.

        Raises MissingVariable when a placeholder's variable is not given and BadValue when a value
        is not a text, a number, a truth value or None. Both are recorded: a version that asks for
        what the application does not give is a failing version.
        """
        served = self._served
        if served.compiled is None:
            failed_rendering(served, self._unit, PROMPT)
            raise served.problem or RuntimeError("the prompt was not compiled")
        try:
            return served.compiled.render(variables)
        except MissingVariable:
            failed_rendering(served, self._unit, PROMPT)
            raise
        except BadValue:
            failed_rendering(served, self._unit, CALLER)
            raise

    def call(self, unit: object = None) -> Call:
        """One use of this prompt, to be entered with `with` or `async with`.

        `unit` defaults to the one given to `get`.
        """
        served = self._served
        if served.recorder.wake is not None:
            served.recorder.wake_worker()
        return Call(served, self._unit if unit is None else unit_text(unit))
