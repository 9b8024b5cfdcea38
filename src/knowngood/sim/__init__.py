"""The simulated world: the same core and engine as in production, with a fake outside.

What belongs here: everything that is played rather than real (processes, networks, people, pagers,
clocks, faults, virtual time), the laws that watch it, scenarios in a timeline language, planted
bugs that keep the laws honest, and the backtest of recorded traffic. Nothing here decides about a
rollback: whatever does that is core and engine, unchanged.

One seed is one world: its plan (`plan`), its truth (`truth`), its traffic (`traffic`, `work`,
`draws`), its processes, engines and people, and the faults that befall them. A seed has three
flavours (`flavours`): in `plain` versions are deployed and rolled back; in `rollouts` they climb
ladders and give way too, by dice of their own (`climbers`); in `all`, the default, people do what
else there is to do. Each promise of the product has checkers of its own (`checkers`, `laws`):

=====================================================  ===========================================
promise                                                laws
=====================================================  ===========================================
P1 no lost decision: what an apply answered stays      Durable
P2 at most one outcome of an operation                 OneOutcome
P3 a person's rollback works, whatever else is down    Hands
P4 processes serve on, never an older generation       Serving, Sticky
P5 bounded time: breach, decision, everybody           Promptness, Answered, Arrival
P6 blind is not healthy; evidence is never invented    Evidence, TrueCause, Recovery, Fresh,
                                                       Counting, Blindness
P7 no flapping, and never to an ill version            Flapping, Targets, HonestBrakes, HonestBlame
P8 every action is explained                           Explained
rollouts: stages are earned, users keep what they      Stages, Baked, Assignment, OneRollout,
have, one at a time, nobody is sent to a failing one   TargetWatched
retention: only what nothing refers to goes, and it    Unreferenced, Stocked, Swept
does go; a name never means two contents
the A/B gate: no stage is left without its answer,     Answers, Units, Named
which stays; units count once; people are named
questions: asked once, told further while nobody       AskedOnce, Heard, Unanswered
answers, and no further once somebody looks
sound, a fixpoint, and nobody paged twice              Sound, Fixpoint, Pages
liveness: in the calm everything comes to its end      Settled, Advancing, Pages
=====================================================  ===========================================

`python -m knowngood.sim` plays many seeds, `--seed N --trace` tells one again, and `--mutants`
shows which law catches which planted bug.
"""
