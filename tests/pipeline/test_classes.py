import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple, TypedDict

import pytest

from metta.sweep import Observation, Resources, Trial
from metta.sweep.experiments.base import Pipeline
from metta.sweep.pipeline.packing import Packer, Unpackable
from metta.sweep.stores.data import DataStore
from tests.pipeline.packed import Own, there_and_back, told

ROOT = Path(__file__).parents[2]


def test_a_class_with_a_form_of_its_own_is_asked_for_it(packer: Packer, store: DataStore) -> None:
    back = there_and_back(packer, [Own("$me")])[0]
    assert (back.name, back.store) == ("$me", store.store)


def test_a_trial_flows(packer: Packer) -> None:
    trial = Trial({"lr": 0.1}, 3, 7, resources=Resources(cpu=2), folder=Path("a"))
    trial.report(1, loss=0.5)
    back = there_and_back(packer, [Observation(trial, 0.5)])[0].trial
    assert type(back) is Trial
    assert vars(back) == vars(trial)


def local_classes() -> tuple[type, type]:
    @dataclass
    class Inside:
        colour: Any

    @dataclass
    class Around:
        inside: list[Inside] = field(default_factory=list)

    return Inside, Around


def test_classes_without_a_module_are_found_among_those_that_flow(store: DataStore) -> None:
    inside, around = local_classes()
    flowing = Packer(store, pickle=False, classes=[dict[str, around]])  # type: ignore[valid-type] # it is one
    value = around([inside(1)])
    assert told(there_and_back(flowing, value)) == told(value)
    other, _ = local_classes()
    for packer, wrong in ((Packer(store, pickle=False), inside), (flowing, other)):
        with pytest.raises(
            Unpackable, match="Inside is defined where no other process finds it; define it in a mod"
        ):
            packer.pack(wrong(1))


WAITING = """
import asyncio
from typing import NamedTuple
from metta.sweep.experiments.base import Pipeline

class Point(NamedTuple):
    x: int

def give() -> Point:
    return Point(1)

async def main():
    return [Pipeline().stage("s", give).through(cache=True).run_local() for _ in range(2)]

points = asyncio.run(main())
"""


def test_a_script_that_reads_its_own_classes_while_it_is_imported_does_not_wait_for_itself(
    tmp_path: Path,
) -> None:
    (tmp_path / "script.py").write_text(WAITING, "utf-8")
    importing = """
        import sys
        from pathlib import Path
        from metta.sweep.contracts.importing import import_script
        print(import_script(Path(sys.argv[1])).points)
    """
    told = _python("-c", dedent(importing), str(tmp_path / "script.py"), folder=tmp_path)
    assert told == "[Point(x=1), Point(x=1)]\n"


class Leaf(NamedTuple):
    n: int


class Branch(NamedTuple):
    leaves: list[Leaf]


class Tree(TypedDict):
    branch: Branch


class Given(NamedTuple):
    n: int


@pytest.mark.parametrize(
    ("flowing", "classes"),
    [
        ({"contract": Branch}, {Branch, Leaf}),
        ({"a": list[Leaf]}, {Leaf}),
        ({"a": Branch | None, "b": int}, {Branch, Leaf}),
        ({"contract": dict[str, Leaf]}, {Leaf}),
        ({"contract": Tree}, {Tree, Branch, Leaf}),
        ({"a": Own}, {Own}),
    ],
)
def test_all_classes_that_flow_are_known(flowing: dict[str, Any], classes: set[type]) -> None:
    def stage(given: Given | None) -> Any:
        return given

    assert Pipeline().stage("s", stage).through(**flowing).definition.classes == classes | {Given}


SCRIPT = """
import json
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from metta.sweep.pipeline.packing import Packer
from metta.sweep.stores.data import DataStore


class Colour(Enum):
    RED = 1


@dataclass
class Point:
    x: object


class Plain:
    def __init__(self, x: object) -> None:
        self.x = x


def act(store: str, line: str) -> None:
    packer = Packer(DataStore(Path(store)), pickle=True)
    if line:
        point, plain = packer.unpack(json.loads(line))
        assert type(point) is Point, type(point)
        assert point.x is Colour.RED, point
        assert type(plain) is Plain, type(plain)
        assert type(plain.x) is Point, type(plain.x)
    print(json.dumps(packer.pack([Point(Colour.RED), Plain(Point(2))])))


if __name__ == "__main__":
    act(*sys.argv[1:])
"""

IMPORTED = """
import sys
from pathlib import Path
from metta.sweep.contracts.importing import import_script
import_script(Path(sys.argv[1])).act(*sys.argv[2:])
"""


def test_a_class_of_a_script_is_the_same_in_the_program_and_where_it_is_imported(tmp_path: Path) -> None:
    script, store = tmp_path / "script.py", str(tmp_path / "store")
    script.write_text(SCRIPT, "utf-8")
    by_program = _python(str(script), store, "")
    by_worker = _python("-c", IMPORTED, str(script), store, by_program)
    assert json.loads(by_program)[0] == json.loads(by_worker)[0]
    assert f"{script}:Point" in by_program
    _python(str(script), store, by_worker)


def test_a_class_of_a_module_that_was_started_is_that_of_the_module(tmp_path: Path) -> None:
    (tmp_path / "started.py").write_text(SCRIPT, "utf-8")
    store, line = (
        str(tmp_path / "store"),
        '[{"$dataclass": ["started:Point", {"x": {"$enum": ["started:Colour", "RED"]}}]}',
    )
    told = _python("-m", "started", store, "", folder=tmp_path)
    assert told.startswith(line)
    imported = "import started, sys; started.act(*sys.argv[1:])"
    point, plain = json.loads(told)
    assert json.loads(_python("-c", imported, store, json.dumps([point, plain]), folder=tmp_path))[0] == point


def test_nothing_but_what_is_used_is_imported() -> None:
    program = """
        import sys
        from pathlib import Path
        from metta.sweep.pipeline.packing import Packer
        from metta.sweep.stores.data import DataStore
        packer = Packer(DataStore(Path("nowhere")), pickle=True)
        packer.unpack(packer.pack({"a": (1, Path("b"))}))
        print(sorted({"numpy", "pandas", "polars", "pyarrow", "cloudpickle"} & sys.modules.keys()))
    """
    lines = "\n".join(line.strip() for line in program.splitlines())
    assert _python("-c", lines) == "[]\n"


def _python(*arguments: str, folder: Path | None = None) -> str:
    path = os.pathsep.join([str(ROOT), str(folder)] if folder else [str(ROOT)])
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        cwd=folder,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
