"""What the command says of the health of a project."""

from collections.abc import Sequence

from rich.text import Text

from metta.sweep.cli.output import Printer
from metta.sweep.client.health.findings import CHECKS, FIX, GARBAGE, Finding

STYLES = {"note": "green", "warning": "yellow", "problem": "red"}
MARKS = {"note": "ok", "warning": "warning", "problem": "problem"}
WIDTH = max(map(len, MARKS.values()))


class DoctorOutput(Printer):
    """Prints what was found, and the cures."""

    def shown(self, findings: Sequence[Finding]) -> None:
        """All findings by check, how many there are, and what to do next."""
        if self._json:
            self._print(findings)
            return
        for check in CHECKS:
            if found := [finding for finding in findings if finding.check == check]:
                self._say(Text(check, style="bold"))
                for finding in found:
                    self._one(finding)
        self._say(f"\n{_summary(findings)}")
        self._next(_following(findings))

    def _one(self, finding: Finding) -> None:
        is_mended = bool(finding.fixed)
        mark = "mended" if is_mended else MARKS[finding.severity]
        line = Text("  ").append(f"{mark:{WIDTH}}", style="green" if is_mended else STYLES[finding.severity])
        self._say(line.append(f"  {finding.text}"))
        indent = " " * (WIDTH + 4)
        if is_mended:
            self._say(f"{indent}{finding.fixed}")
            return
        if finding.cure:
            self._say(f"{indent}cure: {finding.cure}")
        if finding.command:
            self._say(f"{indent}$ {finding.command}")


def _summary(findings: Sequence[Finding]) -> str:
    problems = [finding for finding in findings if finding.is_open]
    mended = [finding for finding in findings if finding.fixed]
    warnings = [finding for finding in findings if finding.severity == "warning" and not finding.fixed]
    counts = [
        _counted(len(problems), "problem"),
        *([_counted(len(warnings), "warning")] if warnings else []),
        *([f"{len(mended)} mended"] if mended else []),
    ]
    return ", ".join(counts) if problems or warnings or mended else "healthy"


def _counted(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _following(findings: Sequence[Finding]) -> str:
    """The next useful command: what mends at once what is safe to mend, then what looks closer.

    Before both what shows how to make room, for without that nothing is mended. Nobody is to end or remove
    anything because it stands in the last line; the cures say all of it.
    """
    worst = [finding for finding in findings if finding.is_open]
    worst += [finding for finding in findings if finding.severity == "warning"]
    if any(finding.code == "store-full" for finding in worst):
        return GARBAGE
    if any(finding.command == FIX for finding in worst):
        return FIX
    otherwise = "sweep doctor" if any(finding.is_open for finding in worst) else "sweep ls"
    return next((finding.command for finding in worst if finding.only_looks), otherwise)
