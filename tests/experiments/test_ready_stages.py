"""Ready-made stages: what each of them finds out, by hand and in pipelines."""

from dataclasses import dataclass, replace
from math import isnan
from statistics import fmean, stdev
from typing import Any

import pytest

from metta.sweep import (
    DefinitionError,
    Infeasible,
    Resources,
    SearchSpace,
    StageFailed,
    Trial,
    Uniform,
    configure,
)
from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.trials import Observation
from metta.sweep.experiments import Experiment, SweepContext
from metta.sweep.experiments.base import Pipeline
from metta.sweep.experiments.ready.context import Expectation
from metta.sweep.pipeline.packing import Hashes, Packer
from metta.sweep.schedulers import ASHAScheduler
from tests.experiments.ready import Hill, Hybrid, Networks, Unsaid, climb

pytestmark = pytest.mark.usefixtures("project")


UPSIDE_DOWN = {"x": Uniform(1, 0)}


def height(params: dict[str, Any]) -> float:
    return climb(Trial(params))["height"]


def known(*points: tuple[float, float]) -> SweepContext:
    """What is known when these points of the hill were tried."""
    trials = [Trial({"x": x, "y": y}, k - len(points)) for k, (x, y) in enumerate(points)]
    observations = [Observation(trial, climb(trial)) for trial in trials]
    return SweepContext(trials=trials, observations=observations, metric="height", goal="maximize")


GRID = known(*[(x / 4, y / 4) for x in range(5) for y in range(5)])


def params_of(context: SweepContext, since: SweepContext | None = None) -> list[dict[str, Any]]:
    return [trial.params for trial in context.trials[len(since.trials) if since else 0 :]]


async def test_a_search_called_by_hand_adds_its_trials_to_what_is_known() -> None:
    first = await Hill().random_search(n_trials=4)(SweepContext())
    assert (len(first.trials), len(first.observations)) == (4, 4)
    assert first.current_phase == "random_search"
    assert (first.metric, first.goal) == ("height", "maximize")
    assert first.best_score == max(o.metrics["height"] for o in first.observations if o.metrics)
    assert abs(first.best_score - height(first.best_params)) < 0.002
    second = await Hill().random_search(n=3)(first)
    assert params_of(second)[:4] == params_of(first)
    assert all(params not in params_of(first) for params in params_of(second)[4:])
    assert [trial.number for trial in second.trials] == [*range(-7, 0)]
    assert [o.trial.number for o in second.observations] == [*range(-7, 0)]
    assert second.best_score >= first.best_score
    assert len(first.trials) == 4


async def test_nothing_is_known_where_none_flows_in() -> None:
    assert len((await Hill().random_search(2)(None)).trials) == 2


async def test_a_search_begins_with_everything_that_was_observed() -> None:
    found = await Hill().bayesian_optimize(n_trials=3)(GRID)
    assert all(height(params) > 0.98 for params in params_of(found, GRID))
    blind = await Hill().bayesian_optimize(n_trials=3)(SweepContext())
    assert min(map(height, params_of(blind))) < 0.95


async def test_a_grid_tries_all_combinations_and_leaves_the_rest_in_the_middle_or_at_its_best() -> None:
    grid = Hill().grid_search(params={"x": [0.2, 0.8]})
    assert params_of(await grid(SweepContext())) == [{"x": 0.2, "y": 0.5}, {"x": 0.8, "y": 0.5}]
    after = await grid(replace(known((0.1, 0.9)), best_params={"x": 0.1, "y": 0.9}))
    assert params_of(after)[1:] == [{"x": 0.2, "y": 0.9}, {"x": 0.8, "y": 0.9}]


async def test_a_grid_leaves_out_what_is_inactive_and_tries_nothing_twice() -> None:
    found = await Networks().grid_search({"model": ["cnn", "mlp"], "cnn.layers": [1, 4]})(None)
    assert params_of(found) == [
        {"lr": 0.1, "model": "cnn", "cnn.layers": 1},
        {"lr": 0.1, "model": "cnn", "cnn.layers": 4},
        {"lr": 0.1, "model": "mlp", "mlp.width": 40},
    ]


