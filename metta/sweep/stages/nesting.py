"""Nesting in a stage process: the runs that a stage asks for are asked of the worker."""

import json
import os
import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from hashlib import blake2b
from threading import Lock
from typing import Any, NamedTuple

from pydantic import JsonValue, TypeAdapter

from metta.sweep.contracts.components import load
from metta.sweep.contracts.errors import DefinitionError, SweepError
from metta.sweep.contracts.nested import NestedEnd, NestedRun, child_name
from metta.sweep.contracts.nesting import Begun, Wanted
from metta.sweep.contracts.objective_specs import ObjectiveSpec, definition_of
from metta.sweep.contracts.plans import At
from metta.sweep.contracts.references import Reference
from metta.sweep.contracts.seeds import derived_seed
from metta.sweep.contracts.values import INLINE_BYTES
from metta.sweep.pipeline.keeping import packer_for
from metta.sweep.stores.base import Store

RESULTS = "metta.sweep.client.results:Results"
"""What a sweep gives; by its name, for only processes that need it are to import the client."""

LASTING = {
    "Sweep": (
        "objective",
        "search_space",
        "optimizer",
        "scheduler",
        "metric",
        "goal",
        "seed",
        "initial_points",
        "warm_start",
    ),
    "Experiment": ("experiment", "fields", "given", "seed"),
}
"""What makes a run another one when it is asked for again, of the input of its workflow."""

_OBJECTIVE = TypeAdapter[ObjectiveSpec](ObjectiveSpec)

KIND_CHARS = 40


class Trouble(BaseException):
    """Something broke that is nobody's fault: past all that catches the stage's own errors."""


class Asking(NamedTuple):
    """The stage that asks for runs.

    Args:
        name: Name of its experiment.
        at: Which run of which stage.
        seed: Seed of the experiment; None lets each run derive its own from its name.
        lineage: Hashes of the definitions of the experiments that it runs within.
        anew: How often what it asked for was forgotten: runs are to have other names then.
    """

    name: str
    at: At
    seed: int | None = None
    lineage: tuple[str, ...] = ()
    anew: int = 0


class StageNesting:
    """The nested runs of one attempt of a stage.

    Args:
        ask: Lets a run begin; what it gives says how that ends.
        order: Which stage.
        store: Where results are recorded.
        pickle: Whether values may be pickled.
    """

    def __init__(
        self, ask: Callable[[NestedRun], Future[NestedEnd]], order: Asking, store: Store, *, pickle: bool
    ) -> None:
        self._ask, self._order, self._store, self._pickle = ask, order, store, pickle
        self._keys: set[str] = set()
        self._ended: dict[str, None] = {}
        self._naming = Lock()
        self._pid = os.getpid()
        self._trouble: Trouble | None = None
        self._is_over = False

    def begun(self, wanted: Wanted) -> Begun:
        """Ask for a run.

        Raises:
            DefinitionError: When it cannot be run as it is defined, or would run itself without an end.
            SweepError: When the stage is over, or this is a process that it has started.
        """
        order, given = self._order, None
        if os.getpid() != self._pid:
            problem = "cannot be run in a process that the stage has forked"
            raise SweepError(f"{wanted.kind} {problem}; run it in the stage itself, or in a thread of it")
        if self._is_over:
            raise SweepError(f"the stage {order.at} is over; run {wanted.kind} before it returns")
        if wanted.given is not None:
            given = self._packer(wanted).kept(wanted.given, INLINE_BYTES)
        input = wanted.input(given)
        plan = wanted.definition.plan.fingerprint if wanted.definition else ""
        definition = definition_hash(wanted.workflow, input, plan)
        lineage = self._lineage(wanted, definition)
        if wanted.workflow == "Experiment":
            input["lineage"] = lineage
        elif isinstance(objective := input.get("objective"), dict) and "experiment" in objective:
            input["objective"] = {**objective, "lineage": lineage}  # its trials have stages, too
        key = self._key(wanted, definition)
        if order.seed is not None:
            input = {"seed": derived_seed(order.seed, 0, f"{order.at}/{key}"), **input}
        key = f"{key}~{order.anew}" if order.anew else key
        run = NestedRun(
            at=order.at,
            key=key,
            definition=definition,
            workflow=wanted.workflow,
            input=input,
            summary=wanted.summary,
            after=tuple(self._ended),
        )
        name = child_name(order.name, order.at, key)
        return Begun(name, self._ask(run), partial(self._result, wanted, name, key))

    def close(self) -> None:
        """Let nothing begin any more: the stage has returned.

        Raises:
            Trouble: When there was any, whatever the stage has made of it.
        """
        self._is_over = True
        if self._trouble:
            raise self._trouble

    def _result(self, wanted: Wanted, name: str, key: str, end: NestedEnd) -> Any:
        self._ended[key] = None
        if end.trouble:
            self._trouble = self._trouble or Trouble(end.trouble)
            raise Trouble(end.trouble)
        if end.error:
            raise end.error.raised
        if wanted.workflow == "Sweep":
            return load(RESULTS).__unpack__(name, self._store.address)
        return self._packer(wanted).unkept(end.value)

    def _packer(self, wanted: Wanted) -> Any:
        return packer_for(wanted.definition, self._store.data, pickle=self._pickle)

    def _lineage(self, wanted: Wanted, definition: str) -> list[JsonValue]:
        if definition in self._order.lineage:
            problem = (
                "it runs itself again with the same fields and the same input, and so without an end; let a"
                " field or the input say where it ends"
            )
            raise DefinitionError([problem], wanted.kind)
        return [*self._order.lineage, definition]

    def _key(self, wanted: Wanted, definition: str) -> str:
        """The same at each attempt, and no other run's of this stage."""
        kind = re.sub(r"[^A-Za-z0-9._-]+", "-", wanted.kind).strip("-.")[:KIND_CHARS]
        base = wanted.name or f"{kind}-{definition[:8]}"
        with self._naming:
            keys = [base, *(f"{base}.{n}" for n in range(2, len(self._keys) + 2))]
            key = next(key for key in keys if key not in self._keys)
            self._keys.add(key)
        return key


def definition_hash(workflow: str, input: Mapping[str, JsonValue], plan: str = "") -> str:
    """What changes with all that makes a run another one, as 16 hexadecimal digits.

    How trials are run may change, as from one session to the next, and a project may be moved.

    Args:
        workflow: Type of its workflow.
        input: Input of its workflow.
        plan: Fingerprint of its pipeline; empty for a sweep.
    """
    lasting = {name: input.get(name) for name in LASTING[workflow]}
    if (objective := lasting.get("objective")) is not None:
        lasting["objective"] = definition_of(_OBJECTIVE.validate_python(objective))
    if (experiment := lasting.get("experiment")) is not None:
        lasting["experiment"] = Reference.parse(str(experiment)).definition
    text = json.dumps([workflow, lasting, plan], sort_keys=True)
    return blake2b(text.encode(), digest_size=8).hexdigest()
