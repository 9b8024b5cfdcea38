"""What all of the twin counts in: arrays, seconds, and running totals."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from knowngood.core.detect import LAG_MS

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SECOND_MS = 1_000
LAG_S = LAG_MS // SECOND_MS
WINDOW_S = 300
HOUR_S, DAY_S = 3_600, 86_400


def sums_of(counts: Ints) -> Ints:
    """Running totals along the seconds, from 0 on."""
    sums = np.zeros((len(counts) + 1, *counts.shape[1:]), dtype=np.int32)
    np.cumsum(counts, axis=0, out=sums[1:])
    return sums