async def test_a_grid_of_names_alone_spreads_their_values() -> None:
    found = await Networks().grid_search(["model", "cnn.layers"], points_per_dim=2)(None)
    layers = [params.get("cnn.layers") for params in params_of(found)]
    assert layers == [2, 4, None, None]


async def test_a_sobol_sequence_fills_the_space_evenly() -> None:
    points = params_of(await Hill().sobol_sequence(n=8)(None))
    for name in ("x", "y"):
        assert sorted(int(params[name] * 8) for params in points) == [*range(8)]
    assert len(params_of(await Hill().sobol_sequence(n=5)(None))) == 5


async def test_a_sobol_sequence_has_no_inactive_parameters() -> None:
    for params in params_of(await Networks().sobol_sequence(n=8)(None)):
        Networks().random_search(1)._subject.space.validate(params)


async def test_a_gaussian_process_says_what_it_expects_most_of() -> None:
    context = await Hill().fit_gaussian_process(GRID)
    assert context.expected is not None
    assert height(context.expected.params) > 0.99
    assert abs(context.expected.mean - 1) < 0.02
    assert 0 < context.expected.deviation < 0.1
    assert context.observations is GRID.observations


async def test_observations_outside_of_the_space_are_not_fitted() -> None:
    strange = Observation(Trial({"z": 1}, -1), {"height": 100.0})
    context = await Hill().fit_gaussian_process(replace(GRID, observations=[*GRID.observations, strange]))
    assert context.expected is not None
    assert context.expected.mean < 1.1


@pytest.mark.parametrize("radius", [0.05, 0.2])
async def test_a_local_search_stays_near_the_best(radius: float) -> None:
    found = await Hill().intensive_local_search(n_trials=5, radius=radius)(GRID)
    for params in params_of(found, GRID):
        assert abs(params["x"] - 0.25) <= radius + 1e-9
        assert abs(params["y"] - 0.5) <= radius + 1e-9
    assert found.best_score > 0.99


@pytest.mark.parametrize("metric", ["height", None])
async def test_a_context_from_elsewhere_need_not_say_what_counts(metric: str | None) -> None:
    bare = SweepContext(observations=GRID.observations, metric=metric)
    found = await Hill().intensive_local_search(n_trials=2)(bare)
    assert (found.metric, found.goal) == ("height", "maximize")
    assert all(height(params) > 0.98 for params in params_of(found))


async def test_a_bare_number_is_told_by_the_metric_of_the_class() -> None:
    told = [Observation(Trial({"lr": lr, "model": "linear"}, -1), lr) for lr in (0.2, 0.02, 0.1)]
    found = await Networks().combine_observations(SweepContext(observations=told))
    assert (found.best_score, found.best_params["lr"], found.goal) == (0.02, 0.02, "minimize")


async def test_a_local_search_first_tries_what_is_expected_most_of() -> None:
    expected = Expectation({"x": 0.31, "y": 0.59}, 1.0, 0.1)
    found = await Hill().intensive_local_search(n_trials=2)(replace(GRID, expected=expected))
    assert params_of(found, GRID)[0] == expected.params


async def test_a_global_search_goes_on_with_the_optimizer_of_the_class() -> None:
    class Elsewhere(Hill):
        optimizer = "random"

    found = await Hill().continue_global_search(n_trials=3)(GRID)
    assert all(height(params) > 0.98 for params in params_of(found, GRID))
    with pytest.raises(DefinitionError, match="optimizer has to be an object such as RandomOptimizer"):
        Elsewhere().continue_global_search(n_trials=3)


async def test_a_final_evaluation_tries_the_best_with_other_seeds_and_takes_the_best_mean() -> None:
    context = known((0.1, 0.1), (0.3, 0.6), (0.9, 0.9), (0.3, 0.6), (0.4, 0.6))
    found = await Hill().final_evaluation(n_seeds=4, top_k=2)(context)
    assert params_of(found, context) == [{"x": 0.3, "y": 0.6}, {"x": 0.4, "y": 0.6}] * 4
    best, second = found.candidates
    assert best.params == found.best_params == {"x": 0.3, "y": 0.6}
    assert second.params == {"x": 0.4, "y": 0.6}
    assert len({*best.scores}) == 4  # each with a seed of its own
    assert found.best_score == best.mean == fmean(best.scores)
    assert best.deviation == stdev(best.scores)
    assert (best.failed, found.current_phase) == (0, "final_evaluation")


