"""What needs no server: help, wrong usage, mistakes in scripts and ledgers."""

from pathlib import Path

import pytest

from metta.sweep import Uniform
from metta.sweep.experiments import SweepExperiment
from tests.cli.commands import script, sweep
from tests.cli.conftest import Caller, shapes

COMMANDS = (
    "run",
    "attach",
    "show",
    "budget",
    "concurrency",
    "pause",
    "resume",
    "stop",
    "gc",
    "dev",
    "doctor",
)


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_help_names_every_command(call: Caller, arguments: tuple[str, ...]) -> None:
    done = call(*arguments)
    assert done.returncode == 0
    assert all(f" {command} " in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(call: Caller, command: str) -> None:
    assert "--help" in call(command, "--help").stdout


def test_the_command_is_installed() -> None:
    assert sweep("--help").stdout.split()[:2] == ["Usage:", "sweep"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("frobnicate",), "error: No such command 'frobnicate'; see sweep --help"),
        (("run",), "error: Missing argument 'FILE[:NAME]'; see sweep run --help"),
        (("show", "--jsn"), "error: No such option: --jsn"),
        (
            ("budget", "digits", "many"),
            "error: Invalid value for '[TRIALS]': Input should be a valid integer",
        ),
        (
            ("budget", "digits"),
            "error: the budget: give a number of trials, or one of"
            " --hours, --seconds, --target, --epochs, --cost, --lift",
        ),
        (
            ("budget", "digits", "--lift", "hour"),
            "error: --lift: unknown limit 'hour'; did you mean hours?",
        ),
        (("budget", "digits", "--cost", "3", "--lift", "cost"), "error: --lift: cost: give it, or lift it"),
        (
            ("budget", "digits", "0"),
            "error: the budget: trials: input should be greater than or equal to 1, got 0",
        ),
        (("run", "digits.py"), "error: the script: there is no file 'digits.py'; did you mean digit.py?"),
        (("run", "digit.py"), "error: digit.py: it neither runs nor defines an experiment"),
        (
            ("run", "two.py"),
            "error: two.py: it runs none of its experiments; say which: two.py:one or two.py:other",
        ),
        (
            ("run", "two.py:ome"),
            "error: the script: two.py has no experiment called 'ome'; did you mean one?",
        ),
        (("run", "two.py:one", "--budget", "-1"), "error: the budget: trials: input should be greater than"),
        (("run", "two.py:one", "--name", "a b"), "error: the sweep: name 'a b' has to be letters, digits"),
    ],
)
def test_wrong_usage_is_told_in_one_line(
    project: Path, call: Caller, arguments: tuple[str, ...], message: str
) -> None:
    (project / "digit.py").touch()
    (project / "two.py").write_text(
        "from metta.sweep import Uniform\n"
        "from metta.sweep.experiments import SweepExperiment\n"
        "def train(params): return {'accuracy': params['x']}\n"
        "one = SweepExperiment(train, {'x': Uniform(0, 1)})\n"
        "other = SweepExperiment(train, {'x': Uniform(0, 1)})\n"
    )
    done = call(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert not (project / ".metta-sweep").exists()


@pytest.mark.parametrize("command", ["show", "attach", "pause", "resume", "stop"])
def test_an_unknown_sweep_is_told_with_the_nearest_name(project: Path, call: Caller, command: str) -> None:
    SweepExperiment(lambda params: {"accuracy": params["x"]}, {"x": Uniform(0, 1)}).run(
        1, debug=True, name="digits"
    )
    done = call(command, "digit")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: there is no sweep or experiment 'digit' here; did you mean digits?\n"
    assert not (project / ".metta-sweep/server").exists()  # none was started only to hear that


def test_a_project_without_sweeps_says_how_to_begin(project: Path, call: Caller) -> None:
    assert call("ls").stdout == "no sweeps yet\nnext: sweep run FILE\n"
    assert call("ls", "--json").stdout == "[]\n"


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        (
            "def helper():\n    return 1 / 0\n\nhelper()\n",
            [
                "Traceback (most recent call last):",
                '  File "{folder}/mine.py", line 4, in <module>',
                "    helper()",
                '  File "{folder}/mine.py", line 2, in helper',
                "    return 1 / 0",
                "           ~~^~~",
                "ZeroDivisionError: division by zero",
            ],
        ),
        (
            "x = 1\ndef f(:\n",
            [
                '  File "{folder}/mine.py", line 2',
                "    def f(:",
                "          ^",
                "SyntaxError: invalid syntax",
            ],
        ),
    ],
)
def test_a_script_that_raises_shows_its_own_traceback_alone(
    project: Path, call: Caller, code: str, lines: list[str]
) -> None:
    (project / "mine.py").write_text(code, "utf-8")
    done = call("run", "mine.py")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [line.format(folder=project) for line in lines]


def test_a_mistake_in_a_definition_is_told_with_its_line(project: Path, call: Caller) -> None:
    script(project, optimiser=1)
    done = call("run", "mine.py")
    assert done.returncode == 2
    message, where = done.stderr.splitlines()
    assert message == "error: SweepExperiment: optimiser is unknown; did you mean optimizer?"
    assert where == f"  at {project / 'mine.py'}, line 20"


def test_a_script_may_end_by_itself(project: Path, call: Caller) -> None:
    (project / "mine.py").write_text("import argparse\nargparse.ArgumentParser().parse_args()\n", "utf-8")
    done = call("run", "mine.py", "--", "--bogus")
    assert done.returncode == 2
    assert "mine.py: error: unrecognized arguments: --bogus" in done.stderr


def test_debugging_prints_json_alone_on_standard_output(project: Path, call: Caller) -> None:
    script(project)
    done = call("run", "mine.py", "--name", "here", "--debug", "--json")
    assert [line["sweep"] for line in shapes("run", done.stdout)] == ["here"]
    assert done.stderr.startswith("defining\n")


def test_a_damaged_ledger_is_told_with_line_and_cure_and_hides_no_other(project: Path, call: Caller) -> None:
    script(project)
    for name in ("sound", "damaged"):
        assert call("run", "mine.py", "--name", name, "--debug").returncode == 0
    ledger = project / ".metta-sweep/sweeps/damaged/ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join([lines[0], lines[1].replace(b'"', b"'", 1), *lines[2:]]))
    (ledger.parent / "snapshot.jsonl").unlink()  # which spares a look at what is before it
    told = f"error: {ledger}, line 2 (byte {len(lines[0])}) is damaged: its checksum does not match"
    one, all_ = call("show", "damaged"), call("ls")
    again = call("run", "mine.py", "--name", "damaged", "--resume")
    for done in (one, all_, again):
        assert done.returncode == 1
        assert told in done.stderr
        assert f"head -c {len(lines[0])} ledger.jsonl > repaired.jsonl" in done.stderr
    assert all_.stdout.splitlines()[1].startswith("sound  finished ")
