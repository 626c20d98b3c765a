"""Libraries that only reports need, and that not everybody has installed."""

from importlib import import_module
from typing import Any

from metta.sweep.contracts.errors import DefinitionError


def library(module: str, subject: str) -> Any:
    """Import one of them.

    Args:
        module: What is imported.
        subject: What it is needed for.

    Raises:
        DefinitionError: When it is not installed, with the line that installs it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if (error.name or package).partition(".")[0] != package:
            raise  # it is installed, and something of its own is missing
        problem = f'it needs {package}: pip install "metta-sweep[report]"'
        raise DefinitionError([problem], subject) from None