async def test_a_final_evaluation_tries_all_to_their_end_whatever_is_configured() -> None:
    def diverging(trial: Trial) -> dict[str, float]:
        if trial.params["x"] > 0.9:
            raise ValueError("it diverges")
        for step in range(1, 10):
            trial.report(step=step, height=trial.params["x"] * step)
        return {"height": trial.params["x"]}

    class Diverging(Hill):
        search_space = SearchSpace({"x": Uniform(0, 1)})
        objective = diverging

    configure(scheduler=ASHAScheduler(max_epochs=9), max_failures=2)
    tried = [Observation(Trial({"x": x}, -1), {"height": x}) for x in (0.95, 0.8, 0.4)]
    found = await Diverging().final_evaluation(n_seeds=6)(SweepContext(observations=tried, metric="height"))
    assert [(c.params["x"], len(c.scores), c.failed) for c in found.candidates] == [
        (0.8, 6, 0),
        (0.4, 6, 0),
        (0.95, 0, 6),
    ]


@pytest.mark.parametrize("stage", ["intensive_local_search", "final_evaluation"])
async def test_what_lies_outside_of_the_space_is_nothing_to_go_on_with(stage: str) -> None:
    context = known((1.7, 0.6), (0.5, 0.5), (0.1, 0.1))
    wider = replace(context, best_score=9.0, best_params={"x": 1.7, "y": 0.6})
    found = await getattr(Hill(), stage)(wider)
    assert all(trial.params["x"] <= 1 for trial in found.trials[3:])
    assert len(found.trials) > 3


def test_the_best_by_one_metric_is_not_that_by_another_one() -> None:
    told = [Observation(Trial({"x": x}, -1), {"loss": x, "gain": x}) for x in (0.1, 0.9)]
    by_loss = SweepContext(observations=told).judged("loss", None)
    assert (by_loss.best_score, by_loss.best_params) == (0.1, {"x": 0.1})
    by_gain = by_loss.judged("gain", None)
    assert (by_gain.best_score, by_gain.best_params) == (0.9, {"x": 0.9})
    assert by_gain.judged("gain", None) == by_gain


async def test_what_was_tried_several_times_counts_by_its_best() -> None:
    places = {0.2: [0.1, 0.9], 0.7: [0.5, 0.5]}
    told = [
        Observation(Trial({"x": x, "y": x}, -1), {"height": height})
        for x, heights in places.items()
        for height in heights
    ]
    found = await Hill().final_evaluation(n_seeds=2, top_k=1)(SweepContext(observations=told))
    assert found.best_params == {"x": 0.2, "y": 0.2}


async def test_a_candidate_that_fails_with_some_seeds_comes_behind_those_that_do_not() -> None:
    def moody(trial: Trial) -> dict[str, float]:
        if trial.params["x"] > 0.5 and trial.number % 2:
            raise ValueError("not with this seed")
        if trial.params["x"] > 0.9:
            raise Infeasible("never")
        return {"height": trial.params["x"]}

    class Moody(Hill):
        search_space = SearchSpace({"x": Uniform(0, 1)})
        objective = moody

    tried = [Observation(Trial({"x": x}, -1), {"height": x}) for x in (0.95, 0.8, 0.4)]
    found = await Moody().final_evaluation(n_seeds=2)(SweepContext(observations=tried, metric="height"))
    assert [candidate.params["x"] for candidate in found.candidates] == [0.4, 0.8, 0.95]
    assert [candidate.failed for candidate in found.candidates] == [0, 1, 2]
    assert isnan(found.candidates[-1].mean)
    assert (found.best_score, found.best_params) == (0.4, {"x": 0.4})


