"""Verdicts: whether what a stage gave is good enough."""

from collections.abc import Callable
from typing import Any

from metta.sweep.contracts.errors import SweepError, shown
from metta.sweep.pipeline.annotations import class_of, is_type, type_text
from metta.sweep.pipeline.circumstances import Circumstances
from metta.sweep.pipeline.conversion import Mismatch, conform, conform_fields
from metta.sweep.pipeline.execution import settled
from metta.sweep.pipeline.records import fields_of


class Verdicts:
    """The validation hooks of a stage.

    Args:
        circumstances: Of this run.
        declared: Type of what it gives, when one is declared.
    """

    def __init__(self, circumstances: Circumstances, declared: Any) -> None:
        self._run, self._declared = circumstances, declared

    async def passed(self, output: Any) -> Any:
        """The same output, when no hook refuses it.

        Raises:
            StageFailed: When one does.
        """
        self._validate_types(output)
        for name in ("validate", "assert_fn"):
            for function in self._run.hooks.functions(name):
                await self._validate(name, function, output)
        return output

    def _validate_types(self, output: Any) -> None:
        kind, schema = self._run.hooks.nearest("validate_type"), self._run.hooks.nearest("schema")
        if kind is True:
            kind = self._declared
        for name, expected in (("validate_type", kind), ("schema", schema)):
            try:
                if is_type(expected):
                    _exactly(output, expected) if name == "validate_type" else conform(output, expected)
                elif expected is not None:
                    _conform_schema(output, expected)
            except Mismatch as error:
                raise self._run.failure("validation", error, name) from error

    async def _validate(self, name: str, function: Callable[..., Any], output: Any) -> None:
        try:
            verdict = await settled(function(self._run.copied(output)))
            refused = verdict is not None and not verdict
        except Exception as error:
            raise self._run.failure("validation", error, name) from error
        if refused:
            raise self._run.failure("validation", SweepError(f"it refused {shown(output)}"), name)


def _exactly(output: Any, kind: Any) -> None:
    """Raises ``Mismatch`` when an output is not of the type already."""
    if isinstance(kind, type) and kind is not Any and not isinstance(output, class_of(kind)):
        raise Mismatch([f"got {shown(output)}"], type_text(kind))
    conform(output, kind)


def _conform_schema(output: Any, schema: Any) -> None:
    fields = fields_of(output)
    if fields is None:
        raise Mismatch([f"got {shown(output)}, which has no fields"], "the schema")
    if missing := [f"{name} is missing" for name in schema if name not in fields]:
        raise Mismatch(missing, "the schema")
    conform_fields(fields, schema)
