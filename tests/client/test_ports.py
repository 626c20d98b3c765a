import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from metta.sweep.client import ports
from metta.sweep.client.ports import lasting_ports

HOST = "127.0.0.1"


def lent_for_a_connection() -> int:
    """The port that the system gives to a client which names none."""
    with socket.create_server((HOST, 0)) as server, socket.create_connection(server.getsockname()) as client:
        return int(client.getsockname()[1])


def test_they_differ_and_lie_where_no_connection_is_given_a_port() -> None:
    chosen = lasting_ports(HOST, 200)
    assert len(set(chosen)) == 200
    low, high = (int(bound) for bound in Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert low <= lent_for_a_connection() <= high
    assert [port for port in chosen if low <= port <= high] == []


def test_each_of_them_can_be_listened_on() -> None:
    with ExitStack() as stack:
        for port in lasting_ports(HOST, 20):
            stack.enter_context(socket.create_server((HOST, port)))


def test_ports_in_use_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    [taken] = lasting_ports(HOST, 1)
    monkeypatch.setattr(ports, "_FIRST", taken)
    monkeypatch.setattr(ports, "_LAST", taken)
    assert lasting_ports(HOST, 1) == [taken]
    with (
        socket.create_server((HOST, taken)),
        pytest.raises(OSError, match=f"fewer than 1 ports from {taken} to {taken} are free"),
    ):
        lasting_ports(HOST, 1)


def test_where_all_ports_are_lent_any_free_one_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "range").write_text("1024\t65535\n")
    monkeypatch.setattr(ports, "_LENT", tmp_path / "range")
    with socket.create_server((HOST, lasting_ports(HOST, 1)[0])) as server:
        assert server
