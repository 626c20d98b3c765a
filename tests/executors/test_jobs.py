"""Jobs of the local executor: real processes, killed, left alone, and told to end."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from shutil import rmtree
from time import sleep

import psutil
import pytest

from metta.sweep.contracts.jobs import Job
from metta.sweep.contracts.trials import Resources
from metta.sweep.executors.local import LocalExecutor
from tests.executors.jobs import (
    end_of,
    group_of,
    is_alive,
    kill_supervisor,
    process_of,
    spec_of,
    submit,
    supervisor_of,
    until,
)
from tests.stores.disks import ROOT, run_on_disk

FAMILY = "trap '' IO HUP; sleep 1000 & (sleep 1000 & wait) & wait"

SUBMIT = """
import sys, time
from pathlib import Path
from metta.sweep.executors.local import LocalExecutor
from tests.executors.jobs import submit

print("ready", flush=True)
submit(Path(sys.argv[1]), sys.argv[2])
print("submitted", flush=True)
time.sleep(1000)
"""


def submitter(folder: Path, script: str) -> "subprocess.Popen[str]":
    """A process group that submits a job, and stays."""
    return subprocess.Popen(
        [sys.executable, "-c", SUBMIT, str(folder), script],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def is_deserted(folder: Path) -> bool:
    """Whether no process is a job of a folder, by what it was told."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("METTA_SWEEP_TRIAL") == str(folder / "trial.json"):
                return False
    return True


def test_a_job_dies_with_its_supervisor_and_so_does_all_that_it_started(tmp_path: Path) -> None:
    request = submit(tmp_path, FAMILY)
    group = process_of(tmp_path)
    until(lambda: len(group_of(group)) == 4)
    kill_supervisor(LocalExecutor(), spec_of(tmp_path, FAMILY))
    until(lambda: not group_of(group))
    end = end_of(request)
    assert (end.kind, end.code) == ("lost", None)
    assert f"its supervisor (process {supervisor_of(tmp_path)}) is gone" in end.message


def test_a_job_that_closes_all_it_inherits_dies_with_its_supervisor_all_the_same(tmp_path: Path) -> None:
    code = "import os, time; os.closerange(3, 1000); print('closed'); time.sleep(1000)"
    request = submit(tmp_path, "{python}", "-c", code)
    until(lambda: LocalExecutor().collect(request) == "closed\n")
    kill_supervisor(LocalExecutor(), spec_of(tmp_path, "true"))
    until(lambda: not is_alive(process_of(tmp_path)))


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_supervisor_is_deaf_to_what_ends_workers(sign: signal.Signals, tmp_path: Path) -> None:
    request = submit(tmp_path, f"until [ -e {tmp_path}/gate ]; do sleep 0.02; done; exit 3")
    job = process_of(tmp_path)
    os.kill(supervisor_of(tmp_path), sign)
    sleep(0.2)
    assert is_alive(supervisor_of(tmp_path))
    assert is_alive(job)
    (tmp_path / "gate").touch()
    assert end_of(request).code == 3


