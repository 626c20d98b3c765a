"""The artifact store in an S3 bucket: ledgers, outcome logs, data, and functions by value."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote

from metta.sweep.contracts.errors import StoreError
from metta.sweep.stores.base import Store
from metta.sweep.stores.data import WAY_OUT
from metta.sweep.stores.files import folder_name, ignore_in, write_durably
from metta.sweep.stores.ledgers import told
from metta.sweep.stores.mirrors import Mirror
from metta.sweep.stores.object_data import ObjectData
from metta.sweep.stores.object_logs import S3Ledger, S3OutcomeLog
from metta.sweep.stores.object_shelves import ObjectShelf
from metta.sweep.stores.objects import Objects
from metta.sweep.stores.segments import chunk_key

LEDGER = "ledger"
OUTCOMES = "outcomes"

MARK = "store.json"
"""Object that says that here is a store."""


class S3Store(Store):
    """Everything a project's sweeps record, below one name in a bucket.

    ::

        s3://<bucket>/<prefix>/sweeps/<id>/ledger/
        s3://<bucket>/<prefix>/sweeps/<id>/trials/<n>/seg-<k>/try-<a>/
        s3://<bucket>/<prefix>/experiments/<name>/outcomes/
        s3://<bucket>/<prefix>/values/<hash>.pkl
        s3://<bucket>/<prefix>/data/<first two digits>/<hash>.<suffix>

    On this machine, attempts work below ``<home>/s3/<bucket>/<prefix>/``, under the same names.

    Args:
        objects: Where it lies.
        home: Folder of this machine, for what its attempts work with.
    """

    def __init__(self, objects: Objects, home: Path) -> None:
        self.objects, self._home = objects, home.absolute()
        self._mirror = self._home / "s3" / objects.bucket / objects.prefix
        self._workplaces: dict[str, Mirror] = {}

    @property
    def address(self) -> str:
        """Where it lies."""
        return self.objects.uri().rstrip("/")

    def names(self) -> list[str]:
        """Sweeps that are recorded here."""
        return self._recorded("sweeps", LEDGER)

    def experiment_names(self) -> list[str]:
        """Experiments that are recorded here."""
        return self._recorded("experiments", OUTCOMES)

    def ledger(self, sweep_id: str) -> S3Ledger:
        """The ledger of a sweep, which may be empty."""
        return S3Ledger(self.objects.below(f"{_sweep(sweep_id)}/{LEDGER}"))

    def outcome_log(self, name: str) -> S3OutcomeLog:
        """The outcome log of an experiment, which may be empty."""
        return S3OutcomeLog(self.objects.below(f"{_experiment(name)}/{OUTCOMES}"))

    def workplace(self, sweep_id: str) -> Mirror:
        """Where attempts of a sweep work; the same one each time."""
        folder = _sweep(sweep_id)
        return self._workplaces.setdefault(sweep_id, Mirror(self._home, self.objects.below(folder)))

    def experiment_folder(self, name: str) -> Path:
        """Folder of an experiment on this machine; it need not exist."""
        return self._mirror / _experiment(name)

    def shelf(self, experiment: str = "") -> ObjectShelf:
        """Files that stages leave: those of an experiment, or, without a name, of all of them."""
        return ObjectShelf(self.objects.below(_experiment(experiment)) if experiment else self.objects)

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

    def value_path(self, name: str) -> Path:
        """A copy of the bytes of a hash on this machine."""
        key = _value_key(name)
        path = self._mirror / key
        if path.exists():
            return path
        data = self.objects.get(key)
        if data is None or sha256(data).hexdigest() != name:
            state = "missing" if data is None else "damaged"
            raise StoreError(f"{self.objects.uri(key)} is {state}; {WAY_OUT}")
        with told(path, "written"):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, data)
        return path

    def prepare(self) -> None:
        """See that the store can be used: the bucket is there, may be written to, and keeps its word.

        Raises:
            StoreError: When it cannot; also when its server overwrites what was to be written only where
                nothing is, since two writers would then lose each other's chunks.
        """
        with told(self._home, "made"):
            self._home.mkdir(parents=True, exist_ok=True)
            ignore_in(self._home)
        mark = b'{"schema":1}\n'
        if self.objects.create(MARK, mark) and self.objects.create(MARK, mark):
            raise StoreError(
                f"the server of {self.address} ignores If-None-Match, so several writers would overwrite each"
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


def _sweep(sweep_id: str) -> str:
    return "sweeps/" + folder_name(sweep_id, "the sweep's id")


def _experiment(name: str) -> str:
    return "experiments/" + folder_name(name, "the experiment's name")


def _value_key(name: str) -> str:
    return f"values/{name}.pkl"
