"""What the command says of garbage."""

import re
import shlex
from collections.abc import Sequence
from datetime import timedelta

from rich.text import Text

from metta.sweep.cli.output import Printer
from metta.sweep.client.collecting import Collected
from metta.sweep.client.leaderboards import Column, Columns
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.sizes import bytes_text

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class GarbageOutput(Printer):
    """Prints what nobody needs any more."""

    def shown(self, found: Collected, names: Sequence[str], older_than: str) -> None:
        """What there is of each kind, what was left and why, and what to do next."""
        if self._json:
            self._print(found)
            return
        if found.count:
            self._say(_table_of(found))
            self._say(f"\n{'deleted from' if found.deleted else 'nobody needs that in'} {found.store}")
        else:
            self._say(f"nothing {'was deleted' if found.deleted else 'to delete'} in {found.store}")
        for sentence in found.left:
            self._say(Text(f"left: {sentence}", style="yellow"))
        if found.count and not found.deleted:
            given = [*names, *([] if older_than == "1d" else ["--older-than", older_than])]
            self._next(shlex.join(["sweep", "gc", *given, "--delete"]))
        else:
            self._next("sweep ls")


def age_from(text: str) -> timedelta:
    """An age as people write it.

    >>> age_from("7d") == timedelta(days=7), age_from("1.5h") == timedelta(minutes=90)
    (True, True)

    Raises:
        DefinitionError: When it is none.
    """
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)([mhdw])", text, re.ASCII)
    if match is None:
        raise DefinitionError(
            [f"write a number and m, h, d or w, such as 12h or 7d, got {text!r}"], "--older-than"
        )
    return timedelta(**{UNITS[match[2]]: float(match[1])})


def _table_of(found: Collected) -> Columns:
    shares = [share for share in found.garbage if share.count]
    return Columns(
        [
            Column("kind", [share.kind for share in shares]),
            Column("count", [str(share.count) for share in shares], right=True),
            Column("size", [bytes_text(share.bytes) for share in shares], right=True),
        ]
    )
