"""How many calls come, second by second: days, bursts, pauses and storms of retries."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from knowngood.sim.plan import START_MS, PromptPlan


@dataclass(slots=True)
class Traffic:
    """The traffic of a world's prompts, for one process each."""

    plans: dict[str, PromptPlan]
    overload: dict[str, float] = field(default_factory=dict)  # loads that a scenario sets
    storms: dict[str, int] = field(default_factory=dict)  # retries that a scenario sets

    def load(self, prompt: str, at_ms: int) -> float:
        """Calls a second that one process gets for a prompt."""
        if prompt in self.overload:
            return self.overload[prompt]
        plan, since_ms = self.plans[prompt], at_ms - START_MS
        load = plan.load
        if plan.swing:
            # A saw tooth: as good as a wave, and the same on every machine.
            load *= 1 - plan.swing * abs(since_ms % plan.day_ms * 2 / plan.day_ms - 1)
        for stretch in plan.stretches:
            if stretch.begins_ms <= since_ms < stretch.ends_ms:
                load *= stretch.times
        return load

    def tries(self, prompt: str, at_ms: int) -> int:
        """How often whoever fails fails within one second."""
        if prompt in self.storms:
            return self.storms[prompt]
        since_ms = at_ms - START_MS
        for storm in self.plans[prompt].storms:
            if storm.begins_ms <= since_ms < storm.ends_ms:
                return int(storm.times)
        return 1


def traffic(plans: Iterable[PromptPlan]) -> Traffic:
    """The traffic that these prompts are planned to have."""
    return Traffic({plan.name: plan for plan in plans})
