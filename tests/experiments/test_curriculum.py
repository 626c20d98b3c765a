"""Curricula in this process, and what is wrong with them before anything runs."""

from pathlib import Path
from typing import Any

import pytest

from metta.sweep import (
    BadMetric,
    Choice,
    Constant,
    DefinitionError,
    Infeasible,
    StageFailed,
    SweepFailed,
    Trial,
    Uniform,
    configure,
)
from metta.sweep.client.sweeps import Sweeps
from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.jobs import Job
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.contracts.sweeps import SweepSpec
from metta.sweep.contracts.trials import Observation
from metta.sweep.experiments import CurriculumContext, CurriculumExperiment, Task
from metta.sweep.experiments.learning import moved
from metta.sweep.experiments.tasks import TaskResult
from metta.sweep.optimizers import OptunaOptimizer, RandomOptimizer
from metta.sweep.pipeline.packing import Hashes, Packer
from metta.sweep.schedulers import ASHAScheduler
from metta.sweep.stores.trials import TrialTable
from tests.experiments.curricula import (
    Backwards,
    Carrying,
    HandMade,
    Interleaved,
    Leaning,
    Nesting,
    Tilted,
    Tried,
    Various,
    tilted,
    train,
)
from tests.stores.weed import BUCKET, Weed

pytestmark = pytest.mark.usefixtures("project")


def tables(ctx: CurriculumContext) -> list[TrialTable]:
    """What the sweeps of a curriculum have recorded, in their order."""
    return [Sweeps().table(name) for result in ctx.results.values() for name in result.sweeps]


def specs(ctx: CurriculumContext) -> list[SweepSpec]:
    """How its sweeps were defined."""
    return [table.spec for table in tables(ctx) if table.spec]


def test_each_task_is_searched_until_it_is_mastered() -> None:
    ctx = Tilted().run_local()
    assert [*ctx.results] == ["tilted 0", "tilted 20", "tilted 40"]
    assert (ctx.current_stage, ctx.is_mastered, ctx.is_stopped) == (3, True, False)
    for degrees, table in zip((0, 20, 40), tables(ctx), strict=True):
        result = ctx.results[f"tilted {degrees}"]
        *before, last = [record.metrics["accuracy"] for record in table.records]
        assert last == result.score >= 0.9
        assert all(value < 0.9 for value in before), "the sweep ends where the task is mastered"
        assert [record.params["task.degrees"] for record in table.records] == [degrees] * result.trials
        assert {record.params["task"] for record in table.records} == {f"tilted {degrees}"}
        assert [*result.params] == ["x"]


def test_equal_seeds_give_equal_curricula_and_others_do_not() -> None:
    one, two, three = (
        [[record.params["x"] for record in table.records] for table in tables(Tilted(seed=seed).run_local())]
        for seed in (3, 3, 4)
    )
    assert one == two != three


def test_a_sweep_begins_with_all_that_was_found_before() -> None:
    ctx = Tilted().run_local()
    first, second, third = tables(ctx)
    best = ctx.results["tilted 0"].params["x"]
    assert [spec.initial_points for spec in specs(ctx)[:2]] == [(), ({"x": best},)]
    assert first.known == []
    assert second.records[0].params["x"] == best
    tried = [record.params["x"] for table in (first, second) for record in table.records]
    assert [known.params["x"] for known in third.known] == tried
    assert all(known.params["task.degrees"] == 40 and not known.left_out for known in third.known)


def test_without_warm_start_each_task_begins_at_the_beginning() -> None:
    ctx = Tilted(warm_start=False).run_local()
    assert [(spec.warm_start, spec.initial_points) for spec in specs(ctx)] == [((), ())] * 3


