"""What experiments are built of."""

from metta.sweep.pipeline.builder import Pipeline
from metta.sweep.pipeline.hooks import HookSet
from metta.sweep.pipeline.merging import Merge
from metta.sweep.pipeline.records import Record

__all__ = ["HookSet", "Merge", "Pipeline", "Record"]
