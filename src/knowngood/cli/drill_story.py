"""One drill: a fault in staging, found, decided, mended and proven for real, with its times.

Nothing is pretended but the model: the server judges as ever, and the processes follow as ever.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from knowngood.cli.backend import Backend, segment
from knowngood.cli.demo_story import seconds
from knowngood.cli.drill_callers import Callers
from knowngood.cli.options import DEFAULT_URL
from knowngood.core.drill import (
    DRILL_MARK,
    LIMITS_MS,
    RECOVER_MS,
    Fault,
    Timed,
    drill_version,
    is_drill,
    timed,
)
from knowngood.core.errors import KnowngoodError, UnknownPrompt
from knowngood.core.units import duration_ms

HEALTHY_S = 8.0
CALLERS = 3
POLL_S = 0.2
CLEAN_UP_S = 30.0
GOOD = "drilled"  # the version of a throw-away prompt
TEXT = "You are the prompt of a drill. Answer in one sentence: {{question}}"
FOUND = ("rollback.suspected", "incident.opened")
ASKED, DECLINED = "rollback.requested", "question.declined"
FAILED = ("rollback.not_recovered", "rollback.inconclusive", "rollback.held")

Tell = Callable[[str], None]
Entry = dict[str, Any]


class DrillRefused(KnowngoodError):
    """The drill cannot begin."""

    code = "drill_refused"


class DrillFailed(Exception):
    """A part of the drill did not come to its end."""


@dataclass(slots=True)
class Drill:
    """One drill. `hands_on`: a person decides, and is timed. `at_ms` collects the instants."""

    api: Backend
    callers: Callers
    tell: Tell
    hands_on: bool
    seed: int
    deadline_s: float
    at_ms: dict[str, int] = field(default_factory=dict)
    lines: list[Entry] = field(default_factory=list)
    read_count: int = 0
    last_id: int = 0
    good: str = ""
    bad: str = ""
    trigger: str = ""

    @property
    def fault(self) -> Fault:
        """What goes wrong."""
        return self.callers.fault

    @property
    def because(self) -> str:
        """The reason of everything that the drill does."""
        return f"{DRILL_MARK} {self.fault.value}"

    def play(self) -> dict[str, Any]:
        """From the first call to the report; what was made is taken back, whatever happens."""
        began_s = time.monotonic()
        problem = ""
        self.prepare()
        try:
            self._begin()
            if self.fault is Fault.BLIND:
                self._go_blind()
            else:
                self._go_bad()
        except (DrillFailed, KnowngoodError) as error:
            problem = str(error)
            self.tell(problem)
        except KeyboardInterrupt:
            problem = "interrupted"
        finally:
            left = self._clean_up()
            problem = problem or left or ""
        return self._report(problem, time.monotonic() - began_s)

    # --- Before

    def prepare(self) -> None:
        """The known-good version and the drill's own. Raises DrillRefused; changes no route."""
        version = self._serving()
        self.good = version["version"]
        self.bad = drill_version(self.fault, version["digest"])
        state = self._explain()
        if state is not None:
            row = state["state"]
            if row["incident"] or row["phase_kind"] != "steady" or row["rollout"]:
                raise DrillRefused(
                    f"{self._place} is not steady: {row['phase']}",
                    next_step=f"wait for it: knowngood explain {self.callers.prompt}"
                    f" --env {self.callers.environment}",
                )
            held = [b for b in row["brakes"] if b["kind"] in ("flap", "automation_off")]
            if held and self.fault is Fault.ERROR:
                raise DrillRefused(f"a rollback would be held: {held[0]['words']}")
        self._refuse_others()
        content = {k: v for k, v in version["content"].items() if v is not None}
        config = {**(content.get("config") or {}), "drill": self.fault.value}
        path = f"/api/prompts/{segment(self.callers.prompt)}/versions"
        note = f"the version of a drill: {self.good} with a fault of the callers"
        body = {"version": self.bad, **content, "config": config, "note": note}
        self.api.post(path, {**body, "because": self.because})

    def _serving(self) -> dict[str, Any]:
        """The version that the drill goes back to, with its content."""
        name = segment(self.callers.prompt)
        try:
            prompt = self.api.get(f"/api/prompts/{name}")
        except KnowngoodError:
            if not is_drill(self.callers.prompt):
                raise
            body = {"version": GOOD, "text": TEXT, "because": self.because}
            self.api.post(f"/api/prompts/{name}/versions", body)
            prompt = self.api.get(f"/api/prompts/{name}")
        wanted = _good_of(prompt, self.callers.environment)
        found: dict[str, Any] = self.api.get(f"/api/prompts/{name}/versions/{segment(wanted)}")
        return found

    def _refuse_others(self) -> None:
        """Silence of ours among others that report is idle, not blind."""
        seen = self.api.get("/api/clients", environment=self.callers.environment)
        if self.fault is Fault.BLIND and seen["live_count"]:
            raise DrillRefused(
                f"{seen['live_count']} processes report in {self.callers.environment}: "
                "among them ours would be missed by nobody",
                next_step="drill blindness in an environment of its own: --env NAME",
            )

    def _begin(self) -> None:
        """The good version serves everybody, every process calls it, and all is well."""
        newest = self.api.get("/api/audit", limit=1)["entries"]
        self.last_id = newest[-1]["id"] if newest else 0
        self._route(self.good)
        if self.fault is Fault.BLIND:
            self._route(self.bad)
        wanted = self.bad if self.fault is Fault.BLIND else self.good
        self.callers.start(CALLERS, self.seed)
        self._until(f"every process serves {wanted}", lambda: self._all_serve(wanted))
        self.tell(f"{self._place}: {wanted} serves {CALLERS} processes; healthy for a while")
        over_s = time.monotonic() + HEALTHY_S
        self._until("a healthy stretch", lambda: time.monotonic() >= over_s)

    # --- The fault

    def _go_bad(self) -> None:
        entry = self._route(self.bad)
        assert entry is not None
        self.at_ms["fault"] = entry["at_ms"]
        self.tell(f"fault: {self.bad} serves everybody ({self.fault.value})")
        found = self._wait_for(*FOUND, ASKED)
        if found["kind"] == ASKED:
            raise DrillFailed(f"{found['actor']} rolled back before anything was found")
        self.at_ms["detect"] = found["at_ms"]
        self.trigger = found["detail"]["findings"][0]["trigger"]
        self.tell(f"detected: {found['because']}")
        self._decide()
        decided = self._wait_for("rollback.confirmed", ASKED, DECLINED)
        if decided["kind"] == DECLINED:
            raise DrillFailed(f"{decided['actor']} declined: {decided['because']}")
        self.at_ms["decide"] = decided["at_ms"]
        if decided["kind"] == "rollback.confirmed":
            self.trigger = decided["detail"]["findings"][0]["trigger"]
        switched = self._wait_for("rollback.switched")
        self.at_ms["act"] = switched["at_ms"]
        self.tell(f"rolled back by {switched['actor']}: {self.bad} -> {self.good}")
        spread = self._wait_for("rollback.propagated")
        self._until("every process follows", lambda: self._all_serve(self.good))
        own = [each.at_ms for each in self.callers.served() if each]
        self.at_ms["propagate"] = max(spread["at_ms"], *own)
        self.tell(f"propagated: {spread['because']}")
        verified = self._wait_for("rollback.verified")
        self.at_ms["recover"] = verified["at_ms"]
        self.tell(f"recovered: {verified['because']}")

    def _decide(self) -> None:
        """For errors the system decides; else the drill says yes at once, or a person does."""
        if self.fault is Fault.ERROR:
            return
        if self.hands_on:
            name, server = self.callers.prompt, self.callers.url
            where = f"--env {self.callers.environment}"
            where += f" --url {server}" if server != DEFAULT_URL else ""
            self.tell(f"your turn: knowngood explain {name} {where}")
            self.tell(f"           knowngood approve {name} {where} --because '...'")
            self.tell(f"        or knowngood rollback {name} {self.good} {where} --because '...'")
            return
        body = {
            "prompt": self.callers.prompt,
            "target_version": self.good,
            "environment": self.callers.environment,
            "because": self.because,
        }
        self.api.post("/api/rollback", body)

    def _go_blind(self) -> None:
        self.callers.kill()
        self.at_ms["fault"] = self._now_ms()
        self.tell(f"fault: {CALLERS} processes are gone without a word")
        found = self._wait_for("blind")
        self.at_ms["detect"] = found["at_ms"]
        self.trigger = "blind"
        self.tell(f"detected: {found['because']}")
        self.at_ms["repaired"] = self._now_ms()
        self.callers.start(CALLERS, self.seed)
        back = self._wait_for("blind.ended")
        self.at_ms["recover"] = back["at_ms"]
        self.tell(f"recovered: {back['because']}")
        if any(line["kind"].startswith("rollback.") for line in self.lines):
            raise DrillFailed("something was rolled back while nobody could see")

    # --- After

    def _clean_up(self) -> str | None:
        """The processes are ended and the good version serves; the words of what did not go."""
        try:
            if not self._is_served(self.good):
                self._route(self.good)
        except (KnowngoodError, DrillFailed) as error:
            return f"{self.good} could not be put back: {error}"
        finally:
            self.callers.end()
        return None

    def _report(self, problem: str, took_s: float) -> dict[str, Any]:
        parts = timed(self.fault, self.at_ms, self._limit_ms(), self._recover_ms())
        outcome = "kept" if not problem and all(p.kept for p in parts) else "missed"
        report = {
            "drill": self.fault.value,
            "prompt": self.callers.prompt,
            "environment": self.callers.environment,
            "from_version": self.bad,
            "to_version": self.good,
            "trigger": self.trigger or None,
            "hands_on": self.hands_on,
            "parts": [part_data(part) for part in parts],
            "problem": problem or None,
            "outcome": outcome,
            "seconds": round(took_s, 1),
        }
        body = {
            "prompt": self.callers.prompt,
            "environment": self.callers.environment,
            "fault": self.fault.value,
            "outcome": outcome,
            "report": report,
        }
        try:
            report["entry"] = self.api.post("/api/drills", body)["id"]
        except KnowngoodError as error:
            report["problem"] = problem or f"the report is not in the history: {error.message}"
        return report

    def _limit_ms(self) -> int:
        """From the fault to the act, as the policy's trigger says, else as the article's table."""
        limit = self._policy("triggers", self.trigger, "limit")
        return duration_ms(limit) if limit else LIMITS_MS[self.fault]

    def _recover_ms(self) -> int:
        deadline = self._policy("verify", "deadline")
        return duration_ms(deadline) if deadline else RECOVER_MS

    def _policy(self, *path: str) -> str:
        file = self.api.get("/api/policy", prompt=self.callers.prompt)
        for place in (
            file["policy"]["prompts"].get(self.callers.prompt),
            file["policy"]["defaults"],
        ):
            value: Any = place
            for key in path:
                value = value.get(key) if isinstance(value, dict) else None
            if isinstance(value, str):
                return value
        return ""

    # --- What is seen and done

    @property
    def _place(self) -> str:
        return f"{self.callers.prompt} in {self.callers.environment}"

    def _explain(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self.api.get(
                f"/api/prompts/{segment(self.callers.prompt)}/explain",
                environment=self.callers.environment,
            )
        except UnknownPrompt:
            return None
        return found

    def _now_ms(self) -> int:
        found = self._explain()
        assert found is not None
        now_ms: int = found["now_ms"]
        return now_ms

    def _is_served(self, version: str) -> bool:
        found = self._explain()
        arms = found["state"]["arms"] if found else []
        return [(a["version"], a["weight_bp"]) for a in arms] == [(version, 10_000)]

    def _route(self, version: str) -> Entry | None:
        """Serve a version to everybody in staging; its line of history, or None if it was."""
        if self._is_served(version):
            return None
        body = {
            "prompt": self.callers.prompt,
            "version": version,
            "environment": self.callers.environment,
            "because": self.because,
            "override": ["quarantined", "in_progress"],
            "now": True,
        }
        self.api.post("/api/promote", body)
        return self._wait_for("route.moved", limit_s=CLEAN_UP_S)

    def _all_serve(self, version: str) -> bool:
        return all(each is not None and each.version == version for each in self.callers.served())

    def _wait_for(self, *kinds: str, limit_s: float | None = None) -> Entry:
        """The next line of history of one of these kinds. Raises DrillFailed."""
        found: list[Entry] = []

        def there() -> bool:
            while self.read_count < len(self.lines):
                line = self.lines[self.read_count]
                self.read_count += 1
                if line["kind"] in kinds:
                    found.append(line)
                    return True
                if line["kind"] in FAILED and limit_s is None:
                    raise DrillFailed(f"{line['kind']}: {line['because']}")
            query = {"environment": self.callers.environment, "prompt": self.callers.prompt}
            for line in self.api.get("/api/audit", **query, after=self.last_id)["entries"]:
                self.last_id = line["id"]
                self.lines.append(line)
            return False

        self._until(" or ".join(kinds), there, limit_s)
        return found[0]

    def _until(self, what: str, holds: Callable[[], bool], limit_s: float | None = None) -> None:
        began_s = time.monotonic()
        while not holds():
            if limit_s is None:
                self.callers.check()
            if time.monotonic() - began_s > (limit_s or self.deadline_s):
                raise DrillFailed(f"still waiting after {limit_s or self.deadline_s:.0f} s: {what}")
            time.sleep(POLL_S)


def _good_of(prompt: dict[str, Any], environment: str) -> str:
    """The version to go back to: what serves there, else what serves in production, else newest."""
    for place in (environment, "production"):
        arms = prompt["environments"].get(place, {}).get("arms", [])
        if not arms:
            continue
        version = str(arms[0]["version"])
        if place == environment and arms[0]["standing"] != "good":
            raise DrillRefused(
                f"{version} is not known to be good in {place}, so nothing could be rolled back",
                next_step=f"knowngood vouch {prompt['name']} {version} --env {place} --because ...",
            )
        return version
    own = [row["version"] for row in prompt["versions"] if not is_drill(row["version"])]
    if not own:
        raise DrillRefused(f"{prompt['name']} has no version of its own")
    return str(own[0])


def part_data(part: Timed) -> dict[str, Any]:
    """A part of the report."""
    return {
        "part": part.part.value,
        "took_s": None if part.took_ms is None else seconds(part.took_ms),
        "limit_s": None if part.limit_ms is None else seconds(part.limit_ms),
        "kept": part.kept,
    }
