"""Settings: where a project's sweeps are recorded, and which Temporal server runs them."""

import os
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from metta.sweep.contracts.consent import Allowed, ModuleName
from metta.sweep.contracts.defaults import Defaults
from metta.sweep.contracts.errors import DefinitionError, shown
from metta.sweep.contracts.models import Wire, parse
from metta.sweep.stores.base import Store
from metta.sweep.stores.urls import HOME, folder_of, is_remote, store_of


class Serving(Wire):
    """What a worker of a shared queue takes.

    Args:
        modules: What it registers; ``*`` for all there is.
        allow: What it consents to besides.
    """

    modules: tuple[ModuleName, ...] = ()
    allow: tuple[Allowed, ...] = ()


class Configuration(Defaults):
    """What ``[tool.metta-sweep]`` may say: defaults, where the store is, which queue is used, and how.

    ``pickle`` says whether values are pickled, and ``worker`` what a worker of the shared queue takes.
    """

    store: str = Field(default=str(HOME), min_length=1)
    pickle: bool | None = None
    queue: str = ""
    worker: Serving = Serving()


class Project(NamedTuple):
    """The project in which a folder lies: that of the nearest pyproject.toml.

    Args:
        folder: Where that lies, else the folder itself.
        configuration: What it says.
        where: How it is called in errors.
    """

    folder: Path
    configuration: Configuration
    where: str

    @classmethod
    def find(cls, start: Path | None = None) -> "Project":
        """The project of a folder; None means the current one.

        Raises:
            DefinitionError: With every mistake in the file.
        """
        start = (start or Path.cwd()).resolve()
        file = next((f for p in (start, *start.parents) if (f := p / "pyproject.toml").is_file()), None)
        if file is None:
            return cls(start, Configuration(), "")
        where = f"[tool.metta-sweep] in {file}"
        configuration = parse(Configuration, _said(file, where), where)
        return cls(file.parent, configuration.within(file.parent), where)


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for all sweeps of a project.

    ``[tool.metta-sweep]`` in pyproject.toml and ``METTA_SWEEP_STORE`` say where the store is; Temporal's
    own configuration (``TEMPORAL_*``, temporal.toml) says which server; without it one is embedded.

    Args:
        home: Folder of this machine: for the server, for workers, and for the store unless it is elsewhere.
        connect: What Temporal's configuration says; empty for the embedded server.
        pickle: Whether values may be pickled; None lets that be where it is safe.
        address: Where the artifact store is: ``s3://bucket/prefix``; empty when it is the home.
        queue: The shared queue to which work goes; empty when a worker of its own is started for it.
        worker: What a worker of a shared queue takes.
    """

    home: Path
    connect: dict[str, object] = field(default_factory=dict)
    pickle: bool | None = None
    address: str = ""
    queue: str = ""
    worker: Serving = field(default_factory=Serving)

    @property
    def store(self) -> Store:
        """The artifact store.

        Raises:
            DefinitionError: When it needs a library that is not installed.
        """
        return store_of(self.address or self.home, self.home)

    @property
    def may_pickle(self) -> bool:
        """Whether values may be pickled: unless somebody says so, only where a project is its own server."""
        return self.is_embedded if self.pickle is None else self.pickle

    @property
    def is_embedded(self) -> bool:
        """Whether the project runs a server of its own."""
        return "target_host" not in self.connect

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine, so that its workers see the same files."""
        address = str(self.connect.get("target_host", ""))
        host = (address.rpartition(":")[0] or address).strip("[]")
        return self.is_embedded or host in ("localhost", "127.0.0.1", "::1")

    @classmethod
    def load(cls, start: Path | None = None) -> "Settings":
        """The settings of the project in which a folder lies.

        Args:
            start: The folder; None means the current one.

        Raises:
            DefinitionError: With every mistake.
        """
        return cls.of_stores(start).connected()

    @classmethod
    def of_stores(cls, start: Path | None = None) -> "Settings":
        """The same without those for Temporal, which take half a second to read."""
        project = Project.find(start)
        store = os.environ.get("METTA_SWEEP_STORE") or project.configuration.store
        said = project.configuration
        made = cls(
            project.folder / HOME,
            pickle=said.pickle,
            queue=os.environ.get("METTA_SWEEP_QUEUE", said.queue),  # empty says that there is none
            worker=_serving(said.worker),
        )
        return made.with_store(store, project.folder)

    def connected(self) -> "Settings":
        """The same with what Temporal's own configuration says.

        Raises:
            DefinitionError: When that cannot be read.
        """
        return replace(self, connect=_temporal())

    def with_store(self, store: str, folder: Path | None = None) -> "Settings":
        """The same with another store.

        Args:
            store: Its folder or address.
            folder: Where paths begin; None means the current folder.

        Raises:
            DefinitionError: When there can be no such store.
        """
        if is_remote(store):
            return replace(self, address=store)
        return replace(self, home=(folder or Path.cwd()) / folder_of(store), address="")


def _said(file: Path, where: str) -> dict[str, object]:
    try:
        said = tomllib.loads(file.read_text("utf-8")).get("tool", {}).get("metta-sweep", {})
    except (OSError, ValueError) as error:
        raise DefinitionError([f"it cannot be read: {error}"], str(file)) from None
    if not isinstance(said, dict):
        raise DefinitionError([f"it has to be a table, got {shown(said)}"], where)
    return said


def _serving(said: Serving) -> Serving:
    """What a worker takes, as the environment says it where it does."""
    names = {"modules": "METTA_SWEEP_MODULES", "allow": "METTA_SWEEP_ALLOW"}
    told = {
        field: os.environ[name].replace(",", " ").split()
        for field, name in names.items()
        if name in os.environ
    }
    return parse(Serving, {**said.model_dump(), **told}, " and ".join(names.values())) if told else said


def _temporal() -> dict[str, object]:
    """What Temporal's own configuration says, if it says anything."""
    from temporalio.envconfig import ClientConfig  # half a second, which `import metta.sweep` must not pay

    try:
        return {key: value for key, value in ClientConfig.load_client_connect_config().items() if value}
    except (RuntimeError, ValueError) as error:
        raise DefinitionError([f"it cannot be read: {error}"], "Temporal's configuration") from error
