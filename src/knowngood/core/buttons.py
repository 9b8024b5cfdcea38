"""What a button of a message carries from us to a chat and back: which answer, to what."""

import json
from dataclasses import dataclass

from knowngood.core.asking import Answer
from knowngood.core.errors import BadRequest

ACTION_PREFIX = "knowngood:"
THREAD_CHARS_MAX = 1_000
NUMBER_MAX = 2**53


@dataclass(frozen=True, slots=True)
class Choice:
    """An answer to what a message is about.

    `thread` is the message's, the incident's id or one of its threads; `question` is the number of
    the question that it asked, None for a page that asks nothing.
    """

    answer: Answer
    thread: str
    question: int | None = None

    @property
    def action_id(self) -> str:
        """What tells our buttons from others, and from each other within a message."""
        return f"{ACTION_PREFIX}{self.answer.value}"

    @property
    def value(self) -> str:
        """What the button carries."""
        said = {"thread": self.thread, "question": self.question, "answer": self.answer.value}
        return json.dumps(said, separators=(",", ":"))


def is_ours(action_id: object) -> bool:
    """Whether a button with this id is one of ours."""
    return isinstance(action_id, str) and action_id.startswith(ACTION_PREFIX)


def choice_of(value: object) -> Choice:
    """The choice that a button carried. Raises BadRequest for one that says nothing we know."""
    try:
        said = json.loads(value) if isinstance(value, str) else {}
        answer, thread, question = Answer(said["answer"]), said["thread"], said["question"]
    except (KeyError, TypeError, ValueError, RecursionError):
        raise BadRequest("this button says nothing that we know") from None
    if not isinstance(thread, str) or not 0 < len(thread) <= THREAD_CHARS_MAX:
        raise BadRequest("this button is about no message of ours")
    whole = isinstance(question, int) and not isinstance(question, bool)
    if question is not None and not (whole and 0 <= question <= NUMBER_MAX):
        raise BadRequest("this button answers no question")
    return Choice(answer, thread, question)
