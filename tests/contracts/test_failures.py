"""Failures: who pays for the next attempt, and how long is waited for it."""

from math import isfinite
from typing import Any, get_args

import pytest

from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.failures import (
    FREE_RETRIES,
    TREATMENTS,
    UNTELLING,
    FailureKind,
    RetryPolicy,
    exponential,
)

KINDS = get_args(FailureKind)
FREE = {"infra", "lost"}
FINAL = {"infeasible", "cancelled"}
OWN = sorted(set(KINDS) - FREE - FINAL)


def test_each_kind_is_treated_in_some_way() -> None:
    assert list(TREATMENTS) == list(KINDS)


def test_failures_of_nobody_say_nothing_of_the_parameters() -> None:
    assert FREE | {"cancelled"} == UNTELLING


@pytest.mark.parametrize("kind", OWN)
def test_own_failures_are_tried_again_as_often_as_the_policy_says(kind: FailureKind) -> None:
    assert not RetryPolicy().again(kind, failed=1, free=0)
    policy = RetryPolicy(max_attempts=3)
    assert [policy.again(kind, failed, free=9) for failed in (1, 2, 3)] == [True, True, False]


@pytest.mark.parametrize("kind", sorted(FREE))
def test_failures_of_the_machinery_are_free_but_capped(kind: FailureKind) -> None:
    policy = RetryPolicy(non_retryable=(kind,))
    again = [policy.again(kind, failed=9, free=free) for free in range(1, FREE_RETRIES + 2)]
    assert again == [True] * FREE_RETRIES + [False]


@pytest.mark.parametrize("kind", sorted(FINAL))
def test_final_failures_are_never_tried_again(kind: FailureKind) -> None:
    assert not RetryPolicy(max_attempts=9).again(kind, failed=1, free=0)


def test_the_policy_names_kinds_that_are_final() -> None:
    policy = RetryPolicy(max_attempts=9, non_retryable=("oom",))
    assert not policy.again("oom", failed=1, free=0)
    assert policy.again("user", failed=1, free=0)


def test_a_trial_that_runs_out_of_memory_may_be_final_at_once() -> None:
    policy = RetryPolicy(max_attempts=9, on_oom="fail")
    assert not policy.again("oom", failed=1, free=0)
    assert policy.again("user", failed=1, free=0)
    assert RetryPolicy(max_attempts=9).again("oom", failed=1, free=0)


def test_memory_grows_up_to_the_maximum() -> None:
    policy = RetryPolicy(max_attempts=9, on_oom="grow", growth=3, max_memory_gib=16)
    assert [policy.grown_gib(had) for had in (1, 3, 9, 16, 20)] == [3, 9, 16, None, None]


def test_memory_that_grows_without_a_limit_is_no_overflow() -> None:
    policy, memory_gib = RetryPolicy(max_attempts=9999, on_oom="grow"), 4.0
    attempts = 0
    while (grown := policy.grown_gib(memory_gib)) is not None:
        attempts, memory_gib = attempts + 1, grown
        assert isfinite(memory_gib)
    assert attempts > 1000


def test_policies_that_say_nothing_of_memory_are_written_as_before_they_could() -> None:
    # the fingerprint of a plan covers policies: pipelines that run already would be refused
    written = '{"max_attempts":3,"backoff":"exponential","initial":1.0,"maximum":60.0,"non_retryable":[]}'
    policy = RetryPolicy(max_attempts=3)
    assert policy.model_dump_json() == written
    assert RetryPolicy.model_validate_json(written) == policy


def test_what_is_said_of_memory_is_written() -> None:
    policy = RetryPolicy(max_attempts=3, on_oom="grow", growth=1.5, max_memory_gib=8)
    assert RetryPolicy.model_validate_json(policy.model_dump_json()) == policy


def test_growth_that_can_never_happen_is_a_mistake() -> None:
    with pytest.raises(DefinitionError) as error:
        RetryPolicy(on_oom="grow", non_retryable=("oom",))
    assert error.value.problems == (
        'on_oom="grow" needs max_attempts of 2 or more',
        'on_oom="grow" and "oom" in non_retryable contradict each other',
    )


@pytest.mark.parametrize(
    ("policy", "delays"),
    [
        (RetryPolicy(), [1, 2, 4, 8, 16, 32, 60, 60]),
        (RetryPolicy(initial=3, maximum=10), [3, 6, 10, 10]),
        (RetryPolicy(initial=100), [60, 60]),
        (RetryPolicy(backoff="constant", initial=5), [5, 5, 5]),
        (RetryPolicy(backoff="constant", initial=100), [60, 60]),
        (RetryPolicy(initial=0), [0, 0, 0]),
        (RetryPolicy(backoff=(1, 5)), [1, 5, 5, 5]),
        (RetryPolicy(backoff=(1, 500)), [1, 60, 60]),
        (RetryPolicy(backoff=exponential), [1, 2, 4]),
        (RetryPolicy(max_attempts=3, backoff=lambda attempt: attempt * 0.5), [0.5, 1, 1]),
        (RetryPolicy(max_attempts=1, backoff=lambda attempt: 1 / 0), [1, 1]),
    ],
)
def test_waits_grow_up_to_the_maximum(policy: RetryPolicy, delays: list[float]) -> None:
    assert [policy.delay_s(attempt) for attempt in range(1, len(delays) + 1)] == delays


@pytest.mark.parametrize("initial", [0.0, 1.0])
def test_the_wait_after_very_many_attempts_is_no_overflow(initial: float) -> None:
    assert RetryPolicy(initial=initial).delay_s(10_000) <= 60


def test_all_mistakes_of_a_policy_are_told() -> None:
    wrong: dict[str, Any] = {"max_attempt": 3, "initial": -1, "backoff": "linear"}
    with pytest.raises(DefinitionError) as error:
        RetryPolicy(**wrong)
    assert error.value.problems == (
        "max_attempt is unknown; did you mean max_attempts?",
        "backoff: write 'exponential', 'constant', seconds such as [1, 5, 30], or a function, got 'linear'",
        "initial: input should be greater than or equal to 0, got -1",
    )
