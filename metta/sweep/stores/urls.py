"""Stores by their addresses."""

import re
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.stores.base import Store
from metta.sweep.stores.files import FileStore

HOME = Path(".metta-sweep")

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]", re.ASCII)


def store_of(url: str | Path, home: Path = HOME) -> Store:
    """The store at an address; nothing is made or asked for yet.

    Args:
        url: A folder, ``file:///folder`` or ``s3://bucket/prefix``.
        home: Folder of this machine, for what attempts work with whose store is elsewhere.

    Raises:
        DefinitionError: When there can be no store at that address, or the extra ``s3`` is not installed.
        StoreError: When the settings for S3 are wrong.
    """
    if isinstance(url, str) and is_remote(url):
        return _bucket_store(url, urlsplit(url), home)
    return FileStore(folder_of(url))


def is_remote(url: str) -> bool:
    """Whether an address is that of a store which is no folder.

    Raises:
        DefinitionError: When there is no kind of store for it.
    """
    scheme = urlsplit(url).scheme if _SCHEME.match(url) else "file"
    if scheme not in ("file", "s3"):
        known = "known are folders, file:///folder and s3://bucket/prefix"
        raise DefinitionError([f"there is no kind of store for {url!r}; {known}"], "the store")
    return scheme == "s3"


def folder_of(url: str | Path) -> Path:
    """The folder at an address.

    Raises:
        DefinitionError: When the address is wrong.
    """
    if isinstance(url, Path) or not _SCHEME.match(url):
        return Path(url).expanduser()
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path or parts.query or parts.fragment:
        raise DefinitionError([f"write file:///folder, with three slashes, got {url!r}"], "the store")
    return Path(unquote(parts.path))


def _bucket_store(url: str, parts: SplitResult, home: Path) -> Store:
    problems = []
    if not _BUCKET.fullmatch(parts.netloc):
        problems.append(f"write s3://bucket/prefix, got {url!r}: {parts.netloc!r} cannot be a bucket's name")
    if parts.query or parts.fragment:
        problems.append(
            f"nothing may follow the prefix, got {url!r}; name the server in AWS_ENDPOINT_URL_S3, and the"
            " region in AWS_DEFAULT_REGION"
        )
    if problems:
        raise DefinitionError(problems, "the store")
    try:
        from metta.sweep.stores.objects import Objects
        from metta.sweep.stores.s3 import S3Store
    except ModuleNotFoundError as error:
        library = (error.name or "boto3").partition(".")[0]
        raise DefinitionError(
            [f'{url} needs {library}: pip install "metta-sweep[s3]"'], "the store"
        ) from None
    return S3Store(Objects(parts.netloc, parts.path), home)
