"""What is asked, in the words of pages, `explain` and the timeline."""

from knowngood.core.asking import Question, Stage
from knowngood.core.explain import duration
from knowngood.core.model import State
from knowngood.core.people import ON_CALL as ON_CALL
from knowngood.core.rules import PromptPolicy
from knowngood.core.steps.case import env_option

LIMIT_MS = 300_000  # for a trigger without a limit of its own: the article's five minutes


def decider(policy: PromptPolicy, trigger: str) -> str:
    """Whose decision a breach of the trigger is."""
    who = next((t.who for t in policy.triggers if t.name == trigger), "")
    return who if who and who != "system" else ON_CALL


def deed(question: Question) -> str:
    """What an approval does."""
    if question.target is None:
        return f"roll {question.version} back"
    gently = ", stage by stage" if question.gradual else ""
    return f"roll {question.version} back to {question.target}{gently}"


def asked_words(question: Question) -> str:
    """Where the question stands, without its deadline."""
    match question.stage:
        case Stage.OBSERVING:
            return f"observing {question.trigger}"
        case Stage.ASKED:
            choice = f"{deed(question)}, or investigate"
            return f"{question.who} to decide about {question.trigger}: {choice}"
        case Stage.INVESTIGATING:
            who = question.answered_by or question.who
            return f"{who} investigates {question.trigger}"


def answer_words(state: State, question: Question) -> str:
    """How the question is answered from a terminal, and by when."""
    within = duration(question.due_ms - question.asked_ms)
    of = f"{state.prompt}{env_option(state)} --question {question.number}"
    if question.target is None:
        how = (
            f"`knowngood rollback {state.prompt} VERSION{env_option(state)} --because ...` "
            "goes back to a version of your choice"
        )
    else:
        how = f"`knowngood approve {of} --because ...` does: {deed(question)}"
    return (
        f"Roll back, or investigate? {how}; `knowngood decline {of} --because ...` keeps watching, "
        f"and reminds you. An answer is due within {within}."
    )
