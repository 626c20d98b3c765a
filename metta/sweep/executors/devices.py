"""Devices: which GPUs this process may use."""

import os
import re
import subprocess

LIST_S = 30.0
"""So long the driver's own program may take to list them; it is slow after the machine has started."""

DEVICE = re.compile(r"^(?P<part>\s*)(?:GPU|MIG) .*\(UUID: (?P<id>[^)]+)\)", re.MULTILINE)


def devices() -> tuple[str, ...]:
    """The GPUs that this process may use, by UUID where the driver tells it.

    ``CUDA_VISIBLE_DEVICES`` names them; without it they are all that the machine has.
    """
    listed = _listed()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return tuple(device for parts in listed for device in parts)
    # as CUDA reads it: what comes after a name that means nothing does not count
    names: list[str] = []
    for name in (word.strip() for word in visible.split(",")):
        if not name or name.startswith("-") or name == "NoDevFiles":
            break
        names += listed[int(name)] if name.isdigit() and int(name) < len(listed) else [name]
    return tuple(names)


def _listed() -> list[list[str]]:
    """UUIDs of the GPUs of this machine in the order of their bus; of a divided one, those of its parts."""
    try:
        listing = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=LIST_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    whole: list[str] = []
    parts: list[list[str]] = []
    for match in DEVICE.finditer(listing.stdout):
        if match["part"]:
            parts[-1].append(match["id"])
        else:
            whole.append(match["id"])
            parts.append([])
    return [found or [device] for device, found in zip(whole, parts, strict=True)]
