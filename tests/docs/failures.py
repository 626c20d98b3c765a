"""The reference page of failures, made from their table: ``python -m tests.docs.failures`` writes it."""

from collections.abc import Iterator
from pathlib import Path

from metta.sweep.contracts.failures import TREATMENTS, Treatment

PAGE = Path(__file__).parents[2] / "docs/reference/failures.md"

HEAD = """\
<!-- Made by `python -m tests.docs.failures` from the table in metta/sweep/contracts/failures.py. -->

# Failures of trials

How an attempt of a trial may fail, who pays for the next one, and what is learned from it. The
[guide](../guide/sweeps.md#failures) shows how to use it.
"""

AGAIN: dict[str, str] = {
    "policy": "as `retry=` says",
    "never": "never",
    "free": "{retries} times since its last report",
}

PAYS = {
    "policy": "the trial: one of its `max_attempts`",
    "never": "the trial; it is final",
    "free": "nobody, but capped",
}

WAITS = {
    "policy": "as `retry=` says",
    "never": "",
    "free": "none the first time, then as `retry=` says",
}

OPTUNA: dict[str, str] = {"infeasible": "violates a constraint"}
"""How a trial that failed for good ends for its samplers, unless it just fails."""

FOOT = """
- While another attempt follows, neither the optimizer nor the scheduler is told. When none follows, the
  trial has failed: the optimizer observes a `Failure` of this kind, whoever paid, and makes of it what it
  can. Optuna's samplers learn nothing from a failed trial, and keep away from one that violates a
  constraint; those that know no constraints take it as failed.
- A trial that was stopped before it reported anything is told as `cancelled`.
- `warm_start` tells a later sweep of failures that say something of the parameters; the others are left out.
- `retry=` is a number of attempts or a `RetryPolicy`: `max_attempts` (1), `backoff` (`"exponential"`),
  `initial` (1 s), `maximum` (60 s). `non_retryable=("timeout",)` makes kinds final that the trial pays for.
- `RetryPolicy(max_attempts=4, on_oom="grow", growth=2.0, max_memory_gib=64)` gives a trial that ran out of
  memory `growth` times as much for its next attempt, and for all later ones. It needs a stated memory:
  `resources=Resources(memory_gib=8)`, or a scheduler that gives each trial its own. A trial that runs out
  of `max_memory_gib` has failed. `on_oom="fail"` makes the first time final; `"retry"`, the default, tries
  again as it was. `LocalExecutor` enforces no memory: there it is what `trial.resources` tells the training
  code. A stage of a pipeline has no stated memory: `"grow"` is `"retry"` there.
- `sweep show` counts failed attempts by kind, those included that were tried again; `--json` has them as
  `progress.failed_attempts` and `progress.retried`.
"""


def rows() -> Iterator[str]:
    """The lines of the table."""
    for kind, how in TREATMENTS.items():
        retried = retried_as(how)
        again = AGAIN[retried].format(retries=how.retries)
        cells = (
            f"`{kind}`",
            how.when,
            PAYS[retried],
            again,
            WAITS[retried],
            OPTUNA.get(kind, "failed"),
            later(how),
        )
        yield f"| {' | '.join(cells)} |"


def retried_as(how: Treatment) -> str:
    """How a failure is tried again, in a word."""
    if how.pays == "nobody":
        return "free"
    return "policy" if how.retries is None else "never"


def later(how: Treatment) -> str:
    """Whether a sweep that begins with this one hears of it."""
    return "told" if how.tells else "not told"


def page() -> str:
    """The page as it has to be."""
    titles = ("kind", "when", "who pays", "tried again", "wait", "Optuna is told", "later sweeps")
    return "\n".join([HEAD, f"| {' | '.join(titles)} |", "|---" * len(titles) + "|", *rows(), FOOT])


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