@pytest.mark.parametrize("stage", ["intensive_local_search", "fit_gaussian_process", "final_evaluation"])
async def test_what_needs_results_says_so_when_there_are_none(stage: str) -> None:
    with pytest.raises(DefinitionError, match=f"Hill.{stage}: nothing was found out yet"):
        await getattr(Hill(), stage)(SweepContext())


def test_a_pipeline_of_searches_hands_everything_on() -> None:
    context = Hill().run_local()
    assert type(context) is SweepContext
    assert len(context.observations) == 6 + 4 + 2 * 3
    assert context.current_phase == "validate"
    assert context.best_score > 0.95
    assert [candidate.failed for candidate in context.candidates] == [0, 0]


@pytest.mark.parametrize(("good", "phase", "trials"), [(0.5, "local", 20), (2.0, "global", 2)])
def test_branches_are_put_together_and_one_of_two_searches_goes_on(
    good: float, phase: str, trials: int
) -> None:
    context = Hybrid(good=good).run_local()
    assert context.current_phase == phase
    assert len(context.trials) == len(context.observations) == 3 + 2 + 4 + trials
    assert [trial.number for trial in context.trials] == [*range(-len(context.trials), 0)]
    heights = [o.metrics["height"] for o in context.observations if o.metrics]
    assert context.best_score == max(heights)


def test_branches_are_named_after_what_they_do() -> None:
    lines = Hybrid().checked().describe().splitlines()
    assert [line.strip(" :") for line in lines if line.endswith("search:") or "sobol" in line][:3] == [
        "random_search",
        "grid_search",
        "sobol_sequence",
    ]


def test_what_flowed_into_branches_comes_out_once() -> None:
    hill = Hill()
    inner = Pipeline().parallel([hill.random_search(2), hill.sobol_sequence(2)])
    pipeline = (
        Pipeline()
        .stage("first", hill.random_search(3))
        .parallel([hill.random_search(4), inner, lambda ctx: ctx])
    )
    context: Any = pipeline.run_local()
    assert type(context) is SweepContext
    assert len(context.observations) == len(context.trials) == 3 + 4 + 2 + 2
    assert context.best_score == max(o.metrics["height"] for o in context.observations if o.metrics)
    assert abs(height(context.best_params) - context.best_score) < 0.002


def test_the_better_branch_is_the_one_with_less_where_less_is_better() -> None:
    networks = Networks()
    both = [networks.grid_search({"lr": [0.01], "model": ["linear"]}), networks.grid_search({"lr": [0.5]})]
    context: Any = Pipeline().parallel(both).run_local()
    assert context.best_score == 0.0
    assert context.best_params == {"lr": 0.01, "model": "linear"}
    assert context.goal == "minimize"


def test_a_stage_may_be_given_as_it_is_or_with_options() -> None:
    hill = Hill()
    explore = Pipeline().stage("explore", hill.random_search(2))
    assert len(explore.stage("on", hill.continue_global_search).run_local().trials) == 22
    assert len(explore.stage("on", hill.continue_global_search(n_trials=3)).run_local().trials) == 5
    for name in ("combine_observations", "fit_gaussian_process", "final_evaluation"):
        assert callable(getattr(hill, name)())


