"""Versions: whether the workers of a queue are all of one, and whether that is this command's."""

import re
from collections.abc import Iterable, Iterator
from socket import gethostname

from metta.sweep.client.health.findings import Finding
from metta.sweep.client.identities import Identity, version_here

RELEASE = re.compile(r"\d+(\.\d+)*")


def versions_found(queue: str, workers: Iterable[Identity]) -> Iterator[Finding]:
    """What is wrong with the versions of those who serve a queue; of some workers they are not known.

    Args:
        queue: The queue.
        workers: Those who serve it.
    """
    versions: dict[str, list[Identity]] = {}
    for worker in sorted({worker for worker in workers if worker.version}, key=str):
        versions.setdefault(worker.version, []).append(worker)
    if len(versions) > 1:
        yield _mixed(queue, versions)
    elif versions and version_here() not in versions:
        yield _other(queue, versions)


def _mixed(queue: str, versions: dict[str, list[Identity]]) -> Finding:
    return Finding(
        check="workers",
        code="version-mixed",
        severity="problem",
        subject=queue,
        text=f"workers of several versions serve the task queue {queue}: {_named(versions)}",
        cure=(
            "what one of them has begun may be wrong for another: decide which version is to go on, and end"
            " the workers of the others, which hand over what they do (one that has just ended is listed for"
            " a minute more)"
        ),
        command=_end_of_old(versions),
    )


def _other(queue: str, versions: dict[str, list[Identity]]) -> Finding:
    here = version_here()
    return Finding(
        check="workers",
        code="version-other",
        severity="warning",
        subject=queue,
        text=(
            f"the task queue {queue} is served by another version than this command's, {here}:"
            f" {_named(versions)}"
        ),
        cure=f"before {here} takes their place, `sweep replay NAME` says whether it goes on as they began",
    )


def _named(versions: dict[str, list[Identity]]) -> str:
    """All versions, each with its workers and their machines."""
    return "; ".join(
        f"{version} ({', '.join(str(worker._replace(version='')) for worker in workers)})"
        for version, workers in sorted(versions.items())
    )


def _end_of_old(versions: dict[str, list[Identity]]) -> str:
    """Ends all workers that are not of the newest version; empty where nobody can tell how.

    The first process of a container has a number that is another one's here, and machines may share a name.
    """
    if not all(RELEASE.fullmatch(version) for version in versions):
        return ""
    newest = max(versions, key=lambda version: [int(part) for part in version.split(".")])
    old = [worker for version, workers in versions.items() if version != newest for worker in workers]
    if not all(_is_here(worker) for worker in old):
        return ""
    return f"kill {' '.join(str(worker.pid) for worker in old)}"


def _is_here(worker: Identity) -> bool:
    """Whether it is a process of this machine that lives."""
    return (worker.pid or 0) > 1 and worker.host == gethostname() and not worker.is_gone
