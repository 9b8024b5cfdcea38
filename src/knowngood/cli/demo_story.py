"""What the demo's stories share: an operator who acts through the API, and what can be seen.

A story reads the audit log, the status and what the worker processes write down of themselves; it
never takes the server's word for what the processes can say.
"""

import time
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from knowngood.cli.backend import Backend
from knowngood.cli.demo_calls import Call, read_calls
from knowngood.cli.demo_processes import Children, Served
from knowngood.cli.demo_scenes import BAD, CONTENT, GOOD, PROMPT, SCENES
from knowngood.core.explain import percent

ENVIRONMENT = "production"
DEADLINE_S = 120.0  # several times what a story takes on a busy machine
POLL_S = 0.2
ON_CALL = "on-call"
FAILED = ("rollback.not_recovered", "rollback.inconclusive")

Tell = Callable[[str, str], None]  # a line, and the style of it
Entry = dict[str, Any]  # of the audit log


class WentWrong(Exception):
    """The story did not end as it should; `outcome` says how it did."""

    def __init__(self, outcome: str, message: str) -> None:
        self.outcome = outcome
        super().__init__(message)


@dataclass(slots=True)
class Story(ABC):
    """One run. `told` collects the figures on the way, so that a bad end can show them too."""

    scenario: ClassVar[str]
    healthy_s: ClassVar[float] = 8.0

    api: Backend
    children: Children
    tell: Tell
    workers: int
    seed: int
    told: dict[str, Any] = field(default_factory=dict)
    unread: dict[str, deque[Entry]] = field(default_factory=lambda: defaultdict(deque))
    last_id: int = 0
    began_s: float = field(default_factory=time.monotonic)

    def play(self) -> dict[str, Any]:
        """Play it to the verified end. Raises WentWrong."""
        self.told = {
            "scenario": self.scenario,
            "prompt": PROMPT,
            "from_version": BAD,
            "to_version": GOOD,
            "seed": self.seed,
            "processes": self.workers,
        }
        self.prepare()
        self.healthy()
        outcome = self.act()
        return self.told | {"outcome": outcome, "seconds": self.seconds()}

    @abstractmethod
    def act(self) -> str:
        """The story itself, and its outcome. Raises WentWrong."""

    # --- What every story begins with

    def prepare(self) -> None:
        """The known-good version serves everybody, and every process calls it."""
        for version, content in CONTENT.items():
            self.api.post(f"/api/prompts/{PROMPT}/versions", {"version": version, **content})
        self.promote(GOOD, "the version that has always worked")
        self.children.start_workers(self.workers, self.seed, self.scenario)
        self.until(f"every process serves {GOOD}", lambda: self.all_serve(GOOD, 0))
        rate = round(self.workers * SCENES[self.scenario].calls_per_s)
        calls = f"{self.workers} processes, about {rate:,} calls/s"
        self.tell(f"{PROMPT}  {GOOD} 100%   {calls}", "")

    def healthy(self) -> None:
        """A stretch in which all is well."""
        over_s = time.monotonic() + self.healthy_s
        self.until("a healthy stretch", lambda: time.monotonic() >= over_s)
        arm = self.arm(GOOD)
        self.told["error_rate_before"] = round(arm["error_rate"], 4)
        self.tell(f"{PROMPT}  {GOOD} 100%   {errors(arm)}", "green")

    def promote(self, version: str, because: str, **how: Any) -> Entry:
        """Serve a version, to everybody at once unless `how` says otherwise; the route's entry."""
        body = {"prompt": PROMPT, "version": version, "environment": ENVIRONMENT}
        self.api.post("/api/promote", {"now": True, **body, **how, "because": because})
        return self.wait_for("route.moved")

    def watching(self) -> str:
        """The limits that hold for a young version, in the server's words."""
        rule = self.explain()["state"]["alert_limits"][0]
        limit = rule["when"][0].rpartition(" ")[2]
        return f"watching: {rule['name'].replace('_', ' ')}, limits {limit}"

    # --- What every story ends with

    def propagated(self, switched_ms: int, generation: int) -> None:
        """The server says that every client has confirmed, and every process says so itself."""
        entry = self.wait_for("rollback.propagated")
        everyone = f"every process serves {GOOD} again"
        self.until(everyone, lambda: self.all_serve(GOOD, generation))
        last_ms = max(served.at_ms for served in self.children.served() if served)
        self.told["generation"] = generation
        self.told["propagated_after_s"] = seconds(max(entry["at_ms"], last_ms) - switched_ms)
        count = entry["detail"]["clients"]
        if count != self.workers:
            raise WentWrong("miscounted", f"the server counts {count} clients, not {self.workers}")
        self.tell(f"{count} of {self.workers} clients on generation {generation}", "")

    def verified(self, switched_ms: int, opened_ms: int | None = None) -> None:
        """The recovery is proven on fresh calls, and everybody stays where they are.

        The incident was opened by the switch, unless `opened_ms` says when.
        """
        entry = self.wait_for("rollback.verified")
        took_s = seconds(entry["at_ms"] - switched_ms)
        self.told["verified_after_s"] = took_s
        self.until("every process stays", lambda: self.all_serve(GOOD, self.told["generation"]))
        incident = str(entry["detail"]["incident"])
        clocks = self.api.get(f"/api/incidents/{incident}")["clocks"]
        self.told["clocks_ms"] = {clock["name"]: clock["ms"] for clock in clocks}
        number = incident.rpartition(".")[2]
        words = entry["because"].partition(",")[0]
        open_s = took_s if opened_ms is None else seconds(entry["at_ms"] - opened_ms)
        self.tell(f"{words}   incident {number} closed after {open_s:.0f} s", "bold green")

    # --- What can be seen

    def calls(self) -> list[Call]:
        """Every call that the processes have written down so far."""
        return read_calls(self.children.calls)

    def seconds(self) -> float:
        """How long the story has lasted."""
        return round(time.monotonic() - self.began_s, 1)

    def explain(self) -> dict[str, Any]:
        """What the server sees, decides and waits on."""
        answer: dict[str, Any] = self.api.get(
            f"/api/prompts/{PROMPT}/explain", environment=ENVIRONMENT
        )
        return answer

    def arm(self, version: str) -> dict[str, Any]:
        """A version on the route, as the status shows it."""
        status = self.api.get("/api/status", environment=ENVIRONMENT, prompt=PROMPT)
        for row in status["prompts"]:
            for arm in row["versions"]:
                if arm["version"] == version:
                    found: dict[str, Any] = arm
                    return found
        raise WentWrong("not_routed", f"{version} is not on the route")

    def all_serve(self, version: str, generation: int) -> bool:
        """Whether each process says that it serves a route with this version alone or first."""
        return all(_serves(served, version, generation) for served in self.children.served())

    def wait_for(self, *kinds: str) -> Entry:
        """The next audit entry of one of these kinds.

        Raises WentWrong when the rollback fails instead, or nothing comes in time.
        """
        self.until(" or ".join(kinds), lambda: self.has(kinds))
        entries = [self.unread[kind][0] for kind in kinds if self.unread[kind]]
        first = min(entries, key=lambda entry: int(entry["id"]))
        return self.unread[first["kind"]].popleft()

    def has(self, kinds: tuple[str, ...]) -> bool:
        """Whether there is an audit entry of one of these kinds that nobody has waited for."""
        query = {"environment": ENVIRONMENT, "prompt": PROMPT, "after": self.last_id}
        for entry in self.api.get("/api/audit", **query)["entries"]:
            self.last_id = entry["id"]
            self.unread[entry["kind"]].append(entry)
            if entry["kind"] in FAILED:
                raise WentWrong(entry["kind"].partition(".")[2], entry["because"])
        return any(self.unread[kind] for kind in kinds)

    def until(self, what: str, holds: Callable[[], bool]) -> None:
        """Wait until it is so. Raises ChildEnded, or WentWrong when the story takes too long."""
        while not holds():
            self.children.check()
            if time.monotonic() >= self.began_s + DEADLINE_S:
                raise WentWrong("timed_out", f"after {DEADLINE_S:.0f} s still waiting: {what}")
            time.sleep(POLL_S)


def _serves(served: Served | None, version: str, generation: int) -> bool:
    return served is not None and served.version == version and served.generation >= generation


def errors(arm: dict[str, Any]) -> str:
    """How many of a version's calls failed, in words."""
    return f"errors {percent(arm['error_rate'])} ({arm['bad']} of {arm['n']})"


def seconds(ms: int) -> float:
    """Milliseconds as seconds, to the hundredth."""
    return round(ms / 1000, 2)
