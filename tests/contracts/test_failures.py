"""Failures: who pays for the next attempt, and how long is waited for it."""

from typing import Any, get_args

import pytest

from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.failures import FREE_RETRIES, FailureKind, RetryPolicy, exponential

KINDS = get_args(FailureKind)
FREE = {"infra", "lost"}
FINAL = {"infeasible", "cancelled"}
OWN = sorted(set(KINDS) - FREE - FINAL)


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
