"""Every timeout and every retry of the workflows, each with its reason."""

from datetime import timedelta

from temporalio.common import RetryPolicy

LONGEST = timedelta(days=3650)
"""A session lasts as long as its sweep, and a stage as long as its user wants, which its worker sees to; the
server wants a number. What hangs shows by its heartbeat."""

HEARTBEAT = timedelta(seconds=10)
"""A dead worker is noticed, and what it did goes on elsewhere, after this long."""

RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=1.5,
    maximum_interval=timedelta(seconds=10),
    non_retryable_error_types=["PayloadsTooLarge"],  # as a worker calls a result that the server would refuse
)
"""Without limit: what fails here is the machinery, and all that was recorded is kept. Mistakes of the user,
and the last failure of a stage, are raised as non-retryable."""

FULL_EVENTS = 30_000
"""From here on history begins anew even when that has to wait for a child; the engine ends at 51,200."""

CALL = timedelta(hours=1)
"""A call of the search takes milliseconds, and minutes where a large ledger is folded first."""

LOOK = timedelta(seconds=30)
"""A look at whether a workflow is over takes three seconds at the most."""

LOOKING = timedelta(seconds=60)
"""How often it is looked whether the workflows of running trials are still there."""
