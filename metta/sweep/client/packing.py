"""Packing: what goes into an experiment and comes out of it, as its stages pack it."""

from metta.sweep.client.settings import Settings
from metta.sweep.pipeline.errors import raised_again as raised_again
from metta.sweep.pipeline.keeping import packer_for
from metta.sweep.pipeline.packing import Packer
from metta.sweep.pipeline.packing import Unpackable as Unpackable
from metta.sweep.pipeline.planning import Definition as Definition


def packer_of(settings: Settings, definition: Definition | None = None) -> Packer:
    """The packer of a project.

    Args:
        settings: Which project.
        definition: The pipeline in which it flows; None where that is not known.
    """
    blobs, pickle = settings.store.data, settings.may_pickle
    return packer_for(definition, blobs, pickle=pickle) if definition else Packer(blobs, pickle=pickle)
