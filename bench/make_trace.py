"""Build a trace for `knowngood replay` from real traffic and real scores.

    python bench/make_trace.py trace.csv --fail 0.20
    python bench/make_trace.py scores.jsonl --scores gpt-3.5-turbo-1106:standard,concise

Arrivals and token counts are those of an hour of production requests; scores are those of a judge
on a model's prompt variants, the first before the switch of versions and the second after it. What
is made up is said by its option: the latency (time to first token + tokens x time per token, with
a jitter), and the failures. The same options and seed give the same trace.
"""

import argparse
import csv
import json
import math
import random
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
ARRIVALS = "azure_llm_inference_2023_conv.csv"
SCORES = "alpaca_eval_prompt_variants.csv"
COLUMNS = (
    "ts", "version", "ok", "latency_ms", "score", "input_tokens", "output_tokens", "error_kind"
)  # fmt: skip
Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the trace that the command line asks for."""
    options = _options(arguments)
    rows = make_trace(options)
    with options.out.open("w", encoding="utf-8", newline="") as file:
        if options.out.suffix == ".jsonl":
            file.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    failed = sum(row["ok"] == "false" or row["ok"] is False for row in rows)
    scored = sum("score" in row for row in rows)
    print(f"{options.out}: {len(rows)} calls, {failed} failed, {scored} scored")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="the trace to write: .csv or .jsonl")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder with the real data")
    parser.add_argument("--scores", default="", metavar="MODEL:FIRST,SECOND")
    parser.add_argument("--shuffle", action="store_true", help="draw the examples in random order")
    parser.add_argument("--switch-at", type=_share, default=0.5, help="share of calls before it")
    parser.add_argument("--versions", default="v1.9.0,v2.0.0", metavar="FIRST,SECOND")
    parser.add_argument("--base-fail", type=_share, default=0.003, help="failures before")
    parser.add_argument("--fail", type=_share, default=None, help="failures after the switch")
    parser.add_argument("--first-token-ms", type=float, default=300.0)
    parser.add_argument("--token-ms", type=float, default=20.0)
    parser.add_argument("--jitter", type=float, default=0.15, help="sigma of ln(latency)")
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args(arguments)


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def make_trace(options: argparse.Namespace) -> list[Row]:
    """The rows of the trace, in the order of their times."""
    rng = random.Random(options.seed)
    arrivals = _read(options.data, ARRIVALS)
    first, second = _pair("--versions", options.versions)
    switch = round(len(arrivals) * options.switch_at)
    after_fail = options.base_fail if options.fail is None else options.fail
    text = options.out.suffix != ".jsonl"
    rows: list[Row] = []
    for number, arrival in enumerate(arrivals):
        failed = rng.random() < (options.base_fail if number < switch else after_fail)
        tokens = int(arrival["GeneratedTokens"])
        jitter = math.exp(rng.gauss(0.0, options.jitter))
        latency_ms = (options.first_token_ms + tokens * options.token_ms) * jitter
        row: Row = {
            "ts": arrival["TIMESTAMP"],
            "version": first if number < switch else second,
            "ok": ("false" if failed else "true") if text else not failed,
            "latency_ms": round(latency_ms, 1),
            "input_tokens": int(arrival["ContextTokens"]),
            "output_tokens": tokens,
        }
        if failed:
            row["error_kind"] = "provider"
        rows.append(row)
    if options.scores:
        _score(rows, switch, options, rng)
    return rows


def _score(rows: list[Row], switch: int, options: argparse.Namespace, rng: random.Random) -> None:
    """Give each example of a variant to one good call of its half, evenly spread."""
    model, _, variants = options.scores.partition(":")
    halves = (rows[:switch], rows[switch:])
    examples = _read(options.data, SCORES)
    for variant, half in zip(_pair("--scores", variants), halves, strict=True):
        scores = [
            float(example["score"])
            for example in examples
            if (example["model"], example["prompt_variant"]) == (model, variant)
        ]
        if not scores:
            known = sorted({f"{e['model']}:{e['prompt_variant']}" for e in examples})
            sys.exit(f"no scores of {model}:{variant}; known: {', '.join(known)}")
        if options.shuffle:
            rng.shuffle(scores)
        good = [row for row in half if row["ok"] in (True, "true")]
        for row, score in zip(_spread(good, len(scores)), scores, strict=False):
            row["score"] = score


def _spread(rows: Sequence[Row], count: int) -> Iterable[Row]:
    """`count` of the rows at even distances, or all of them if there are no more."""
    if count >= len(rows):
        return rows
    return [rows[number * len(rows) // count] for number in range(count)]


def _pair(option: str, text: str) -> tuple[str, str]:
    parts = text.split(",")
    if len(parts) != 2 or not all(parts):
        sys.exit(f"{option} names two things, separated by a comma; got {text!r}")
    return parts[0], parts[1]


def _read(folder: Path, name: str) -> list[dict[str, str]]:
    path = folder / name
    if not path.is_file():
        sys.exit(
            f"{path} is missing. The real data is not part of the repository: put the folder "
            "`shared/data` beside it, or name it with --data"
        )
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
