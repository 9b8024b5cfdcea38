"""A policy's tests as their owner writes them: stories of calls, deploys and what is expected.

Every problem of a file is noted with its path, and what is unknown with what is known.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import Any, TypeVar

from knowngood.core.content import check_environment_name, check_prompt_name, check_version_name
from knowngood.core.errors import BadPolicy, KnowngoodError
from knowngood.core.model import Arm, Route, Severity, Standing, Verdict, whole
from knowngood.core.policy import PolicyFile
from knowngood.core.policy_checks import Reader, below, fields
from knowngood.core.policy_condition import did_you_mean
from knowngood.core.units import UNITS_MS, duration_ms, exact_fraction, share_bp, shown
from knowngood.core.window import ERROR_KINDS
from knowngood.sim.series import Gap, Series, Unit, milliseconds, number, parse_series

T = TypeVar("T")
D = TypeVar("D")

PRODUCTION = "production"
DEFAULT_PROMPT = "prompt"
DEFAULT_KIND = "prompt"  # of a failure, as the SDK's own `call.fail()` has it
# A day, for policies that look back so far, and the bake of an hour after it. A second of a test
# costs about a millisecond.
LENGTH_MAX_MS = 25 * UNITS_MS["h"]
TESTS_MAX = 1_000
CALLS_MAX = 10_000  # a second: every metric is sharp long before
PROCESSES_MAX = 1_000

ACTIONS = (
    "rollback",
    "held",
    "ask",
    "observe",
    "alert",
    "dry_run",
    "blind",
    "recovered",
    "not_recovered",
    "inconclusive",
    "resolved",
    "good",
)
NONE, NOBODY, OPEN = "none", "nobody", "open"
PHASES = ("steady", "confirming", "verifying")
INCIDENTS = (NONE, OPEN, *Severity)

BOTH = (Gap.MISSING, Gap.STALE)
TOP = Fraction(10**9)
CALLS = Unit("calls a second", "20x300", number, Fraction(0), Fraction(CALLS_MAX), BOTH)
PROCESSES = Unit("processes", "4x2m 3", number, Fraction(0), Fraction(PROCESSES_MAX), ())
LATE = Unit("delays", "0sx2m 10s", milliseconds, Fraction(0), Fraction(LENGTH_MAX_MS), ())
COUNT = Unit("a number a second", "0x120 2x180", number, Fraction(0), Fraction(CALLS_MAX))
SHARE = Unit("shares", "0.3%x120 12%x60", exact_fraction, Fraction(0), Fraction(1))
SPAN = Unit("latencies", "800msx300", milliseconds, Fraction(0), Fraction(LENGTH_MAX_MS))
AMOUNT = Unit("amounts a call", "500x300", number, Fraction(0), TOP)
DEFAULTS = {
    "calls": parse_series("0", CALLS, UNITS_MS["s"]),
    "processes": parse_series("1", PROCESSES, UNITS_MS["s"]),
    "late": parse_series("0", LATE, UNITS_MS["s"]),
}

_PART = re.compile(r"\d+(?:\.\d+)?[a-z]+")


@dataclass(frozen=True, slots=True)
class Event:
    """A person moves the route."""

    at_ms: int
    arms: tuple[Arm, ...]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What has to hold at `at_ms`, or over the whole test (None); `version` is the one meant."""

    path: str
    at_ms: int | None
    checks: Mapping[str, Any]
    version: str = ""


@dataclass(frozen=True, slots=True)
class Story:
    """One test: who calls what, how each version behaves, what people do and what is expected.

    The first of `versions` serves from the beginning, `served_ms` before the first call.
    """

    name: str
    prompt: str
    environment: str
    step_ms: int
    served_ms: int
    calls: Series
    processes: Series
    late: Series
    versions: Mapping[str, Mapping[str, Series]]
    events: tuple[Event, ...]
    expectations: tuple[Expectation, ...]

    @property
    def length_ms(self) -> int:
        """Until the last expectation or, if one is for the whole test, until all is over."""
        asked = [e.at_ms for e in self.expectations if e.at_ms is not None]
        if len(asked) == len(self.expectations):
            return max(asked)
        lines = [self.calls, self.processes, self.late]
        lines += [line for version in self.versions.values() for line in version.values()]
        steps = max(line.step_count for line in lines)
        return max([steps * self.step_ms, *asked, *(event.at_ms for event in self.events)])


