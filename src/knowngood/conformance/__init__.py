"""The laws of the ports, for anyone who writes an implementation. Needs pytest and hypothesis.

    pytest.register_assert_rewrite("knowngood.conformance")  # to see what differed
    from knowngood.conformance import StoreConformance

    class TestMyStore(StoreConformance):
        @pytest.fixture
        def store(self):
            with open_my_store() as store:
                yield store

`store` has to be a fresh, empty `ports.Store` for each test.

What belongs here: one suite for each port that outsiders may implement, made of ports and core.
"""

from knowngood.conformance.control import (
    LogConformance,
    OutboxConformance,
    PoliciesConformance,
    RegistryConformance,
    StatesConformance,
)
from knowngood.conformance.deliveries import DeliveriesConformance
from knowngood.conformance.evaluations import EvaluationsConformance
from knowngood.conformance.observations import (
    CheckpointsConformance,
    ClientsConformance,
    SeriesConformance,
)
from knowngood.conformance.outside import OutsideConformance
from knowngood.conformance.releases import ReleasesConformance
from knowngood.conformance.retention import RetentionConformance
from knowngood.conformance.runs import RunsConformance
from knowngood.conformance.units import UnitsConformance

__all__ = ["StoreConformance"]


class StoreConformance(
    RegistryConformance,
    StatesConformance,
    LogConformance,
    OutboxConformance,
    SeriesConformance,
    ClientsConformance,
    PoliciesConformance,
    CheckpointsConformance,
    EvaluationsConformance,
    ReleasesConformance,
    RetentionConformance,
    UnitsConformance,
    RunsConformance,
    OutsideConformance,
    DeliveriesConformance,
):
    """All laws of a store. Subclass it and give it a `store` fixture."""
