"""Every error that metta.sweep raises on purpose.

    SweepError
    ├── DefinitionError            what was asked for cannot be run; lists every mistake
    │   ├── SpaceError             a search space, or parameters that do not fit it
    │   ├── NameInUse              a sweep of that name exists already
    │   ├── Refused                a worker does not consent to what it is to import or run
    │   ├── DefinitionChanged      a sweep is continued with another definition
    │   └── PipelineDefinitionError  a pipeline does not fit together; each mistake with its line
    ├── StageFailed                a stage of a pipeline failed for good
    ├── SweepFailed                a sweep ended without a usable result
    ├── BudgetSpent                nothing is left of a budget that is shared
    ├── BadMetric                  a metric is not a finite number
    ├── SweepNotFound              no sweep of that name in this store
    ├── SweepEnded                 a control came after the end of the sweep
    ├── StoreError                 the artifact store cannot do what was asked
    │   ├── StoreFull              no room left; the write can be tried again
    │   ├── StoreAway              the store does not answer for now
    │   ├── LedgerCorrupt          a recorded line no longer matches its checksum
    │   ├── ChunkTaken             another writer has written this chunk already
    │   └── LedgerFenced           a newer session owns this sweep
    └── ServerError                the Temporal server cannot be started or reached

    Infeasible                     raised by a trial: these parameters make no sense
    TrialInterrupted               raised inside ``report``: the trial is to end here (a BaseException)
    DefinitionReached              ends the import of a script in a worker (a BaseException)

A message says what broke, the value that was got, and what to do.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metta.sweep.contracts.plans import StageFailure


class SweepError(Exception):
    """Root of all errors of this package."""


class DefinitionError(SweepError):
    """What was asked for cannot be run.

    Not a ``ValueError``, so that pydantic passes it on unchanged from inside a validator.

    Args:
        problems: Every mistake found, one readable sentence each.
        subject: What the mistakes are in.
    """

    def __init__(self, problems: Sequence[str], subject: str = "the sweep") -> None:
        self.problems = tuple(problems)
        self.subject = subject

    def __str__(self) -> str:
        # not handed to `Exception`: its arguments stay those of the constructor, so that it can be pickled
        return listing(self.subject, self.problems)


class SpaceError(DefinitionError):
    """A search space is wrong, or parameters do not fit it."""

    def __init__(self, problems: Sequence[str], subject: str = "the search space") -> None:
        super().__init__(problems, subject)


class Refused(DefinitionError):
    """A worker does not consent to what it is to import or run; see ``contracts.consent``."""


class NameInUse(DefinitionError):
    """A sweep or experiment of that name exists already.

    Args:
        name: The name.
        what: What is to be called so.
        by: What is called so; None means another one of the same kind, which could be continued.
    """

    def __init__(self, name: str, what: str = "sweep", by: str | None = None) -> None:
        way = f"continue that {what} with resume=True (`--resume`), or " if by is None else ""
        user = f" by {by}" if by else ""
        problem = f"the name {name!r} is in use{user}; {way}choose another name"
        super().__init__([problem], f"the {what}'s name")


class DefinitionChanged(DefinitionError):
    """A sweep or experiment is continued with a definition that differs from the recorded one.

    Args:
        name: Its name.
        changes: What differs, one sentence each.
        what: What it is.
    """

    def __init__(self, name: str, changes: Sequence[str], what: str = "sweep") -> None:
        root, _, part = name.partition("/")
        way = "another definition needs another name"
        if part:  # which nobody has named, or only beside its siblings
            again = f"`sweep retry {root} --from-stage STAGE`"
            way = f"undo that, or run it anew from the stage of {root} that it runs in: {again}"
        super().__init__([*changes, way], f"the {what} {name}")


class PipelineDefinitionError(DefinitionError):
    """A pipeline does not fit together; each mistake begins with file and line of the call that made it."""

    def __init__(self, problems: Sequence[str], subject: str = "the pipeline") -> None:
        super().__init__(problems, subject)


class StageFailed(SweepError):
    """A stage of a pipeline failed for good; its cause is what the stage raised, where that is known.

    Args:
        failure: Which stage, and why.
    """

    def __init__(self, failure: "StageFailure") -> None:
        self.failure = failure

    def __str__(self) -> str:
        tries = f" after {self.failure.attempts} attempts" if self.failure.attempts > 1 else ""
        return f"stage {self.failure.stage} failed{tries}: {self.failure.message}"


class SweepFailed(SweepError):
    """A sweep ended without a usable result; the message holds the commonest cause."""


class BudgetSpent(SweepError):
    """Nothing is left of the budget of an experiment for what one of its stages wants to run."""


class BadMetric(SweepError):
    """A metric is not a finite number."""


class SweepNotFound(SweepError):
    """No sweep or experiment of that name is recorded in the store.

    Args:
        name: The name that was asked for.
        known: Names that exist, to suggest the nearest one.
        what: What was looked for.
    """

    def __init__(self, name: str, known: Sequence[str] = (), what: str = "sweep") -> None:
        self.name, self.known, self.what = name, known, what

    def __str__(self) -> str:
        return f"there is no {self.what} {self.name!r} here{nearest(self.name, self.known)}"


class SweepEnded(SweepError):
    """A control came after the end of the sweep."""


class StoreError(SweepError):
    """The artifact store cannot do what was asked."""


class StoreFull(StoreError):
    """No room is left in the store; nothing was written, and it can be tried again."""


class StoreAway(StoreError):
    """The store does not answer for now; it can be tried again, and what was asked may have been done."""


class LedgerCorrupt(StoreError):
    """A recorded line of a ledger no longer matches its checksum.

    Args:
        path: The ledger file.
        line: Number of the line, from 1.
        offset: Where the line begins, in bytes.
        why: What is wrong with it.
    """

    def __init__(self, path: Path, line: int, offset: int, why: str) -> None:
        self.path, self.line, self.offset, self.why = path, line, offset, why

    def __str__(self) -> str:
        return (
            f"{self.path}, line {self.line} (byte {self.offset}) is damaged: {self.why}. Nothing was changed."
            f" Restore the file from a backup, or keep what stands before it:"
            f" `head -c {self.offset} {self.path.name} > repaired.jsonl`"
        )


class ChunkTaken(StoreError):
    """Another writer has written this chunk already."""


class LedgerFenced(StoreError):
    """A newer session owns this sweep, so this one must stop without a word."""


class ServerError(SweepError):
    """The Temporal server cannot be started or reached."""


class Infeasible(Exception):
    """Raise it in a trial whose parameters make no sense: recorded, and never retried."""


class TrialInterrupted(BaseException):
    """Raised by ``trial.report`` when the trial is to end here; let it pass.

    A ``BaseException``, so that ``except Exception`` in training code does not swallow it.
    """


class DefinitionReached(BaseException):
    """Ends the import of a script at its first ``run()``, ``start()`` or ``attach()`` in a worker.

    Args:
        experiment: The experiment whose call ended the import.
        options: The arguments of that call.
    """

    def __init__(self, experiment: object, options: dict[str, object]) -> None:
        super().__init__("the script's experiment was reached")
        self.experiment = experiment
        self.options = options


def listing(subject: str, problems: Sequence[str]) -> str:
    """One message for all mistakes of one input.

    >>> print(listing("the budget", ["trials must be at least 1, got -3"]))
    the budget: trials must be at least 1, got -3
    """
    if len(problems) == 1:
        return f"{subject}: {problems[0]}"
    return f"{len(problems)} mistakes in {subject}:" + "".join(f"\n- {p}" for p in problems)


NAMES = 10
"""So many known names are told where none is near."""


def nearest(name: str, known: Sequence[str]) -> str:
    """The end of a sentence that suggests a known name.

    >>> nearest("trails", ["trials", "hours"])
    '; did you mean trials?'
    >>> nearest("x", ["trials", "hours"])
    '. Known: hours, trials'
    >>> nearest("x", [])
    ''
    >>> nearest("x", [f"run-{n}" for n in range(70)])
    '. Known: run-0, run-1, run-10, run-11, run-12, run-13, run-14, run-15, run-16, run-17 and 60 more'
    """
    if close := get_close_matches(name, known, n=1):
        return f"; did you mean {close[0]}?"
    names = sorted(known, key=lambda each: (each.count("/"), each))  # what is nested comes last
    more = f" and {len(names) - NAMES} more" if len(names) > NAMES else ""
    return f". Known: {', '.join(names[:NAMES])}{more}" if names else ""


def shown(value: object) -> str:
    """A value as it stands in a message, cut when it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
