"""Saving: an export as a file, of which there is all or nothing."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from metta.sweep.contracts.errors import DefinitionError, SweepError

SUBJECT = "the export"


@contextmanager
def saving(path: Path, replace: bool) -> Iterator[BinaryIO]:
    """A file to write to; it takes its name when all is written, and is gone when something fails.

    Args:
        path: Its name; a link leads to the file that is replaced.
        replace: Whether it may replace another file.

    Raises:
        DefinitionError: When it must not be written.
        SweepError: When it cannot be, as on a full disk.
    """
    target = path.resolve()
    if problem := _problem(path, target, replace):
        raise DefinitionError([problem], SUBJECT)
    draft = target.with_name(f".{target.name}-{token_hex(4)}")
    try:
        with draft.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _publish(draft, target, path, replace)
    except OSError as error:
        raise SweepError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)


def _problem(path: Path, target: Path, replace: bool) -> str:
    """Why a file must not be written; empty when it may."""
    if target.is_dir():
        return f"{path} is a folder: add the name of a file, such as {path / 'trials.csv'}"
    if not target.parent.is_dir():
        return f"there is no folder {path.parent}: make it first"
    if target.exists() and not target.is_file():
        return f"{path} is no file: leave -o out, and lead the output there"
    if target.exists() and not replace:
        return _is_there(path)
    return ""


def _is_there(path: Path) -> str:
    return f"{path} is there already: add --force to replace it, or choose another name"


def _publish(draft: Path, target: Path, path: Path, replace: bool) -> None:
    """Give a draft its name; one that somebody has taken meanwhile is not taken from him."""
    if replace:
        draft.replace(target)
        return
    try:
        os.link(draft, target)
    except FileExistsError:
        raise DefinitionError([_is_there(path)], SUBJECT) from None
    except OSError:  # a file system without links
        if target.exists():
            raise DefinitionError([_is_there(path)], SUBJECT) from None
        draft.replace(target)