def policy_named(data: Any) -> str | None:
    """The policy file that a test file names. Raises BadPolicy when it is not of that form."""
    reader = Reader()
    fields(reader, "", data, {"policy": _text, "tests": _unread})
    reader.raise_any()
    found: str | None = data.get("policy")
    return found


def stories(data: Any, policy: PolicyFile) -> tuple[Story, ...]:
    """The tests of a file, read from plain data whose values are all texts.

    Raises BadPolicy: a line for each problem with its path.
    """
    writer = _Writer(policy)
    found = [writer.story(f"tests[{n}]", test) for n, test in enumerate(writer.tests(data))]
    writer.reader.raise_any()
    return tuple(story for story in found if story is not None)


def instant_ms(text: str) -> int:
    """The ms of `2m30s`, `90s` or 0: how long after the beginning. Raises BadPolicy."""
    if text in ("0", "0s", "0m"):
        return 0
    parts = _PART.findall(text)
    if not parts or "".join(parts) != text:
        raise BadPolicy(f"{shown(text)} is no time", next_step="write it as in: 90s, or 2m30s")
    ms = sum(map(duration_ms, parts))
    if ms % UNITS_MS["s"]:
        raise BadPolicy(f"{text} is no whole number of seconds")
    if ms > LENGTH_MAX_MS:
        raise BadPolicy(f"{text} is beyond the longest test, {LENGTH_MAX_MS // UNITS_MS['h']}h")
    return ms


def _text(reader: Reader, path: str, value: Any) -> None:
    if not isinstance(value, str) or not value.strip():
        reader.wrong(path, f"{shown(value)} is not a text")


def _unread(reader: Reader, path: str, value: Any) -> None:
    """Read later, by whoever knows more."""


TEST = (
    "name",
    "prompt",
    "environment",
    "step",
    "served",
    "calls",
    "processes",
    "late",
    "versions",
    "events",
    "expect",
)
NEEDED = ("name", "calls", "versions", "expect")
EVENT = ("at", "deploy", "split")


