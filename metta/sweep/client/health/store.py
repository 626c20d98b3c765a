"""The store: whether it can be reached, written and read, and whether there is room."""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from shlex import quote
from uuid import uuid4

from metta.sweep.client.health.findings import GARBAGE, Code, Finding, healthy
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.errors import DefinitionError, StoreAway, StoreError, StoreFull
from metta.sweep.contracts.sizes import bytes_text
from metta.sweep.stores.base import Store
from metta.sweep.stores.files import FileStore, write_durably
from metta.sweep.stores.ledgers import FORBIDDEN, told

LOW_BYTES = 1 << 30
"""With less room left, a few checkpoints may fill the disk."""

LOW_FILES = 1000
"""Each trial needs a handful of files."""

PROBE = b"metta-sweep looks whether this can be written.\n" * 1024
"""More than what a full disk still finds room for at the end of a file."""

FOLDERS = ("sweeps", "experiments", "values", "data", "launches", "server")

FREE_CURE = "free some room: what waits for it then goes on by itself. This shows what nobody needs any more"


def store_found(settings: Settings) -> list[Finding]:
    """What is wrong with the store, and with the folder of this machine where it is elsewhere.

    Args:
        settings: Which store.
    """
    try:
        store = settings.store
        found = [*(_folder(store.root) if isinstance(store, FileStore) else _bucket(store))]
        if not isinstance(store, FileStore) and settings.home.exists():
            found += _folder(settings.home)
    except (DefinitionError, StoreError) as error:
        found = [refused(settings.address or str(settings.home), error)]
    return found


def refused(subject: str, error: Exception) -> Finding:
    """What a store said when it did not do what it was asked."""
    code, cure, command = _told(error, subject)
    return Finding(
        check="store",
        code=code,
        severity="problem",
        subject=subject,
        text=str(error),
        cure=cure,
        command=command,
    )


def _told(error: Exception, subject: str) -> tuple[Code, str, str]:
    """What an error of a store is called, the cure, and a command."""
    cause = error.__cause__ or error
    number = cause.errno if isinstance(cause, OSError) else None
    place = quote(subject)
    if isinstance(error, StoreFull):
        return "store-full", FREE_CURE, GARBAGE
    if isinstance(error, StoreAway | TimeoutError):
        return "store-away", "see that it is there; what waits for it then goes on by itself", ""
    if number == errno.EROFS:
        why = (
            "the disk is mounted for reading alone, as Linux does after errors of the disk: look, and remount"
        )
        return "store-forbidden", why, f"findmnt --target {place}"
    if number in FORBIDDEN:
        return "store-forbidden", "give this user the rights, or be another one", f"ls -ld {place}"
    return "store-broken", "do what it says, or put the store elsewhere with METTA_SWEEP_STORE", ""


# --- a folder ---


def _folder(root: Path) -> Iterator[Finding]:
    if not root.exists():
        yield from _absent(root)
        return
    try:
        _probe(root)
    except StoreError as error:
        yield refused(str(root), error)
        return
    yield from _rights(root)
    yield from _room(root)


def _probe(root: Path) -> None:
    """Write a file durably, read it, and delete it.

    Raises:
        StoreError: When that does not work.
    """
    path = root / f".doctor-{uuid4().hex}"
    try:
        with told(root, "written"):
            write_durably(path, PROBE)
        with told(root, "read"):
            found = path.read_bytes()
    finally:
        with suppress(OSError):  # a disk for reading alone does not even say that there is none
            path.unlink()
    if found != PROBE:
        raise StoreError(f"{root} gives back something else than what was written there")


def _absent(root: Path) -> Iterator[Finding]:
    parent = next(folder for folder in root.parents if folder.exists())
    if os.access(parent, os.W_OK | os.X_OK):
        text = f"nothing is in {root} yet; the first run makes it"
        yield Finding(check="store", code="store-absent", severity="note", subject=str(root), text=text)
        return
    yield Finding(
        check="store",
        code="store-forbidden",
        severity="problem",
        subject=str(root),
        text=f"{root} cannot be made: {parent} may not be written to",
        cure="give this user the rights, or put the store elsewhere with METTA_SWEEP_STORE",
        command=f"ls -ld {quote(str(parent))}",
    )


def _rights(root: Path) -> Iterator[Finding]:
    """Folders and records that others made, and this user may not work with."""
    places = [folder for name in FOLDERS if (folder := root / name).is_dir()]
    for folder in list(places):
        if folder.name in ("sweeps", "experiments") and os.access(folder, os.R_OK | os.X_OK):
            places += [*folder.iterdir(), *folder.glob("*/*.jsonl")]
    wrong = [path for path in places if not os.access(path, _needed(path))]
    if wrong:
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        yield Finding(
            check="store",
            code="store-forbidden",
            severity="problem",
            subject=str(wrong[0]),
            text=f"{wrong[0]}{more} may not be read and written by user {os.geteuid()}",
            cure="somebody else made it: let its owner, or root, give it to this user",
            command=f"sudo chown -R {os.geteuid()}:{os.getegid()} {quote(str(root))}",
        )


def _needed(path: Path) -> int:
    return os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)


def _room(root: Path) -> Iterator[Finding]:
    disk = os.statvfs(root)
    free = disk.f_bavail * disk.f_frsize
    if free < LOW_BYTES:
        yield _low(root, f"only {bytes_text(free)} are free on the disk of {root}")
    elif disk.f_files and disk.f_favail < LOW_FILES:
        yield _low(root, f"the disk of {root} has room for only {disk.f_favail} more files")
    else:
        text = f"{root} can be written and read; {free / 2**30:.1f} GiB are free"
        yield healthy("store", text, str(root))


def _low(root: Path, text: str) -> Finding:
    return Finding(
        check="store",
        code="store-low",
        severity="warning",
        subject=str(root),
        text=text,
        cure=FREE_CURE,
        command=GARBAGE,
    )


# --- a bucket ---


def _bucket(store: Store) -> Iterator[Finding]:
    from metta.sweep.stores.s3 import S3Store  # whoever has a folder need not have boto3

    if not isinstance(store, S3Store):
        return
    key = f".doctor-{uuid4().hex}"
    is_conditional = store.objects.create(key, PROBE) and not store.objects.create(key, PROBE)
    found = store.objects.get(key)
    store.objects.delete([key])
    if not is_conditional:
        raise StoreError(
            f"the server of {store.address} ignores If-None-Match, so several writers would overwrite each"
            " other's records; keep the store on a server with conditional writes"
        )
    if found != PROBE:
        raise StoreError(f"{store.address} gives back something else than what was written there")
    yield healthy("store", f"{store.address} can be written and read", store.address)
