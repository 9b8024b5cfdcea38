"""What a step does, in words."""

from knowngood.core.explain import duration
from knowngood.core.runbook import Act, Approve, Check, Manual, Step, Tell, Until


def does(step: Step) -> str:
    """What the step does, as an imperative that may name variables."""
    match step.work:
        case Check(expect, version) if expect.suite:
            return f"look at the newest evaluation {expect.text} of {version}"
        case Check(expect, version, over_ms, within_ms):
            what = f"{expect.text} of {version} over {duration(over_ms)}"
            if expect.fact:
                what = expect.fact
            return f"look whether: {what}" + (
                f", within {duration(within_ms)}" if within_ms else ""
            )
        case Act(verb, prompt, options):
            more = " ".join(f"{key} {value}" for key, value in options.items())
            return f"{verb.replace('_', ' ')} {prompt} {more}".strip()
        case Approve(role, ask):
            return f"ask {role}: {ask or 'go on?'}"
        case Manual(what):
            return f"do it and say so: {what}" if what else "do it and say so"
        case Until(at_most_ms, expect):
            if expect is None:
                return f"wait {duration(at_most_ms)}"
            return f"wait until: {expect.text}, at most {duration(at_most_ms)}"
        case Tell(audience, subject):
            return f"tell {audience}: {subject}"
        case None:
            return "read"
