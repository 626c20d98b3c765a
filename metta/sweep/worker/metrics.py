"""The engine's runtime in our worker: metrics for Prometheus, and its own lines among all others."""

import logging
from ctypes import py_object, pythonapi

from temporalio import activity, workflow
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

from metta.sweep.activities.meters import ATTEMPT_SECONDS, CHUNK_SECONDS
from metta.sweep.telemetry.endpoints import METRICS, Address, in_use

BUCKETS = {
    ATTEMPT_SECONDS: (0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 6 * 3600, 24 * 3600),
    CHUNK_SECONDS: (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
}
"""Upper bounds in seconds: an attempt takes anything from a moment to a day, a sync some milliseconds."""


def runtime(address: Address | None, name: str = METRICS) -> Runtime:
    """The runtime of a worker; its lines go through Python's logging.

    Args:
        address: Where Prometheus finds its metrics; None collects none.
        name: What said the address, for the error.

    Raises:
        DefinitionError: When nothing can listen there.
    """
    # what they know is in fields of the line, and need not be in its text
    activity.logger.activity_info_on_message = False
    workflow.logger.workflow_info_on_message = False
    forwarding = LogForwardingConfig(
        logging.getLogger("temporalio.core"), append_target_to_name=False, prepend_target_on_message=False
    )
    log = LoggingConfig(TelemetryFilter(core_level="WARN", other_level="ERROR"), forwarding)
    if address is None:
        return _kept(Runtime(telemetry=TelemetryConfig(logging=log)))
    config = PrometheusConfig(
        _checked(address, name),
        counters_total_suffix=True,
        unit_suffix=True,
        durations_as_seconds=True,
        histogram_bucket_overrides=BUCKETS,
    )
    try:
        return _kept(Runtime(telemetry=TelemetryConfig(logging=log, metrics=config)))
    except (RuntimeError, ValueError) as error:
        raise in_use(name, address, error) from error


def _checked(address: Address, name: str) -> str:
    """The address by its number, for the engine takes no names; and says in many words that it is in use.

    Raises:
        DefinitionError: When nothing can listen there.
    """
    try:
        address.check()
        return str(address.resolved()[1])
    except OSError as error:
        raise in_use(name, address, error.strerror or error) from error


def _kept(runtime: Runtime) -> Runtime:
    """The runtime, which is never deleted.

    When Python ends, its deletion would wait for its threads, and one of them that has a line for Python's
    log just then waits for ever: a worker whose work is done would not end.
    """
    pythonapi.Py_IncRef(py_object(runtime))
    return runtime
