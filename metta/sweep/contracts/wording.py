"""Wording: values as people read them."""

from metta.sweep.contracts.budgets import Budget


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