@pytest.mark.parametrize(("unmastered", "begun"), [("stop", 1), ("go_on", 2)])
def test_a_task_that_is_not_mastered_gets_some_more_rounds(unmastered: Any, begun: int) -> None:
    curriculum = Tilted(
        tasks=[Task(name="hard", params={"degrees": 0}, mastery=2, trials=2), *tilted(20)],
        max_rounds=2,
        unmastered=unmastered,
    )
    ctx = curriculum.run_local()
    hard = ctx.results["hard"]
    assert (hard.rounds, hard.trials, hard.mastered, len(hard.sweeps)) == (2, 4, False, 2)
    one, two = tables(ctx)[:2]
    assert hard.score == max(record.metrics["accuracy"] for record in (*one.records, *two.records))
    assert len({record.params["x"] for record in (*one.records, *two.records)}) == 4
    assert len(two.known) == 2
    assert len(ctx.results) == begun
    assert (ctx.is_stopped, ctx.is_mastered) == (unmastered == "stop", False)


def test_or_it_fails() -> None:
    with pytest.raises(
        StageFailed, match=r"stage run.* failed: .*tilted 0: 0\.\d+ after 2 trials, not ma"
    ) as e:
        Tilted(mastery=2, trials_per_task=2, max_rounds=1, unmastered="fail").run_local()
    assert isinstance(e.value.__cause__, SweepFailed)


def test_without_a_threshold_each_task_gets_all_of_its_trials() -> None:
    ctx = Tilted(mastery=None, trials_per_task=3).run_local()
    assert [(r.mastered, r.rounds, r.trials) for r in ctx.results.values()] == [(True, 1, 3)] * 3


def test_the_best_round_counts_for_metrics_that_are_to_be_small() -> None:
    ctx = Carrying().run_local()
    for result in ctx.results.values():
        errors = [r.metrics["error"] for n in result.sweeps for r in Sweeps().table(n).records]
        assert result.score == min(errors) <= 0.4
    assert ctx.is_mastered


def test_weights_are_handed_on_from_round_to_round_and_from_task_to_task() -> None:
    ctx = Carrying().run_local()
    told = [{record.params["init_from"] for record in table.records} for table in tables(ctx)]
    assert told[0] == {None}
    bests = [table.best for table in tables(ctx)]
    for table, best, (init_from,) in zip(tables(ctx)[:-1], bests, told[1:], strict=False):
        assert best
        assert best.checkpoint
        assert str(init_from).endswith(best.checkpoint), table
    errors = [table.best.metrics["error"] for table in tables(ctx) if table.best]
    near = ctx.results["near"].rounds
    assert near > 1, "else nothing is handed on within a task"
    assert errors[:near] == sorted(errors[:near], reverse=True)
    assert "init_from" not in ctx.results["far"].params


def test_where_there_are_no_checkpoints_none_are_handed_on() -> None:
    ctx = Tilted(hand_on_weights=True).run_local()
    assert [record.params["init_from"] for t in tables(ctx) for record in t.records] == [None] * ctx.trials


def test_a_subclass_says_for_each_task_what_is_different() -> None:
    ctx = Various().run_local()
    first, second, third = specs(ctx)
    assert [s.optimizer.type for s in (first, second, third)] == ["random", "optuna", "optuna"]
    assert [s.scheduler.type for s in (first, second, third)] == ["asynchronous", "batch", "asynchronous"]
    assert [*third.search_space] == ["x", "task", "task.degrees", "model"]
    assert not third.warm_start, "no trial before has a model"
    best = ctx.results["tilted 20"].params["x"]
    assert third.initial_points == (({"x": best},) if best >= 0.5 else ())


def test_tasks_may_come_in_another_order() -> None:
    assert [*Backwards().run_local().results] == ["tilted 40", "tilted 20", "tilted 0"]


def test_tasks_may_take_turns() -> None:
    ctx = Interleaved().run_local()
    assert {name: result.rounds for name, result in ctx.results.items()} == dict.fromkeys(ctx.results, 2)
    assert (ctx.current_stage, ctx.remaining, ctx.is_stopped) == (3, [], False)
    first, *_ = ctx.results["tilted 0"].sweeps
    _, last = ctx.results["tilted 40"].sweeps
    assert len(Sweeps().table(first).known) == 0
    assert len(Sweeps().table(last).known) == 10, "the first round of each, and the second of the others"


