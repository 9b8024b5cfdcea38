"""What happened to a version in a stretch of time: integer counts that merge exactly.

A window is additive: merging is associative, commutative, and has the empty window as its unit.
Latency is an OpenTelemetry exponential histogram at the fixed scale 6 (base 2^(1/64), relative
error of a quantile at most 0.55 %), scores are counts in 1 % bins of their declared range, money is
whole nano-dollars. A corrected score subtracts its old bin, so a bin of a short window can be
negative; readers clip it to zero.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

BUCKET_MS = 1_000
HISTOGRAM_SCALE = 6
BUCKETS_PER_DOUBLING: int = 1 << HISTOGRAM_SCALE
LATENCY_BASE: float = 2.0 ** (1 / BUCKETS_PER_DOUBLING)
# 2^-10 ms is a microsecond, below what a call can take; 2^31 ms is 24 days, above it.
MIN_LATENCY_BUCKET = -10 * BUCKETS_PER_DOUBLING
MAX_LATENCY_BUCKET = 31 * BUCKETS_PER_DOUBLING - 1
SCORE_BINS = 100
NANO_PER_USD = 1_000_000_000

ERROR_KINDS = ("prompt", "provider", "timeout")
EXCLUDED_KINDS = ("caller", "cancelled", "synthetic")

Counts = Mapping[str, int]
Bins = Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Window:
    """Sums over some calls of one version.

    `errors` counts failed calls by kind, each unit at most once a bucket; `repeat` counts the
    further failures of the same unit in the same bucket, which no detector reads. `excluded` calls
    are no evidence at all. `units` is the number of distinct units, summed over buckets. `late_ok`
    is how many of `ok` were made before the bucket that they count in.
    """

    ok: int = 0
    errors: Counts = field(default_factory=dict)
    excluded: int = 0
    repeat: int = 0
    units: int = 0
    latency: Bins = field(default_factory=dict)
    first_token: Bins = field(default_factory=dict)
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int = 0
    scores: Mapping[str, Bins] = field(default_factory=dict)
    counters: Counts = field(default_factory=dict)
    late_ok: int = 0

    @property
    def error_count(self) -> int:
        """Failed calls of all kinds, repeats left out."""
        return sum(self.errors.values())

    @property
    def call_count(self) -> int:
        """Calls that are evidence: ok and failed, without excluded ones and repeats."""
        return self.ok + self.error_count


EMPTY = Window()


@dataclass(frozen=True, slots=True)
class Bucket:
    """The window of the `width_ms` that begin at `at_ms` (server's arrival time, Unix epoch)."""

    at_ms: int
    window: Window
    width_ms: int = BUCKET_MS


def total(windows: Iterable[Window]) -> Window:
    """The sum of all windows; `EMPTY` for none. Exact: integers only."""
    ok = late_ok = excluded = repeat = units = input_tokens = output_tokens = cost = 0
    errors: dict[str, int] = {}
    latency: dict[int, int] = {}
    first_token: dict[int, int] = {}
    scores: dict[str, dict[int, int]] = {}
    counters: dict[str, int] = {}
    for window in windows:
        ok += window.ok
        excluded += window.excluded
        repeat += window.repeat
        units += window.units
        input_tokens += window.input_tokens
        output_tokens += window.output_tokens
        cost += window.cost_nano_usd
        late_ok += window.late_ok
        for kind, count in window.errors.items():
            errors[kind] = errors.get(kind, 0) + count
        _add_bins(latency, window.latency)
        _add_bins(first_token, window.first_token)
        for name, bins in window.scores.items():
            _add_bins(scores.setdefault(name, {}), bins)
        for name, count in window.counters.items():
            counters[name] = counters.get(name, 0) + count
    return Window(
        ok=ok,
        errors=errors,
        excluded=excluded,
        repeat=repeat,
        units=units,
        latency=latency,
        first_token=first_token,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost_nano_usd=cost,
        scores=scores,
        counters=counters,
        late_ok=late_ok,
    )


def _add_bins(into: dict[int, int], bins: Bins) -> None:
    # A day is a million of these, and nearly every bin is there already: asking first costs more.
    for index, count in bins.items():
        try:
            into[index] += count
        except KeyError:
            into[index] = count


def merge(a: Window, b: Window) -> Window:
    """The sum of two windows."""
    return total((a, b))


def since(buckets: Iterable[Bucket], since_ms: int) -> Window:
    """The sum of the buckets that begin at `since_ms` or later."""
    return total(bucket.window for bucket in buckets if bucket.at_ms >= since_ms)


def latency_bucket(latency_ms: float) -> int:
    """The index i of the bucket (base^i, base^(i+1)] that holds `latency_ms`, clamped to the range.

    Zero and anything below a microsecond go to the lowest bucket. Raises ValueError for NaN,
    infinity and negative values.
    """
    if not 0 <= latency_ms < math.inf:
        raise ValueError(f"latency must be a finite number of milliseconds >= 0, got {latency_ms}")
    if latency_ms == 0:
        return MIN_LATENCY_BUCKET
    index = math.ceil(math.log2(latency_ms) * BUCKETS_PER_DOUBLING) - 1
    return max(MIN_LATENCY_BUCKET, min(MAX_LATENCY_BUCKET, index))


def latency_value_ms(index: int) -> float:
    """The value of a bucket, in ms: the point with the same relative error to both of its edges."""
    return 2 * LATENCY_BASE ** (index + 1) / (1 + LATENCY_BASE)


def quantile_ms(latency: Bins, q: float) -> float | None:
    """The nearest-rank quantile of a histogram, in ms, 0 < q <= 1; None when it is empty."""
    count = sum(latency.values())
    if count <= 0:
        return None
    rank = max(1, math.ceil(q * count))
    seen = 0
    for index in sorted(latency):
        seen += latency[index]
        if seen >= rank:
            return latency_value_ms(index)
    return latency_value_ms(max(latency))


def score_bin(value: float, low: float, high: float) -> int:
    """The 1 % bin (0-100) of a score in its declared range [low, high].

    Raises ValueError when it is not a number or lies outside the range.
    """
    if not low <= value <= high:
        raise ValueError(f"score {value} is outside its range {low} to {high}")
    return round((value - low) / (high - low) * SCORE_BINS)


def score_count(bins: Bins) -> int:
    """How many labels the bins hold; bins that a correction made negative count as none."""
    return sum(count for count in bins.values() if count > 0)


def score_moments(bins: Bins) -> tuple[int, float, float]:
    """(n, mean, sample variance) of the labels, on the scale 0 to 1; (0, 0, 0) for none."""
    n = score_count(bins)
    if n == 0:
        return 0, 0.0, 0.0
    # Whole numbers, so that the order of the bins does not show in the last bit.
    first = sum(i * c for i, c in bins.items() if c > 0)
    second = sum(i * i * c for i, c in bins.items() if c > 0)
    spread = (second * n - first * first) / (n * (n - 1)) if n > 1 else 0.0
    return n, first / n / SCORE_BINS, spread / SCORE_BINS**2


def to_row(window: Window) -> dict[str, Any]:
    """The window as the JSON object of the wire and the store; empty parts are left out."""
    row: dict[str, Any] = {"ok": window.ok}
    if window.errors:
        row["errors"] = dict(window.errors)
    for name in ("excluded", "repeat", "units", "late_ok"):
        if value := getattr(window, name):
            row[name] = value
    for name in ("latency", "first_token"):
        if bins := getattr(window, name):
            row[name] = {str(index): bins[index] for index in sorted(bins)}
    if window.input_tokens or window.output_tokens:
        row["tokens"] = [window.input_tokens, window.output_tokens]
    if window.cost_nano_usd:
        row["cost_nano_usd"] = window.cost_nano_usd
    if window.scores:
        row["scores"] = {
            name: {str(index): bins[index] for index in sorted(bins)}
            for name, bins in window.scores.items()
        }
    if window.counters:
        row["counters"] = dict(window.counters)
    return row


def from_row(row: Mapping[str, Any]) -> Window:
    """The inverse of `to_row`, for rows that we wrote ourselves: nothing is checked."""
    tokens = row.get("tokens", (0, 0))
    return Window(
        ok=row.get("ok", 0),
        errors=row.get("errors", {}),
        excluded=row.get("excluded", 0),
        repeat=row.get("repeat", 0),
        units=row.get("units", 0),
        latency=_bins(row.get("latency")),
        first_token=_bins(row.get("first_token")),
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        cost_nano_usd=row.get("cost_nano_usd", 0),
        scores={name: _bins(bins) for name, bins in row.get("scores", {}).items()},
        counters=row.get("counters", {}),
        late_ok=row.get("late_ok", 0),
    )


def _bins(row: Mapping[str, int] | None) -> Bins:
    return {int(index): count for index, count in row.items()} if row else {}
