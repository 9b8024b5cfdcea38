"""Which laws there are, and which promise each keeps: P1 to P8, each with checkers of its own."""

from collections.abc import Mapping

from knowngood.sim.laws.asking import AskedOnce, Heard, Unanswered
from knowngood.sim.laws.base import Checker as Checker
from knowngood.sim.laws.brakes import Flapping, HonestBlame, HonestBrakes, Sticky, Targets
from knowngood.sim.laws.comparing import Answers, Named, Units
from knowngood.sim.laws.counting import Counting
from knowngood.sim.laws.decisions import Durable, Fixpoint, Hands, OneOutcome, Sound
from knowngood.sim.laws.evidence import Evidence, TrueCause
from knowngood.sim.laws.liveness import Settled
from knowngood.sim.laws.processes import Arrival, Blindness, Serving
from knowngood.sim.laws.promptness import Answered, Promptness
from knowngood.sim.laws.recovery import Fresh, Recovery
from knowngood.sim.laws.releases import Led, Level, Together
from knowngood.sim.laws.retention import Stocked, Swept, Unreferenced
from knowngood.sim.laws.rollouts import (
    Advancing,
    Assignment,
    Baked,
    OneRollout,
    Stages,
    TargetWatched,
)
from knowngood.sim.laws.words import Explained, Pages
from knowngood.sim.laws.words import history as history

# The promises of the product, each with the laws that hold it up. Inside of one promise the laws
# come in the order in which they are asked; the first that fails stops its world.
PROMISES: Mapping[str, tuple[type[Checker], ...]] = {
    "P1 no lost decision": (Durable,),
    "P2 one outcome": (OneOutcome,),
    "P3 people can always roll back": (Hands,),
    "P4 processes serve on, and never backwards": (Serving, Sticky),
    "P5 bounded time": (Arrival, Promptness, Answered),
    "P6 blind is not healthy": (Evidence, TrueCause, Recovery, Fresh, Counting, Blindness),
    "P7 no flapping": (Flapping, Targets, HonestBrakes, HonestBlame),
    "P8 every action explained": (Explained,),
    "rollouts": (OneRollout, Assignment, Stages, Baked, TargetWatched),
    "retention": (Unreferenced, Stocked, Swept),
    "releases": (Together, Level, Led),
    "A/B gate": (Units, Answers, Named),
    "questions": (AskedOnce, Heard, Unanswered),
    "sound at every step": (Sound, Fixpoint, Pages),
    "liveness": (Settled, Advancing),
}
LAWS: tuple[type[Checker], ...] = tuple(law for laws in PROMISES.values() for law in laws)
