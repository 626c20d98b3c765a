"""Changes: what makes an experiment another one than it was."""

from difflib import unified_diff

from metta.sweep.contracts.errors import shown
from metta.sweep.contracts.outcomes import Began


def changes_since(before: Began, now: Began) -> list[str]:
    """What is not as it was when an experiment began, one sentence each.

    Args:
        before: How it began.
        now: How it would begin now; its input is the recorded one where none was given.
    """
    found = [
        f"{name} was {shown(before.fields.get(name))}, and is {shown(now.fields.get(name))}"
        for name in sorted({*before.fields, *now.fields})
        if before.fields.get(name) != now.fields.get(name)
    ]
    if now.input != before.input:
        found.append("what flows into its first stage is another value than it was")
    if lines := changed_lines(before, now):
        found.append("its pipeline was changed:\n    " + "\n    ".join(lines))
    return found


def changed_lines(before: Began, now: Began) -> list[str]:
    """Lines of a pipeline that are not as they were, each behind ``-`` or ``+``."""
    if now.fingerprint == before.fingerprint:
        return []
    lines = unified_diff(before.structure, now.structure, lineterm="", n=0)
    changed = [line for line in lines if line[:1] in "+-" and line[:3] not in ("---", "+++")]
    return changed or ["in its policies"]
