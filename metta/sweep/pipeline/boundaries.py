"""Boundaries: the contract behind a stage, and what it makes of the stage's result."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import NoneType
from typing import Any

from metta.sweep.pipeline.annotations import FieldType, accepts, type_text, wrong_field
from metta.sweep.pipeline.conversion import Mismatch, conform, conform_fields, restored, restored_fields
from metta.sweep.pipeline.flows import Flow
from metta.sweep.pipeline.records import fields_of, merged
from metta.sweep.pipeline.sites import Site


@dataclass(frozen=True)
class Boundary:
    """A class contract, which replaces what flows, or fields, which are merged into it, and hooks.

    Args:
        contract: The class; None when there is none.
        fields: Types of fields by name.
        hooks: Hooks by name.
        site: Where it was said; None where nothing was.
    """

    contract: Any = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    hooks: Mapping[str, Any] = field(default_factory=dict)
    site: Site | None = None

    def outflow(self, before: Flow, returned: Flow) -> Flow:
        """What flows on, when the stage returns what it says."""
        if self.contract is not None:
            return Flow.of(self.contract)
        if self.fields:
            declared = {name: FieldType(kind) for name, kind in self.fields.items()}
            return Flow.record({**(before.fields or {}), **declared})
        return returned

    def problems(self, before: Flow, returned: Flow) -> list[str]:
        """Why what a stage returns cannot become what is declared, one sentence each."""
        if self.contract is not None:
            return [
                f"it returns {returned}, but {type_text(self.contract)} is declared: {reason}"
                for reason in returned.reasons(self.contract)
            ]
        if not self.fields or returned.is_unknown:
            return []
        if returned.type is NoneType:
            return [f"it returns nothing, but {', '.join(self.fields)} is declared"]
        return [f"it returns {returned}: {reason}" for reason in self._misfits(before, returned)]

    def _misfits(self, before: Flow, returned: Flow) -> list[str]:
        # where no function stands before the boundary, what flows in has to bear the fields
        is_bearer = returned is before or not self._is_single(returned.fields or {})
        if returned.fields is not None and is_bearer:
            known = {**(before.fields or {}), **returned.fields}
            return [
                f"{name} is missing" if name not in known else wrong_field(name, kind, known[name].type)
                for name, kind in self.fields.items()
                if name not in known or not accepts(kind, known[name].type)
            ]
        if len(self.fields) == 1:
            name, kind = next(iter(self.fields.items()))
            return [] if returned.fits(kind) else [wrong_field(name, kind, returned.type)]
        if isinstance(returned.type, type) and issubclass(returned.type, tuple):
            return []
        if getattr(returned.type, "__origin__", None) is tuple:
            return []
        return [f"{', '.join(self.fields)} are declared, so it has to return these fields"]

    def _is_single(self, names: Mapping[str, Any]) -> bool:
        """Whether a record is the value of the only declared field, and not the bearer of it."""
        return len(self.fields) == 1 and not (self.fields.keys() & names.keys())

    def concluded(self, before: Any, result: Any, returned: Any = Any) -> Any:
        """What flows on.

        Args:
            before: What flowed into the stage.
            result: What it returned.
            returned: What it says it returns; holds where nothing is declared here.

        Raises:
            Mismatch: When the result does not fit.
        """
        if self.contract is not None:
            return conform(result, self.contract)
        if self.fields:
            return merged(before, self._declared(before, result))
        return conform(result, returned)

    def restored(self, data: bytes, before: Any, returned: Any) -> Any:
        """What flowed on in an earlier run, from what was stored of it.

        Raises:
            Mismatch: When it does not fit any more.
        """
        if self.contract is not None or not self.fields:
            return restored(data, self.contract or returned)
        earlier = {name: type(value) for name, value in (fields_of(before) or {}).items()}
        return restored_fields(data, {**earlier, **self.fields})

    def _declared(self, before: Any, result: Any) -> dict[str, Any]:
        given = fields_of(result)
        if given is not None and not self._is_single(given):
            earlier = fields_of(before) or {}
            fields = conform_fields({**earlier, **given}, self.fields)
            if missing := [f"{name} is missing" for name in self.fields if name not in fields]:
                raise Mismatch(missing, "what is declared")
            return {**{name: value for name, value in given.items() if name in earlier}, **fields}
        if len(self.fields) == 1:
            return conform_fields(dict.fromkeys(self.fields, result), self.fields)
        if isinstance(result, tuple) and len(result) == len(self.fields):
            return conform_fields(dict(zip(self.fields, result, strict=True)), self.fields)
        raise Mismatch([f"got {result!r:.80}"], f"the fields {', '.join(self.fields)}")


NO_BOUNDARY = Boundary()
