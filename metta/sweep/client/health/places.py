"""Places: on which server and in which store the work of a launch is; settings may lead elsewhere by now."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from metta.sweep.client.health.settings import namespace_of
from metta.sweep.client.launches import Launch, Launches
from metta.sweep.client.server import EmbeddedServer
from metta.sweep.client.settings import Settings


class Place(NamedTuple):
    """Where work is done and recorded.

    Args:
        server: Address of the server; empty for the project's own, when it does not run.
        namespace: The namespace there.
        store: Address of the store; empty when it is the home.
    """

    server: str
    namespace: str
    store: str

    def __str__(self) -> str:
        server = f"the server {self.server}" if self.server else "the project's own server"
        return f"{server}, namespace {self.namespace}{self.store and f', store {self.store}'}"


class LaunchesHere(Launches):
    """Those launches of a project whose work is where the settings lead; of the others nothing is touched.

    Nobody can tell from here whether work that is elsewhere goes on.

    Args:
        settings: Where that is.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.home)
        self._settings = settings
        self._servers: dict[frozenset[tuple[str, str]], Mapping[str, object] | None] = {}

    def find(self, name: str) -> Launch | None:
        """The launch of this name; None when there is none here, or none that can be read."""
        launch = super().find(name)
        return launch if launch and self._place_of(launch) == self._here else None

    def living(self) -> list[str]:
        """Names of all workers that live, and do not work elsewhere."""
        elsewhere = self.elsewhere()
        return [name for name in super().living() if name not in elsewhere]

    def unreadable(self) -> list[Path]:
        """Files that are to tell how a worker is started, and do not, wherever that would work."""
        return Launches(self._home).unreadable()

    def elsewhere(self) -> dict[str, tuple[Launch, Place | None]]:
        """Launches whose work is elsewhere, and where; None where that cannot be read any more."""
        found = {}
        for file in sorted(self._folder.glob("*.json")):
            launch = super().find(name := unquote(file.stem))
            if launch and (place := self._place_of(launch)) != self._here:
                found[name] = launch, place
        return found

    @cached_property
    def _here(self) -> Place:
        return self._place(self._settings)

    @cached_property
    def _embedded(self) -> str:
        found = EmbeddedServer(self._home / "server").find()
        return found.address if found else ""

    def _place_of(self, launch: Launch) -> Place | None:
        variables = launch.variables  # what its worker is started with
        key = frozenset((name, value) for name, value in variables.items() if name.startswith("TEMPORAL_"))
        if key not in self._servers:
            self._servers[key] = _connect_of(variables)
        connect = self._servers[key]
        return (
            None if connect is None else self._place(Settings(self._home, {**connect}, address=launch.store))
        )

    def _place(self, settings: Settings) -> Place:
        server = self._embedded if settings.is_embedded else str(settings.connect["target_host"])
        return Place(server, namespace_of(settings), settings.address)


def _connect_of(variables: Mapping[str, str]) -> Mapping[str, object] | None:
    """What Temporal's own configuration says in an environment; None where it cannot be read."""
    from temporalio.envconfig import ClientConfig

    try:
        said = ClientConfig.load_client_connect_config(override_env_vars=variables)
    except (RuntimeError, ValueError):
        return None
    return {key: value for key, value in said.items() if value}
