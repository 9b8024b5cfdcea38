"""What may be sent: every field named and described, unknown ones refused with what is known."""

from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from knowngood.core.errors import BadRequest
from knowngood.core.units import duration_ms, share_bp
from knowngood.server.policy_file import POLICY_BYTES_MAX

PROMPT = Field(
    description="The prompt's name, or `name:version`.",
    max_length=300,
    examples=["customer-support"],
)
VERSION = Field(description="The version, or `name:version`.", max_length=300, examples=["v2.0.0"])
BECAUSE = Field(
    description="The reason, kept in the history for people who were not there.",
    min_length=1,
    max_length=2_000,
)
Environment = Annotated[
    str, Field(description="The environment.", max_length=300, examples=["production"])
]
Override = Annotated[
    list[str],
    Field(
        description="Refusals to step over: `quarantined`, `not_known_good`, `in_progress`, and "
        "the gates of a promotion by name, such as `soak`.",
        max_length=10,
    ),
]
Revision = Annotated[
    int | None,
    Field(
        description="The revision that was looked at: refused if it has changed since (409).",
        ge=0,
        le=2**53,
    ),
]
DryRun = Annotated[bool, Field(description="Only say what would change.")]


class Body(BaseModel):
    """A body that refuses fields that it does not know, with the list of those that it does."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, data: Any) -> Any:
        if isinstance(data, dict):
            known = [field.alias or name for name, field in cls.model_fields.items()]
            for name in data:
                if name not in known:
                    begun = [field for field in known if field.startswith(str(name))]
                    meant = begun or get_close_matches(str(name), known, 1)
                    raise BadRequest(
                        f"unknown field {str(name)[:100]!r}",
                        known=known,
                        next_step=f"did you mean `{meant[0]}`?" if meant else "",
                    )
        return data


class PushBody(Body):
    """A new version of a prompt: a text or chat messages, and a configuration."""

    version: Annotated[str, Field(description="The new version's name.", examples=["v2.0.0"])]
    text: Annotated[
        str | None, Field(description="The prompt, with `{{ name }}` for what is filled in.")
    ] = None
    messages: Annotated[
        list[Any] | None,
        Field(description="Instead of a text: chat messages, `{role, content}` each."),
    ] = None
    config: Annotated[
        dict[str, Any] | None,
        Field(description="Model, parameters, tools: whatever the application reads."),
    ] = None
    note: Annotated[str, Field(description="What is new in it.")] = ""
    because: Annotated[str, Field(description="Why it was pushed.", max_length=2_000)] = ""
    dry_run: DryRun = False

    def content(self) -> dict[str, Any]:
        """The content part, for core to check."""
        given = {"text": self.text, "messages": self.messages, "config": self.config}
        return {name: value for name, value in given.items() if value is not None}


class LadderBody(Body):
    """How a ladder differs from the policy's."""

    stages: Annotated[
        list[str] | None,
        Field(
            description="The shares of the traffic, rising to 100%.",
            max_length=50,
            examples=[["1%", "5%", "25%", "100%"]],
        ),
    ] = None
    hold: Annotated[
        str | None, Field(description="How long a stage lasts at least.", examples=["10m"])
    ] = None
    wait_at_most: Annotated[
        str | None,
        Field(description="After this long without proof a person is asked.", examples=["6h"]),
    ] = None
    timed: Annotated[
        bool, Field(description="Leave stages on time alone: no proof is asked for.")
    ] = False


class PromoteBody(LadderBody):
    """Begin to serve a version: up a ladder, or to everybody at once."""

    prompt: Annotated[str, PROMPT]
    version: Annotated[str | None, VERSION] = None
    environment: Environment = "production"
    because: Annotated[str, BECAUSE]
    now: Annotated[bool, Field(description="No ladder: everybody at once.")] = False
    override: Override = Field(default_factory=list)
    revision: Revision = None
    dry_run: DryRun = False


