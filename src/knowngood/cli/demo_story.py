"""The demo's story: a bad version is promoted, found out, rolled back, and the recovery is proven.

The story only acts twice, as an operator would: it promotes. Everything else it reads from the API
(audit log and status) and from what the worker processes write down of themselves.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from knowngood.cli.backend import Backend
from knowngood.cli.demo_processes import Children, Served
from knowngood.cli.demo_worker import BAD, CALLS_PER_S, GOOD, PROMPT
from knowngood.core.explain import percent

ENVIRONMENT = "production"
HEALTHY_S = 8.0
DEADLINE_S = 120.0  # several times what the story takes on a busy machine
POLL_S = 0.2
ON_CALL = "on-call"

CONTENT = {
    GOOD: {
        "text": "You are a support agent. Answer in two sentences: {{question}}",
        "config": {"provider": "acme", "model": "acme-large", "temperature": 0.2},
    },
    BAD: {
        "text": "You are a support agent. Answer as JSON with `answer` and `mood`: {{question}}",
        "config": {"provider": "acme", "model": "acme-large", "temperature": 0.9},
    },
}

Tell = Callable[[str, str], None]  # a line, and the style of it


class WentWrong(Exception):
    """The story did not end as it should; `outcome` says how it did."""

    def __init__(self, outcome: str, message: str) -> None:
        self.outcome = outcome
        super().__init__(message)


@dataclass(slots=True)
class Story:
    """One run. `told` collects the figures on the way, so that a bad end can show them too."""

    api: Backend
    children: Children
    tell: Tell
    workers: int
    seed: int
    told: dict[str, Any] = field(default_factory=dict)
    seen: dict[str, dict[str, Any]] = field(default_factory=dict)  # audit entries by kind
    last_id: int = 0
    deadline_s: float = field(default_factory=lambda: time.monotonic() + DEADLINE_S)

    def play(self) -> dict[str, Any]:
        """Play it to the verified end. Raises WentWrong."""
        self.told = {
            "scenario": "rollback",
            "prompt": PROMPT,
            "from_version": BAD,
            "to_version": GOOD,
            "seed": self.seed,
            "processes": self.workers,
        }
        self._prepare()
        self._healthy()
        promoted_ms = self._promote(BAD, "the answers shall be machine-readable")
        self.tell(f"{PROMPT}  {BAD} 100%   {self._watching()}", "")
        switched_ms = self._rolled_back(promoted_ms)
        self._propagated(switched_ms)
        self._verified(switched_ms)
        return self.told | {"outcome": "recovered"}

    def _prepare(self) -> None:
        for version, content in CONTENT.items():
            self.api.post(f"/api/prompts/{PROMPT}/versions", {"version": version, **content})
        self._promote(GOOD, "the version that has always worked")
        self.children.start_workers(self.workers, self.seed)
        self._until(f"every process serves {GOOD}", lambda: self._all_serve(GOOD, 0))
        rate = round(self.workers * CALLS_PER_S)
        self.tell(f"{PROMPT}  {GOOD} 100%   {self.workers} processes, about {rate} calls/s", "")

    def _healthy(self) -> None:
        over_s = time.monotonic() + HEALTHY_S
        self._until("a healthy stretch", lambda: time.monotonic() >= over_s)
        arm = self._arm(GOOD)
        self.told["error_rate_before"] = round(arm["error_rate"], 4)
        self.tell(f"{PROMPT}  {GOOD} 100%   {_errors(arm)}", "green")

    def _watching(self) -> str:
        """The limits that hold for a young version, in the server's words."""
        answer = self.api.get(f"/api/prompts/{PROMPT}/explain", environment=ENVIRONMENT)
        rule = answer["state"]["alert_limits"][0]
        limit = rule["when"][0].rpartition(" ")[2]
        return f"watching: {rule['name'].replace('_', ' ')}, limits {limit}"

    def _rolled_back(self, promoted_ms: int) -> int:
        entry = self._await("rollback.switched")
        switched_ms: int = entry["at_ms"]
        confirmed = self.seen["rollback.confirmed"]["detail"]["findings"][0]
        self.told["detected_after_s"] = _seconds(switched_ms - promoted_ms)
        self.told["error_rate"] = round(confirmed["estimate"], 4)
        self.told["generation"] = entry["generation"]
        words = entry["because"].partition(";")[0]
        incident = entry["detail"]["incident"]
        self._until("on-call is paged", lambda: ON_CALL in self.children.paged(incident))
        self.tell(f"ROLLBACK {BAD} -> {GOOD}  {words}   paged: {ON_CALL}", "bold red")
        return switched_ms

    def _propagated(self, switched_ms: int) -> None:
        """The server says that every client has confirmed, and every process says so itself."""
        entry = self._await("rollback.propagated")
        generation = self.told["generation"]
        everyone = f"every process serves {GOOD} again"
        self._until(everyone, lambda: self._all_serve(GOOD, generation))
        last_ms = max(served.at_ms for served in self.children.served() if served)
        self.told["propagated_after_s"] = _seconds(max(entry["at_ms"], last_ms) - switched_ms)
        count = entry["detail"]["clients"]
        if count != self.workers:
            raise WentWrong("miscounted", f"the server counts {count} clients, not {self.workers}")
        self.tell(f"{count} of {self.workers} clients on generation {generation}", "")

    def _verified(self, switched_ms: int) -> None:
        entry = self._await("rollback.verified")
        took_s = _seconds(entry["at_ms"] - switched_ms)
        self.told["verified_after_s"] = took_s
        self._until("every process stays", lambda: self._all_serve(GOOD, self.told["generation"]))
        number = str(entry["detail"]["incident"]).rpartition(".")[2]
        words = entry["because"].partition(",")[0]
        self.tell(f"{words}   incident {number} closed after {took_s:.0f} s", "bold green")

    def _promote(self, version: str, because: str) -> int:
        body = {"prompt": PROMPT, "version": version, "environment": ENVIRONMENT}
        self.api.post("/api/promote", {**body, "because": because})
        entry = self._await("route.moved")
        del self.seen["route.moved"]
        at_ms: int = entry["at_ms"]
        return at_ms

    def _arm(self, version: str) -> dict[str, Any]:
        status = self.api.get("/api/status", environment=ENVIRONMENT, prompt=PROMPT)
        for row in status["prompts"]:
            for arm in row["versions"]:
                if arm["version"] == version:
                    found: dict[str, Any] = arm
                    return found
        raise WentWrong("not_routed", f"{version} is not on the route")

    def _all_serve(self, version: str, generation: int) -> bool:
        return all(_serves(served, version, generation) for served in self.children.served())

    def _await(self, kind: str) -> dict[str, Any]:
        """The next audit entry of this kind. Raises WentWrong when the rollback fails instead."""
        self._until(kind, lambda: kind in self._read())
        return self.seen[kind]

    def _read(self) -> dict[str, dict[str, Any]]:
        """Every kind of entry so far, each with its first entry."""
        query = {"environment": ENVIRONMENT, "prompt": PROMPT, "after": self.last_id}
        for entry in self.api.get("/api/audit", **query)["entries"]:
            self.last_id = entry["id"]
            self.seen.setdefault(entry["kind"], entry)
            if entry["kind"] in ("rollback.not_recovered", "rollback.inconclusive"):
                raise WentWrong(entry["kind"].partition(".")[2], entry["because"])
        return self.seen

    def _until(self, what: str, holds: Callable[[], bool]) -> None:
        while not holds():
            self.children.check()
            if time.monotonic() >= self.deadline_s:
                raise WentWrong("timed_out", f"after {DEADLINE_S:.0f} s still waiting: {what}")
            time.sleep(POLL_S)


def _serves(served: Served | None, version: str, generation: int) -> bool:
    return served is not None and served.version == version and served.generation >= generation


def _errors(arm: dict[str, Any]) -> str:
    return f"errors {percent(arm['error_rate'])} ({arm['bad']} of {arm['n']})"


def _seconds(ms: int) -> float:
    return round(ms / 1000, 2)
