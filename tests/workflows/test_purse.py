"""How a budget is divided among what runs within an experiment."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep import Budget, DefinitionError
from metta.sweep.contracts.budgets import SharedBudget, Spent
from metta.sweep.workflows.purse import Purse

NOTHING = Spent()


def purse(given: Budget, spent: Spent = NOTHING, elapsed_s: float = 0.0) -> Purse:
    budget = SharedBudget.model_validate(given.model_dump())
    return Purse(budget, spent, lambda: elapsed_s)


def test_who_asks_for_less_gets_that_and_the_next_one_what_is_left() -> None:
    shared = purse(Budget(trials=10))
    assert shared.grant("a", Budget(trials=4), NOTHING) == Budget(trials=4)
    assert shared.grant("b", Budget(), NOTHING) == Budget(trials=6)
    assert shared.grant("c", Budget(trials=1), NOTHING) is None


def test_what_is_not_spent_comes_back() -> None:
    shared = purse(Budget(trials=10))
    shared.grant("a", Budget(), NOTHING)
    shared.settle("a", Spent(trials=3))
    assert shared.spent == Spent(trials=3)
    assert shared.grant("b", Budget(), NOTHING) == Budget(trials=7)


def test_one_that_goes_on_has_what_it_has_spent_before_besides() -> None:
    shared = purse(Budget(trials=10), Spent(trials=6))
    assert shared.grant("a", Budget(), Spent(trials=5)) == Budget(trials=9)
    shared.settle("a", Spent(trials=7))
    assert shared.spent == Spent(trials=8)


def test_one_that_has_spent_all_that_it_asks_for_may_end_by_itself() -> None:
    shared = purse(Budget(trials=10), Spent(trials=10))
    assert shared.grant("a", Budget(trials=4), Spent(trials=4)) == Budget(trials=4)
    assert shared.grant("b", Budget(trials=4), NOTHING) is None


def test_an_experiment_may_begin_with_nothing_for_its_stages_may_spend_nothing() -> None:
    shared = purse(SharedBudget(trials=3), Spent(trials=3))
    assert shared.grant("a", SharedBudget(), NOTHING) == SharedBudget(trials=0)
    assert shared.grant("b", SharedBudget(trials=2), NOTHING) is None  # a may give something back
    shared.settle("a", NOTHING)
    assert shared.grant("b", SharedBudget(trials=2), NOTHING) == SharedBudget(trials=0)


def test_limits_of_its_own_and_a_target_stay() -> None:
    asked = Budget(trials=50, target=0.9, cost=3.0)
    assert purse(Budget(trials=10)).grant("a", asked, NOTHING) == Budget(trials=10, target=0.9, cost=3.0)


def test_time_passes_for_all_at_once() -> None:
    shared = purse(Budget(hours=1), elapsed_s=600)
    for name in ("a", "b"):
        assert shared.grant(name, Budget(), NOTHING) == Budget(seconds=3000)
    assert shared.grant("c", Budget(seconds=60), Spent(seconds=5)) == Budget(seconds=60)
    assert shared.grant("d", Budget(), Spent(seconds=50)) == Budget(seconds=3050)
    assert purse(Budget(seconds=10), elapsed_s=10).grant("a", Budget(), NOTHING) is None


def test_another_budget_is_divided_among_those_that_run() -> None:
    shared = purse(Budget(trials=10))
    shared.grant("a", Budget(trials=8), NOTHING)
    shared.grant("b", Budget(), NOTHING)
    now = {"a": Spent(trials=3), "b": Spent(trials=2)}
    assert shared.change(SharedBudget(trials=20), Spent(trials=5), now) == {
        "a": Budget(trials=8),
        "b": Budget(trials=12),
    }
    assert shared.change(SharedBudget(trials=6), Spent(trials=5), now) == {
        "a": Budget(trials=4),
        "b": Budget(trials=2),
    }


def test_nobody_loses_what_another_one_gains() -> None:
    shared = purse(Budget(trials=10))
    shared.grant("a", Budget(), NOTHING)
    shared.settle("a", Spent(trials=3))
    shared.grant("b", Budget(trials=4), NOTHING)
    shared.grant("c", Budget(), NOTHING)
    now = {"b": Spent(trials=1), "c": Spent(trials=1)}
    assert shared.change(SharedBudget(trials=11), Spent(trials=5), now) == {
        "b": Budget(trials=4),
        "c": Budget(trials=4),
    }
    assert shared.change(SharedBudget(trials=7), Spent(trials=5), now) == {
        "b": Budget(trials=3),
        "c": Budget(trials=1),
    }


def test_a_sweep_that_has_just_begun_keeps_a_trial() -> None:
    shared = purse(Budget(trials=10))
    shared.grant("a", Budget(trials=4), NOTHING)
    shared.grant("b", Budget(trials=4), NOTHING)
    now = {"a": Spent(trials=2), "b": NOTHING}
    assert shared.change(SharedBudget(trials=2), Spent(trials=2), now) == {
        "a": Budget(trials=2),
        "b": Budget(trials=1),
    }


def test_what_is_not_known_is_taken_for_spent() -> None:
    shared = purse(Budget(trials=10))
    shared.grant("a", Budget(trials=4), NOTHING)
    shared.settle("a", None)
    assert shared.spent == Spent(trials=4)


def test_a_changed_time_moves_the_end_of_all_that_run() -> None:
    elapsed = [100.0]
    shared = Purse(SharedBudget(seconds=1000), NOTHING, lambda: elapsed[0])
    assert shared.grant("a", Budget(), Spent(seconds=50)) == Budget(seconds=950)
    elapsed[0] = 700.0
    # what is counted of one that runs is as old as what it has recorded last
    stale = {"a": Spent(seconds=50)}
    assert shared.change(SharedBudget(seconds=2000), NOTHING, stale) == {"a": Budget(seconds=1950)}


def test_a_limit_may_come_where_there_was_none_and_go_again() -> None:
    shared = purse(Budget())
    shared.note("a", Budget(trials=30))
    now = {"a": Spent(trials=2)}
    assert shared.change(SharedBudget(trials=9), Spent(trials=4), now) == {"a": Budget(trials=7)}
    assert shared.change(SharedBudget(), Spent(trials=4), now) == {"a": Budget(trials=30)}


def test_less_than_what_is_spent_is_refused_with_every_limit() -> None:
    shared = purse(Budget(trials=10))
    with pytest.raises(DefinitionError) as caught:
        shared.change(SharedBudget(trials=3, cost=0.5), Spent(trials=5, cost=2.5), {})
    assert list(caught.value.problems) == [
        "trials: 5 are spent, got 3; give more than that, or stop it",
        "cost: 2.5 are spent, got 0.5; give more than that, or stop it",
    ]
    assert shared.budget == SharedBudget(trials=10)


def test_limits_are_his_own_where_he_has_all_that_he_asks_for() -> None:
    shared = purse(Budget(trials=10, seconds=100))
    shared.grant("a", Budget(trials=4, epochs=9, seconds=200), NOTHING)
    assert shared.own("a") == ["trials", "epochs"]
    shared.grant("b", Budget(trials=8), NOTHING)
    assert shared.own("b") == []
    shared.change(SharedBudget(trials=30), NOTHING, {"a": NOTHING, "b": NOTHING})
    assert (shared.own("a"), shared.own("b")) == (["trials", "epochs", "time_s"], ["trials"])


def test_it_tells_which_limits_are_used_up() -> None:
    shared = purse(Budget(trials=10, cost=3.0), Spent(trials=4, cost=3.0))
    assert shared.lacking(Budget(trials=4), NOTHING) == ["cost"]
    assert shared.lacking(Budget(cost=1.0), Spent(cost=1.0)) == []  # he ends by himself
    late = purse(Budget(trials=10, seconds=9), Spent(trials=10), elapsed_s=9.0)
    assert late.lacking(Budget(), NOTHING) == ["trials", "time_s"]


@dataclass
class Node:
    """A sweep, or an experiment with a purse of its own; sweeps spend what they are granted, or less."""

    asked: Budget
    purse: Purse | None = None
    granted: Budget = field(default_factory=Budget)
    own: int = 0
    children: list["Node"] = field(default_factory=list)
    is_over: bool = False

    @property
    def spent(self) -> int:
        return self.own + sum(child.spent for child in self.children)

    def running(self) -> list["Node"]:
        below = [node for child in self.children if not child.is_over for node in child.running()]
        return [self, *below]

    def end(self) -> None:
        for child in self.children:
            if not child.is_over:
                child.end()
                assert self.purse
                self.purse.settle(str(id(child)), Spent(trials=child.spent))
        self.is_over = True


LIMITS = st.none() | st.integers(1, 12)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 20), st.data())
def test_no_budget_is_exceeded_at_any_level(limit: int, data: st.DataObject) -> None:
    root = Node(Budget(), purse(Budget(trials=limit)), Budget(trials=limit))
    for _ in range(data.draw(st.integers(1, 25))):
        node = data.draw(st.sampled_from(root.running()))
        if node.purse and data.draw(st.booleans()):
            child = Node(Budget(trials=data.draw(LIMITS)))
            if granted := node.purse.grant(str(id(child)), child.asked, NOTHING):
                child.granted = granted
                child.purse = purse(granted) if data.draw(st.booleans()) else None
                node.children.append(child)
        elif node.purse is None and node.granted.trials and node.own < node.granted.trials:
            node.own += data.draw(st.integers(1, node.granted.trials - node.own))
        elif node is not root:
            parent = next(n for n in root.running() if node in n.children)
            node.end()
            assert parent.purse
            parent.purse.settle(str(id(node)), Spent(trials=node.spent))
        for each in root.running():
            assert each.granted.trials is None or each.spent <= each.granted.trials
            assert each.asked.trials is None or each.spent <= each.asked.trials
            if each.purse:
                over = sum(child.spent for child in each.children if child.is_over)
                assert each.purse.spent.trials == over
    assert root.spent <= limit