def test_a_task_may_be_anything_that_runs() -> None:
    ctx = Nesting().run_local()
    assert ctx.is_mastered
    assert [(r.task, r.score, r.trials) for r in ctx.results.values() if r.task != "below"] == [
        ("tilted 20", 0.9, 1),
        ("number", 0.5, 1),
    ]
    inner = Tilted().run_local()
    assert ctx.results["below"].trials == inner.trials
    assert ctx.results["below"].score == inner.last.score


def test_what_a_task_gave_has_to_be_a_number() -> None:
    class Odd(Nesting):
        def run_task(self, task: Task, ctx: CurriculumContext) -> Any:
            return "good"

    with pytest.raises(StageFailed, match=r"accuracy is 'good' \(str\); return a number") as caught:
        Odd().run_local()
    assert isinstance(caught.value.__cause__, BadMetric)


def test_the_objective_may_be_an_experiment() -> None:
    ctx = Tried().run_local()
    assert ctx.is_mastered
    assert {record.params["degrees"] for record in tables(ctx)[1].records} == {20}
    assert Tried(**Tried().fields) == Tried()  # type: ignore[arg-type] # they are JSON


def test_the_loop_may_be_written_by_hand() -> None:
    ctx = HandMade(degrees=[0, 20]).run_local()
    assert (ctx.current_stage, [*ctx.results]) == (2, ["tilted 0", "tilted 20"])


def test_it_is_all_given_as_arguments_just_as_well() -> None:
    curriculum = CurriculumExperiment(
        tasks=tilted(0),
        objective=train,
        search_space={"x": Uniform(0.0, 1.0)},
        metric="accuracy",
        optimizer=RandomOptimizer(),
        seed=3,
        mastery=0.9,
        trials_per_task=30,
    )
    assert curriculum.fields["objective"] == "tests.experiments.curricula:train"
    assert CurriculumExperiment(**curriculum.fields) == curriculum  # type: ignore[arg-type] # they are JSON
    assert (
        curriculum.run_local().results["tilted 0"].params == Tilted().run_local().results["tilted 0"].params
    )


def test_a_local_run_calls_the_function_itself() -> None:
    calls = []

    def counted(params: dict[str, Any]) -> float:
        calls.append(params["task"])
        return 1.0

    Tilted(objective=counted, mastery=None, trials_per_task=2).run_local()
    assert calls == ["tilted 0", "tilted 0", "tilted 20", "tilted 20", "tilted 40", "tilted 40"]


@pytest.mark.parametrize(
    "objective", ["tests.experiments.curricula:train", Job(command=["true"]), "train.py", lambda params: 1.0]
)
def test_objectives_of_all_kinds_have_a_form_in_json(objective: Any) -> None:
    curriculum = Tilted(objective=objective)
    assert Tilted(**curriculum.fields) == curriculum  # type: ignore[arg-type] # they are JSON


def test_what_was_configured_need_not_be_said() -> None:
    configure(objective=train, metric="accuracy")
    curriculum = CurriculumExperiment(tasks=tilted(0), search_space={"x": Uniform(0.0, 1.0)}, seed=3)
    assert curriculum.run_local().is_mastered


def test_the_space_may_stand_in_the_optimizer() -> None:
    curriculum = Tilted(search_space=None, optimizer=OptunaOptimizer({"x": Uniform(0.0, 1.0)}))
    assert curriculum.run_local().is_mastered


def told(kind: type[CurriculumExperiment], **fields: Any) -> list[str]:
    """The mistakes in a curriculum."""
    with pytest.raises(DefinitionError) as caught:
        kind(**fields)
    assert caught.value.subject == kind.__name__
    return list(caught.value.problems)


