"""Nested runs: children that the code of stages has asked for."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from temporalio import workflow
from temporalio.exceptions import ChildWorkflowError, FailureError

with workflow.unsafe.imports_passed_through():
    from metta.sweep.contracts.errors import BudgetSpent, SweepFailed
    from metta.sweep.contracts.nested import NestedKey, NestedRun, NestedState, ToldError, child_name
    from metta.sweep.contracts.plans import At
    from metta.sweep.workflows.children import Children, Handle


@dataclass
class _Run:
    """A nested run.

    Args:
        name: Id of its workflow.
        at: The stage that has asked for it.
        run_id: Of its workflow; empty while that has not begun.
        waits: Whether it cannot begin at once.
        is_over: Whether it begins again when it is asked for again: it has failed, or nobody wanted it.
        error: Why it will not begin.
    """

    name: str
    at: At
    run_id: str = ""
    waits: bool = False
    is_over: bool = False
    error: ToldError | None = None
    task: "asyncio.Task[None]" = field(init=False)

    @property
    def state(self) -> NestedState:
        return NestedState(name=self.name, run=self.run_id, error=self.error)

    def begin(self, handle: Handle) -> None:
        self.run_id = handle.first_execution_run_id or ""

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
        before = [self._runs.get(child_name(self._name, wanted.at, key)) for key in wanted.after]
        if ending := [run.task for run in before if run and not run.task.done()]:
            await workflow.wait(ending)  # the stage may have heard of their ends before this workflow has
        known = self._runs.get(name)
        if known is None or known.is_over:
            former, known = known, _Run(name, wanted.at)
            self._runs[name] = known
            known.task = asyncio.create_task(self._carried_out(known, wanted, former))
        run = known
        await workflow.wait_condition(lambda: bool(run.run_id) or run.waits or run.task.done())
        return run.state

    def drop(self, key: NestedKey) -> None:
        """Let a run end; if it is asked for again, it goes on."""
        if run := self._runs.get(child_name(self._name, key.at, key.key)):
            run.is_over = True
            run.task.cancel()

    def state(self, key: NestedKey) -> NestedState:
        """Whether a run has begun that had to wait."""
        name = child_name(self._name, key.at, key.key)
        known = self._runs.get(name)
        return known.state if known else NestedState(name=name)

    @property
    def stages(self) -> tuple[At, ...]:
        """Stages of which runs are under way."""
        return tuple(dict.fromkeys(run.at for run in self._runs.values() if not run.task.done()))

    async def end(self, at: At, *, cancel: bool) -> None:
        """Wait for the ends of all runs of a stage.

        Args:
            at: The stage, which is over.
            cancel: Whether they are to be cancelled: nobody asks for them any more.
        """
        runs = {name: run for name, run in self._runs.items() if run.at == at}
        under_way = [run for run in runs.values() if not run.task.done()]
        for run in under_way:
            if cancel or not run.run_id:  # what waits for leave to begin would wait on
                run.task.cancel()
        if under_way:
            await workflow.wait([run.task for run in under_way])
        for name in runs:
            del self._runs[name]

    async def _carried_out(self, run: _Run, wanted: NestedRun, former: _Run | None) -> None:
        try:
            if former and not former.task.done():  # it was not wanted any more, and is just ending
                run.wait()
                await workflow.wait([former.task])
            if self._is_held():
                run.wait()
                await workflow.wait_condition(lambda: not self._is_held())
            result = await self._children.result(
                wanted.workflow, dict(wanted.input), run.name, wanted.summary, run.begin, run.wait
            )
            # a part of a search is a result, and a part of an experiment is none
            run.is_over = wanted.workflow == "Experiment" and result.get("reason") == "stopped"
        except BudgetSpent as error:
            run.is_over, run.error = True, ToldError.of(error)
        except FailureError as error:
            run.is_over = True
            if not (run.run_id and isinstance(error, ChildWorkflowError)):  # else its workflow tells why
                cause = error.cause or error
                run.error = ToldError.of(SweepFailed(f"{run.name} cannot begin: {cause}"))
