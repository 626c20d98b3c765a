"""``python -m benchmarks [NAME ...]``: run the benchmarks of these names, or all of them."""

import argparse
from importlib import import_module

from rich.console import Console

from benchmarks.machine import machine

BENCHMARKS = {
    "throughput": "trivial trials a second",
    "growth": "cost and memory of a trial as a sweep grows",
    "startup": "from a cold `sweep run` to the first trial",
}


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}")
    names = parser.parse_args().names or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"unknown benchmark {unknown[0]!r}; known: {', '.join(BENCHMARKS)}")
    console = Console(highlight=False, soft_wrap=True)
    console.print(machine())
    for name in names:
        console.print(f"\n### {name}: {BENCHMARKS[name]}\n")
        table: str = import_module(f"benchmarks.{name}").table()
        console.print(table, markup=False)


if __name__ == "__main__":
    main()
