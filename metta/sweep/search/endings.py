"""Endings: why a sweep is over, or about to be. Pure functions of what is recorded."""

from collections.abc import Iterable

from metta.sweep.contracts.decisions import Finish, Interrupt, Stop
from metta.sweep.contracts.events import ControlChanged, Event
from metta.sweep.contracts.metrics import BARE
from metta.sweep.stores.trials import TrialTable


def interruption(table: TrialTable) -> Finish | None:
    """Why running trials are to be stopped now, or None."""
    budget = table.control.budget
    if problem := failure(table):
        return Finish(reason="failed", message=problem)
    if table.control.stop:
        return Finish(reason="stopped")
    if budget.time_s is not None and table.elapsed_s >= budget.time_s:
        return Finish(reason="time")
    if target_reached(table):
        return Finish(reason="target")
    return None


def stopping(table: TrialTable, trials: Iterable[int]) -> list[Stop]:
    """Stops of those trials that have not ended, and were not told to before."""
    records = (table.records[number] for number in sorted(set(trials)))
    return [Stop(trial=r.number) for r in records if r.status in ("running", "paused") and not r.stopping]


def interrupting(table: TrialTable, news: Iterable[Event]) -> list[Interrupt]:
    """What runs at the moment in which somebody wants a pause now; what is tried again waits anyway."""
    control = table.control
    if control.pause != "now" or control.stop or not any(isinstance(e, ControlChanged) for e in news):
        return []
    return [Interrupt(trial=r.number) for r in table.running.values() if not r.stopping]


def target_reached(table: TrialTable) -> bool:
    """Whether the best value is as good as the budget's target."""
    target = table.control.budget.target
    if target is None or table.objective is None or (best := table.best) is None:
        return False
    value = table.value(best)
    return value is not None and table.objective.reached(value, target)


def failure(table: TrialTable) -> str | None:
    """Why it makes no sense to go on, or None."""
    if table.succeeded and table.objective is None:
        return undecided_metric(table)
    return all_failed(table) if table.has_only_failed else None


def undecided_metric(table: TrialTable) -> str:
    """What to add when trials return numbers, but none of them is the one that counts."""
    names = sorted(next(r.metrics for r in table.records if r.metrics))
    if names == [BARE]:
        return (
            "the objective returns a bare number, and nothing says whether more or less of it is better:"
            ' add goal="maximize" or goal="minimize", or return a dict such as {"accuracy": 0.9}.'
            " Nothing is lost: the same sweep goes on with resume=True"
        )
    return (
        f"the objective returns {', '.join(names)}, and nothing says which of them counts:"
        f' add metric="{names[0]}" or another one. Nothing is lost: the same sweep goes on with resume=True'
    )


def all_failed(table: TrialTable) -> str:
    """That nothing but failures came back, and the commonest one."""
    common = table.commonest_failure()
    count = f"all of the {table.failed} finished trials failed" if table.failed > 1 else "the trial failed"
    if common is None:
        return count
    told = f"{count}, most often with: {common.message}" if table.failed > 1 else f"{count}: {common.message}"
    return f"{told}\n\n{common.traceback}".rstrip()


def natural_end(table: TrialTable, remaining: int | None) -> Finish:
    """How a sweep ends that has nothing left to run; ``remaining`` trials were still allowed."""
    if table.best is None and table.failed:
        return Finish(reason="failed", message=all_failed(table))
    return Finish(reason="budget" if remaining == 0 else "exhausted")
