"""The keeper: sees to it that a sweep of the embedded mode has a server and a worker."""

from urllib.parse import quote

from metta.sweep.client.launches import Launches
from metta.sweep.client.server import EmbeddedServer
from metta.sweep.client.settings import Settings


class Keeper:
    """Starts again whatever a running sweep needs and somebody killed; does nothing on a remote cluster.

    Args:
        settings: Which server, and where launches are recorded.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
