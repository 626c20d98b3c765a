"""Wording: values as people read them."""

from collections.abc import Sequence

from metta.sweep.contracts.budgets import Budget
from metta.sweep.contracts.events import Known


def value_text(value: object) -> str:
    """A value, floats with four significant digits.

    >>> value_text(0.00123456), value_text("cnn"), value_text(3)
    ('0.001235', 'cnn', '3')
    """
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration_text(seconds: float) -> str:
    """A time.

    >>> duration_text(7.3), duration_text(83), duration_text(7260)
    ('7.3 s', '1 min 23 s', '2 h 1 min')
    """
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def budget_text(budget: Budget) -> str:
    """A budget.

    >>> budget_text(Budget(trials=20, target=0.9))
    'trials=20, target=0.9'
    >>> budget_text(Budget())
    'none; it runs until it is stopped'
    """
    limits = [f"{name}={value}" for name, value in budget.model_dump(exclude_none=True).items()]
    return ", ".join(limits) or "none; it runs until it is stopped"


def left_out_text(known: Sequence[Known]) -> str:
    """What a warm start leaves out; empty when it is nothing."""
    reasons = [trial.left_out for trial in known if trial.left_out]
    if not reasons:
        return ""
    count = f"{len(reasons)} of {len(known)} trials of the warm start cannot be used"
    return f"{count}, the first of them because {reasons[0]}"


def restarted_text(times: int) -> str:
    """That promoted trials do not report checkpoints; empty when they do."""
    if not times:
        return ""
    return (
        "promoted trials have no checkpoint and begin again at their first step (so far"
        f" {times} times): report one with trial.report(..., checkpoint=...)"
    )
