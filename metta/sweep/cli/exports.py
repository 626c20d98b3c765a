"""What the command exports, and where that goes."""

import sys
from pathlib import Path

from rich.text import Text

from metta.sweep.cli.output import Printer
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.report.exports import Export, Exported
from metta.sweep.report.formats import BINARY, format_of

STDOUT = Path("-")
SUBJECT = "the export"


class ExportOutput(Printer):
    """Writes exports, to standard output unless a file is named."""

    def exported(self, export: Export, format: str | None, path: Path | None, replace: bool) -> None:
        """Write one.

        Raises:
            DefinitionError: When the options do not go together, or the file must not be written.
        """
        if path == STDOUT:
            path = None
        chosen = format_of(format, path)
        if path is None:
            self._check_stream(chosen, replace)
            export.write(chosen, sys.stdout.buffer)
        else:
            self._say_of(export.save(chosen, path, replace))

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
