"""From what was read of a runbook's file to a Runbook, and everything that is wrong with it.

Every problem is found in one go, each with its line: nobody mends a file ten times at night.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from typing import Any

from knowngood.core.errors import KnowngoodError
from knowngood.core.expectation import Expectation, parse_expectation
from knowngood.core.model import Severity
from knowngood.core.policy_condition import METRICS, Scores, did_you_mean
from knowngood.core.runbook import (
    VARIABLES,
    VERBS,
    VERBS_NEED,
    Act,
    Approve,
    Check,
    Fence,
    Manual,
    Problem,
    Runbook,
    Section,
    Situation,
    Source,
    Step,
    StepKind,
    Tell,
    Until,
    Work,
)
from knowngood.core.runbook_fill import VARIABLE, names_in, unquotable
from knowngood.core.units import duration_ms, exact_fraction, shown

FRONT = (
    "id",
    "title",
    "severity",
    "triggers",
    "owners",
    "reviewed_at",
    "max_age_days",
    "vars",
)
FRONT_NEEDED = ("id", "title", "severity", "reviewed_at")
ATTRIBUTES = ("step", "kind")
MAX_AGE_DAYS = 180
STEPS_MAX = 50  # nobody follows more at night
TEXT_CHARS_MAX = 2_000
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
SHELLS = ("sh", "bash", "shell", "console")
OTHERWISE = ("stop", "go_on")
EXECUTABLE = tuple(kind.value for kind in StepKind if kind is not StepKind.READ)

Wrong = Callable[[str, str], None]  # (words, hint)


@dataclass(frozen=True, slots=True)
class Known:
    """The names that a runbook may use. `triggers` None: any name goes."""

    scores: Scores = field(default_factory=dict)
    counters: Collection[str] = ()
    triggers: Collection[str] | None = None
    verbs: Collection[str] | None = None  # of the command line


def build(source: Source, known: Known) -> tuple[Runbook | None, tuple[Problem, ...]]:
    """The runbook, or None, and what is wrong with its text, by line."""
    lint = _Lint(source, known)
    front = lint.front()
    steps = lint.steps()
    lint.words()
    problems = tuple(sorted(lint.problems, key=lambda problem: problem.line))
    if problems:
        return None, problems
    return (
        Runbook(
            id=front["id"],
            title=front["title"],
            severity=front["severity"],
            triggers=tuple(front.get("triggers", ())),
            owners=tuple(front.get("owners", ())),
            reviewed_at=str(front["reviewed_at"]),
            max_age_days=front.get("max_age_days", MAX_AGE_DAYS),
            constants=lint.constants(),
            intro=source.intro,
            steps=steps,
            digest=sha256(source.text.encode()).hexdigest(),
        ),
        (),
    )


def overdue_days(reviewed_at: str, max_age_days: int, today: date) -> int:
    """By how many days its review is overdue; 0 when it is not."""
    return max(0, (today - date.fromisoformat(reviewed_at)).days - max_age_days)


def stale(source: Source, runbook: Runbook, today: date) -> tuple[Problem, ...]:
    """The problem that nobody has reviewed the runbook for too long."""
    late = overdue_days(runbook.reviewed_at, runbook.max_age_days, today)
    if not late:
        return ()
    words = f"last reviewed {runbook.reviewed_at}, {late} days longer ago than max_age_days"
    hint = "read it, mend it, and write today's date into reviewed_at"
    return (Problem(source.front_lines.get("reviewed_at", 1), words, hint),)


class _Lint:
    """One pass over a source; `problems` grows."""

    def __init__(self, source: Source, known: Known) -> None:
        self.source = source
        self.known = known
        self.problems: list[Problem] = []
        front = source.front
        self._front: Mapping[Any, Any] = front if isinstance(front, Mapping) else {}

    def wrong(self, line: int, words: str, hint: str = "") -> None:
        """Note a problem."""
        self.problems.append(Problem(line, words, hint))

    def constants(self) -> dict[str, str]:
        """The runbook's own variables."""
        given = self._front.get("vars") or {}
        return {str(k): str(v) for k, v in given.items()} if isinstance(given, Mapping) else {}

    # --- Front matter

    def front(self) -> Mapping[str, Any]:
        """The front matter, checked."""
        if not isinstance(self.source.front, Mapping):
            self.wrong(1, "there is no front matter", "begin with ---, id: ..., title: ..., ---")
            return {}
        for key in self._front:
            if key not in FRONT:
                self._at(key, f"unknown key {shown(key)}", _meant(str(key), FRONT))
        for key in FRONT_NEEDED:
            if not self._front.get(key):
                self._at(key, f"`{key}` is missing", f"known: {', '.join(FRONT)}")
        self._check_names()
        self._check_review()
        return self._front

    def _at(self, key: object, words: str, hint: str = "") -> None:
        self.wrong(self.source.front_lines.get(str(key), 1), words, hint)

    def _check_names(self) -> None:
        front = self._front
        name = front.get("id")
        if name and not (isinstance(name, str) and NAME.fullmatch(name)):
            self._at("id", f"{shown(name)} is no id", "use small letters, digits and -")
        if "title" in front and not isinstance(front["title"], str):
            self._at("title", f"{shown(front['title'])} is no title")
        levels = [level.value for level in Severity]
        if front.get("severity") and front["severity"] not in levels:
            self._at("severity", f"unknown severity {shown(front['severity'])}", _one_of(levels))
        for key in ("triggers", "owners"):
            value = front.get(key, [])
            if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
                self._at(key, f"`{key}` is no list of names")
        self._check_triggers()
        own = front.get("vars", {})
        if not isinstance(own, Mapping):
            self._at("vars", "`vars` is no mapping of names to texts")
        for key in self.constants():
            if key in VARIABLES or not key.isidentifier():
                self._at("vars", f"{shown(key)} cannot be a variable of your own")

    def _check_triggers(self) -> None:
        given = self._front.get("triggers", [])
        if self.known.triggers is None or not isinstance(given, list):
            return
        known = [*self.known.triggers, *METRICS, *(each.value for each in Situation)]
        for name in given:
            if name not in known and not str(name).startswith(("score.", "counter.")):
                self._at("triggers", f"unknown trigger {shown(name)}", _meant(str(name), known))

    def _check_review(self) -> None:
        reviewed = self._front.get("reviewed_at")
        if reviewed:
            try:
                date.fromisoformat(str(reviewed))
            except ValueError:
                self._at("reviewed_at", f"{shown(reviewed)} is no date", "write it as 2026-01-31")
        age = self._front.get("max_age_days", MAX_AGE_DAYS)
        if not isinstance(age, int) or isinstance(age, bool) or age < 1:
            self._at("max_age_days", f"{shown(age)} is no number of days")

    # --- Steps

    def steps(self) -> tuple[Step, ...]:
        """The steps, one of each heading."""
        sections = self.source.sections
        if not sections:
            self.wrong(1, "there is no step", "each `## Heading` is one")
        if len(sections) > STEPS_MAX:
            self.wrong(sections[STEPS_MAX].line, f"more than {STEPS_MAX} steps")
        found: list[Step] = []
        for section in sections[:STEPS_MAX]:
            step = self._step(section)
            if any(step.name == other.name for other in found):
                self.wrong(step.line, f"there are two steps {step.name!r}")
            found.append(step)
        return tuple(found)

    def _step(self, section: Section) -> Step:
        fences = [fence for fence in section.fences if fence.attributes is not None]
        for extra in fences[1:]:
            self.wrong(extra.line, "a step does one thing", "give it a `##` heading of its own")
        if not fences:
            return Step(
                _slug(section.title), section.title, section.line, StepKind.READ, section.prose
            )
        fence = fences[0]
        attributes = fence.attributes or {}
        for key in attributes:
            if key not in ATTRIBUTES:
                self.wrong(fence.line, f"unknown attribute {key!r}", _one_of(ATTRIBUTES))
        name = attributes.get("step", "")
        if not NAME.fullmatch(name):
            self.wrong(fence.line, "the step has no name", "as in {step=revert kind=action}")
        kind = attributes.get("kind", "")
        if kind not in EXECUTABLE:
            hint = _meant(kind, EXECUTABLE)
            self.wrong(fence.line, f"unknown kind of step {kind!r}", hint)
            return Step(name, section.title, section.line, StepKind.READ, section.prose)
        args = _Args(self, fence)
        work = _WORKS[kind](args)
        goes_on = args.word("otherwise", OTHERWISE, "stop") == "go_on"
        args.refuse_unknown()
        return Step(name, section.title, section.line, StepKind(kind), section.prose, work, goes_on)

    # --- Words

    def words(self) -> None:
        """Variables, commands and links of the whole text."""
        own = self.constants()
        for number, name in names_in(self.source.text):
            if name not in VARIABLES and name not in own:
                known = [*VARIABLES, *own]
                hint = did_you_mean(name, known) or _one_of(known)
                self.wrong(number + 1, f"unknown variable {name!r}", hint)
        for section in self.source.sections:
            for fence in section.fences:
                if fence.attributes is None and fence.language in SHELLS:
                    self._command(fence)
        for line, target in self.source.dead:
            self.wrong(line, f"the link to {target} leads nowhere")

    def _command(self, fence: Fence) -> None:
        for number, name in unquotable(fence.text):
            hint = "leave the quotes out: what is filled in brings its own"
            self.wrong(fence.line + 1 + number, f"the variable {name!r} is inside quotes", hint)
        for number, line in enumerate(fence.text.split("\n")):
            words = VARIABLE.sub(" ", line.removeprefix("$ ")).split()
            if self.known.verbs is None or words[:1] != ["knowngood"] or len(words) < 2:
                continue
            if words[1] not in self.known.verbs:
                hint = _meant(words[1], self.known.verbs)
                self.wrong(fence.line + 1 + number, f"there is no `knowngood {words[1]}`", hint)


