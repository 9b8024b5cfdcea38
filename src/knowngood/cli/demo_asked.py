"""What the demo's stories with a question share: what is asked, and a person's answer to it."""

from typing import Any

from knowngood.cli.demo_scenes import BAD, GOOD, PROMPT
from knowngood.cli.demo_story import ENVIRONMENT, Entry, Story, WentWrong, seconds
from knowngood.cli.errors import Refused


def asked(story: Story) -> dict[str, Any]:
    """The open question. Raises WentWrong when there is none."""
    question: dict[str, Any] | None = story.explain()["state"]["question"]
    if question is None:
        raise WentWrong("not_asked", "no question is open")
    return question


def approve(story: Story, kind: str, opened_ms: int) -> Entry:
    """A person rolls back; the entry of this kind that the rollback wrote.

    Before that an answer to another question than the open one has to be refused.
    """
    question = asked(story)
    if question["target"] != GOOD or question["version"] != BAD:
        raise WentWrong("misasked", f"the question is {question['words']}")
    story.told["question"] = question["words"]
    story.told["stale_answer"] = _refused(story, question["number"] + 1)
    _answer(story, question["number"])
    entry = story.wait_for(kind)
    story.told["decided_after_s"] = seconds(entry["at_ms"] - opened_ms)
    return entry


def _answer(story: Story, number: int) -> None:
    story.api.post(
        "/api/answers",
        {
            "about": PROMPT,
            "environment": ENVIRONMENT,
            "answer": "approve",
            "question": number,
            "because": "the answers are worse, the old version is fine",
        },
    )


def _refused(story: Story, number: int) -> str:
    try:
        _answer(story, number)
    except Refused as error:
        if "is not the one that is open" not in error.message:
            raise WentWrong("misrefused", error.message) from None
        return "refused"
    raise WentWrong("answered_twice", "an answer to a question that is not open was taken")