class ApprovalBody(Body):
    """Agree, as a second person, to a promotion of a version, or of all of a release."""

    prompt: Annotated[str | None, PROMPT] = None
    version: Annotated[str | None, VERSION] = None
    release: Annotated[
        str | None,
        Field(description="Instead of a prompt: a release, all of it.", max_length=300),
    ] = None
    environment: Environment = "production"
    because: Annotated[str, BECAUSE]
    revision: Revision = None
    dry_run: DryRun = False


class RolloutBody(Body):
    """An order about the rollout under way: pause, resume, skip, or abort."""

    prompt: Annotated[str, PROMPT]
    environment: Environment = "production"
    because: Annotated[str, BECAUSE]
    revision: Revision = None
    dry_run: DryRun = False


class ReplanBody(RolloutBody, LadderBody):
    """Other stages for the rollout under way, from the one in force on."""


class ReleaseBody(Body):
    """Versions of several prompts that are to be released as one."""

    name: Annotated[str, Field(description="Its name.", examples=["spring"])]
    members: Annotated[
        list[str],
        Field(
            description="One version of each prompt, as `name:version`.",
            max_length=100,
            examples=[["customer-support:v2.0.0", "faq:v7"]],
        ),
    ]
    because: Annotated[str, Field(description="Why.", max_length=2_000)] = ""
    dry_run: DryRun = False


class ReleaseOrderBody(LadderBody):
    """Promote a release, or roll it back: all of its prompts in one transaction."""

    name: Annotated[str, Field(description="The release.", max_length=300)]
    environment: Environment = "production"
    because: Annotated[str, BECAUSE]
    now: Annotated[bool, Field(description="No ladder: everybody at once.")] = False
    override: Override = Field(default_factory=list)
    dry_run: DryRun = False


class ArmBody(Body):
    """A version and its share of the traffic."""

    version: Annotated[str, VERSION]
    weight_bp: Annotated[
        int, Field(description="Its share in basis points: 10000 is all of it.", examples=[9500])
    ]


class RouteBody(Body):
    """Split the traffic between one or two versions."""

    prompt: Annotated[str, PROMPT]
    arms: Annotated[
        list[ArmBody],
        Field(
            description="One or two versions whose weights sum to 10000. Of two, the one that "
            "serves already is the control and the other is on trial.",
            max_length=10,
        ),
    ]
    environment: Environment = "production"
    because: Annotated[str, BECAUSE]
    override: Override = Field(default_factory=list)
    revision: Revision = None
    dry_run: DryRun = False


class RollbackBody(Body):
    """Go back to a known-good version, at once and for everybody."""

    prompt: Annotated[str, PROMPT]
    target_version: Annotated[
        str | None,
        Field(
            description="A known-good version; by default the newest of them.",
            max_length=300,
            examples=["v1.9.0"],
        ),
    ] = None
    environment: Environment = "production"
    because: Annotated[str, BECAUSE] = "manual rollback via API"
    confirm: Annotated[
        bool, Field(description="Change nothing unless something is found wrong (409).")
    ] = False
    quarantine: Annotated[
        bool, Field(description="Quarantine the version that is rolled back.")
    ] = True
    alone: Annotated[
        bool, Field(description="Leave the prompts that it was released with where they are.")
    ] = False
    gradual: Annotated[
        bool, Field(description="Stage by stage, for minor harm: the target is watched meanwhile.")
    ] = False
    stages: Annotated[
        list[str] | None,
        Field(
            description="Of a gradual one: what is left to the bad version, falling to 0%.",
            max_length=50,
            examples=[["75%", "50%", "25%", "0%"]],
        ),
    ] = None
    hold: Annotated[
        str | None,
        Field(description="Of a gradual one: how long a stage lasts.", examples=["10m"]),
    ] = None
    override: Override = Field(default_factory=list)
    revision: Revision = None
    dry_run: DryRun = False