def test_all_mistakes_are_told_at_once() -> None:
    problems = told(
        CurriculumExperiment,
        tasks=[Task(name="a"), Task(name="a"), Task(name="b")],
        mastery=float("nan"),
        trials_per_task=0,
        max_rounds=0,
        unmastered="wait",
        timeout=-1,
        sed=1,
    )
    assert problems == [
        "objective is missing; give a function of a trial, a reference, a Job, or an Experiment",
        'search_space is missing; give distributions by name, such as {"lr": LogUniform(1e-4, 1e-1)}',
        "metric is missing; give the name of the metric that counts, for mastery is a value of it",
        "sed is unknown; did you mean seed?",
        "tasks: 2 are called 'a'; give each a name of its own",
        "mastery: input should be a finite number, got nan",
        "trials_per_task: input should be greater than or equal to 1, got 0",
        "max_rounds: input should be greater than or equal to 1, got 0",
        "unmastered: input should be 'stop', 'go_on' or 'fail', got 'wait'",
        "timeout: input should be greater than 0, got -1",
    ]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"tasks": []}, 'tasks: there is none; give at least one, such as Task(name="first")'),
        ({"tasks": [{"name": "a", "parms": {}}]}, "tasks: 0: parms is unknown; did you mean params?"),
        ({"tasks": [{"name": ""}]}, "tasks.0.name: string should have at least 1 character, got ''"),
        ({"tasks": [{"name": "a", "params": {"b": {1}}}]}, "tasks.0.params: they have to be JSON, got {1}"),
        ({"trials_per_task": 0}, "trials_per_task: input should be greater than or equal to 1, got 0"),
        ({"timeout": 0}, "timeout: input should be greater than 0, got 0"),
        ({"objective": 3}, "objective: the objective 3 cannot be called; write `def train"),
        ({"objective": lambda: 1}, "objective: the objective .*<lambda> takes no argument"),
        ({"search_space": {"x": 0.5}}, "search_space: x: 0.5 is not a distribution; write Constant"),
        ({"search_space": 3}, "search_space: a space must be a dict of distributions, got 3"),
        ({"search_space": {"task": Uniform(0, 1)}}, "search_space: task tells a trial of its task; call the"),
        (
            {"search_space": {"init_from": Uniform(0, 1)}, "hand_on_weights": True},
            "search_space: init_from tells a trial of its task; call the parameter otherwise",
        ),
        ({"optimizer": RandomOptimizer}, r"optimizer: optimizer is a class; call it: RandomOptimizer\(\)"),
        ({"scheduler": "ashaa"}, "scheduler: unknown scheduler 'ashaa'; did you mean asha"),
        ({"executor": 3}, "executor: executor has to be an object such as LocalExecutor"),
        (
            {"tasks": [Task(name="a", params={"b c": 1}), Task(name="d")]},
            "task a: .*task.b c: a name must be letters, digits",
        ),
    ],
)
def test_each_mistake_is_told(fields: dict[str, Any], problem: str) -> None:
    import re

    problems = told(Tilted, **fields)
    assert len(problems) == 1, problems
    assert re.match(problem.replace("(name=", r"\(name=").replace('")', r'"\)'), problems[0]), problems


def test_a_mistake_in_the_defaults_of_the_project_is_told(project: Path) -> None:
    (project / "pyproject.toml").write_text("[tool.metta-sweep]\nobjective = 3\n", "utf-8")
    assert "objective" in told(CurriculumExperiment, tasks=tilted(0))[0]
    (project / "pyproject.toml").write_text("", "utf-8")


def test_a_space_that_no_method_gives_is_missing() -> None:
    class Spaceless(Tilted):
        def optimizer_for_task(self, task: Task) -> RandomOptimizer:
            return RandomOptimizer()

    assert [problem[:24] for problem in told(Spaceless, search_space=None)] == ["search_space is missing;"]


def test_an_experiment_that_no_other_process_finds_is_no_objective() -> None:
    class Local(Leaning):
        pass

    [problem] = told(Tried, objective=Local)
    assert problem.endswith("Local is defined inside a function or notebook; define it in a module or script")


def test_what_is_written_in_json_is_checked_like_arguments() -> None:
    problems = told(Tilted, optimizer={"options": {}}, objective={"command": "true"})
    assert [problem.partition(":")[0] for problem in problems] == ["objective", "optimizer"]


def test_weights_take_a_store_that_is_a_folder(weed: Weed, monkeypatch: pytest.MonkeyPatch) -> None:
    assert weed
    monkeypatch.setenv("METTA_SWEEP_STORE", f"s3://{BUCKET}/weights")
    with pytest.raises(StageFailed, match="can be handed on in a store that is a folder, not in s3:"):
        Carrying().run_local()


