"""Questions: what a person has to decide about an incident, and by when."""

from knowngood.core.asking import Purpose, Question, Stage
from knowngood.core.model import Finding, Incident, Method, Notify, Response, Severity
from knowngood.core.rules import Trigger
from knowngood.core.steps.case import Case, page, title
from knowngood.core.steps.target import choose_target
from knowngood.core.steps.words import LIMIT_MS, ON_CALL, answer_words, decider


def ask(
    case: Case, found: tuple[Finding, ...], incident: Incident, response: Response
) -> Question | None:
    """What is asked now that these are found, or None if it is asked already.

    The stronger question takes the place of the weaker one; nothing takes the place of a stronger.
    """
    first = found[0]
    trigger = trigger_of(case, first.trigger)
    before = case.state.question
    if before is not None and not _is_news(case, before, trigger, response):
        return None
    observing = response is Response.OBSERVE
    limit_ms = trigger.for_ms if observing and trigger else trigger.limit_ms if trigger else None
    return Question(
        number=case.state.question_count + 1,
        stage=Stage.OBSERVING if observing else Stage.ASKED,
        trigger=first.trigger,
        version=first.version,
        target=target_of(case, first.version),
        gradual=bool(trigger and trigger.method is Method.GRADUAL),
        who=decider(case.policy, first.trigger),
        asked_ms=case.now_ms,
        due_ms=case.now_ms + (limit_ms or LIMIT_MS),
    )


def ask_on_call(case: Case, name: str, version: str, target: str | None) -> Question:
    """A question to on-call that no trigger asks: a rollback that is held, or one that failed."""
    return Question(
        number=case.state.question_count + 1,
        stage=Stage.ASKED,
        trigger=name,
        version=version,
        target=target,
        gradual=False,
        who=ON_CALL,
        asked_ms=case.now_ms,
        due_ms=case.now_ms + limit_of(case, name),
    )


def limit_of(case: Case, name: str) -> int:
    """How long the trigger's question may wait, in ms."""
    trigger = trigger_of(case, name)
    return trigger.limit_ms if trigger and trigger.limit_ms is not None else LIMIT_MS


def _is_news(case: Case, before: Question, trigger: Trigger | None, response: Response) -> bool:
    if response is Response.OBSERVE or trigger is None:
        return False
    if before.stage is Stage.OBSERVING:
        return True
    known = trigger_of(case, before.trigger)
    ranks = list(Severity)
    return known is None or ranks.index(trigger.severity) < ranks.index(known.severity)


def target_of(case: Case, version: str) -> str | None:
    """What a rollback of the version would serve; of the control alone, a person has to say."""
    if version != case.suspect:
        return None
    return choose_target(case.state, version, case.observed.unfit)


def trigger_of(case: Case, name: str) -> Trigger | None:
    return next((t for t in case.policy.triggers if t.name == name), None)


def _thread(case: Case, incident: Incident, question: Question) -> str:
    """The incident's own, unless somebody took that for a question before this one."""
    taken = any(a.thread == incident.id and a.acked_ms is not None for a in case.state.alarms)
    return f"{incident.id}:question-{question.number}" if taken else incident.id


def question_page(
    case: Case, incident: Incident, question: Question, because: str
) -> tuple[Notify, ...]:
    """The question, to who has to decide."""
    return page(
        case,
        f"{incident.id}:question:{question.number}",
        question.who,
        incident.severity,
        f"{title(case)}: {question.version} {because}",
        f"{because}.",
        answers=answer_words(case.state, question),
        purpose=Purpose.PAGE,
        thread=_thread(case, incident, question),
        question=question.number,
    )
