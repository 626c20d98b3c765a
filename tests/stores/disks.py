"""Disks that are small or read-only, for as long as a child process needs them."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[2]


def run_on_disk(folder: Path, options: str, script: str, patience_s: float = 50.0) -> str:
    """Run Python where ``sys.argv[1]``, a folder, is a disk of its own.

    The disk is a tmpfs in a mount namespace of the child's, and is gone with it.

    Args:
        folder: Where it is mounted.
        options: Mount options, such as ``size=64k``.
        script: What is run.
        patience_s: So long it may take.

    Returns:
        What the script printed.
    """
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    tried = _in_namespace(mount, patience_s)
    if tried.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {tried.stderr.strip()}")
    steps = f'{" ".join(mount[:-1])} "$1"; exec "$2" -c "$3" "$1"'
    ran = _in_namespace(["sh", "-ec", steps, "sh", str(folder), sys.executable, dedent(script)], patience_s)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def _in_namespace(command: list[str], patience_s: float) -> "subprocess.CompletedProcess[str]":
    as_root = [] if os.getuid() == 0 else ["--map-root-user"]
    return subprocess.run(
        ["unshare", "--mount", *as_root, *command],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=patience_s,
        check=False,
    )
