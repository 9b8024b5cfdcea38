"""Which version to go back to."""

from collections.abc import Mapping, Sequence

from knowngood.core.evaluation import Evaluation
from knowngood.core.look import newest_good
from knowngood.core.model import Confirming, Standing, State, Verifying
from knowngood.core.promotion import fails_as_target
from knowngood.core.rules import PromptPolicy


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


def is_target_due(state: State) -> bool:
    """Whether the decision in hand may choose a target, so that its evaluations are to be read."""
    return isinstance(state.phase, Confirming | Verifying)


def asked_of(state: State, policy: PromptPolicy) -> tuple[str, ...]:
    """The known-good versions whose evaluations the policy wants looked at before a rollback."""
    if not any(rule.of_target for rule in policy.evaluations):
        return ()
    return tuple(entry.version for entry in state.ledger if entry.standing is Standing.GOOD)


def unfit_of(
    policy: PromptPolicy, recorded: Mapping[str, Sequence[Evaluation]], now_ms: int
) -> dict[str, str]:
    """Which of the versions an evaluation recorded of them speaks against as targets, and why."""
    why = {version: fails_as_target(policy, each, now_ms) for version, each in recorded.items()}
    return {version: words for version, words in why.items() if words}
