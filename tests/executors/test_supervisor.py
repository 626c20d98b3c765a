"""The supervisor: what it says of a death, and what it takes to start one."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.contracts.jobs import JobEnd
from metta.sweep.executors import supervisor
from metta.sweep.executors.local import SUPERVISE
from metta.sweep.executors.supervisor import Order, ended, oom_kills, verdict


def order(**changes: Any) -> Order:
    fields = {
        "folder": "/tmp/job",
        "command": ["true"],
        "env": {},
        "cwd": "/",
        "timeout_s": 2.5,
        "grace_s": 1.0,
        "memory_gib": 4.0,
        "gpu": 0,
        "gpus": [],
        "leases": "",
    }
    return Order(**{**fields, **changes})


@pytest.mark.parametrize(
    ("status", "why", "oom", "limit_met", "kind", "message"),
    [
        (0, None, False, False, None, ""),
        (0, None, True, True, None, ""),  # some process of it was killed, and it did without
        (3, None, True, False, None, "it exited with code 3"),
        (1, None, False, True, "oom", "the kernel killed it because it wanted more memory than 4 GiB"),
        (-9, None, True, False, "oom", "the kernel killed it because memory ran out"),
        (-9, None, False, False, "infra", "somebody killed it with SIGKILL"),
        (-15, None, True, False, "infra", "somebody killed it with SIGTERM"),
        (-11, None, True, False, None, "it died of signal 11 (Segmentation fault)"),
        (-9, "timeout", True, True, "timeout", "it ran longer than 2.5 s"),
        (75, "cancelled", False, False, "cancelled", "it was told to end"),
    ],
)
def test_a_death_is_laid_to_whom_it_certainly_belongs(
    status: int, why: str | None, oom: bool, limit_met: bool, kind: str | None, message: str
) -> None:
    assert verdict(order(), status, why, oom, limit_met) == (kind, message)


def test_an_end_has_the_fields_of_the_contract() -> None:
    assert ended().keys() - {"at"} == JobEnd.model_fields.keys()


@pytest.mark.parametrize(
    ("text", "count"), [("nr_free 5\noom_kill 7\nlast 1\n", 7), ("nr_free 5\n", 0), (None, 0)]
)
def test_the_kernel_says_how_often_memory_ran_out(
    text: str | None, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if text is not None:
        (tmp_path / "vmstat").write_text(text)
    monkeypatch.setattr(supervisor, "VMSTAT", str(tmp_path / "vmstat"))
    assert oom_kills() == count


def test_it_imports_little_and_nothing_but_the_standard_library() -> None:
    code = SUPERVISE.replace("main()", "print(*sys.modules)")
    folder = str(Path(supervisor.__file__).parent)
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, folder], capture_output=True, text=True, check=True
    )
    modules = set(ran.stdout.split())
    assert {name for name in modules if name.partition(".")[0] not in sys.stdlib_module_names} == {
        "__main__",
        "metta",
        "metta.sweep",
        "metta.sweep.executors",
        *(
            f"metta.sweep.executors.{name}"
            for name in ("cgroups", "claims", "leases", "protocol", "supervisor")
        ),
    }
    assert not modules & {"asyncio", "dataclasses", "pathlib", "subprocess", "threading", "typing"}
