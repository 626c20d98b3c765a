"""Typed references to activities: workflows call by these what `metta.sweep.activities` implements."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel

from metta.sweep.contracts.advances import (
    Advance,
    AdvanceOrder,
    ExperimentEnd,
    Measuring,
    SweepWatch,
    TrialNews,
    TrialOrder,
    Trials,
)
from metta.sweep.contracts.experiments import (
    Answer,
    Beginning,
    Child,
    FinishOrder,
    MergeOrder,
    Order,
    PlanInput,
    RecoverOrder,
    SpentOrder,
    SpentResult,
    StageOrder,
    StageResult,
)
from metta.sweep.contracts.sweeps import SessionInput, SessionResult
from metta.sweep.contracts.values import Value

InputT = TypeVar("InputT", bound=BaseModel)
ResultT = TypeVar("ResultT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ActivityReference(Generic[InputT, ResultT]):
    """An activity by its name, with the types of what goes in and comes out."""

    name: str
    input: type[InputT]
    result: type[ResultT]


RUN_SEARCH_SESSION = ActivityReference("run_search_session", SessionInput, SessionResult)
"""Hosts a search and its runner processes until the search is over."""

ADVANCE_SEARCH = ActivityReference("advance_search", AdvanceOrder, Advance)
"""Records what happened to trials that are jobs, and says what is to be done."""

RUN_TRIAL = ActivityReference("run_trial", TrialOrder, TrialNews)
"""Lets an attempt run as a job, and attends it to its end."""

RUN_OBJECTIVE = ActivityReference("run_objective", TrialOrder, TrialNews)
"""Runs an attempt of a Python objective in a process of a worker."""

MISSING_TRIALS = ActivityReference("missing_trials", Trials, Trials)
"""Looks which workflows of trials are over."""

END_LEFTOVERS = ActivityReference("end_leftovers", Trials, Trials)
"""Ends trials that a deleted sweep of the same name has left; returns which those were."""

MEASURE_TRIAL = ActivityReference("measure_trial", Measuring, TrialNews)
"""Looks for the metrics in what a trial that is an experiment has given."""

END_EXPERIMENT = ActivityReference("end_experiment", ExperimentEnd, ExperimentEnd)
"""Cancels the workflow of an experiment, if it runs, and waits for its end."""

WATCH_SWEEP = ActivityReference("watch_sweep", SweepWatch, SweepWatch)
"""Waits for the end of a sweep, without a worker: it is tried again each minute."""

PLAN_EXPERIMENT = ActivityReference("plan_experiment", PlanInput, Beginning)
"""Imports an experiment, checks it, and says where its run begins."""

RUN_STAGE = ActivityReference("run_stage", StageOrder, StageResult)
"""Runs a stage with its hooks, or finds what it has given before."""

RECOVER_STAGE = ActivityReference("recover_stage", RecoverOrder, StageResult)
"""Asks the ``on_error`` of a stage that has failed."""

ASK_PREDICATE = ActivityReference("ask_predicate", Order, Answer)
"""Asks the predicate of a conditional or of a loop."""

MERGE_BRANCHES = ActivityReference("merge_branches", MergeOrder, Value)
"""Merges the results of parallel branches."""

PREPARE_CHILD = ActivityReference("prepare_child", Order, Child)
"""Asks what the workflow that does a stage's work is to be given."""

COUNT_SPENT = ActivityReference("count_spent", SpentOrder, SpentResult)
"""Counts what sweeps and experiments have spent, with all that ran within them."""

FINISH_EXPERIMENT = ActivityReference("finish_experiment", FinishOrder, FinishOrder)
"""Records how an experiment has ended."""
