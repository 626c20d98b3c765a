"""The sweep experiment: what to try, where to search, and how."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from pydantic import JsonValue

from metta.sweep.contracts.budgets import Budget, Control, limits_of, limits_or_problems
from metta.sweep.contracts.components import Checked
from metta.sweep.contracts.distributions import Distribution
from metta.sweep.contracts.errors import DefinitionError, DefinitionReached
from metta.sweep.contracts.failures import RetryPolicy
from metta.sweep.contracts.fingerprints import fingerprint_of
from metta.sweep.contracts.importing import is_importing, is_importing_names
from metta.sweep.contracts.jobs import Job, objective_from
from metta.sweep.contracts.metrics import Goal, inferred_goal
from metta.sweep.contracts.models import json_ready, parse
from metta.sweep.contracts.names import generated_name, name_problem
from metta.sweep.contracts.nesting import Nesting, Wanted, check_no_queue, check_outside, nesting
from metta.sweep.contracts.objective_specs import ObjectiveSpec, reference_in
from metta.sweep.contracts.references import Reference
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.contracts.sweeps import SessionInput, SweepInput, SweepSpec
from metta.sweep.contracts.trials import Observation, Resources
from metta.sweep.contracts.values import Value
from metta.sweep.contracts.wording import budget_text
from metta.sweep.executors.base import Executor
from metta.sweep.experiments.defaults import KINDS, configured, specs_of, with_defaults
from metta.sweep.experiments.objectives import (
    class_of,
    is_tried,
    locally,
    problems_of_search,
    resolved,
    spec_of_tried,
)
from metta.sweep.experiments.references import (
    CLIENT,
    AnyObjective,
    problems_of_objective,
    reference_of,
)
from metta.sweep.experiments.warm_starts import AnyWarmStart, warm_start_of
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.schedulers.base import Scheduler

if TYPE_CHECKING:
    from metta.sweep.client.handle import SweepHandle
    from metta.sweep.client.results import Results

LATER = "later:named"

BOTH = "objective and base_experiment are two names of one argument; give one of them"


class SweepExperiment(Checked):
    """Tries an objective with many parameters and keeps every result.

    ::

        sweep = SweepExperiment(objective=train, search_space={"lr": LogUniform(1e-4, 1e-1)})
        results = sweep.run(budget=20)

    All but its name, space, seed, initial points and warm start may be left to ``configure`` or
    pyproject.toml; None means the following where these say nothing either.

    Args:
        objective: A function of a trial, or of its parameters, that returns a number, a dict of
            numbers, or nothing when it reported; or a reference, ``"package.module:function"``; or an
            experiment, or its class, whose fields the parameters are.
        search_space: Distributions by parameter name; may stand in the optimizer instead.
        name: Name of the sweep; None generates one at each run.
        optimizer: What to try next; None draws at random.
        scheduler: How long, and when; None fills each free slot at once.
        executor: Where trials run; None takes processes of this machine, one for each core.
        metric: The metric that counts; None takes the only one returned.
        goal: ``"maximize"`` or ``"minimize"``; None goes by the metric's name.
        seed: Seed of all randomness; None derives it from the sweep's name.
        retry: How often a failed trial is tried again; a number is a number of attempts.
        timeout: Longest run of one attempt, in seconds.
        resources: What each trial needs.
        max_failures: So many failed trials without one success end the sweep; None means 5.
        initial_points: What the first trials try, before the optimizer is asked; parameters that a point
            does not name are drawn at random.
        warm_start: What the optimizer knows before the first trial: the name of an earlier sweep, the path
            of a ledger or of a sweep's folder, results, or a list of these and of observations. What the
            optimizer was told by hand is added.
        base_experiment: Another name of ``objective``.
        budget: Limits that hold where ``run`` is given none, and when it is a stage of a pipeline.

    Raises:
        DefinitionError: With every mistake.
    """

    def __init__(
        self,
        objective: AnyObjective | None = None,
        search_space: SearchSpace | Mapping[str, Distribution] | None = None,
        *,
        name: str | None = None,
        optimizer: Optimizer | None = None,
        scheduler: Scheduler | None = None,
        executor: Executor | None = None,
        metric: str | None = None,
        goal: Goal | None = None,
        seed: int | None = None,
        retry: RetryPolicy | int | None = None,
        timeout: float | None = None,
        resources: Resources | None = None,
        max_failures: int | None = None,
        initial_points: Sequence[Mapping[str, Any]] | None = None,
        warm_start: "AnyWarmStart | None" = None,
        base_experiment: AnyObjective | None = None,
        budget: Budget | int | None = None,
    ) -> None:
        self.name = name
        self.objective: Any = objective_from(base_experiment if objective is None else objective)
        self._given = {
            "search_space": search_space,
            "optimizer": optimizer,
            "scheduler": scheduler,
            "executor": executor,
            "metric": metric,
            "goal": goal,
            "seed": seed,
            "retry": {"max_attempts": retry} if isinstance(retry, int) else retry,
            "timeout": timeout,
            "resources": resources,
            "max_failures": max_failures,
            "initial_points": json_ready(initial_points),
        }
        self._warm_start = warm_start
        self._budget, wrong = limits_or_problems(budget)
        self._mistakes = [
            *([problem] if name is not None and (problem := name_problem(name)) else []),
            *wrong,
            *([BOTH] if objective is not None and base_experiment is not None else []),
        ]
        # where only names are wanted nobody runs it, and the defaults it was started with may be gone
        if not is_importing_names():
            self._define()

    def _define(self) -> None:
        """Take the defaults for what was not given, and check everything."""
        said = with_defaults({"objective": self.objective, **self._given})
        self.objective = resolved(said.pop("objective", None))
        metric, goal = said.get("metric"), said.get("goal")
        self._infers_goal = goal is None and isinstance(metric, str)
        self._optimizer = optimizer = said.get("optimizer")
        sources, self._observations, strangers = warm_start_of(self._warm_start)
        said["warm_start"] = sources
        scheduler = said.get("scheduler")
        components, wrong = specs_of({kind: said.pop(kind) for kind in KINDS if kind in said})
        problems = [
            *self._mistakes,
            *problems_of_objective(self.objective, bare_allowed=bool(metric or goal)),
            *wrong,
            *strangers,
        ]
        plain = components.get("optimizer")
        space = plain.options.pop("search_space", None) if plain else None  # the space is the sweep's
        if (space := getattr(optimizer, "search_space", space)) is not None:
            said.setdefault("search_space", space)
        if is_tried(self.objective):
            problems += problems_of_search(self.objective, said.get("search_space"), scheduler)
        said |= components
        said["objective"] = self._spec_by(LATER)  # code gets its reference when it is handed over
        if self._infers_goal:
            said["goal"] = inferred_goal(said["metric"])
        try:
            spec = parse(SweepSpec, said, "the sweep")
        except DefinitionError as error:
            problems += error.problems
        else:
            if not problems:
                self._spec = spec
                return
        raise DefinitionError(problems, f"the sweep {self.name}" if self.name else "the sweep")

    def run(
        self,
        budget: Budget | int | None = None,
        *,
        resume: bool = False,
        debug: bool = False,
        name: str | None = None,
        queue: str | None = None,
    ) -> "Results":
        """Search until the budget is used up, and show how far it is.

        Everything goes on without this process: Ctrl-C detaches, a second one stops the sweep.

        In a stage of an experiment it becomes a part of that: a workflow of its own, to which the stage is
        attached again when it is tried again. An async stage has to await it: ``await sweep.run()``.

        Args:
            budget: Limits; a number is a number of trials. None takes the experiment's; without any it
                searches until it is stopped.
            resume: Continue the sweep of this name: attach to it, or go on with a larger budget.
            debug: Run in this process, one trial at a time; breakpoints and prints work.
            name: Name of the sweep, instead of the experiment's.
            queue: A shared queue, whose workers run it; None takes that of the settings, else, as with an
                empty one, a worker of its own is started.

        Returns:
            The results.

        Raises:
            DefinitionError: When it cannot be run as it is defined, or the name is in use.
            SweepFailed: When no trial succeeded.
            ServerError: When there is no Temporal server and none can be started.
        """
        self._only_defined(budget=budget, resume=resume, debug=debug, name=name, queue=queue)
        if debug:
            return self._debugged(self._called(name), self._input(budget, resume))
        if place := nesting():
            check_no_queue(queue)
            return self._nested(place, budget, name)
        from metta.sweep.client.following import followed

        return followed(self.start(budget, resume=resume, name=name, queue=queue), show_end=True)

    def start(
        self,
        budget: Budget | int | None = None,
        *,
        resume: bool = False,
        name: str | None = None,
        queue: str | None = None,
    ) -> "SweepHandle":
        """Start the sweep without waiting for it; arguments and errors are those of ``run``."""
        self._only_defined(budget=budget, resume=resume, name=name, queue=queue)
        check_outside(self.name or "the sweep")
        from metta.sweep.client.sweeps import Sweeps

        definition = self._input(budget, resume)
        reference, code = reference_in(definition.objective), self._code
        by_value = reference is not None and Reference.parse(reference).kind == "value"
        called, value = self._called(name), code if by_value else None
        handle = Sweeps().start(called, definition, value, fingerprint_of(code), self._known(), queue)
        handle.notes = [*self._goal_notes(), *handle.notes]
        return handle

    @staticmethod
    def attach(name: str) -> "SweepHandle":
        """The handle of a sweep that was started before.

        Raises:
            SweepNotFound: When there is none of that name.
        """
        if is_importing():
            raise DefinitionReached(None, {"name": name})
        from metta.sweep.client.sweeps import Sweeps

        return Sweeps().attach(name)

    @property
    def child_workflow(self) -> Literal["Sweep"]:
        """Type of the workflow that runs it when it is a stage."""
        return "Sweep"

    @property
    def child_block(self) -> tuple[()]:
        """It has no stages."""
        return ()

    def child_input(self, given: Value) -> dict[str, JsonValue]:
        """Input of the workflow that runs it when it is a stage.

        Args:
            given: What flows into that stage, of which a sweep takes nothing.

        Raises:
            DefinitionError: When it cannot be run as it is defined, or its objective cannot travel.
        """
        self._defined()
        return self._nested_input(None)

    def _nested_input(self, budget: Budget | int | None) -> dict[str, JsonValue]:
        from metta.sweep.client.handovers import begun_here, findable

        definition = self._input(budget, resume=True)
        changes: dict[str, object] = {"warm_start": begun_here(definition.warm_start, self._known())}
        if not isinstance(self.objective, str | Job):
            changes["objective"] = self._spec_by(findable(reference_of(self._code), self._code))
        return definition.model_copy(update=changes).model_dump(mode="json", exclude_defaults=True)

    def child_summary(self) -> str:
        """One line on it for people."""
        return self._summary(self._input(None, resume=True))

    def run_here(self, given: Any) -> "Results":
        """What it gives as a stage of a local run.

        Args:
            given: What flows into that stage, of which a sweep takes nothing.
        """
        return self.run(debug=True, name=generated_name())

    def _nested(self, place: Nesting, budget: Budget | int | None, name: str | None) -> "Results":
        """Run as a part of the experiment whose stage asks for it."""
        from metta.sweep.client.pending import results_of

        self._called(name)  # for its mistakes
        definition = self._input(budget, resume=True)
        wanted = Wanted(
            name=name or self.name,
            kind=definition.objective_name,
            workflow="Sweep",
            given=None,
            definition=None,
            input=lambda _: self._nested_input(budget),
            summary=self._summary(definition),
            here=lambda: self.run(budget, debug=True, name=generated_name()),
        )
        return results_of(place.begun(wanted))

    @staticmethod
    def _summary(definition: SweepInput) -> str:
        return f"sweep of {definition.objective_name}; budget: {budget_text(definition.budget)}"

    def _debugged(self, name: str, definition: SweepInput) -> "Results":
        if isinstance(self.objective, Job):
            problem = (
                f"{definition.objective_name} is a program, which cannot run in this process; leave debug out"
            )
            raise DefinitionError([problem], f"the sweep {name}")
        from metta.sweep.client.following import announce, conclude
        from metta.sweep.client.results import Results
        from metta.sweep.client.starts import code_here
        from metta.sweep.client.sweeps import Sweeps
        from metta.sweep.search.debugging import debugged

        sweeps = Sweeps()
        definition = sweeps.warmed(name, sweeps.continued(name, definition), self._known())
        if sweeps.table(name).finish is None and sweeps.has_worker(name):
            raise DefinitionError([f"it is running; `sweep stop {name}` ends it"], f"the sweep {name}")
        session = SessionInput(
            sweep_id=name,
            spec=definition.spec,
            control=Control(run=f"debug-{uuid4().hex}", budget=definition.budget),
            resume=definition.resume,
        )
        announce(name, "in this process", self._goal_notes())
        objective = self.objective
        objective = locally(objective, self._spec.metric) if is_tried(objective) else objective
        debugged(session, sweeps.store, code_here(), objective)
        conclude(table := sweeps.table(name))
        return Results.of(name, table)

    def _goal_notes(self) -> list[str]:
        """An inferred goal is told, for a wrong one turns the search round."""
        if not self._infers_goal:
            return []
        other = "minimize" if self._spec.goal == "maximize" else "maximize"
        return [f"{self._spec.metric} is {self._spec.goal}d, going by its name; goal={other!r} reverses that"]

    def _known(self) -> list[Observation]:
        """Observations that it begins with; those of the optimizer as of now, for it may have learnt more."""
        return [*self._observations, *getattr(self._optimizer, "told_by_hand", ())]

    def _called(self, name: str | None) -> str:
        if name is not None and (problem := name_problem(name)):
            raise DefinitionError([problem], "the sweep")
        return name or self.name or generated_name()

    def _input(self, budget: Budget | int | None, resume: bool) -> SweepInput:
        limits = self._budget if budget is None else limits_of(budget, Budget)
        given: dict[str, Any] = {name: getattr(self._spec, name) for name in SweepSpec.model_fields}
        named = isinstance(self.objective, str | Job)
        objective = self.objective if named else self._spec_by(str(reference_of(self._code)))
        given |= {"objective": objective, "budget": limits, "resume": resume, "client": CLIENT}
        return SweepInput.model_validate(given)

    @property
    def _code(self) -> Any:
        """What other processes have to find of the objective."""
        return class_of(self.objective) if is_tried(self.objective) else self.objective

    def _spec_by(self, reference: str) -> ObjectiveSpec:
        """The objective as plain data, by what names its code."""
        if not is_tried(self.objective):
            return reference
        return spec_of_tried(self.objective, reference).model_copy(update={"defaults": configured()})

    def _only_defined(self, **options: object) -> None:
        """End the import of the script here, when all that is wanted is what it defines."""
        if is_importing():
            raise DefinitionReached(self, {name: value for name, value in options.items() if value})
        self._defined()

    def _defined(self) -> None:
        if not hasattr(self, "_spec"):  # it was made where only names were wanted, and is run after all
            self._define()
