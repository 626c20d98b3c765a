"""The artifact store in an S3 bucket: ledgers, outcome logs, data, and functions by value."""

from collections.abc import Sequence
from hashlib import sha256
from urllib.parse import unquote

from metta.sweep.contracts.errors import StoreError
from metta.sweep.stores.data import WAY_OUT
from metta.sweep.stores.files import folder_name
from metta.sweep.stores.object_data import ObjectData
from metta.sweep.stores.object_logs import S3Ledger, S3OutcomeLog
from metta.sweep.stores.objects import Objects
from metta.sweep.stores.segments import chunk_key

LEDGER = "ledger"
OUTCOMES = "outcomes"

MARK = "store.json"
"""Object that says that here is a store."""


class S3Store:
    """Everything a project's sweeps record, below one name in a bucket.

    ::

        s3://<bucket>/<prefix>/sweeps/<id>/ledger/
        s3://<bucket>/<prefix>/sweeps/<id>/trials/<n>/seg-<k>/try-<a>/
        s3://<bucket>/<prefix>/experiments/<name>/outcomes/
        s3://<bucket>/<prefix>/values/<hash>.pkl
        s3://<bucket>/<prefix>/data/<first two digits>/<hash>.<suffix>

    Args:
        objects: Where it lies.
    """

    def __init__(self, objects: Objects) -> None:
        self.objects = objects

    @property
    def uri(self) -> str:
        """Where it lies."""
        return self.objects.uri()

    def names(self) -> list[str]:
        """Sweeps that are recorded here."""
        return self._recorded("sweeps", LEDGER)

    def experiment_names(self) -> list[str]:
        """Experiments that are recorded here."""
        return self._recorded("experiments", OUTCOMES)

    def sweep_folder(self, sweep_id: str) -> Objects:
        """What is kept of a sweep; there may be nothing.

        Raises:
            DefinitionError: When nothing can have that name.
        """
        return self.objects.below("sweeps/" + folder_name(sweep_id, "the sweep's id"))

    def experiment_folder(self, name: str) -> Objects:
        """What is kept of an experiment; there may be nothing.

        Raises:
            DefinitionError: When nothing can have that name.
        """
        return self.objects.below("experiments/" + folder_name(name, "the experiment's name"))

    def ledger(self, sweep_id: str) -> S3Ledger:
        """The ledger of a sweep, which may be empty."""
        return S3Ledger(self.sweep_folder(sweep_id).below(LEDGER))

    def outcome_log(self, name: str) -> S3OutcomeLog:
        """The outcome log of an experiment, which may be empty."""
        return S3OutcomeLog(self.experiment_folder(name).below(OUTCOMES))

    @property
    def data(self) -> ObjectData:
        """Values and arrays by the hash of their content."""
        return ObjectData(self.objects)

    def put_value(self, data: bytes) -> str:
        """Keep bytes under the hash of their content.

        Returns:
            The hash, 64 hexadecimal digits.

        Raises:
            StoreError: When it cannot be written.
        """
        name = sha256(data).hexdigest()
        self.objects.create(_value_key(name), data)
        return name

    def value(self, name: str) -> bytes:
        """The bytes of a hash.

        Raises:
            StoreError: When they are missing, damaged or cannot be read.
        """
        key = _value_key(name)
        data = self.objects.get(key)
        if data is None or sha256(data).hexdigest() != name:
            state = "missing" if data is None else "damaged"
            raise StoreError(f"{self.objects.uri(key)} is {state}; {WAY_OUT}")
        return data

    def prepare(self) -> None:
        """See that the store can be used: the bucket is there, may be written to, and keeps its word.

        Raises:
            StoreError: When it cannot; also when its server overwrites what was to be written only where
                nothing is, since two writers would then lose each other's chunks.
        """
        mark = b'{"schema":1}\n'
        if self.objects.create(MARK, mark) and self.objects.create(MARK, mark):
            raise StoreError(
                f"the server of {self.uri} ignores If-None-Match, so several writers would overwrite each"
                " other's records; keep the store on a server with conditional writes"
            )

    def close(self) -> None:
        """Give back the connections."""
        self.objects.close()

    def _recorded(self, kind: str, log: str) -> list[str]:
        folders = self.objects.folders(kind)
        return sorted(unquote(name) for name in self._begun(kind, folders, log))

    def _begun(self, kind: str, folders: Sequence[str], log: str) -> list[str]:
        keys = [f"{kind}/{folder}/{log}/{chunk_key(0)}" for folder in folders]
        found = self.objects.get_all(keys) if keys else ()
        return [folder for folder, chunk in zip(folders, found, strict=True) if chunk is not None]


def _value_key(name: str) -> str:
    return f"values/{name}.pkl"
