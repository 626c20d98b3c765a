"""The artifact store on a file system: ledgers, folders of attempts, and functions by value."""

from hashlib import sha256
from pathlib import Path
from urllib.parse import quote, unquote

from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.shelves import Folder
from metta.sweep.stores.additions import adding, renewed
from metta.sweep.stores.base import Store
from metta.sweep.stores.data import DataStore
from metta.sweep.stores.ledgers import FileLedger, sync_folder, told, write_whole
from metta.sweep.stores.outcomes import FileOutcomeLog
from metta.sweep.stores.workplaces import FileWorkplace

LEDGER = "ledger.jsonl"
OUTCOMES = "outcomes.jsonl"

NAME_BYTES = 255
"""Longest name of a folder on common file systems."""


class FileStore(Store):
    """Everything a project's sweeps record, below one folder.

    ::

        <root>/sweeps/<id>/ledger.jsonl, snapshot.jsonl
        <root>/sweeps/<id>/trials/<n>/seg-<k>/try-<a>/
        <root>/experiments/<name>/outcomes.jsonl
        <root>/values/<hash>.pkl

    Args:
        root: The folder; made when something is put into it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @property
    def address(self) -> str:
        """Its path."""
        return str(self.root)

    def names(self) -> list[str]:
        """Sweeps that are recorded here."""
        files = self.root.glob(f"sweeps/*/{LEDGER}")
        return sorted(unquote(file.parent.name) for file in files if FileLedger(file).exists())

    def experiment_names(self) -> list[str]:
        """Experiments that are recorded here."""
        files = self.root.glob(f"experiments/*/{OUTCOMES}")
        return sorted(unquote(file.parent.name) for file in files if FileOutcomeLog(file).exists())

    def sweep_folder(self, sweep_id: str) -> Path:
        """Folder of a sweep; it need not exist.

        Raises:
            DefinitionError: When there can be no folder of that name.
        """
        return self.root / "sweeps" / folder_name(sweep_id, "the sweep's id")

    def experiment_folder(self, name: str) -> Path:
        """Folder of an experiment; it need not exist.

        Raises:
            DefinitionError: When there can be no folder of that name.
        """
        return self.root / "experiments" / folder_name(name, "the experiment's name")

    def ledger(self, sweep_id: str) -> FileLedger:
        """The ledger of a sweep, which may be empty."""
        return FileLedger(self.sweep_folder(sweep_id) / LEDGER)

    def outcome_log(self, name: str) -> FileOutcomeLog:
        """The outcome log of an experiment, which may be empty."""
        return FileOutcomeLog(self.experiment_folder(name) / OUTCOMES)

    def workplace(self, sweep_id: str) -> FileWorkplace:
        """Where attempts of a sweep work."""
        return FileWorkplace(self.sweep_folder(sweep_id))

    def shelf(self, experiment: str = "") -> Folder:
        """Files that stages leave: those of an experiment, or, without a name, of all of them."""
        return Folder(self.experiment_folder(experiment) if experiment else self.root)

    @property
    def data(self) -> DataStore:
        """Values and arrays by the hash of their content."""
        return DataStore(self.root)

    def put_value(self, data: bytes) -> str:
        """Keep bytes under the hash of their content.

        Returns:
            The hash, 64 hexadecimal digits.

        Raises:
            StoreError: When it cannot be written.
        """
        name = sha256(data).hexdigest()
        path = self.value_path(name)
        with told(path, "written"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with adding(self.root):
                if not renewed(path):
                    write_durably(path, data)
        return name

    def value_path(self, name: str) -> Path:
        """Where the value of a hash lies."""
        return self.root / "values" / f"{name}.pkl"

    def prepare(self) -> None:
        """Make the root, and keep version control out of it.

        Raises:
            StoreError: When it cannot be made.
        """
        with told(self.root, "made"):
            self.root.mkdir(parents=True, exist_ok=True)
            sync_folder(self.root.parent)  # or a crash of the machine could lose all of it
            ignore_in(self.root)


def folder_name(name: str, subject: str) -> str:
    """The folder that is named after something.

    Args:
        name: What it is named after.
        subject: What that is, for errors.

    Raises:
        DefinitionError: When there can be no folder of that name.
    """
    # dots are safe except in "." and "..", which quote leaves as they are
    quoted = quote(name, safe="") if name.strip(".") else name.replace(".", "%2E")
    if not 0 < len(quoted) <= NAME_BYTES:
        problem = f"a folder is named after it: it needs 1 to {NAME_BYTES} bytes, got {len(quoted)}"
        raise DefinitionError([problem], subject)
    return quoted


def ignore_in(folder: Path) -> None:
    """Keep version control out of a folder.

    Raises:
        OSError: When that cannot be written down.
    """
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", "utf-8")


def write_durably(path: Path, data: bytes) -> None:
    """Write a file so that after any crash there is all of it or nothing."""
    write_whole(path, data, sync=True)
    sync_folder(path.parent)
