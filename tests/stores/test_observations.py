"""Observations: which trials of an earlier sweep tell something, and what the next one makes of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.contracts.chunks import Chunk
from metta.sweep.contracts.decisions import Decision, Start, Stop
from metta.sweep.contracts.errors import DefinitionError, LedgerCorrupt, SweepNotFound
from metta.sweep.contracts.events import Completed, Created, Event, Known
from metta.sweep.contracts.failures import Failure, FailureKind
from metta.sweep.contracts.metrics import Objective
from metta.sweep.contracts.trials import Observation, Result, Trial
from metta.sweep.stores.files import FileStore
from metta.sweep.stores.observations import (
    ledger_of,
    located,
    observation_of,
    observed,
    prior_of,
    trials_in,
    written,
)
from tests.stores.stories import Story, spec

KINDS: list[tuple[FailureKind, bool]] = [
    ("user", True),
    ("oom", True),
    ("timeout", True),
    ("infeasible", True),
    ("bad_metric", True),
    ("no_result", True),
    ("infra", False),
    ("lost", False),
    ("cancelled", False),
]


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


Records = Callable[..., Path]


@pytest.fixture
def records(store: FileStore) -> Records:
    """Records a sweep whose trials returned these metrics, and says where."""

    def recorded(name: str, *metrics: dict[str, float], **definition: Any) -> Path:
        events: list[Event] = [Created(at=1.0, spec=spec(**definition))]
        starts: list[Decision] = [Start(trial=n, params={"x": n / 8}, seed=n) for n in range(len(metrics))]
        ends = [Completed(at=2.0, trial=n, seconds=3.0, metrics=m) for n, m in enumerate(metrics)]
        ledger = store.ledger(name)
        ledger.commit(Chunk(n=0, writer="w", epoch=1, events=tuple(events), decisions=tuple(starts)))
        ledger.commit(Chunk(n=1, writer="w", epoch=1, events=tuple(ends)))
        ledger.close()
        return store.sweep_folder(name)

    return recorded


def kept(store: FileStore, *observations: Observation) -> str:
    return f"value:{store.put_value(written(observations))}"


def prior(store: FileStore, warm_start: object, **definition: Any) -> list[Known]:
    return prior_of(store, "new", spec(**{"metric": "acc", "warm_start": warm_start, **definition}))


def refusal(store: FileStore, warm_start: object, **definition: Any) -> str:
    with pytest.raises(DefinitionError) as caught:
        prior(store, warm_start, **definition)
    return str(caught.value)


# --- which trials tell something ---


def test_trials_that_run_or_never_reported_tell_nothing() -> None:
    story = Story(metric="acc")
    story.start(4)
    story.complete(0, acc=0.5)
    story.decide(Stop(trial=2))
    story.end(2)
    story.report(3, step=1, acc=0.7)
    [known] = observed(story.table.records, "earlier")
    assert known == Known(
        at=0, trial=-1, params={"x": 0.0}, metrics={"acc": 0.5}, seconds=2.0, source="earlier"
    )


@pytest.mark.parametrize(("kind", "tells"), KINDS)
def test_failures_of_nobody_tell_nothing(kind: FailureKind, tells: bool) -> None:
    story = Story(metric="acc")
    story.start(2)
    story.report(0, step=1, acc=0.5)
    story.fail(0, kind)
    found = observed(story.table.records)
    assert [k.failure for k in found] == ([Failure(kind=kind, message="boom")] if tells else [])
    assert [k.metrics for k in found] == ([{}] if tells else [])


def test_paused_and_stopped_trials_count_with_their_last_value_and_step() -> None:
    story = Story(metric="acc")
    story.start(3)
    for trial, step in [(0, 4), (1, 9), (2, 5)]:
        story.report(trial, step=step, acc=step / 10)
    story.pause(0, step=4)
    story.decide(Stop(trial=1))
    story.end(1)
    story.complete(2)
    found = observed(story.table.records)
    assert [(k.trial, k.metrics["acc"], k.ended_at) for k in found] == [
        (-3, 0.4, 4),
        (-2, 0.9, 9),
        (-1, 0.5, None),
    ]


@pytest.mark.parametrize(
    ("known", "objective", "result"),
    [
        ({"metrics": {"acc": 0.5}}, Objective("acc", "maximize"), {"acc": 0.5}),
        ({"metrics": {"acc": 0.5, "size": 3}}, Objective("acc", "maximize"), {"acc": 0.5}),
        ({"metrics": {"acc": 0.5, "size": 3}}, None, {"acc": 0.5, "size": 3}),
        ({"metrics": {"value": 0.5}}, Objective("value", "minimize"), 0.5),
        ({"failure": Failure(kind="oom", message="x")}, None, Failure(kind="oom", message="x")),
    ],
)
def test_an_observation_is_what_any_optimizer_can_be_told(
    known: dict[str, Any], objective: Objective | None, result: Result
) -> None:
    made = Known(at=0, trial=-2, params={"x": 0.5}, ended_at=3, seconds=4.0, **known)
    found = observation_of(made, objective)
    assert (found.trial.params, found.trial.number, found.trial.ended_at) == ({"x": 0.5}, -2, 3)
    assert found.result == result
    assert (found.metrics, found.seconds) == (known.get("metrics"), 4.0)


# --- where they are found ---


def test_a_ledger_is_found_by_name_and_by_path(store: FileStore, records: Records) -> None:
    folder = records("earlier", {"acc": 0.5}, metric="acc")
    named = prior(store, "earlier")
    assert [(k.trial, k.params, k.metrics, k.seconds, k.source) for k in named] == [
        (-1, {"x": 0.0}, {"acc": 0.5}, 3.0, "earlier")
    ]
    for path in (folder, folder / "ledger.jsonl"):
        [known] = prior(store, str(path))
        assert known == named[0].model_copy(update={"source": str(path)})


def test_several_sources_come_in_their_order(store: FileStore, records: Records) -> None:
    records("first", {"acc": 0.1}, {"acc": 0.2})
    records("second", {"acc": 0.3})
    mine = kept(store, Observation(Trial({"x": 1}, 7), {"acc": 0.4}))
    found = prior(store, ["second", mine, "first"])
    assert [(k.trial, k.metrics["acc"]) for k in found] == [(-4, 0.3), (-3, 0.4), (-2, 0.1), (-1, 0.2)]


def test_an_unknown_name_is_told_with_the_nearest_one(store: FileStore, records: Records) -> None:
    records("digits-tpe", {"acc": 0.5})
    with pytest.raises(SweepNotFound, match="no sweep 'digits-tep' here; did you mean digits-tpe"):
        prior(store, "digits-tep")


def test_a_path_that_leads_nowhere_is_told(store: FileStore, tmp_path: Path) -> None:
    assert refusal(store, "old/sweep") == "the path of a sweep: there is no ledger at old/sweep"
    assert f"there is no ledger at {tmp_path}/ledger.jsonl" in refusal(store, str(tmp_path))


@pytest.mark.parametrize("content", ["", "{}\n", "a,b\n1,2\n", "no line"])
def test_a_file_that_is_no_ledger_is_told(store: FileStore, tmp_path: Path, content: str) -> None:
    file = tmp_path / "table.csv"
    file.write_text(content, "utf-8")
    assert f"{file.as_uri()}: it is no ledger" in refusal(store, str(file))


def test_a_damaged_ledger_is_told_as_such(store: FileStore, records: Records) -> None:
    file = records("earlier", {"acc": 0.5}) / "ledger.jsonl"
    file.write_text(file.read_text("utf-8").replace('"acc":0.5', '"acc":0.9'), "utf-8")
    with pytest.raises(LedgerCorrupt, match="line 2"):
        prior(store, "earlier")


def test_a_sweep_does_not_begin_with_itself(store: FileStore, records: Records) -> None:
    assert "new cannot begin with itself" in refusal(store, "new")
    folder = records("new", {"acc": 0.5})
    for source in ("new", str(folder)):
        assert "new cannot begin with itself; resume=True" in refusal(store, source)


def test_a_name_stays_one_and_a_path_means_the_same_everywhere(
    store: FileStore, records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = records("earlier", {"acc": 0.5})
    monkeypatch.chdir(folder.parent)
    for source in ("earlier", "nonesuch", "value:123"):
        assert located(store, source) == source  # a folder of that name is here, too
    monkeypatch.chdir(folder)
    assert located(store, "ledger.jsonl") == str(folder / "ledger.jsonl")
    assert trials_in(ledger_of(store, "ledger.jsonl")).counts.completed == 1


# --- observations in the store ---


def test_observations_are_kept_with_all_that_counts(store: FileStore) -> None:
    failure = Failure(kind="user", message="it raised", traceback="line 1")
    source = kept(
        store,
        Observation(Trial({"x": 0.1}, 3, ended_at=5), {"acc": 0.5}, {"acc": 0.5, "size": 2}, 1.5),
        Observation(Trial({"x": 0.2}), failure),
        Observation(Trial({"x": 0.3}), 0.7),
    )
    first, second, third = prior(store, source)
    assert first == Known(
        at=0,
        trial=-3,
        params={"x": 0.1},
        metrics={"acc": 0.5, "size": 2},
        ended_at=5,
        seconds=1.5,
        source=source,
    )
    assert (second.failure, second.metrics) == (failure, {})
    assert third.metrics == {"acc": 0.7}, "the definition names a bare number"


@pytest.mark.parametrize("result", [float("nan"), {"acc": float("inf")}, {}, None])
def test_a_result_that_is_no_number_is_a_failure(store: FileStore, result: Any) -> None:
    [known] = prior(store, kept(store, Observation(Trial({"x": 0.1}), result)))
    assert known.failure
    assert known.failure.kind == "bad_metric"


def test_parameters_that_are_no_json_are_told() -> None:
    with pytest.raises(DefinitionError, match=r"the observation of Trial\(number=4.*params"):
        written([Observation(Trial({"x": object()}, 4), 0.5)])  # type: ignore[dict-item]  # the mistake


def test_observations_that_are_gone_are_told(store: FileStore) -> None:
    assert "there is no value:0123 in the store" in refusal(store, "value:0123")


# --- what another definition makes of them ---


def test_what_does_not_fit_is_left_out_and_says_why(store: FileStore, records: Records) -> None:
    records("earlier", {"acc": 0.1}, {"acc": 0.2}, {"acc": 0.3})
    found = prior(store, "earlier", search_space={"x": {"type": "uniform", "low": 0.1, "high": 0.2}})
    assert [(k.trial, k.left_out) for k in found] == [
        (-3, "x must be from 0.1 to 0.2, got 0.0"),
        (-2, ""),
        (-1, "x must be from 0.1 to 0.2, got 0.25"),
    ]


def test_nothing_left_is_a_mistake_that_says_why(store: FileStore, records: Records) -> None:
    records("earlier", {"acc": 0.1}, {"acc": 0.2})
    space = {"y": {"type": "uniform", "low": 0, "high": 1}}
    assert refusal(store, "earlier", search_space=space) == (
        "the sweep new: 2 of 2 trials of the warm start cannot be used, the first of them because"
        " x is unknown. Known: y; y is missing; it is Uniform(0, 1)"
    )
    records("empty")
    assert refusal(store, "empty") == (
        "the warm start: no trial of empty has come to an end that tells something"
    )


@pytest.mark.parametrize(
    ("metrics", "definition", "reason"),
    [
        ({"acc": 0.5}, {"metric": "acc"}, ""),
        ({"acc": 0.5}, {"metric": None}, ""),
        ({"value": 0.5}, {"metric": "acc"}, ""),
        ({"value": 0.5}, {"metric": None, "goal": "minimize"}, ""),
        ({"acc": 0.5, "size": 2}, {"metric": "size"}, ""),
        ({"acc": 0.5}, {"metric": "loss"}, "it gave acc, but not 'loss', the metric that counts"),
        (
            {"acc": 0.5, "size": 2},
            {"metric": None},
            "it gave acc, size, and nothing says which of them counts: add metric=",
        ),
        (
            {"value": 0.5},
            {"metric": None},
            'it gave a bare number: add goal="maximize" or goal="minimize", or metric=',
        ),
    ],
)
def test_the_metric_is_that_of_the_new_definition(
    store: FileStore, metrics: dict[str, float], definition: dict[str, Any], reason: str
) -> None:
    fits = Observation(Trial({"x": 0.5}), Failure(kind="user", message="no"))
    found = prior(store, kept(store, Observation(Trial({"x": 0.5}), metrics), fits), **definition)
    assert [known.left_out for known in found] == [reason, ""]
    if definition["metric"] == "acc":
        assert found[0].metrics == {"acc": 0.5}


def test_without_a_metric_the_first_trial_that_is_taken_says_which_one_counts(store: FileStore) -> None:
    source = kept(
        store,
        Observation(Trial({"x": 9}), {"loss": 0.5}),  # outside
        Observation(Trial({"x": 0.1}), {"acc": 0.5, "size": 2}),  # which of them?
        Observation(Trial({"x": 0.2}), {"acc": 0.5}),
        Observation(Trial({"x": 0.3}), {"acc": 0.5, "size": 2}),
        Observation(Trial({"x": 0.4}), {"loss": 0.5}),
    )
    found = prior(store, source, metric=None)
    assert [bool(known.left_out) for known in found] == [True, True, False, False, True]
    story = Story()
    story.table.epoch = 0
    for known in found:
        story.tell(known)
    assert story.table.objective == Objective("acc", "maximize")


@pytest.mark.parametrize("kind", [kind for kind, tells in KINDS if not tells])
def test_failures_of_nobody_are_left_out_when_people_tell_of_them(
    store: FileStore, kind: FailureKind
) -> None:
    failed = Observation(Trial({"x": 0.5}), Failure(kind=kind, message="no"))
    found = prior(store, kept(store, failed, Observation(Trial({"x": 0.5}), 0.5)))
    assert found[0].left_out == f"a failure of kind {kind} says nothing of its parameters"


def test_without_a_warm_start_there_is_nothing(store: FileStore) -> None:
    assert prior(store, []) == []