def test_an_optimizer_that_was_told_by_hand_does_not_travel() -> None:
    optimizer = RandomOptimizer({"x": Uniform(0.0, 1.0)})
    [trial] = optimizer.suggest(1)
    optimizer.observe(trial, 0.5)
    [problem] = told(Tilted, optimizer=optimizer)
    assert problem.startswith("optimizer: it was told observations by hand, which do not travel")


def test_an_experiment_as_objective_has_no_reports_to_decide_by() -> None:
    [problem] = told(Tried, scheduler=ASHAScheduler(max_epochs=9))
    assert problem.startswith("scheduler decides by what trials report")


def test_a_task_tells_its_own_mistakes() -> None:
    with pytest.raises(DefinitionError) as caught:
        Task(name="", trials=0, mastery=float("inf"), degree=3)  # type: ignore[call-arg] # which are mistakes
    assert len(caught.value.problems) == 4


def test_it_says_how_far_it_is() -> None:
    ctx = Tilted(tasks=tilted(0, 20), max_rounds=1, trials_per_task=1, mastery=0.99).run_local()
    assert str(ctx).splitlines()[0] == "0 of 2 tasks mastered in 1 trials"
    assert str(ctx).splitlines()[1].startswith("  tilted 0: 0.")
    assert str(ctx).endswith("after 1 trial, not mastered")
    assert repr(ctx).startswith("CurriculumContext(0 of 2 tasks mastered in 1 trials; tilted 0: 0.")
    summary = ctx.summary()
    assert (summary["tasks"], summary["mastered"], summary["trials"]) == (2, 0, 1)
    assert [result["task"] for result in summary["results"]] == ["tilted 0"]
    assert str(CurriculumContext(tasks=())) == "0 of 0 tasks mastered in 0 trials"


def test_a_newer_program_reads_what_an_older_one_has_recorded() -> None:
    result = TaskResult(task="a", mastered=True, is_over=True, score=0.1 + 0.2, metrics={"accuracy": 0.3})
    ctx = CurriculumContext(tasks=tuple(tilted(0)), current_task=tilted(0)[0]).with_result(result)
    packer = Packer(Hashes(), pickle=False)
    packed: Any = packer.pack(ctx)
    assert packer.unpack(packed) == ctx
    packed["$own"][1]["results"]["a"] |= {"of_tomorrow": 3}
    del packed["$own"][1]["results"]["a"]["checkpoint"]
    assert packer.unpack(packed) == ctx


SPACE = SearchSpace(
    {
        "model": Choice(["cnn", "mlp"]),
        "x": Uniform(0.0, 1.0),
        "cnn.layers": Constant(3),
        "task": Constant("new"),
    }
)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"model": "mlp", "x": 0.5, "task": "old"}, {"model": "mlp", "x": 0.5, "task": "new"}),
        (
            {"model": "cnn", "x": 0.5, "cnn.layers": 2, "task": "old", "task.size": 3},
            {"model": "cnn", "x": 0.5, "cnn.layers": 3, "task": "new"},
        ),
        ({"model": "mlp", "task": "old"}, None),
        ({"model": "mlp", "x": 1.5, "task": "old"}, None),
    ],
)
def test_a_trial_of_another_task_is_seen_as_one_of_the_task_at_hand(
    before: dict[str, Any], after: dict[str, Any] | None
) -> None:
    observation = Observation(Trial(before, -3, ended_at=4), Failure(kind="oom", message="full"), None, 2.0)
    found = moved(observation, SPACE)
    if after is None:
        assert found is None
        return
    assert found is not None
    assert (found.trial.params, found.trial.number, found.trial.ended_at) == (after, -3, 4)
    assert (found.result, found.seconds) == (observation.result, 2.0)


def infeasible(trial: Trial) -> dict[str, float]:
    raise Infeasible("never")


def test_a_task_without_any_result_fails_the_curriculum() -> None:
    with pytest.raises(StageFailed, match="never"):
        Tilted(objective=infeasible, trials_per_task=2).run_local()
