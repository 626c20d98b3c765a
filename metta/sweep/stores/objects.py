"""Objects of an S3 bucket: written whole, or not at all."""

import os
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import islice
from pathlib import Path
from time import sleep
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError

from metta.sweep.contracts.errors import StoreError
from metta.sweep.stores.refusals import ABSENT, BUSY, TAKEN, Place, code_of, refusals

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TRIES = 5
"""So often it is tried again what boto3 does not try again by itself."""

ATTEMPTS = 9
"""So often boto3 makes a request before it has failed, unless AWS_MAX_ATTEMPTS says otherwise; the waits
between them double, and come to some ten seconds."""

CONNECT_S = 5.0
READ_S = 30.0

AT_ONCE = 16
"""Requests that are under way at the same time."""

WINDOW = 4 * AT_ONCE
"""So many objects are read ahead."""

PAGE = 1000
"""Most keys that a server lists, or deletes, at once."""

BUSY_S = 0.05
"""Wait before a writer that met another one tries again; it doubles."""


class Found(NamedTuple):
    """An object that was listed.

    Args:
        key: Its name, without what all names begin with.
        size: In bytes.
    """

    key: str
    size: int


class Objects:
    """The objects of a bucket whose names begin alike.

    Credentials, region and endpoint are found as boto3 finds them: environment, profiles, roles.

    Args:
        bucket: The bucket.
        prefix: What all names begin with; a slash follows, unless it is empty.
        client: What asks the server; made when it is first needed.
    """

    def __init__(self, bucket: str, prefix: str = "", client: "S3Client | None" = None) -> None:
        self.bucket = bucket
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._given = client

    def uri(self, key: str = "") -> str:
        """Address of an object, or of all of them."""
        return f"s3://{self.bucket}/{self.prefix}{key}"

    def below(self, folder: str) -> "Objects":
        """Those of them whose names go on with a folder."""
        return Objects(self.bucket, self.prefix + folder, self.client)

    @cached_property
    def client(self) -> "S3Client":
        """What asks the server.

        Raises:
            StoreError: When the settings are wrong.
        """
        if self._given:
            return self._given
        retries: Any = {"mode": "standard"}
        if "AWS_MAX_ATTEMPTS" not in os.environ:
            retries["total_max_attempts"] = ATTEMPTS
        config = Config(
            connect_timeout=CONNECT_S,
            read_timeout=READ_S,
            max_pool_connections=AT_ONCE,
            retries=retries,
        )
        with refusals(Place(self.uri(), self.bucket, "boto3")):
            try:
                return Session().client("s3", config=config)
            except ValueError as error:  # of an endpoint without a scheme, for instance
                raise StoreError(f"the settings for {self.uri()} are wrong: {error}") from error

    # --- reading ---

    def get(self, key: str) -> bytes | None:
        """Content of an object; None when there is none.

        Raises:
            StoreError: When it cannot be read.
        """
        with refusals(self._place(key)):
            for left in reversed(range(TRIES)):
                try:
                    body = self.client.get_object(Bucket=self.bucket, Key=self.prefix + key)["Body"]
                except ClientError as error:
                    if code_of(error) in ABSENT:
                        return None
                    raise
                try:
                    return body.read()
                except (HTTPClientError, IncompleteReadError):  # boto3 tries again only until it begins
                    if not left:
                        raise
        return None

    def get_range(self, key: str, offset: int, limit: int | None) -> bytes:
        """A part of an object; nothing when there is no such object, or it ends before.

        Args:
            key: Its name.
            offset: So many bytes are passed over.
            limit: Up to so many bytes from its beginning; None reads to its end.

        Raises:
            StoreError: When it cannot be read.
        """
        if limit is not None and limit <= offset:
            return b""
        span = f"bytes={offset}-{'' if limit is None else limit - 1}"
        with refusals(self._place(key)):
            try:
                answer = self.client.get_object(Bucket=self.bucket, Key=self.prefix + key, Range=span)
            except ClientError as error:
                if code_of(error) in ABSENT | {"InvalidRange", "416"}:
                    return b""
                raise
            return answer["Body"].read()

    def get_all(self, keys: Sequence[str]) -> Iterator[bytes | None]:
        """Contents of objects, in their order; some of them are read at the same time.

        Raises:
            StoreError: When one cannot be read.
        """
        if len(keys) == 1:
            yield self.get(keys[0])
            return
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for start in range(0, len(keys), WINDOW):
                yield from list(pool.map(self.get, keys[start : start + WINDOW]))

    def size(self, key: str) -> int | None:
        """Size of an object in bytes; None when there is none.

        Raises:
            StoreError: When it cannot be asked for.
        """
        with refusals(self._place(key)):
            try:
                return self.client.head_object(Bucket=self.bucket, Key=self.prefix + key)["ContentLength"]
            except ClientError as error:
                if code_of(error) in ABSENT:
                    return None
                raise

    def download(self, key: str, file: IO[bytes]) -> bool:
        """Write an object into a file, whatever its size.

        Returns:
            Whether there is one.

        Raises:
            StoreError: When it cannot be read.
        """
        with refusals(self._place(key)):
            try:
                self.client.download_fileobj(self.bucket, self.prefix + key, file)
            except ClientError as error:
                if code_of(error) in ABSENT:
                    return False
                raise
            return True

    def listed(self, folder: str = "", after: str = "", limit: int | None = None) -> list[Found]:
        """Objects in the order of their names.

        Args:
            folder: What their names begin with.
            after: Only those whose names come after this one.
            limit: At most so many.

        Raises:
            StoreError: When they cannot be listed.
        """
        found = (
            Found(entry["Key"].removeprefix(self.prefix), entry["Size"])
            for page in self._pages(folder, after, min(limit or PAGE, PAGE))
            for entry in page.get("Contents", ())
        )
        return list(islice(found, limit))

    def folders(self, folder: str) -> list[str]:
        """Names of the folders in a folder.

        Raises:
            StoreError: When they cannot be listed.
        """
        folder = f"{folder.strip('/')}/".lstrip("/")
        return [
            entry["Prefix"].removeprefix(self.prefix + folder).strip("/")
            for page in self._pages(folder, "", PAGE, Delimiter="/")
            for entry in page.get("CommonPrefixes", ())
        ]

    def _pages(self, folder: str, after: str, size: int, **more: Any) -> Iterator[Any]:
        more |= {"Bucket": self.bucket, "Prefix": self.prefix + folder, "MaxKeys": size}
        if after:
            more["StartAfter"] = self.prefix + after
        while True:
            with refusals(self._place(folder)):
                page = self.client.list_objects_v2(**more)
            yield page
            if not page["IsTruncated"]:
                return
            more["ContinuationToken"] = page["NextContinuationToken"]

    # --- writing ---

    def create(self, key: str, data: bytes) -> bool:
        """Make an object, unless there is one of that name.

        Returns:
            Whether it was made. It may be there all the same, when a reply was lost and the request was
            made again: look at what is there.

        Raises:
            StoreFull: When there is no room.
            StoreError: When it cannot be written for another reason; it may be there all the same.
        """
        with refusals(self._place(key)):
            for left in reversed(range(TRIES)):
                try:
                    self.client.put_object(
                        Bucket=self.bucket, Key=self.prefix + key, Body=data, IfNoneMatch="*"
                    )
                except ClientError as error:
                    if code_of(error) in TAKEN:
                        return False
                    if code_of(error) not in BUSY or not left:
                        raise
                    sleep(random.random() * BUSY_S * 2 ** (TRIES - left))
                else:
                    return True
        return False

    def put(self, key: str, data: bytes) -> None:
        """Write an object, whatever was there.

        Raises:
            StoreFull: When there is no room.
            StoreError: When it cannot be written for another reason.
        """
        with refusals(self._place(key)):
            self.client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=data)

    def upload(self, key: str, path: Path) -> None:
        """Write an object from a file; a large one in several parts, which nobody sees before the last.

        Raises:
            StoreFull: When there is no room.
            StoreError: When it cannot be written for another reason.
        """
        with refusals(self._place(key)), path.open("rb") as file:
            self.client.upload_fileobj(file, self.bucket, self.prefix + key)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; those that are gone already are no error.

        Raises:
            StoreError: When one cannot be deleted.
        """
        for start in range(0, len(keys), PAGE):
            some = keys[start : start + PAGE]
            with refusals(self._place(some[0])):
                answer = self.client.delete_objects(
                    Bucket=self.bucket,
                    Delete={"Objects": [{"Key": self.prefix + key} for key in some], "Quiet": True},
                )
                for error in answer.get("Errors", ()):
                    code, message = error.get("Code", ""), error.get("Message", "")
                    if code not in ABSENT:
                        raise ClientError({"Error": {"Code": code, "Message": message}}, "DeleteObjects")

    def close(self) -> None:
        """Give back the connections."""
        if "client" in self.__dict__ and not self._given:
            self.client.close()
            del self.client

    def _place(self, key: str) -> Place:
        return Place(self.uri(key), self.bucket, self.client.meta.endpoint_url)