def test_own_stages_stand_between_ready_made_ones() -> None:
    def halve(ctx: SweepContext) -> SweepContext:
        return replace(ctx, observations=ctx.observations[: len(ctx.observations) // 2])

    hill = Hill()
    pipeline = (
        Pipeline().stage("a", hill.random_search(4)).stage("halve", halve).stage("b", hill.random_search(1))
    )
    assert len(pipeline.run_local().observations) == 3


@dataclass(frozen=True)
class Noted(SweepContext):
    note: str = ""


async def test_a_context_may_have_more_fields() -> None:
    found = await Hill().random_search(2)(Noted(note="keep me"))
    assert isinstance(found, Noted)
    assert (found.note, len(found.trials)) == ("keep me", 2)


def test_a_context_that_is_not_empty_may_flow_in() -> None:
    context = Hill().run_local(GRID)
    assert len(context.observations) == len(GRID.observations) + 16


def test_failures_are_observed_too() -> None:
    context = Networks().run_local()
    failed = [o for o in context.observations if isinstance(o.result, Failure)]
    assert len(context.observations) == 12
    assert all(o.trial.params["mlp.width"] > 60 for o in failed)
    assert context.best_score == min(o.metrics["loss"] for o in context.observations if o.metrics)


def test_a_context_comes_back_from_the_store_as_it_was() -> None:
    packer = Packer(Hashes(), pickle=False)
    context = Networks().run_local()
    for each in (context, SweepContext()):
        back = packer.unpack(packer.pack(each))
        assert packer.pack(back) == packer.pack(each)
        assert type(back) is SweepContext


def test_its_seed_decides_what_is_drawn() -> None:
    class Other(Networks):
        seed = 6

    once, again = Networks().run_local(), Networks().run_local()
    assert params_of(once) == params_of(again) != params_of(Other().run_local())


def test_two_searches_of_one_pipeline_draw_different_trials() -> None:
    hill = Hill()
    context = Pipeline().stage("a", hill.random_search(2)).stage("b", hill.random_search(2)).run_local()
    assert len({str(params) for params in params_of(context)}) == 4


async def test_what_the_class_says_holds_for_every_search() -> None:
    seen: list[Resources] = []

    def look(trial: Trial) -> float:
        seen.append(trial.resources)
        return 1.0 if trial.params["x"] > 0.5 else 0.0

    class Said(Hill):
        objective = look
        resources = Resources(cpu=0.25)
        goal = "minimize"

    context = await Said().random_search(2)(None)
    await Said().random_search(1, resources_per_trial=0.5)(context)
    await Said().final_evaluation(n_seeds=1, top_k=1, resources_per_trial=Resources(cpu=2))(context)
    assert [resources.cpu for resources in seen] == [0.25, 0.25, 0.5, 2]
    assert (context.goal, context.metric) == ("minimize", "value")


@pytest.mark.parametrize(
    ("name", "options", "problems"),
    [
        ("random_search", {}, ["n_trials is missing"]),
        (
            "random_search",
            {"n_trials": 0, "n": 3, "resources_per_trial": -1},
            [
                "n_trials has to be a whole number of at least 1, got 0",
                "n_trials and n are two names of one argument; give one of them",
                "resources_per_trial has to be a number of cores above 0, or Resources(...), got -1",
            ],
        ),
        (
            "grid_search",
            {"params": {"z": [1], "x": [0.5, 2], "y": []}},
            [
                "params: z is unknown. Known: x, y",
                "params: x must be from 0 to 1, got 2",
                "params: y has to be a list of values, got []",
            ],
        ),
        ("grid_search", {"params": ["x", "why"]}, ["params: why is unknown"]),
        ("grid_search", {"params": {}}, ["params has to be lists of values by name"]),
        (
            "grid_search",
            {"params": {"x": [k / 100 for k in range(100)], "y": [k / 100 for k in range(100)]}},
            ["params make a grid of 10000 points; 2000 are the most, so give fewer values"],
        ),
        ("sobol_sequence", {"n": None}, ["n is missing"]),
        ("sobol_sequence", {"n": 10**6}, ["n has to be at most 2000, got 1000000"]),
        (
            "bayesian_optimize",
            {"n_trials": 1.5, "acquisition": "UBC", "beta": "2"},
            [
                "n_trials has to be a whole number of at least 1, got 1.5",
                "unknown acquisition 'UBC'; did you mean UCB?",
                "beta has to be a number of at least 0, got '2'",
            ],
        ),
        ("bayesian_optimize", {"n_trials": 5, "acquisition": len}, ["unknown acquisition"]),
        (
            "intensive_local_search",
            {"n_trials": 0, "radius": 2},
            [
                "n_trials has to be a whole number of at least 1, got 0",
                "radius has to be above 0 and at most 1, got 2",
            ],
        ),
        ("intensive_local_search", {"n_trails": 5}, ["n_trails is unknown; did you mean n_trials?"]),
        ("continue_global_search", {"n_trials": -1}, ["n_trials has to be a whole number of at least 1"]),
        (
            "final_evaluation",
            {"n_seeds": 0, "top_k": "3"},
            ["n_seeds has to be a whole number of at least 1, got 0", "top_k has to be a whole number"],
        ),
        (
            "final_evaluation",
            {"n_seeds": 1000, "top_k": 3},
            ["n_seeds times top_k is 3000; 2000 are the most"],
        ),
        (
            "population_training",
            {"population_size": 20, "generations": 0},
            [
                "generations has to be a whole number of at least 1, got 0",
                "population based training is not there yet",
            ],
        ),
    ],
)
def test_all_wrong_arguments_are_told_at_once(
    name: str, options: dict[str, Any], problems: list[str]
) -> None:
    with pytest.raises(DefinitionError) as caught:
        getattr(Hill(), name)(**options)
    assert caught.value.subject == f"Hill.{name}"
    assert len(caught.value.problems) == len(problems)
    for got, begin in zip(caught.value.problems, problems, strict=True):
        assert got.startswith(begin)


def test_population_training_says_what_to_take_instead() -> None:
    with pytest.raises(DefinitionError, match=r"self.bayesian_optimize\(n_trials=600\)"):
        Hill().population_training(population_size=20, generations=30)


def test_without_objective_and_space_it_says_what_to_add() -> None:
    class Bare(Experiment):
        def pipeline(self) -> Pipeline[Any]:
            return Pipeline().stage("explore", self.random_search(3))

    with pytest.raises(DefinitionError) as caught:
        Bare().checked()
    assert caught.value.problems == (
        "objective is missing; add it to the class: objective = train",
        'search_space is missing; add it to the class: search_space = {"lr": LogUniform(1e-4, 0.1)}',
    )


def test_mistakes_of_all_stages_and_of_the_pipeline_are_told_together() -> None:
    class Wrong(Experiment):
        search_space = UPSIDE_DOWN
        objective = climb

        def pipeline(self) -> Pipeline[Any]:
            return (
                Pipeline()
                .stage("explore", self.random_search(0))
                .stage("explore", self.bayesian_optimize(3, acquisition="PI"))  # type: ignore[arg-type]
                .stage("evolve", self.population_training(4, 5))
                .stage("local", self.intensive_local_search(radius=0))
            )

    with pytest.raises(DefinitionError) as caught:
        Wrong().run_local()
    *problems, last = caught.value.problems
    assert [problem.split(",")[0] for problem in problems] == [
        "random_search: n_trials has to be a whole number of at least 1",
        "x: low must be at most high",
        "bayesian_optimize: unknown acquisition 'PI'. Known: EI",
        "population_training: population based training is not there yet",
        "intensive_local_search: radius has to be above 0 and at most 1",
    ]
    assert "there is a stage 'explore' already" in last


def test_an_objective_that_is_a_method_is_refused() -> None:
    class Method(Unsaid):
        def objective(self, trial: Trial) -> float:
            return 1.0

    with pytest.raises(DefinitionError, match="objective is a method"):
        Method().random_search(1)


async def test_an_objective_may_be_a_static_method_or_an_experiment() -> None:
    class Static(Unsaid):
        @staticmethod
        def objective(trial: Trial) -> dict[str, float]:
            return climb(trial)

    class Walk(Experiment):
        x: float
        y: float = 0.5

        def pipeline(self) -> Pipeline[Any]:
            return Pipeline().stage("walk", self.walk).through(height=float)

        def walk(self) -> float:
            return height({"x": self.x, "y": self.y})

    class Walking(Hill):
        objective = Walk
        metric = "height"

    for walked in (Static(), Walking()):
        assert len((await walked.random_search(2)(None)).observations) == 2


def test_no_field_may_be_called_like_a_ready_made_stage() -> None:
    with pytest.raises(DefinitionError, match=r"grid_search is called like Experiment\.grid_search"):

        class Clash(Experiment):
            grid_search: int = 1  # type: ignore[assignment]


def test_a_search_without_a_success_fails_its_stage() -> None:
    def broken(trial: Trial) -> dict[str, float]:
        raise ValueError("no model for that")

    class Broken(Hill):
        objective = broken

    with pytest.raises(StageFailed, match="stage explore"):
        Broken().run_local()