class _Args:
    """The arguments of one executable fence, taken one by one; what is left is unknown."""

    def __init__(self, lint: _Lint, fence: Fence) -> None:
        self.lint = lint
        self.fence = fence
        data = {} if fence.data is None else fence.data
        if not isinstance(data, Mapping):
            lint.wrong(fence.line, "the block's arguments are no mapping", "write `name: value`")
            data = {}
        self.data = data
        self.taken: set[str] = set()

    def line_of(self, key: str) -> int:
        """Where the argument stands."""
        for number, line in enumerate(self.fence.text.split("\n")):
            if line.strip().startswith(f"{key}:"):
                return self.fence.line + 1 + number
        return self.fence.line

    def wrong(self, key: str, words: str, hint: str = "") -> None:
        """Note a problem with an argument."""
        self.lint.wrong(self.line_of(key), words, hint)

    def text(self, key: str, default: str | None = "") -> str:
        """A text; without a default it has to be there."""
        self.taken.add(key)
        value = self.data.get(key)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
            self.wrong(key, f"`{key}` is missing" if value is None else f"`{key}` is no text")
            return ""
        if len(str(value)) > TEXT_CHARS_MAX:
            self.wrong(key, f"`{key}` is longer than {TEXT_CHARS_MAX} characters")
        return str(value)

    def word(self, key: str, known: Collection[str], default: str | None = None) -> str:
        """One of the known words."""
        given = self.text(key, default)
        if given and given not in known:
            self.wrong(key, f"unknown {key} {given!r}", _meant(given, known))
        return given

    def time_ms(self, key: str, default: int | None) -> int:
        """A duration; without a default it has to be there."""
        given = self.text(key, None if default is None else "")
        if not given:
            return default or 0
        try:
            return duration_ms(given)
        except KnowngoodError as error:
            self.wrong(key, error.message, error.next_step)
            return 0

    def expectation(self, key: str) -> Expectation:
        """What should hold."""
        given = self.text(key, None)
        try:
            if given:
                return parse_expectation(given, self.lint.known.scores, self.lint.known.counters)
        except KnowngoodError as error:
            hint = error.next_step or _one_of(error.known)
            self.wrong(key, error.message, hint)
        return Expectation(given)

    def refuse_unknown(self) -> None:
        """Note the arguments that nobody has taken."""
        for key in self.data:
            if key not in self.taken:
                self.wrong(str(key), f"unknown argument {shown(key)}", _one_of(sorted(self.taken)))


