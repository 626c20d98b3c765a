"""What commands print for machines has a shape, each of them."""

from typer.main import get_command

import metta.sweep.cli.main  # noqa: F401 - adds the commands
from metta.sweep.cli.app import app
from metta.sweep.cli.schemas import SHAPES


def test_every_command_that_prints_json_says_how() -> None:
    commands = vars(get_command(app))["commands"]
    printing = [name for name, c in commands.items() if any("--json" in p.opts for p in c.params)]
    assert sorted(printing) == sorted(SHAPES)
    assert sorted(commands) == sorted(printing)
