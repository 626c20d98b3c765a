"""``python -m benchmarks [NAME ...]``: run the benchmarks of these names, or all of them."""

import argparse
from importlib import import_module

from rich.console import Console

from benchmarks.machine import machine

BENCHMARKS = {
    "throughput": "trivial trials a second",
    "tpe": "trials a second when each of them is suggested by TPE",
    "utilisation": "how much of its slots a sweep uses, ASHA on real training",
    "growth": "cost and memory of a trial as a sweep grows",
    "stages": "what a trivial stage of a pipeline costs",
    "jobs": "trivial trials a second when each is a job with a workflow of its own",
    "looking": "what it takes to look at large sweeps and at many",
    "results": "what it takes to hand on the results of a large sweep",
    "startup": "from a cold `sweep run` to the first trial",
}


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}")
    parser.add_argument("--large", action="store_true", help="let growth go on to 100,000 trials")
    arguments = parser.parse_args()
    names = arguments.names or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"unknown benchmark {unknown[0]!r}; known: {', '.join(BENCHMARKS)}")
    console = Console(highlight=False, soft_wrap=True)
    console.print(machine())
    for name in names:
        console.print(f"\n### {name}: {BENCHMARKS[name]}\n")
        options = {"large": True} if arguments.large and name == "growth" else {}
        table: str = import_module(f"benchmarks.{name}").table(**options)
        console.print(table, markup=False)


if __name__ == "__main__":
    main()
