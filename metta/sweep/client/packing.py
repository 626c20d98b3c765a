"""Packing: what goes into an experiment and comes out of it, as its stages pack it."""

from collections.abc import Collection

from metta.sweep.client.settings import Settings
from metta.sweep.pipeline.packing import Packer
from metta.sweep.pipeline.packing import Unpackable as Unpackable
from metta.sweep.stores.data import DataStore


def packer_of(settings: Settings, classes: Collection[type] = ()) -> Packer:
    """The packer of a project.

    Args:
        settings: Which project.
        classes: Classes of what is packed, as far as they are known.
    """
    return Packer(DataStore(settings.store), pickle=settings.may_pickle, classes=frozenset(classes))
