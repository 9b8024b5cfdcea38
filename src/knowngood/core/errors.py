"""Every error a person can meet. The docstring of a class is its default message."""


class KnowngoodError(Exception):
    """Something is wrong with the request."""

    code = "bad_request"

    def __init__(
        self, message: str = "", *, known: tuple[str, ...] | list[str] = (), next_step: str = ""
    ) -> None:
        """`message` says what was wrong, `known` lists what exists, `next_step` says what to do."""
        self.message = message or (type(self).__doc__ or "")
        self.known = list(known)
        self.next_step = next_step
        super().__init__(self.message)

    def as_dict(self) -> dict[str, object]:
        """The one error shape of the API: `{"error": {code, message, known, next}}`."""
        return {
            "error": {
                "code": self.code,
                "message": self.message,
                "known": self.known,
                "next": self.next_step,
            }
        }


class BadRequest(KnowngoodError):
    """The request cannot be understood."""

    code = "bad_request"


class BadPolicy(KnowngoodError):
    """The policy is not valid."""

    code = "bad_policy"


class BadContent(KnowngoodError):
    """The prompt's content is not valid."""

    code = "bad_content"


class BadEvaluation(KnowngoodError):
    """The evaluation is not valid."""

    code = "bad_evaluation"


class BadSuite(KnowngoodError):
    """The suites are not declared as they should be."""

    code = "bad_suite"


class SuiteFailed(KnowngoodError):
    """The suite did not run to its end; nothing was recorded."""

    code = "suite_failed"


class Unauthorized(KnowngoodError):
    """This server needs a token."""

    code = "unauthorized"


class Forbidden(KnowngoodError):
    """This request is not allowed."""

    code = "forbidden"


class UnknownPrompt(KnowngoodError):
    """There is no prompt of this name."""

    code = "unknown_prompt"


class UnknownVersion(KnowngoodError):
    """The prompt has no version of this name."""

    code = "unknown_version"


class UnknownEnvironment(KnowngoodError):
    """There is no environment of this name."""

    code = "unknown_environment"


class UnknownRelease(KnowngoodError):
    """There is no release of this name."""

    code = "unknown_release"


class ReleaseConflict(KnowngoodError):
    """A release of this name exists with other versions; releases are immutable."""

    code = "release_conflict"


class UnknownEntry(KnowngoodError):
    """There is no entry with this id."""

    code = "unknown_entry"


class UnknownRunbook(KnowngoodError):
    """There is no runbook of this id."""

    code = "unknown_runbook"


class UnknownRun(KnowngoodError):
    """There is no such run of a runbook."""

    code = "unknown_run"


class UnknownIncident(KnowngoodError):
    """There is no incident of this id."""

    code = "unknown_incident"


class UnknownChart(KnowngoodError):
    """There is no chart of this name."""

    code = "unknown_chart"


class UnknownEvaluation(KnowngoodError):
    """There is no such evaluation."""

    code = "unknown_evaluation"


class NotComparable(KnowngoodError):
    """The two evaluations have no example in common."""

    code = "not_comparable"


class ContentConflict(KnowngoodError):
    """A version of this name exists with other content; versions are immutable."""

    code = "content_conflict"


class StaleState(KnowngoodError):
    """The prompt has changed since it was read."""

    code = "stale_state"


class NotKnownGood(KnowngoodError):
    """The target was never known to be good."""

    code = "not_known_good"


class Quarantined(KnowngoodError):
    """The version is quarantined: it was rolled back before."""

    code = "quarantined"


class NoTarget(KnowngoodError):
    """There is no known-good version to go back to."""

    code = "no_target"


class TargetUnfit(KnowngoodError):
    """A recorded evaluation speaks against the target."""

    code = "target_evaluation"


class NothingAsked(KnowngoodError):
    """Nothing is asked that could be answered."""

    code = "nothing_asked"


class StaleAnswer(KnowngoodError):
    """The answer is to another question than the one that is open."""

    code = "stale_answer"


class NotConfirmed(KnowngoodError):
    """Problem not confirmed: nothing is found wrong, so nothing was changed."""

    code = "not_confirmed"


class InUse(KnowngoodError):
    """Something refers to the version, so it is kept."""

    code = "in_use"


class InProgress(KnowngoodError):
    """Another change of this prompt is in progress."""

    code = "in_progress"


class AlreadyServed(KnowngoodError):
    """The version serves everybody already."""

    code = "already_served"


class NotRouted(KnowngoodError):
    """The prompt has no route in this environment."""

    code = "not_routed"


class BadWeights(KnowngoodError):
    """The weights of a route are not valid."""

    code = "bad_weights"


class BadLadder(KnowngoodError):
    """The stages of a rollout are not valid."""

    code = "bad_ladder"


class NoRollout(KnowngoodError):
    """No rollout is under way."""

    code = "no_rollout"


class GateClosed(KnowngoodError):
    """A gate does not let the version through."""

    code = "gate_closed"


class StoreUnavailable(KnowngoodError):
    """The database cannot be used."""

    code = "store_unavailable"


class NewerSchema(StoreUnavailable):
    """The database was written by a newer knowngood."""
