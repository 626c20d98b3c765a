"""What holds for the files of the repository as a whole."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Written so that the patterns do not find themselves.
ELSEWHERE = re.compile(
    r"""
    \bpypi\.org | \bpythonhosted\.org | \bregistry\.(?:npmjs|yarnpkg)\. | \bconda\.anaconda\.org
    | \bproxy\.golang\.org | \b(?:index|static)\.crates\.io | \bregistry-1\.docker\.io
    | (?<![\w.~-]) / (?:work|root) /
    """,
    re.VERBOSE,
)
PIN = re.compile(r"[A-Za-z0-9_.\-\[\]]+==[^ ;@]+")


def files() -> Iterator[Path]:
    """The files that are in the repository, or would be after `git add`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return (path for path in paths if path.is_file())


def test_no_file_names_a_registry_or_a_path_of_one_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files()
        for number, line in enumerate(path.read_text("utf-8", errors="ignore").splitlines(), 1)
        if ELSEWHERE.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("name", ["runtime.txt", "dev.txt"])
def test_requirements_are_pinned_by_version_alone(name: str) -> None:
    lines = (ROOT / "requirements" / name).read_text("utf-8").splitlines()
    assert lines
    assert [line for line in lines if not PIN.fullmatch(line)] == []


def test_development_pins_what_the_runtime_pins() -> None:
    runtime, dev = (
        set((ROOT / "requirements" / name).read_text("utf-8").splitlines())
        for name in ("runtime.txt", "dev.txt")
    )
    assert runtime - dev == set()


def test_make_targets_of_the_contributing_guide_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    guide = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    named = {name for names in re.findall(r"`make ([a-z -]+)", guide) for name in names.split()}
    assert named
    assert named - targets == set()
