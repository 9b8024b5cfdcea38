"""Which adapters there are. A name that is not here stops the start, not the first page."""

from collections.abc import Callable, Iterable

from knowngood.adapters.evals import junit, promptfoo, scores
from knowngood.adapters.notify.log import LogNotifier
from knowngood.core.errors import BadRequest
from knowngood.ports import Notifier, ResultReader

NOTIFIERS: dict[str, Callable[[], Notifier]] = {"log": LogNotifier}
RESULT_READERS: dict[str, ResultReader] = {
    "promptfoo": promptfoo.read,
    "junit": junit.read,
    "scores": scores.read,
}


def notifiers(names: Iterable[str]) -> dict[str, Notifier]:
    """The notifiers of these names. Raises BadRequest, listing those that are known."""
    made: dict[str, Notifier] = {}
    for name in names:
        make = NOTIFIERS.get(name)
        if make is None:
            raise BadRequest(f"there is no notifier {name!r}", known=sorted(NOTIFIERS))
        made[name] = make()
    return made


def result_reader(form: str) -> ResultReader:
    """The reader of results in this form. Raises BadRequest, listing those that are known."""
    if form not in RESULT_READERS:
        raise BadRequest(f"{form!r} is no form of results", known=list(RESULT_READERS))
    return RESULT_READERS[form]