class VersionBody(Body):
    """An order about one version: vouch for it, or lift its quarantine."""

    prompt: Annotated[str, PROMPT]
    version: Annotated[str | None, VERSION] = None
    environment: Environment = "production"
    because: Annotated[str, BECAUSE]
    revision: Revision = None
    dry_run: DryRun = False


class PinBody(Body):
    """Keep a version whatever becomes of it, or keep it no longer."""

    prompt: Annotated[str, PROMPT]
    version: Annotated[str | None, VERSION] = None
    because: Annotated[str, BECAUSE]
    dry_run: DryRun = False


class PurgeBody(Body):
    """Take away for good what nothing refers to and nobody used for long."""

    prompt: Annotated[
        str | None, Field(description="One prompt; by default all of them.", max_length=300)
    ] = None
    because: Annotated[
        str, Field(description="The reason; not needed for a dry run.", max_length=2_000)
    ] = ""
    after: Annotated[
        str, Field(description="Of all prompts: go on after this one.", max_length=300)
    ] = ""
    dry_run: DryRun = False


class AutomationBody(Body):
    """Turn automatic rollbacks off for a while, or on again."""

    state: Annotated[Literal["on", "off"], Field(description="`off` or `on`.")]
    prompt: Annotated[
        str | None, Field(description="One prompt; by default all of them.", max_length=300)
    ] = None
    environment: Environment = "production"
    for_: Annotated[
        str | None,
        Field(alias="for", description="How long it is off, a week at most.", examples=["2h"]),
    ] = None
    because: Annotated[str, BECAUSE]
    revision: Revision = None
    dry_run: DryRun = False


class EnvironmentBody(Body):
    """Add an environment."""

    name: Annotated[str, Field(description="Its name.", examples=["canary-eu"])]
    because: Annotated[str, Field(description="Why.", max_length=2_000)] = ""
    dry_run: DryRun = False


class ExampleBody(Body):
    """What came of one example of a suite."""

    id: Annotated[str, Field(description="Its name, the same in every run.", max_length=100)]
    passed: Annotated[
        bool | None, Field(description="Without it, the score decides (`scale.pass_at`).")
    ] = None
    score: Annotated[float | None, Field(description="Its score, within the scale.")] = None
    error: Annotated[
        bool, Field(description="It could not be judged: counts as failed, and is in no pair.")
    ] = False


class ScaleBody(Body):
    """The declared range of the scores."""

    min: Annotated[float, Field(description="The worst score.")] = 0.0
    max: Annotated[float, Field(description="The best score.")] = 1.0
    pass_at: Annotated[
        float | None, Field(description="From which score on an example passes; the middle.")
    ] = None


class EvaluationBody(Body):
    """What a suite found of a version: its examples one by one, or how many passed and failed."""

    prompt: Annotated[str, PROMPT]
    version: Annotated[str | None, VERSION] = None
    suite: Annotated[str, Field(description="The suite's name.", examples=["accuracy"])]
    passed: Annotated[int | None, Field(description="How many examples passed.")] = None
    failed: Annotated[int | None, Field(description="How many failed.")] = None
    cases: Annotated[
        int | None, Field(description="Instead of `failed`: how many there were, not skipped.")
    ] = None
    skipped: Annotated[int, Field(description="How many were skipped; they do not count.")] = 0
    examples: Annotated[
        list[ExampleBody] | None,
        Field(description="Instead of counts: each example, 5,000 at most. Needed to compare."),
    ] = None
    scale: Annotated[
        ScaleBody | None, Field(description="The range of the scores; by default 0 to 1.")
    ] = None
    source: Annotated[
        str,
        Field(
            description="Where it is from: `record`, `promptfoo`, `junit`, `scores`.",
            min_length=1,
            max_length=100,
        ),
    ] = "record"
    digest: Annotated[
        str | None,
        Field(description="The content that was evaluated; refused if it is not the version's."),
    ] = None
    because: Annotated[str, Field(description="Why it was run.", max_length=2_000)] = ""
    dry_run: DryRun = False