def test_what_kills_the_group_of_a_worker_reaches_no_job(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    with submitter(folder, f"until [ -e {tmp_path}/gate ]; do sleep 0.02; done; exit 3") as worker:
        assert worker.stdout is not None
        assert [worker.stdout.readline() for _ in range(2)] == ["ready\n", "submitted\n"]
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            os.killpg(worker.pid, sign)
            sleep(0.05)
    assert is_alive(process_of(folder))
    (tmp_path / "gate").touch()
    request = LocalExecutor().build_request(spec_of(folder, "true"))
    assert end_of(request).code == 3


def test_a_submitter_that_is_killed_at_any_moment_leaves_one_job_to_the_next_one(tmp_path: Path) -> None:
    random, script = Random(1), 'echo $$ >>"$(dirname "$METTA_SWEEP_TRIAL")/begun"'
    for number in range(12):
        folder = tmp_path / str(number)
        with submitter(folder, script) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
            sleep(random.uniform(0, 0.05))
            os.killpg(worker.pid, signal.SIGKILL)
        request = submit(folder, script)
        assert end_of(request).code == 0
        assert len((folder / "begun").read_text().splitlines()) == 1


def test_submitting_leaves_no_child_and_no_zombie(tmp_path: Path) -> None:
    before = psutil.Process().children()
    request = submit(tmp_path, f"until [ -e {tmp_path}/gate ]; do sleep 0.02; done")
    assert psutil.Process().children() == before
    (tmp_path / "gate").touch()
    end_of(request)
    assert psutil.Process().children() == before


def test_what_a_job_leaves_behind_is_killed_before_it_counts_as_ended(tmp_path: Path) -> None:
    request = submit(tmp_path, "sleep 1000 & (trap '' TERM HUP; sleep 1000) & sleep 0.1")
    group = process_of(tmp_path)
    assert end_of(request).code == 0
    assert group_of(group) == set()
    until(lambda: not is_alive(supervisor_of(tmp_path)))


def test_what_a_job_does_not_wait_for_its_supervisor_does(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    request = submit(tmp_path, f"(until [ -e {gate} ]; do sleep 0.02; done & echo $!); sleep 1000")
    until(lambda: LocalExecutor().collect(request).endswith("\n"))
    orphan = int(LocalExecutor().collect(request))
    assert psutil.Process(orphan).ppid() == supervisor_of(tmp_path)
    gate.touch()
    until(lambda: not psutil.pid_exists(orphan))  # not even as a zombie
    assert LocalExecutor().observe(request).status == "running"


def test_told_to_end_all_of_the_group_does(tmp_path: Path) -> None:
    request = submit(tmp_path, f"trap '' TERM; {FAMILY}", grace_s=0.2)
    group = process_of(tmp_path)
    until(lambda: len(group_of(group)) == 4)
    LocalExecutor().stop(request)
    end = end_of(request)
    assert (end.kind, end.signal) == ("cancelled", signal.SIGKILL)
    assert group_of(group) == set()


def test_who_is_told_to_end_and_had_time_for_it_was_not_killed(tmp_path: Path) -> None:
    request = submit(tmp_path, "exec sleep 1000", grace_s=1000.0)
    process_of(tmp_path)
    LocalExecutor().stop(request)
    end = end_of(request)
    assert (end.kind, end.signal) == ("cancelled", signal.SIGTERM)


def test_the_word_of_another_machine_is_found_without_being_woken(tmp_path: Path) -> None:
    request = submit(tmp_path, "sleep 1000")
    process_of(tmp_path)
    (tmp_path / "stop").touch()
    assert end_of(request).kind == "cancelled"


def test_a_job_finds_signals_and_limits_as_a_person_would_leave_them(tmp_path: Path) -> None:
    code = (
        "import resource, signal\n"
        "print([s for s in range(1, 32) if s not in (9, 19) and signal.getsignal(s) == signal.SIG_IGN])\n"
        "print(signal.pthread_sigmask(signal.SIG_BLOCK, ()), resource.getrlimit(resource.RLIMIT_CORE))\n"
    )
    ignored = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD)
    before = {sign: signal.signal(sign, signal.SIG_IGN) for sign in ignored}
    try:
        request = submit(tmp_path, "{python}", "-c", code)
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
    assert end_of(request).code == 0
    pipe_and_size = [int(signal.SIGPIPE), int(signal.SIGXFSZ)]  # which every Python ignores
    assert LocalExecutor().collect(request) == f"{pipe_and_size}\nset() (0, 0)\n"


def test_a_job_inherits_its_streams_and_what_binds_it_to_its_supervisor(tmp_path: Path) -> None:
    code = (
        "import os\n"
        "names = [f'/proc/self/fd/{number}' for number in range(50)]\n"
        "print(*(os.readlink(name) for name in names if os.path.lexists(name)))\n"
    )
    request = submit(tmp_path, "{python}", "-c", code)
    assert end_of(request).code == 0
    [line] = LocalExecutor().collect(request).splitlines()
    log = str(tmp_path / "log.txt")
    assert line.split()[:3] == ["/dev/null", log, log]
    assert [name.partition(":")[0] for name in line.split()[3:]] == ["pipe"]


def test_a_supervisor_that_is_killed_at_any_moment_leaves_no_job_that_nobody_looks_after(
    tmp_path: Path,
) -> None:
    random = Random(2)
    for number in range(20):
        folder = tmp_path / str(number)
        request = submit(folder, "exec sleep 1000")
        sleep(random.uniform(0, 0.012))
        kill_supervisor(LocalExecutor(), spec_of(folder, "true"))
        end = end_of(request)
        assert end.kind == "lost"
        until(partial(is_deserted, folder))


def test_a_job_finds_the_environment_of_its_worker_with_its_own_on_top(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    monkeypatch.setenv("COLOUR", "red")
    monkeypatch.setenv("SHAPE", "round")
    env = {"COLOUR": "blue", "MKL_NUM_THREADS": "1", "METTA_SWEEP_TRIAL": "elsewhere"}
    names = ["COLOUR", "SHAPE", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"]
    names += ["PYTHONUNBUFFERED", "METTA_SWEEP_TRIAL"]
    script = "; ".join(f"echo ${name}" for name in names)
    job = Job(command=("sh", "-c", script), env=env)
    request = submit(tmp_path, job=job, resources=Resources(cpu=3.5))
    assert end_of(request).code == 0
    found = LocalExecutor().collect(request).splitlines()
    assert found == ["blue", "round", "3", "1", "7", "1", str(tmp_path / "trial.json")]


def test_a_job_runs_where_it_is_to_with_the_workers_python(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    program = tmp_path / "place" / "program"
    program.write_text('#!/bin/sh\nexec "$1" -c "import os, sys; print(os.getcwd(), sys.executable)"\n')
    program.chmod(0o755)
    job = Job(command=("./program", "{python}"), cwd=str(tmp_path / "place"))
    request = submit(tmp_path / "job", job=job)
    assert end_of(request).code == 0
    assert LocalExecutor().collect(request) == f"{tmp_path / 'place'} {sys.executable}\n"


@pytest.mark.parametrize(
    ("command", "cwd", "code", "message"),
    [
        (["./program"], None, 127, "there is no program './program' in "),
        (["no-such-program"], None, 127, "there is no program 'no-such-program' in PATH="),
        (["./unmarked"], None, 126, "'./unmarked' cannot be executed: [Errno 13] Permission denied"),
        (["./formless"], None, 126, "'./formless' cannot be executed: [Errno 8] Exec format error"),
        (["./orphan"], None, 127, "'./orphan' names an interpreter in its first line that is not there"),
        (["true", "a\0b"], None, 126, "'true' cannot be executed: embedded null byte"),
        (["true"], "nowhere", 126, "nowhere' cannot be entered: [Errno 2] No such file or directory"),
    ],
)
def test_why_a_command_cannot_be_executed_is_told_and_logged(
    command: list[str], cwd: str | None, code: int, message: str, tmp_path: Path
) -> None:
    files = {"unmarked": "#!/bin/sh\n", "formless": "hello", "orphan": "#!/no/such/interpreter\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o644 if name == "unmarked" else 0o755)
    place = str(tmp_path / cwd) if cwd else str(tmp_path)
    request = submit(tmp_path / "job", job=Job(command=tuple(command), cwd=place))
    end = end_of(request)
    assert (end.code, end.signal, end.kind) == (code, None, None)
    assert message in end.message
    assert LocalExecutor().collect(request) == f"metta-sweep: {end.message}\n"


def test_who_died_of_a_signal_is_told_with_whose_fault_that_was(tmp_path: Path) -> None:
    request = submit(tmp_path / "crash", "kill -SEGV $$")
    end = end_of(request)
    assert (end.code, end.signal, end.kind) == (None, signal.SIGSEGV, None)
    assert end.message == "it died of signal 11 (Segmentation fault)"
    request = submit(tmp_path / "killed", "kill -KILL $$")
    end = end_of(request)
    assert (end.code, end.signal, end.kind) == (None, signal.SIGKILL, "infra")
    assert end.message == "somebody killed it with SIGKILL"


def test_the_time_that_it_ran_is_told(tmp_path: Path) -> None:
    assert 0.3 <= end_of(submit(tmp_path, "sleep 0.3")).seconds < 5


def test_memory_that_cannot_be_limited_here_is_noted_once_in_the_log(
    tmp_path: Path,
) -> None:
    request = submit(tmp_path, "echo ran", resources=Resources(memory_gib=2.5))
    assert end_of(request).code == 0
    log = LocalExecutor().collect(request)
    assert log.endswith("ran\n")
    # where a group can be made, there is nothing to note
    assert log.count("metta-sweep: memory is not limited to 2.5 GiB: ") == len(log.splitlines()) - 1


def test_an_end_is_written_down_as_soon_as_there_is_room_for_it(tmp_path: Path) -> None:
    script = """
    import sys
    from pathlib import Path
    from time import sleep
    from metta.sweep.executors.local import LocalExecutor
    from tests.executors.jobs import end_of, process_of, submit, is_alive, until

    folder = Path(sys.argv[1], "job")
    script = f"cd {folder}; until [ -e gate ]; do sleep 0.02; done; cat /dev/zero >fill; exit 3"
    request = submit(folder, script)
    job = process_of(folder)
    (folder / "gate").touch()
    until(lambda: not is_alive(job))
    sleep(0.3)
    print(LocalExecutor().observe(request).status)
    (folder / "fill").unlink()
    print(end_of(request).code)
    """
    assert run_on_disk(tmp_path / "disk", "size=128k", script).split() == ["running", "3"]


def test_on_a_full_disk_nothing_is_claimed_and_the_error_says_why(tmp_path: Path) -> None:
    script = """
    import sys
    from pathlib import Path
    from metta.sweep.executors.local import LocalExecutor
    from tests.executors.jobs import end_of, spec_of

    disk = Path(sys.argv[1])
    executor = LocalExecutor()
    request = executor.build_request(spec_of(disk / "job", "exit 3"))
    try:
        (disk / "fill").write_bytes(bytes(1_000_000))
    except OSError:
        pass
    try:
        executor.submit(request)
    except OSError as error:
        print(error)
    print(executor.observe(request).status)
    (disk / "fill").unlink()
    executor.submit(request)
    print(end_of(request).code)
    """
    printed = run_on_disk(tmp_path / "disk", "size=128k", script).splitlines()
    assert "No space left on device" in printed[0]
    assert printed[1:] == ["unknown", "3"]


def test_a_supervisor_that_cannot_claim_says_why(tmp_path: Path) -> None:
    (tmp_path / "log.txt").mkdir()  # where the log is to be
    with pytest.raises(
        OSError, match=r"digits/trials/0/seg-0/try-1 was not started: .*Is a directory: .*log.txt"
    ):
        submit(tmp_path, "true")
    assert (
        LocalExecutor().observe(LocalExecutor().build_request(spec_of(tmp_path, "true"))).status == "unknown"
    )


def test_a_supervisor_is_gone_when_the_job_is_and_its_folder_too(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    submit(folder, f"until [ -e {tmp_path}/gate ]; do sleep 0.02; done")
    process_of(folder)
    supervisor = supervisor_of(folder)
    rmtree(folder)
    (tmp_path / "gate").touch()
    until(lambda: not is_alive(supervisor))
    assert not folder.exists()
