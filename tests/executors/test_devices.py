"""Devices: what a machine is said to have."""

from pathlib import Path

import pytest

from metta.sweep.executors.devices import devices

WHOLE = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb)
"""
DIVIDED = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa)
  MIG 3g.20gb     Device  0: (UUID: MIG-1111)
  MIG 3g.20gb     Device  1: (UUID: MIG-2222)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb)
"""


@pytest.mark.parametrize(
    ("listing", "visible", "expected"),
    [
        (None, None, ()),
        (None, "0,1", ("0", "1")),
        (None, "", ()),
        (None, "-1", ()),
        (None, "NoDevFiles", ()),
        (None, "2,-1,3", ("2",)),
        (WHOLE, None, ("GPU-aaaa", "GPU-bbbb")),
        (WHOLE, "1", ("GPU-bbbb",)),
        (WHOLE, " 1 , 0 ", ("GPU-bbbb", "GPU-aaaa")),
        (WHOLE, "GPU-bbbb", ("GPU-bbbb",)),
        (WHOLE, "7", ("7",)),
        (DIVIDED, None, ("MIG-1111", "MIG-2222", "GPU-bbbb")),
        (DIVIDED, "0", ("MIG-1111", "MIG-2222")),
        ("No devices were found\n", None, ()),
    ],
)
def test_devices_are_what_the_driver_lists_and_the_environment_lets_through(
    listing: str | None,
    visible: str | None,
    expected: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin" if listing else str(tmp_path))
    if listing is not None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{listing}END\n")
        program.chmod(0o755)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices() == expected


def test_a_driver_that_fails_is_no_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: broken (UUID: GPU-aaaa)'; exit 9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices() == ()
