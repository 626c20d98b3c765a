"""Environments: what processes find there that share the cores of a machine."""

import os

THREADS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")
"""Libraries that start as many threads as there are cores unless ``<NAME>_NUM_THREADS`` says less."""


def environment(threads: int) -> dict[str, str]:
    """This process's environment for one that may use so many threads; what is set stays."""
    return {**{f"{name}_NUM_THREADS": str(threads) for name in THREADS}, **os.environ}
