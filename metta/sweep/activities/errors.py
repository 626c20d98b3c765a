"""Errors of activities, in the engine's words."""

from temporalio.exceptions import ApplicationError

from metta.sweep.contracts.errors import LedgerCorrupt, StoreError
from metta.sweep.contracts.raised import details_of


def told(error: Exception, *final: type[Exception]) -> ApplicationError:
    """An error of a search, for its workflow: only what another try can mend is tried again.

    Args:
        error: What was raised.
        final: Kinds of errors of the store that no other try mends, besides a damaged ledger.
    """
    mendable = isinstance(error, OSError | StoreError) and not isinstance(error, (LedgerCorrupt, *final))
    kind = type(error).__name__
    return ApplicationError(str(error), *details_of(error), type=kind, non_retryable=not mendable)
