"""Programs that the tests of the job lane run, in the shell; each notes what it does where it stands."""

from tests.rig import definition

X = r"""x=$(sed 's/.*"x": *\([0-9.e-]*\).*/\1/' "$METTA_SWEEP_TRIAL")"""
"""The parameter, out of the JSON that the program is given."""

HERE = r"""n=$(sed 's/.*"number": *\([0-9]*\).*/\1/' "$METTA_SWEEP_TRIAL"); echo "trial $n" >> notes"""

REPORT = r"""printf '{"step": 1, "metrics": {"accuracy": %s}}\n' "$x" >> "$METTA_SWEEP_REPORTS" """

TRAIN = f"{X}; {HERE}; {REPORT}"
"""Reports once, and is done."""

GATED = f"{X}; {HERE}; {REPORT}; while [ ! -e gate ]; do sleep 0.05; done"
"""Reports, and waits until somebody opens the gate."""

STUBBORN = f"trap '' TERM; {GATED}"
"""The same, and does not want to end."""


def job(program: str, **changes: object) -> dict[str, object]:
    """A sweep of a shell program as people write it."""
    return definition("a:b", **{"metric": "accuracy", **changes}) | {
        "objective": {"command": ["sh", "-c", program]}
    }