def _check(args: _Args) -> Check:
    if "suite" in args.data:
        suite, share = args.text("suite", None), args.text("at_least", None)
        at_least = 0.0
        try:
            at_least = float(exact_fraction(share)) if share else 0.0
        except KnowngoodError as error:
            args.wrong("at_least", error.message, error.next_step)
        expect = Expectation(f"{suite} >= {share}", suite=suite, at_least=at_least)
        return Check(expect, args.text("version", "{{good_version}}"))
    return Check(
        args.expectation("expect"),
        args.text("version", "{{bad_version}}"),
        args.time_ms("over", 300_000),
        args.time_ms("within", 0),
    )


def _act(args: _Args) -> Act:
    verb = args.word("verb", VERBS, None)
    if verb not in VERBS:
        args.taken.update(args.data)  # what it may be told, nobody knows
    allowed = VERBS.get(verb, ())
    needed = VERBS_NEED.get(verb, ())
    options = {key: args.text(key, None if key in needed else "") for key in allowed}
    if length := options.get("for", ""):
        _refuse_time(args, "for", length)
    if length := options.get("hold", ""):
        _refuse_time(args, "hold", length)
    said = {key: value for key, value in options.items() if value}
    return Act(verb, args.text("prompt", "{{prompt}}"), said, args.text("because"))


def _refuse_time(args: _Args, key: str, text: str) -> None:
    if VARIABLE.search(text):
        return
    args.time_ms(key, 0)


def _approve(args: _Args) -> Approve:
    return Approve(args.text("role", None), args.text("ask"))


def _manual(args: _Args) -> Manual:
    return Manual(args.text("do"))


def _wait(args: _Args) -> Until:
    if "until" in args.data:
        return Until(
            args.time_ms("at_most", None),
            args.expectation("until"),
            args.text("version", "{{good_version}}"),
            args.time_ms("over", 300_000),
        )
    return Until(args.time_ms("for", None))


def _tell(args: _Args) -> Tell:
    return Tell(args.text("audience", None), args.text("subject", None), args.text("text"))


_WORKS: Mapping[str, Callable[[_Args], Work]] = {
    "check": _check,
    "action": _act,
    "approve": _approve,
    "manual": _manual,
    "wait": _wait,
    "notify": _tell,
}


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60] or "step"


def _one_of(names: Collection[str]) -> str:
    return f"known: {', '.join(names)}" if names else ""


def _meant(name: str, known: Collection[str]) -> str:
    return did_you_mean(name, known) or _one_of(known)
