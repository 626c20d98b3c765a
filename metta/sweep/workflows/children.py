"""Children: the workflows that an experiment has started, and what they are told while they run."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pydantic import JsonValue
from temporalio import workflow
from temporalio.exceptions import FailureError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from metta.sweep.contracts.activities import END_EXPERIMENT
    from metta.sweep.contracts.advances import ExperimentEnd
    from metta.sweep.contracts.experiments import ExperimentControl, Steering
    from metta.sweep.workflows.executed import SUMMARY_CHARS, executed
    from metta.sweep.workflows.gate import Gate

Handle = workflow.ChildWorkflowHandle[Any, Any]


class Children:
    """The children that run.

    Args:
        gate: Knows how many there are.
        control: What people want of the experiment now.
    """

    def __init__(self, gate: Gate, control: Callable[[], ExperimentControl]) -> None:
        self._gate, self._control = gate, control
        self._running: dict[str, Handle] = {}

    async def result(
        self,
        kind: str,
        input: JsonValue,
        name: str,
        summary: str,
        begun: Callable[[Handle], None] = lambda _: None,
    ) -> dict[str, Any]:
        """Let a child run to its end; cancelled, it waits for the end that this brings.

        Args:
            kind: Type of the workflow.
            input: Its input.
            name: Its id.
            summary: One line for people.
            begun: Called when it has begun.

        Raises:
            ChildWorkflowError: When it gave nothing.
        """
        async with self._gate.with_child():
            handle = self._running[name] = await self._started(kind, input, name, summary)
            begun(handle)
            try:
                control = self._control()
                if control.pause or control.stop:  # that was wanted while it began
                    await _told(handle, Steering(pause=control.pause, stop=control.stop))
                result: dict[str, Any] = await handle
                return result
            finally:
                self._running.pop(name, None)

    async def steer(self, steering: Steering) -> None:
        """Tell all that run what is wanted of them."""
        for handle in list(self._running.values()):
            await _told(handle, steering)

    async def _started(self, kind: str, input: JsonValue, name: str, summary: str) -> Handle:
        while True:
            try:
                return await workflow.start_child_workflow(
                    kind,
                    input,
                    id=name,
                    static_summary=summary[:SUMMARY_CHARS],
                    cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
                    parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
                )
            except WorkflowAlreadyStartedError:  # that of a run of this experiment that was ended by force
                await executed(END_EXPERIMENT, ExperimentEnd(name=name), "wait for the end of what runs")


async def _told(handle: Handle, steering: Steering) -> None:
    with suppress(FailureError):  # it has just ended
        await handle.signal("steer", steering)
