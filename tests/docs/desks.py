"""Desks: where somebody sits who types what a page shows, with what it speaks of already there."""

import ast
import shlex
import socket
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from metta.sweep.client.launches import Launches
from metta.sweep.client.server import NAMESPACE, EmbeddedServer
from metta.sweep.client.settings import Settings
from metta.sweep.stores.files import FileStore
from tests.cli.commands import interrupt, running, script, wait_until_recorded
from tests.client.gathered import aged, undeleted
from tests.docs.consoles import ROOT, Step, check_shown, code_of, first_program, typed
from tests.docs.test_snippets import script_of
from tests.rig import pid_in
from tests.worker.labs import make_lab

STAYS = ("sweep worker ",)
"""Commands that serve until Ctrl-C; what is typed behind them is typed in another terminal."""

SERVES = "serving the task queue"

SLOW = """
from pathlib import Path
from time import sleep
from metta.sweep.experiments.base import Experiment, Pipeline

class Refine(Experiment):
    threshold: float = 0.1

    def pipeline(self) -> Pipeline[int]:
        return Pipeline().stage("load", self.load)

    def load(self) -> int:
        while not Path("gate").exists():
            sleep(0.02)
        return 1
"""


class Desk(ExitStack):
    """Where somebody sits.

    Args:
        project: The folder.
        page: What is read there.
    """

    def __init__(self, project: Path, page: str) -> None:
        super().__init__()
        self.project, self.page, self.script = project, page, script_of(page)
        (project / "examples").symlink_to(ROOT / "examples")
        self.patch = self.enter_context(pytest.MonkeyPatch.context())
        self.words: dict[str, str] = {}  # that cannot be taken as they are

    def sit_down_to(self, steps: list[Step]) -> None:
        """Have there what the first command speaks of."""
        for begin, prepare in PREPARED.items():
            if steps[0].command.startswith(begin):
                prepare(self)

    def type(self, step: Step) -> None:
        """Type a command; raises when it ends otherwise, or prints something else, than is shown."""
        command = step.command
        for word, other in self.words.items():
            command = command.replace(word, other)
        if command.startswith(STAYS):
            check_shown(step, self.served(command))
            return
        done = typed(command)
        assert done.returncode == code_of(step), f"$ {command}\n{done.stdout}"
        check_shown(step, done.stdout)

    def served(self, command: str) -> str:
        """Begin what serves to the end; what it says of itself."""
        serving = self.enter_context(running(*shlex.split(command)[1:]))
        self.callback(interrupt, serving)
        assert serving.stdout
        assert serving.stderr
        while SERVES not in (line := serving.stderr.readline()):
            assert line, f"$ {command}: it has ended"
        said = [serving.stdout.readline()]
        while not said[-1].startswith(("next: ", "Ctrl-C ends the worker")):
            said.append(serving.stdout.readline())
        return "".join(said)

    def ran(self, command: str, code: int = 0) -> None:
        """What was done before."""
        done = typed(command)
        assert done.returncode == code, f"$ {command}\n{done.stdout}"


def _svm(desk: Desk) -> None:
    (desk.project / "svm.py").write_text(desk.script, "utf-8")


def _script_ran(desk: Desk) -> None:
    (desk.project / "page.py").write_text(desk.script, "utf-8")
    desk.ran("python page.py")


def _compared(desk: Desk) -> None:
    (desk.project / "compare.py").write_text(desk.script, "utf-8")
    desk.ran("sweep run compare.py:Compare --name compared")


def _worker_killed(desk: Desk) -> None:
    script(desk.project, "slow", name="svm")
    with running("run", "mine.py") as command:
        wait_until_recorded(desk.project / ".metta-sweep/sweeps/svm/ledger.jsonl", '"type":"reported"')
        command.kill()  # or it would bring the worker back
    launches = Launches(Settings.load().home)
    subprocess.run(["kill", "-9", str(pid_in(launches.lock("svm")))], check=True)


def _garbage(desk: Desk) -> None:
    store = FileStore(desk.project / ".metta-sweep")
    undeleted(store.root, 6)
    for code in (b"code", b"x" * 2000):
        store.put_value(code)
    aged(store)


REFINE = ("Data", "Line", "load", "train", "flatten", "Refine", "Refining")
"""What ``refine.py`` takes from the guide to pipelines: without all else it is there at once."""


def _write_refine(desk: Desk) -> None:
    found = dict[str, str]()
    for node in ast.parse(desk.script).body:
        name = getattr(node, "name", "")
        if name in REFINE or isinstance(node, ast.Import | ast.ImportFrom):
            found.setdefault(name or ast.unparse(node), ast.unparse(node))
    assert found.keys() >= {*REFINE}
    (desk.project / "refine.py").write_text("\n".join(found.values()), "utf-8")


def _refining_failed(desk: Desk) -> None:
    _write_refine(desk)
    refine = desk.project / "refine.py"
    whole = refine.read_text("utf-8")
    refine.write_text(whole.replace("lambda x: x)", "lambda x: x / 0)"), "utf-8")
    assert refine.read_text("utf-8") != whole
    desk.ran("""sweep run refine.py:Refining --name refining --input '{"x": 1.0}'""", 1)


def _two_refined(desk: Desk) -> None:
    desk.ran("sweep start refine.py:Refine --name refined --set threshold=1.5")
    desk.ran("sweep run refine.py:Refine --name refined-more --set threshold=0.9")


def _served_by_package(desk: Desk) -> None:
    (desk.project / "package").mkdir()
    (desk.project / "package/module.py").write_text(SLOW, "utf-8")
    desk.callback((desk.project / "gate").touch)
    desk.served("sweep worker package")
    _lead_to_the_server(desk)


def _developing(desk: Desk) -> None:
    desk.served("sweep dev")
    _lead_to_the_server(desk)


def _lead_to_the_server(desk: Desk) -> None:
    info = EmbeddedServer(Settings.load().home / "server").ensure()
    desk.patch.setenv("TEMPORAL_ADDRESS", info.address)
    desk.patch.setenv("TEMPORAL_NAMESPACE", NAMESPACE)


def _lab(desk: Desk) -> None:
    make_lab(desk.project)
    (desk.project / "other").mkdir()
    (desk.project / "other/module.py").touch()
    (desk.project / "my_lab/training.py").write_text(
        "def train(params):\n    return {'score': params['lr']}\n"
    )
    (desk.project / "mine.py").write_text(first_program(desk.page), "utf-8")


def _lab_and_a_port(desk: Desk) -> None:
    _lab(desk)
    with socket.create_server(("127.0.0.1", 0)) as free:
        desk.words["8080"] = str(free.getsockname()[1])


PREPARED: dict[str, Callable[[Desk], None]] = {
    "python svm.py": _svm,
    "sweep export rates": _script_ran,
    "sweep show compared --tree": _compared,
    "sweep doctor": _worker_killed,
    "sweep gc": _garbage,
    "sweep replay refining": _refining_failed,
    "sweep retry refining": _write_refine,
    "sweep diff refined": _two_refined,
    "temporal workflow start --type Experiment": _served_by_package,
    "temporal workflow start --type Sweep": _developing,
    "sweep worker my_lab other.module": _lab,
    "sweep worker my_lab --health": _lab_and_a_port,
}
"""What was done before a block of a page is typed, by the beginning of its first command."""
