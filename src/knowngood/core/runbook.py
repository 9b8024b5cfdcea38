"""Runbooks: what a tired person does step by step, as data. Text is split and YAML read elsewhere.

A runbook is linear: its steps are done in order, and there are no jumps. It can only do what our
own API can do: no command of it ever runs on the server.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from knowngood.core.expectation import Expectation

DAY_MS = 86_400_000


class StepKind(StrEnum):
    """What a step is, and who does it."""

    READ = "read"  # prose: somebody reads it
    CHECK = "check"  # the server looks whether something holds
    ACTION = "action"  # the server does what a verb of its API says, once somebody says so
    APPROVE = "approve"  # somebody with a role says yes, or no
    MANUAL = "manual"  # somebody does it elsewhere, and says so
    WAIT = "wait"  # until something holds, or for a while
    NOTIFY = "notify"  # a message to an audience


class Situation(StrEnum):
    """What a runbook may be for besides a trigger or a metric."""

    ROLLBACK_FAILED = "rollback_failed"
    TARGET_BAD = "target_bad"
    BLIND = "blind"
    UPSTREAM = "upstream"
    CASCADE = "cascade"
    FLAP = "flap"


# What a runbook's text may name in braces, and what stands there then.
VARIABLES: Mapping[str, str] = {
    "incident": "the incident's id, or the prompt's place where there is none",
    "prompt": "the prompt",
    "environment": "the environment",
    "env": "`--env NAME`, where a command does not mean it anyway",
    "severity": "how bad it is",
    "triggers": "what was breached",
    "because": "what was found, in words",
    "opened": "when it was opened",
    "bad_version": "the version that is at fault",
    "good_version": "the known-good version to go back to",
    "error_rate": "the bad version's error rate of the last window",
    "latency_p99": "its 99th percentile of the latency",
    "quality": "its quality",
    "calls": "how many calls these figures rest on",
    "provider": "the provider of the bad version's model",
    "related": "the prompts that are declared related",
    "authors": "who wrote both versions",
    "runbook": "the runbook's own id",
}
UNKNOWN = "(unknown)"  # what stands for a variable that nobody knows the value of

# What a verb of an action may be told. Each is an order that a person could give by hand.
VERBS: Mapping[str, tuple[str, ...]] = {
    "rollback": ("version",),
    "gradual_rollback": ("version", "hold"),
    "pause": (),
    "resume": (),
    "skip": (),
    "abort": (),
    "automation_off": ("for",),
    "automation_on": (),
    "vouch": ("version",),
    "unquarantine": ("version",),
}
VERBS_NEED: Mapping[str, tuple[str, ...]] = {
    "automation_off": ("for",),
    "vouch": ("version",),
    "unquarantine": ("version",),
}


@dataclass(frozen=True, slots=True)
class Check:
    """Something holds now of `version`, over the last `over_ms`; or it does `within_ms`."""

    expect: Expectation
    version: str = "{{bad_version}}"
    over_ms: int = 300_000
    within_ms: int = 0


@dataclass(frozen=True, slots=True)
class Act:
    """An order of our own API. `options` are texts that may name variables."""

    verb: str
    prompt: str = "{{prompt}}"
    options: Mapping[str, str] = field(default_factory=dict)
    because: str = ""


@dataclass(frozen=True, slots=True)
class Approve:
    """Somebody with this role says whether it goes on."""

    role: str
    ask: str = ""


@dataclass(frozen=True, slots=True)
class Manual:
    """Something to do outside; whoever did it says so."""

    what: str = ""


@dataclass(frozen=True, slots=True)
class Until:
    """A wait: until something holds of `version`, `at_most_ms` long; or, without, just that long.

    Time alone never fails; what does not hold in time has failed.
    """

    at_most_ms: int
    expect: Expectation | None = None
    version: str = "{{good_version}}"
    over_ms: int = 300_000


@dataclass(frozen=True, slots=True)
class Tell:
    """A message to an audience."""

    audience: str
    subject: str
    text: str = ""


Work = Check | Act | Approve | Manual | Until | Tell


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `line` is where its heading stands; `prose` is verbatim, fences included.

    `goes_on`: a failure is noted and does not stop the run.
    """

    name: str
    title: str
    line: int
    kind: StepKind
    prose: str
    work: Work | None = None
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class Runbook:
    """A runbook, checked. `triggers` names triggers, metrics and situations that it is for."""

    id: str
    title: str
    severity: str
    triggers: tuple[str, ...]
    owners: tuple[str, ...]
    reviewed_at: str
    max_age_days: int
    constants: Mapping[str, str]
    intro: str
    steps: tuple[Step, ...]
    digest: str


# --- What the edge has read of a file


@dataclass(frozen=True, slots=True)
class Fence:
    """A fenced block; `data` is its YAML when it has attributes, which make it executable."""

    line: int
    language: str
    attributes: Mapping[str, str] | None
    text: str
    data: Any = None


@dataclass(frozen=True, slots=True)
class Section:
    """A `##` heading with everything below it."""

    line: int
    title: str
    prose: str
    fences: tuple[Fence, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """A runbook file, taken apart. `front_lines` says where each key of the front matter stands.

    `links` are the targets of Markdown links, each with its line; `dead` those that lead nowhere.
    """

    text: str
    front: Any
    front_lines: Mapping[str, int]
    intro: str
    sections: tuple[Section, ...]
    links: tuple[tuple[int, str], ...] = ()
    dead: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a runbook's text, and where; `hint` says what to write instead."""

    line: int
    words: str
    hint: str = ""