@dataclass(slots=True)
class _Writer:
    """Reads one file's tests and notes its problems; what is wrong is left out meanwhile."""

    policy: PolicyFile
    reader: Reader = field(default_factory=Reader)

    def tests(self, data: Any) -> list[Any]:
        tests = data.get("tests") if isinstance(data, Mapping) else None
        if not isinstance(tests, list) or not 1 <= len(tests) <= TESTS_MAX:
            self.reader.wrong("tests", f"a file has 1 to {TESTS_MAX} tests, as a list")
            return []
        return tests

    def story(self, path: str, test: Any) -> Story | None:
        test = self._mapping(path, test, TEST)
        if missing := [key for key in NEEDED if not test.get(key)]:
            self.reader.wrong(path, f"a test needs {', '.join(missing)}", TEST)
            return None
        prompt = self._read(path, test, "prompt", check_prompt_name, DEFAULT_PROMPT)
        step_ms = self._read(path, test, "step", _step_ms, UNITS_MS["s"])
        known = {"calls": CALLS, "processes": PROCESSES, "late": LATE}
        lines = {**DEFAULTS, **self._lines(path, test, known, step_ms)}
        versions = self._versions(below(path, "versions"), test["versions"], step_ms)
        expect = below(path, "expect")
        found = Story(
            name=self._read(path, test, "name", _words, path),
            prompt=prompt,
            environment=self._read(path, test, "environment", check_environment_name, PRODUCTION),
            step_ms=step_ms,
            served_ms=self._read(path, test, "served", duration_ms, 0),
            calls=lines["calls"],
            processes=lines["processes"],
            late=lines["late"],
            versions=versions,
            events=self._events(below(path, "events"), test.get("events", []), versions),
            expectations=self._expectations(expect, test["expect"], versions, prompt),
        )
        if not self.reader.problems:
            self._check_length(path, found)
        return found

    def _check_length(self, path: str, story: Story) -> None:
        if story.length_ms > LENGTH_MAX_MS:
            self.reader.wrong(path, f"the test is longer than {LENGTH_MAX_MS // UNITS_MS['h']}h")
        late = [event for event in story.events if event.at_ms > story.length_ms]
        if late:
            words = "an event comes after the last expectation, so it never happens"
            self.reader.wrong(below(path, "events"), words)

    # --- Versions

    def _versions(self, path: str, value: Any, step_ms: int) -> dict[str, dict[str, Series]]:
        known = self._units()
        found: dict[str, dict[str, Series]] = {}
        for version, series in self._mapping(path, value).items():
            place = below(path, version)
            self._attempt(place, check_version_name, version, "")
            if isinstance(series, Mapping) and "calls" in series:
                words = "calls belong to the test: its route says which version gets them"
                self.reader.wrong(below(place, "calls"), words)
                series = {}
            lines = self._mapping(place, series or {}, known)
            found[version] = self._lines(place, lines, known, step_ms)
            for count, rate in ((k, k.replace("errors", "error_rate")) for k in found[version]):
                if count != rate and rate in found[version]:
                    self.reader.wrong(below(place, count), f"{rate} says it already")
        return found

    def _lines(
        self, path: str, data: Mapping[str, Any], known: Mapping[str, Unit], step_ms: int
    ) -> dict[str, Series]:
        """The series of these names; those with a problem are left out."""
        found = {
            name: self._read(
                path, data, name, partial(parse_series, unit=unit, step_ms=step_ms), None
            )
            for name, unit in known.items()
        }
        return {name: line for name, line in found.items() if line is not None}

    def _units(self) -> dict[str, Unit]:
        """Every series that a version may have."""
        kinds = ["", *(f".{kind}" for kind in ERROR_KINDS if kind != DEFAULT_KIND)]
        scores = {
            name if name == "quality" else f"score.{name}": Unit(
                "the score", "0.82x300", number, Fraction(str(declared.min)),
                Fraction(str(declared.max)), may_spread=True,
            )
            for name, declared in self.policy.scores.items()
        }  # fmt: skip
        return {
            **{f"error_rate{kind}": SHARE for kind in kinds},
            **{f"errors{kind}": COUNT for kind in kinds},
            "latency": SPAN,
            "first_token": SPAN,
            **scores,
            "labels": COUNT,
            "refusal_rate": SHARE,
            **{f"counter.{name}": SHARE for name in self.policy.counters},
            "tokens_per_call": AMOUNT,
            "cost_per_call": AMOUNT,
        }

    # --- Events and expectations

    def _events(self, path: str, value: Any, versions: Collection[str]) -> tuple[Event, ...]:
        arms_of = partial(_arms, versions=versions)
        found: list[Event] = []
        for place, event in self._items(path, value, EVENT):
            moves = [key for key in ("deploy", "split") if key in event]
            if "at" not in event or len(moves) != 1:
                self.reader.wrong(place, "an event has `at` and either `deploy` or `split`")
                continue
            at_ms = self._read(place, event, "at", instant_ms, 0)
            arms = self._attempt(below(place, moves[0]), arms_of, event[moves[0]], None)
            found.append(Event(at_ms, arms or ()))
        return tuple(sorted(found, key=lambda event: event.at_ms))

    def _expectations(
        self, path: str, value: Any, versions: Collection[str], prompt: str
    ) -> tuple[Expectation, ...]:
        readers = self._checks(versions, prompt)
        found: list[Expectation] = []
        for place, wanted in self._items(path, value, ("at", "version", *readers)):
            checks = {
                key: self._attempt(below(place, key), read, wanted[key], None)
                for key, read in readers.items()
                if key in wanted
            }
            if not checks:
                self.reader.wrong(place, "nothing is expected here", tuple(readers))
            elif "at" not in wanted and set(checks) != {"never"}:
                self.reader.wrong(place, "when? only `never` holds for the whole test")
            at_ms = self._read(place, wanted, "at", instant_ms, None)
            version = self._read(place, wanted, "version", partial(_one_of, versions), "")
            found.append(Expectation(place, at_ms, checks, version))
        return tuple(found)

    def _checks(self, versions: Collection[str], prompt: str) -> dict[str, Callable[[Any], Any]]:
        """What can be expected, each with its reader."""
        rules = self.policy.for_prompt(prompt)
        triggers = [t.name for t in rules.triggers]
        triggers += [f"{rule.name}.{when.metric}" for rule in rules.alerts for when in rule.when]
        return {
            "verdict": partial(_named, known=triggers, values=list(Verdict)),
            "route": partial(_arms, versions=versions),
            "action": partial(_several, known=(NONE, *ACTIONS)),
            "never": partial(_several, known=ACTIONS),
            "paged": _texts,
            "waiting_on": _texts,
            "standing": partial(_named, known=versions, values=list(Standing)),
            "phase": partial(_one_of, PHASES),
            "incident": partial(_one_of, INCIDENTS),
        }

    # --- Plumbing

    def _attempt(self, path: str, read: Callable[[Any], T], value: Any, default: D) -> T | D:
        """What was read, or the default after its problem was noted."""
        try:
            return read(value)
        except KnowngoodError as error:
            self.reader.wrong(path, error.message, error.known, error.next_step)
            return default

    def _read(
        self, path: str, data: Mapping[str, Any], key: str, read: Callable[[str], T], default: D
    ) -> T | D:
        """The text under `key` as `read` understands it; the default where there is none."""
        if key not in data:
            return default
        if not isinstance(data[key], str):
            self.reader.wrong(below(path, key), f"{shown(data[key])} is not one value")
            return default
        return self._attempt(below(path, key), read, data[key], default)

    def _mapping(
        self, path: str, value: Any, known: Collection[str] | None = None
    ) -> Mapping[str, Any]:
        """The mapping, with a problem noted for each key that is not known."""
        if not isinstance(value, Mapping):
            self.reader.wrong(path, f"{shown(value)} is not a mapping", known or ())
            return {}
        for key in value:
            if known is not None and key not in known:
                self.reader.unknown(below(path, key), "key", key, tuple(known))
        return value

    def _items(
        self, path: str, value: Any, known: Collection[str]
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The mappings of a list, each with its path."""
        if not isinstance(value, list):
            self.reader.wrong(path, f"{shown(value)} is not a list")
            return
        for number_, item in enumerate(value):
            place = f"{path}[{number_}]"
            yield place, self._mapping(place, item, known)


# --- Values


def _step_ms(text: str) -> int:
    ms = duration_ms(text)
    if ms % UNITS_MS["s"]:
        raise BadPolicy(f"a step of {text} is no whole number of seconds")
    return ms


def _words(text: str) -> str:
    return " ".join(text.split())


def _one_of(known: Collection[str], value: Any) -> str:
    if not isinstance(value, str) or value not in known:
        names = [str(name) for name in known]
        advice = did_you_mean(value, names) if isinstance(value, str) else ""
        raise BadPolicy(f"unknown word {shown(value)}", known=names, next_step=advice)
    return value


def _texts(value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
        raise BadPolicy(f"{shown(value)} is neither a text nor a list of texts")
    return tuple(texts)


def _several(value: Any, known: Collection[str]) -> tuple[str, ...]:
    return tuple(_one_of(known, word) for word in _texts(value))


def _named(value: Any, known: Collection[str], values: Collection[str]) -> dict[str, Any]:
    """A mapping from known names to one or several words."""
    if not isinstance(value, Mapping) or not value:
        raise BadPolicy(f"{shown(value)} is not a mapping", known=tuple(known))
    return {_one_of(known, name): _several(words, values) for name, words in value.items()}


def _arms(value: Any, versions: Collection[str]) -> tuple[Arm, ...]:
    """The arms of `v2`, or of `{v1: 95%, v2: 5%}`: the control first."""
    if isinstance(value, str):
        return whole(_one_of(versions, value))
    if not isinstance(value, Mapping):
        raise BadPolicy(f"{shown(value)} is neither a version nor a mapping of shares")
    arms = tuple(Arm(_one_of(versions, name), share_bp(share)) for name, share in value.items())
    return Route(arms).arms  # which refuses what is no route
