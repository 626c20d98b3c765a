from pathlib import Path

import pytest

from metta.sweep.client.detached import wait_until_free
from metta.sweep.client.keeper import Keeper
from metta.sweep.client.launches import Launches
from metta.sweep.client.server import NAMESPACE, EmbeddedServer
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.errors import ServerError
from tests.rig import PATIENCE_S, code_in, pid_in

NAME = "kept"


async def test_a_server_and_a_worker_that_are_gone_are_brought_back(project: Path) -> None:
    settings = Settings.load()
    server, launches = EmbeddedServer(settings.home / "server"), Launches(settings.home)
    keeper = Keeper(settings)
    await keeper.check(NAME)
    assert server.find()
    assert not launches.is_alive(NAME)  # nobody has launched it
    launches.open(NAME, code_in(project))
    launches.close(NAME, 0)
    launches.stop()
    await keeper.check(NAME)
    assert launches.is_alive(NAME)
    assert launches.unfinished() == [NAME]
    assert keeper.page("a/b").endswith(f"/namespaces/{NAMESPACE}/workflows/a%2Fb")


async def test_a_server_elsewhere_is_nobodys_business(server: Settings, tmp_path: Path) -> None:
    keeper = Keeper(Settings(tmp_path, server.connect))
    await keeper.check(NAME)
    assert keeper.page(NAME) == ""
    assert list(tmp_path.iterdir()) == []


async def test_a_worker_that_dies_whenever_it_starts_is_told(project: Path) -> None:
    (project / "temporalio.py").write_text("raise ImportError('not the one you look for')", "utf-8")
    settings = Settings.load()
    launches, keeper = Launches(settings.home), Keeper(settings)
    launches.open(NAME, code_in(project))
    assert wait_until_free(launches.lock(NAME), PATIENCE_S)
    await keeper.check(NAME)  # once, somebody may have killed it
    pid_in(launches.lock(NAME))
    assert wait_until_free(launches.lock(NAME), PATIENCE_S)
    with pytest.raises(
        ServerError, match=r"(?s)kept dies while it starts;.*ImportError: not the one you look for"
    ):
        await keeper.check(NAME)
    (project / "temporalio.py").unlink()
    await Keeper(settings).check(NAME)  # the next command tries it again
    assert launches.is_alive(NAME)
