"""Logs: one formatter for every line, whoever writes it, for people or as JSON."""

import json
import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any

import structlog
from structlog.contextvars import merge_contextvars
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.processors import JSONRenderer, format_exc_info
from structlog.stdlib import ExtraAdder, LoggerFactory, ProcessorFormatter, add_log_level, add_logger_name
from structlog.typing import Processor

from metta.sweep.telemetry.log_settings import LogSettings
from metta.sweep.telemetry.scopes import names_of_workflow, scoped

_ENGINE = ("temporal_activity", "temporal_workflow")
"""What the engine adds to its own records, and to those of the loggers that it hands out."""

_NEEDLESS = ("__temporal_error_identifier", "temporal_log", "taskName")


def configure_logs() -> None:
    """Let all lines of this process go to standard error, as ``METTA_SWEEP_LOG`` and its level say.

    Raises:
        DefinitionError: When one of the two is none of those that there are.
    """
    said = LogSettings.load()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(said.format == "json", is_terminal=sys.stderr.isatty()))
    logging.basicConfig(level=said.level.upper(), handlers=[handler], force=True)
    chain: list[Processor] = [*_chain(), ProcessorFormatter.wrap_for_formatter]
    structlog.configure(chain, logger_factory=LoggerFactory())


def formatter(as_json: bool, is_terminal: bool = False) -> logging.Formatter:
    """What makes a line of a record.

    Args:
        as_json: Whether a machine reads it.
        is_terminal: Whether it may be coloured.
    """
    last: list[Processor]
    if as_json:
        last = [format_exc_info, JSONRenderer(json.dumps, default=repr, ensure_ascii=False)]
    else:
        colours = is_terminal and "NO_COLOR" not in os.environ
        last = [
            _for_people,
            ConsoleRenderer(
                colors=colours,
                pad_event_to=0,
                pad_level=False,
                sort_keys=False,
                exception_formatter=plain_traceback,
            ),
        ]
    return ProcessorFormatter(
        processors=[_stamped, ProcessorFormatter.remove_processors_meta, *last], foreign_pre_chain=_chain()
    )


def _chain() -> list[Processor]:
    """What is known of a line before it is formatted."""
    return [merge_contextvars, add_log_level, add_logger_name, ExtraAdder(), _about]


def _about(logger: object, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add what a line is about, in our words; what the engine says of it is told apart."""
    engine: dict[str, Any] = {}
    for name in _ENGINE:
        if isinstance(details := line.pop(name, None), Mapping):
            engine |= details
    for name in _NEEDLESS:
        line.pop(name, None)
    names = names_of_workflow(str(engine.get("workflow_type")), str(engine.get("workflow_id")))
    for name, value in {**names, **scoped()}.items():
        line.setdefault(name, value)
    if engine:
        line["temporal"] = engine
    return line


def _stamped(logger: object, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put the time first: that of the record, which may have been on its way for a moment."""
    at = datetime.fromtimestamp(line["_record"].created, UTC)
    event = {name: line.pop(name) for name in ("level", "logger", "event") if name in line}
    return {"timestamp": at.isoformat(timespec="milliseconds"), **event, **line}


def _for_people(logger: object, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    line["timestamp"] = datetime.fromisoformat(line["timestamp"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    for name in ("logger", "temporal"):
        line.pop(name, None)
    return line
