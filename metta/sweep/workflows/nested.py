"""Nested runs: children that the code of stages has asked for."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from temporalio import workflow
from temporalio.exceptions import ChildWorkflowError

with workflow.unsafe.imports_passed_through():
    from metta.sweep.contracts.errors import BudgetSpent
    from metta.sweep.contracts.nested import NestedKey, NestedRun, NestedState, ToldError, child_name
    from metta.sweep.contracts.plans import At
    from metta.sweep.workflows.children import Children, Handle


@dataclass
class _Run:
    name: str
    at: At
    run: str = ""
    waits: bool = False
    has_failed: bool = False
    error: ToldError | None = None
    task: "asyncio.Task[None]" = field(init=False)

    @property
    def state(self) -> NestedState:
        return NestedState(name=self.name, run=self.run, error=self.error)

    def begin(self, handle: Handle) -> None:
        self.run = handle.first_execution_run_id or ""

    def wait(self) -> None:
        self.waits = True


class NestedRuns:
    """The nested runs of those stages that run now; each is asked for again by the next attempt of its stage.

    Args:
        name: Name of the experiment.
        children: What carries them out.
        is_held: Whether none is to begin now.
    """

    def __init__(self, name: str, children: Children, is_held: Callable[[], bool]) -> None:
        self._name, self._children, self._is_held = name, children, is_held
        self._runs: dict[str, _Run] = {}

    async def begin(self, wanted: NestedRun) -> NestedState:
        """Let a run begin, unless it has; one that has failed begins again, and goes on where it was."""
        name = child_name(self._name, wanted.at, wanted.key)
        known = self._runs.get(name)
        if known is None or known.has_failed:
            known = self._runs[name] = _Run(name, wanted.at)
            known.task = asyncio.create_task(self._carried_out(known, wanted))
        run = known
        await workflow.wait_condition(lambda: bool(run.run) or run.waits or run.task.done())
        return run.state

    def drop(self, key: NestedKey) -> None:
        """Let a run end; if it is asked for again, it goes on."""
        if run := self._runs.get(child_name(self._name, key.at, key.key)):
            run.has_failed = True
            run.task.cancel()

    def state(self, key: NestedKey) -> NestedState:
        """Whether a run has begun that had to wait."""
        name = child_name(self._name, key.at, key.key)
        known = self._runs.get(name)
        return known.state if known else NestedState(name=name)

    def stages(self) -> set[At]:
        """Stages of which runs are under way."""
        return {run.at for run in self._runs.values() if not run.task.done()}

    async def end(self, at: At, *, cancel: bool) -> None:
        """Wait for the ends of all runs of a stage.

        Args:
            at: The stage, which is over.
            cancel: Whether they are to be cancelled: nobody asks for them any more.
        """
        runs = {name: run for name, run in self._runs.items() if run.at == at}
        under_way = [run for run in runs.values() if not run.task.done()]
        for run in under_way:
            if cancel or not run.run:  # what waits for leave to begin would wait on
                run.task.cancel()
        if under_way:
            await workflow.wait([run.task for run in under_way])
        for name in runs:
            del self._runs[name]

    async def _carried_out(self, run: _Run, wanted: NestedRun) -> None:
        try:
            if self._is_held():
                run.wait()
                await workflow.wait_condition(lambda: not self._is_held())
            await self._children.result(
                wanted.workflow, dict(wanted.input), run.name, wanted.summary, run.begin, run.wait
            )
        except ChildWorkflowError:
            run.has_failed = True
        except BudgetSpent as error:
            run.has_failed, run.error = True, ToldError.of(error)
