"""Run the benchmarks and print one table: `make bench`, or `bench/run.py tick memory`."""

import importlib
import sys
from datetime import UTC, datetime

from common import Row, machine

BENCHMARKS = ("hot_path", "ingest", "tick", "memory")
ASKED_FOR = ("pages",)  # needs a browser, and the environment that drives it


def main(names: list[str]) -> None:
    """Print the table of the named benchmarks, all of them by default."""
    unknown = [name for name in names if name not in (*BENCHMARKS, *ASKED_FOR)]
    if unknown:
        raise SystemExit(
            f"no benchmark {unknown[0]}; known: {', '.join((*BENCHMARKS, *ASKED_FOR))}"
        )
    rows: list[Row] = []
    for name in names or BENCHMARKS:
        print(f"{name} …", file=sys.stderr)
        rows += importlib.import_module(name).main()
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine()}\n")
    print("| what | figure | beside it, same run | ratio | target | met |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        met = "" if row.met is None else "yes" if row.met else "no"
        print(f"| {row.what} | {row.figure} | {row.beside} | {row.ratio} | {row.target} | {met} |")


if __name__ == "__main__":
    main(sys.argv[1:])
