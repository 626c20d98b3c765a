from metta.sweep.contracts.budgets import Budget, Control
from metta.sweep.contracts.sweeps import Counts, Progress, Row, SweepStatus
from metta.sweep.workflows.details import ROWS, details

PAGE = """\
**running**

3 trials started: 1 completed, 2 running, 0 failed, 0 stopped

Budget: trials=20

```
trial  accuracy (maximize)  parameters
    2               0.9123  lr=0.001235, model=cnn
```"""


def status(*rows: Row, note: str = "", notice: str = "") -> SweepStatus:
    progress = Progress(
        counts=Counts(started=3, completed=1, running=2),
        best=rows,
        metric="accuracy",
        goal="maximize",
        note=note,
    )
    control = Control(budget=Budget(trials=20))
    return SweepStatus(state="running", progress=progress, control=control, notice=notice)


def row(number: int, **params: str | float) -> Row:
    return Row(trial=number, value=0.91234, params=dict(params))


def test_the_page_shows_state_budget_and_the_best_trials() -> None:
    assert details(status(row(2, lr=0.00123456, model="cnn"))) == PAGE


def test_what_it_waits_for_is_noted_and_a_refusal_before_that() -> None:
    assert "Note: no room" in details(status(note="no room"))
    assert "Note: refused" in details(status(note="no room", notice="refused"))
    assert "Note" not in details(status())


def test_no_value_breaks_the_block() -> None:
    [line, end] = details(status(row(1, text="a\n```\nc", long="x" * 5000))).splitlines()[8:]
    assert line.startswith("    1               0.9123  text=a ``` c, long=xxx")
    assert end == "```"
    assert len(line) < 400


def test_the_page_is_never_long() -> None:
    rows = [row(n, text="x" * 5000) for n in range(20)]
    page = details(status(*rows))
    assert page.count("text=xxx") == ROWS
    assert len(page) < 20_000
