"""Every timeout and every retry of the workflows, each with its reason."""

from datetime import timedelta

from temporalio.common import RetryPolicy

SESSION_TIMEOUT = timedelta(days=3650)
"""A session lasts as long as its sweep; the server wants a number. What hangs shows by its heartbeat."""

SESSION_HEARTBEAT = timedelta(seconds=10)
"""A dead worker is noticed, and its sweep goes on elsewhere, after this long."""

SESSION_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=1.5,
    maximum_interval=timedelta(seconds=10),
)
"""Without limit: what fails here is the machinery, and all that was recorded is kept. Mistakes of the
user are raised as non-retryable."""

STAGE_TIMEOUT = timedelta(days=3650)
"""How long a stage may take is the user's to say, and its worker's to enforce: waiting is not counted."""

STAGE_HEARTBEAT = timedelta(seconds=10)
"""A dead worker is noticed, and its stage runs again elsewhere, after this long."""

STAGE_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=1.5,
    maximum_interval=timedelta(seconds=10),
)
"""Without limit: the failures of user code are counted where they are recorded, and the last one is raised as
non-retryable. Everything else is the machinery's."""

FULL_EVENTS = 30_000
"""From here on history begins anew even when that has to wait for a child; the engine ends at 51,200."""
