"""The composition root: workflows, activities and their settings, put together."""

from typing import TYPE_CHECKING

from metta.sweep.contracts.lazy import lazy

if TYPE_CHECKING:
    from metta.sweep.worker.plugin import MettaSweepPlugin as MettaSweepPlugin

__all__, __getattr__, __dir__ = lazy(__name__, {"plugin": ["MettaSweepPlugin"]})