def stages_bp(stages: list[str] | None) -> tuple[int, ...] | None:
    """Shares such as `5%` in basis points. Raises BadRequest."""
    return None if stages is None else tuple(share_bp(stage) for stage in stages)


def duration_of(text: str | None) -> int | None:
    """A duration such as `10m` in ms. Raises BadRequest."""
    return None if text is None else duration_ms(text)


class ErrorDetail(BaseModel):
    """What was wrong, what exists, and what to do about it."""

    code: Annotated[str, Field(description="For programs.", examples=["unknown_prompt"])]
    message: Annotated[str, Field(description="For people.")]
    known: Annotated[list[str], Field(description="What exists instead.")]
    next: Annotated[str, Field(description="What to do now.")]


class PolicyBody(Body):
    """A policy to be checked."""

    policy: str = Field(description="The policy file's text (YAML).", max_length=POLICY_BYTES_MAX)


class RunbookTextBody(Body):
    """A runbook to be checked."""

    runbook: str = Field(description="The text of the runbook (Markdown).", max_length=200_000)


class RunBody(Body):
    """Begin a run of a runbook for an incident, or for a prompt that has none."""

    runbook: Annotated[str, Field(description="The runbook's id.", max_length=300)]
    incident: Annotated[
        str | None,
        Field(description="The incident's id.", max_length=600, examples=["production/faq/g3.1"]),
    ] = None
    prompt: Annotated[
        str | None, Field(description="Instead of an incident: the prompt.", max_length=300)
    ] = None
    environment: Environment = "production"
    because: Annotated[str, Field(description="Why.", max_length=2_000)] = ""
    dry_run: DryRun = False


class RunAnswerBody(Body):
    """Go on with a run: do the step that is next, or say what a person has to say to it."""

    run: Annotated[str, Field(description="The run's id.", max_length=1_000)]
    answer: Annotated[
        Literal["go", "decline", "skip", "again"] | None,
        Field(
            description="`go`: do it, it is done, I approve. Without one only what needs nobody's "
            "word is done: a check, a wait, a message."
        ),
    ] = None
    because: Annotated[str, Field(description="Why; needed to skip a step.", max_length=2_000)] = ""


class DrillBody(Body):
    """The report of a drill, for the history."""

    prompt: Annotated[str, PROMPT]
    environment: Annotated[
        str, Field(description="The environment; never production.", max_length=300)
    ] = "staging"
    fault: Annotated[
        Literal["error", "latency", "quality", "blind"], Field(description="What went wrong.")
    ]
    outcome: Annotated[
        Literal["kept", "missed"], Field(description="Whether every limit was kept.")
    ]
    report: Annotated[dict[str, Any], Field(description="Its parts, each with its limit.")]


class ErrorBody(BaseModel):
    """The one shape of every error."""

    error: ErrorDetail


class RollbackResult(BaseModel):
    """What a rollback did."""

    success: bool
    id: Annotated[int | None, Field(description="The entry of the history.")]
    from_version: str
    to_version: str
    timestamp: Annotated[str, Field(description="ISO 8601, in UTC.")]
    generation: Annotated[int, Field(description="What every process confirms when it has it.")]
    outcome: Annotated[
        str, Field(description="`switched`, `unchanged`, or with `dry_run` `would_switch`.")
    ]
    together_with: Annotated[
        list[str] | None, Field(description="Prompts of the same release that went back with it.")
    ] = None
    note: Annotated[str | None, Field(description="What else to know of the target.")] = None
    left_behind: Annotated[
        list[str] | None,
        Field(description="Prompts of the same release that could not go back."),
    ] = None
    why_left_behind: Annotated[
        dict[str, str] | None, Field(description="For each of those, why not.")
    ] = None
    dry_run: bool | None = None
    would: Annotated[list[str] | None, Field(description="With `dry_run`: what would be done.")] = (
        None
    )
