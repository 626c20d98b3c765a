"""Environments: what processes find there that share the cores of a machine."""

import os

from metta.sweep.contracts.jobs import REPORTS_VARIABLE, TRACE_VARIABLE, TRIAL_VARIABLE, thread_limits


def environment(threads: int) -> dict[str, str]:
    """This process's environment for one that may use so many threads; what is set stays."""
    # where a job has started this process, its trials are others all the same
    told = (TRIAL_VARIABLE, REPORTS_VARIABLE, TRACE_VARIABLE)
    return {**thread_limits(threads), **{k: v for k, v in os.environ.items() if k not in told}}
