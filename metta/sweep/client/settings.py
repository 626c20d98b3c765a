"""Settings: where a project's sweeps are recorded, and which Temporal server runs them."""

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.models import unknown_name

KEYS = ("store",)
"""What ``[tool.metta-sweep]`` may say."""

FOLDER = ".metta-sweep"


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for all sweeps of a project.

    ``[tool.metta-sweep]`` in pyproject.toml and ``METTA_SWEEP_STORE`` say where the store is; Temporal's
    own configuration (``TEMPORAL_*``, temporal.toml) says which server; without it one is embedded.

    Args:
        store: Folder of the artifact store.
        connect: What Temporal's configuration says; empty for the embedded server.
    """

    store: Path
    connect: dict[str, object] = field(default_factory=dict)

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
        start = (start or Path.cwd()).resolve()
        file = next((f for p in (start, *start.parents) if (f := p / "pyproject.toml").is_file()), None)
        project = file.parent if file else start
        said = _said(file) if file else {}
        store = os.environ.get("METTA_SWEEP_STORE") or said.get("store", FOLDER)
        return cls(project / _path(str(store)), _temporal())


def _said(file: Path) -> dict[str, object]:
    """What a pyproject.toml says of sweeps."""
    try:
        said = tomllib.loads(file.read_text("utf-8")).get("tool", {}).get("metta-sweep", {})
    except (OSError, ValueError) as error:
        raise DefinitionError([f"it cannot be read: {error}"], str(file)) from None
    where = f"[tool.metta-sweep] in {file}"
    if not isinstance(said, dict):
        raise DefinitionError([f"it has to be a table, got {said!r}"], where)
    problems = [problem for key in said if (problem := unknown_name(key, KEYS))]
    store = said.get("store", FOLDER)
    if not isinstance(store, str) or not store:
        problems.append(f"store has to be a path, got {store!r}")
    if problems:
        raise DefinitionError(problems, where)
    return said


def _path(store: str) -> Path:
    """A path or ``file://`` address as a path."""
    url = urlsplit(store)
    if url.scheme == "file" and url.netloc in ("", "localhost"):
        return Path(unquote(url.path))
    if len(url.scheme) > 1:  # one letter is a drive, not a scheme
        problem = f"{store} is not supported; give a path, or file:// and an absolute path"
        raise DefinitionError([problem], "the store")
    return Path(store).expanduser()


def _temporal() -> dict[str, object]:
    """What Temporal's own configuration says, if it says anything."""
    from temporalio.envconfig import ClientConfig  # half a second, which `import metta.sweep` must not pay

    try:
        return {key: value for key, value in ClientConfig.load_client_connect_config().items() if value}
    except (RuntimeError, ValueError) as error:
        raise DefinitionError([f"it cannot be read: {error}"], "Temporal's configuration") from error
