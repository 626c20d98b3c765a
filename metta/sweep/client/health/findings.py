"""Findings: what was found wrong, and the cure for it."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from metta.sweep.contracts.models import Wire

Check: TypeAlias = Literal[
    "settings", "store", "server", "search attributes", "workers", "orphans", "stuck workflows"
]

CHECKS: tuple[Check, ...] = (
    *("settings", "store", "server", "search attributes"),
    *("workers", "orphans", "stuck workflows"),
)

Severity: TypeAlias = Literal["note", "warning", "problem"]

Code: TypeAlias = Literal[
    # of any check
    "healthy",
    "not-checked",
    # settings
    "settings",
    "settings-wrong",
    # store
    "store-absent",
    "store-full",
    "store-low",
    "store-forbidden",
    "store-away",
    "store-broken",
    "record-damaged",
    # server
    "server-stopped",
    "server-lost",
    "server-silent",
    "namespace-missing",
    "retention-short",
    # search attributes
    "attribute-missing",
    "attribute-wrong",
    # workers
    "worker-dead",
    "worker-dies",
    "queue-unserved",
    "version-mixed",
    "version-other",
    # orphans
    "launch-damaged",
    "launch-idle",
    "launch-elsewhere",
    "worker-idle",
    "record-open",
    "workflow-foreign",
    # stuck workflows
    "workflow-stuck",
    "activity-retried",
    "activity-paused",
]
"""What can be found; programs may rely on these words."""

FIX = "sweep doctor --fix"
"""The command for what it mends itself."""

GARBAGE = "sweep gc"
"""The command that shows what nobody needs any more."""


LOOKS = (
    *("sweep doctor", "sweep ls", "sweep show ", "tail ", "ls -ld ", "findmnt "),
    *("temporal workflow describe ", "temporal workflow show ", "temporal task-queue describe "),
    "temporal operator cluster health ",
)
"""How commands begin that change nothing, so that they may be told as the next ones."""

JOINS = frozenset("&|;<>`$\n")
"""What may join such a command with another one."""


class Finding(Wire):
    """Something that was found, good or bad.

    Args:
        check: Which check found it.
        code: What it is, for programs.
        severity: Whether it is a fact, something to know, or something that is wrong.
        subject: What it is about: a name, a path, an address.
        text: What is the case, in a sentence.
        cure: What to do, in a sentence; empty where nothing has to be done.
        command: A command that does it, or that looks closer; empty where there is none.
        fixed: What was done about it; empty when nothing was.
    """

    check: Check
    code: Code
    severity: Severity
    subject: str = ""
    text: str
    cure: str = ""
    command: str = ""
    fixed: str = ""

    @property
    def is_open(self) -> bool:
        """Whether something is wrong that was not mended."""
        return self.severity == "problem" and not self.fixed

    @property
    def only_looks(self) -> bool:
        """Whether its command changes nothing, as far as anybody can tell from its words."""
        if self.command == FIX or JOINS & {*self.command}:
            return False
        return self.command == GARBAGE or self.command.startswith(LOOKS)  # which so only shows

    def mended(self, done: str) -> "Finding":
        """The same, once something was done about it."""
        return self.model_copy(update={"fixed": done})


def healthy(check: Check, text: str, subject: str = "") -> Finding:
    """Nothing is wrong there."""
    return Finding(check=check, code="healthy", severity="note", subject=subject, text=text)


def not_checked(check: Check, why: str, severity: Severity = "problem", cure: str = "") -> Finding:
    """Nobody can tell whether something is wrong there."""
    text = f"{check} could not be checked: {why}"
    cure = cure or "cure what is told of the others, and look again"
    return Finding(check=check, code="not-checked", severity=severity, text=text, cure=cure)


def are_healthy(findings: Sequence[Finding]) -> bool:
    """Whether nothing is wrong that was not mended."""
    return not any(finding.is_open for finding in findings)
