"""What the command exports, and where that goes."""

import os
import sys
from pathlib import Path

from rich.text import Text

from metta.sweep.cli.output import Printer
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.report.exports import Export, Exported
from metta.sweep.report.formats import BINARY, format_of

STDOUT = Path("-")
SUBJECT = "the export"

PIPE_CLOSED = 141
"""What shells report for a program whose output nobody reads any more, such as that of ``... | head``."""


class ExportOutput(Printer):
    """Writes exports, to standard output unless a file is named."""

    def exported(self, export: Export, format: str | None, path: Path | None, replace: bool) -> int:
        """Write one.

        Returns:
            The exit code.

        Raises:
            DefinitionError: When the options do not go together, or the file must not be written.
        """
        if path == STDOUT:
            path = None
        chosen = format_of(format, path)
        if path is None:
            self._check_stream(chosen, replace)
            return _streamed(export, chosen)
        self._say_of(export.save(chosen, path, replace))
        return 0

    def _check_stream(self, format: str, replace: bool) -> None:
        problems = []
        if self._json:
            problems.append(
                "--json sums up what was written to a file: add -o FILE, or ask for --format jsonl"
            )
        if replace:
            problems.append("--force replaces a file: add -o FILE")
        if format in BINARY and sys.stdout.isatty():
            problems.append(f"no terminal can show {format}: add -o FILE")
        if problems:
            raise DefinitionError(problems, SUBJECT)

    def _say_of(self, done: Exported) -> None:
        if self._json:
            self._print(done)
            return
        rows = f"{done.rows} {done.what}{'' if done.rows == 1 else 's'}"
        self._say(Text(f"{rows} of {done.name} written to {done.path}"))
        self._next(f"sweep show {done.name}")


def _streamed(export: Export, format: str) -> int:
    """Write it to standard output; it is no mistake of anybody's when that is closed before the end."""
    try:
        export.write(format, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # or Python would complain at its own end that the rest cannot be written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    return 0
