"""What all tests share: Hypothesis without a deadline, since a busy machine is no failed law."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "knowngood",
    deadline=None,
    derandomize=os.environ.get("CI") == "true",  # a failure there must be one that can be repeated
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("knowngood")
