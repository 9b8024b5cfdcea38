"""Which version to go back to."""

from collections.abc import Mapping

from knowngood.core.look import newest_good
from knowngood.core.model import Standing, State


def choose_target(state: State, suspect: str, unfit: Mapping[str, str]) -> str | None:
    """The newest known-good version that is not the suspect, or None.

    The control of a split route comes first if it is good: it serves already and is seen to be
    healthy now. Versions that a recorded evaluation speaks against (`unfit`) are passed over.
    """
    route = state.route
    control = route.control.version if route and route.candidate else suspect
    if control != suspect and control not in unfit and state.standing(control) is Standing.GOOD:
        return control
    good = newest_good(state, besides=suspect, without=unfit)
    return good.version if good else None
