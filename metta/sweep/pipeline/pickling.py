"""Pickling: values of whatever type as bytes, where the user allows it."""

import pickle
from types import FunctionType
from typing import IO, Any

import cloudpickle

from metta.sweep.contracts.blobs import Hashed
from metta.sweep.pipeline.classes import loaded, portable_name


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc] # it has no types
    """What a script defines goes by a name of our own: its module is called otherwise in each process."""

    def persistent_id(self, thing: Any) -> str | None:
        return portable_name(thing) if isinstance(thing, type | FunctionType) else None


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, name: str) -> Any:
        return loaded(name)


def dump(value: Any, file: Hashed) -> None:
    """Write a value."""
    _Pickler(file).dump(value)


def load(file: IO[bytes]) -> Any:
    """The value that was written: runs whatever code the file names."""
    return _Unpickler(file).load()
