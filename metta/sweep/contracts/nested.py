"""Nested runs: experiments that the code of a stage starts, as plain data."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Literal
from urllib.parse import quote

from pydantic import JsonValue

from metta.sweep.contracts.errors import BudgetSpent, SweepError, SweepFailed
from metta.sweep.contracts.models import Wire
from metta.sweep.contracts.plans import At
from metta.sweep.contracts.raised import details_of, error_of
from metta.sweep.contracts.values import Value


class NestedRun(Wire):
    """A run that a stage asks for, in the same words at each attempt.

    Args:
        at: Which run of which stage asks.
        key: What tells it from the other runs of that stage.
        definition: Changes with all that would make it another one; not with its budget.
        workflow: Type of the workflow.
        input: Input of the workflow.
        summary: One line for people.
        after: Keys of those runs of the stage whose ends it knows: what they have not spent is to be there.
    """

    at: At
    key: str
    definition: str
    workflow: Literal["Sweep", "Experiment"]
    input: dict[str, JsonValue]
    summary: str = ""
    after: tuple[str, ...] = ()

    @property
    def budget(self) -> JsonValue:
        """The limits that it is run with."""
        return self.input.get("budget")


class ToldError(Wire):
    """An error on its way to another process."""

    kind: str
    message: str
    details: tuple[JsonValue, ...] = ()

    @classmethod
    def of(cls, error: SweepError) -> "ToldError":
        """An error as it is told."""
        details = tuple(detail.model_dump(mode="json") for detail in details_of(error))
        return cls(kind=type(error).__name__, message=str(error), details=details)

    @property
    def raised(self) -> SweepError:
        """The error again; one of which nothing but a message is known is a failure of what was run."""
        if self.kind == BudgetSpent.__name__:
            return BudgetSpent(self.message)
        return error_of(self.kind, self.details) or SweepFailed(self.message)


class NestedEnd(Wire):
    """How a nested run has ended.

    Args:
        value: What it gave; a sweep gives what is recorded under its name.
        error: Why it gave nothing.
        lasts: Whether that holds for good: nobody has stopped it before its end.
        trouble: What broke that is nobody's fault, so that the stage is to be run again.
    """

    value: Value = Value()
    error: ToldError | None = None
    lasts: bool = True
    trouble: str = ""


class NestedState(Wire):
    """Answer of the update ``nest`` and of the query ``nested``.

    Args:
        name: Id of its workflow.
        run: Temporal run id of the first run of that workflow; empty while it has not begun.
        error: Why it will not begin.
    """

    name: str
    run: str = ""
    error: ToldError | None = None


class NestedKey(Wire):
    """Which nested run of which stage is meant."""

    at: At
    key: str


LONGEST_NAME = 200
"""So many characters the quoted name of a child may have: stores call folders so, and 255 are the end."""


def child_name(parent: str, at: At, key: str = "", anew: int = 0) -> str:
    """The workflow that does a stage's work, or that the stage has started; the same at each attempt.

    >>> child_name("digits", At("refine/train", (2,))), child_name("digits", At("tasks"), "svm-1a2b3c4d")
    ('digits/refine/train@2', 'digits/tasks/svm-1a2b3c4d')

    One that was forgotten is not begun by that name again.

    >>> child_name("digits", At("search"), anew=1)
    'digits/search~1'

    Where many lie within one another, a hash stands for those between the outermost and the innermost.

    >>> child_name(f"digits/{'tasks/svm-1a2b3c4d/' * 8}tasks/svm-1a2b3c4d", At("tasks"), "svm-1a2b3c4d")
    'digits/~a1a587b1db81599f/tasks/svm-1a2b3c4d'
    """
    turns = f"@{'.'.join(map(str, at.turns))}" if at.turns else ""
    tail = f"{at.path}{turns}{key and '/'}{key}" + (f"~{anew}" if anew else "")
    for name in (f"{parent}/{tail}", f"{_shortened(parent)}/{tail}"):
        if len(quote(name, safe="")) <= LONGEST_NAME:
            return name
    return _shortened(f"{parent}/{tail}")


def below(parent: str, names: Iterable[str]) -> list[str]:
    """Those names that are of something which runs within an experiment, at any depth.

    >>> below("digits", ["digits", "digits/tasks/svm", "digits-2/tasks/svm"])
    ['digits/tasks/svm']

    Args:
        parent: Name of the experiment.
        names: All sweeps and experiments that there are.
    """
    names = [*names]
    found = {name for name in names if name.startswith(f"{parent}/")}
    shortened = {name for name in names if name.startswith(f"{_top(parent)}/~")}
    waiting = [parent, *found] if shortened - found else []
    while waiting:
        prefix = f"{_shortened(waiting.pop())}/"
        new = {name for name in shortened - found if name.startswith(prefix)}
        found |= new
        waiting += new
    return sorted(found)


def parents_of(names: Iterable[str], all_names: Iterable[str]) -> dict[str, str]:
    """What each of some runs directly within, as far as that is known.

    >>> parents_of(["digits/tasks/svm"], ["digits", "digits/tasks/svm"])
    {'digits/tasks/svm': 'digits'}

    Args:
        names: Whose parents are wanted.
        all_names: All that may be parents.
    """
    by_prefix = {prefix: name for name in sorted(all_names, key=len) for prefix in (name, _shortened(name))}
    found: dict[str, str] = {}
    for name in names:
        parts = name.split("/")
        prefixes = ("/".join(parts[:end]) for end in range(len(parts) - 1, 0, -1))
        if parent := next((by_prefix[prefix] for prefix in prefixes if prefix in by_prefix), None):
            found[name] = parent
    return found


def _shortened(name: str) -> str:
    return f"{_top(name)}/~{blake2b(name.encode(), digest_size=8).hexdigest()}"


def _top(name: str) -> str:
    return name.partition("/")[0]
