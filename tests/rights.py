"""Rights of files, which do not apply to root."""

import os
from collections.abc import Sequence
from shutil import which

import pytest


def without_rights(command: Sequence[str]) -> list[str]:
    """A command that runs as a user to whom the rights of files apply."""
    if os.getuid() != 0:
        return [*command]
    if which("setpriv") is None:
        pytest.skip("root may do everything here: there is no setpriv to give that up")
    powers = "-dac_override,-dac_read_search,-fowner"
    return ["setpriv", f"--bounding-set={powers}", f"--inh-caps={powers}", *command]
