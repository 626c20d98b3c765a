"""Reference pages made from the code: ``python -m tests.docs.references`` writes them.

The page of the command comes from Typer's own generator, that of the Python interface from the docstrings.
"""

import importlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe
from pydantic import TypeAdapter
from typer.main import get_command

import metta.sweep.cli.main  # noqa: F401  # adds the commands
from metta.sweep.cli.app import app
from metta.sweep.cli.schemas import SHAPES

ROOT = Path(__file__).parents[2]

MADE = "<!-- Made by `python -m tests.docs.references` from {}. -->\n\n"

HEAD = """\
# The Python interface

All public names, by the module that they are imported from. The guides show how they are used together.
"""

MODULES = (
    "metta.sweep",
    "metta.sweep.experiments",
    "metta.sweep.experiments.base",
    "metta.sweep.optimizers",
    "metta.sweep.schedulers",
    "metta.sweep.executors",
    "metta.sweep.testing",
)

HELP = "* `--help`: Show this message and exit."

GIVEN = {
    "Handles, which `start()` gives": ("metta.sweep.client.handle:SweepHandle",),
    "metta.sweep.worker.plugin": ("metta.sweep.worker.plugin:MettaSweepPlugin",),
}
"""What people meet though it is not exported by a package."""


def command_page() -> str:
    """The command, as ``sweep --help`` tells it."""
    run = subprocess.run(
        [sys.executable, "-m", "typer", "metta.sweep.cli.main", "utils", "docs", "--name", "sweep"],
        capture_output=True,
        text=True,
        check=True,
    )
    told = run.stdout.replace("# `sweep`", "# The command `sweep`", 1)
    return MADE.format("metta/sweep/cli") + told.replace(HELP, "\n".join([*_completion(), HELP]), 1)


def _completion() -> Iterator[str]:
    """The options of the command itself, which Typer's generator leaves out."""
    command = get_command(app)
    context = command.make_context("sweep", [], resilient_parsing=True)
    for parameter in command.params:
        if told := parameter.get_help_record(context):
            yield f"* `{told[0]}`: {told[1]}"


def interface_page() -> str:
    """All public names, with their docstrings."""
    package = griffe.load(
        "metta.sweep",
        docstring_parser="google",
        docstring_options={"warnings": False},  # of models, whose fields are no parameters to it
        search_paths=[str(ROOT)],
    )
    return MADE.format("the docstrings") + "\n".join([HEAD, *_sections(package)])


def schemas_page() -> str:
    """What commands print with ``--json``, as JSON Schema."""
    return json.dumps({command: schema_of(command) for command in SHAPES}, indent=1) + "\n"


def schema_of(command: str) -> Any:
    """The JSON Schema of what a command prints with ``--json``."""
    return TypeAdapter(SHAPES[command]).json_schema(mode="serialization")


def _sections(package: Any) -> Iterator[str]:
    told = dict[str, str]()
    exported = {name: [f"{name}:{n}" for n in importlib.import_module(name).__all__] for name in MODULES}
    for title, names in {**exported, **GIVEN}.items():
        yield f"## {title}\n"
        for place in sorted(names):
            module, _, name = place.partition(":")
            found = getattr(importlib.import_module(module), name)
            home = f"{found.__module__}.{found.__name__}" if hasattr(found, "__name__") else place
            if home in told:
                yield f"### {name}\n\nThe same as `{told[home]}`.\n"
            else:
                told[home] = f"{module}.{name}"
                yield from _entry(name, found, _object_of(package, module, name, found))


def _object_of(package: Any, module: str, name: str, found: Any) -> Any:
    place = f"{getattr(found, '__module__', module)}.{getattr(found, '__name__', name)}"
    return package[place.removeprefix("metta.sweep.")]


def _entry(name: str, found: Any, described: Any) -> Iterator[str]:
    yield f"### {name}\n"
    if callable(found) and (signature := _signature(found)):
        yield f"`{name}{signature}`\n"
    yield from _docstring(described)
    if described.is_class:
        members = sorted(described.members.items(), key=lambda member: member[1].lineno or 0)
        for member, method in members:
            if not member.startswith("_") and method.has_docstring and not method.is_alias:
                title = member if "property" in method.labels or method.is_attribute else _call(member, found)
                yield f"#### {name}.{title}\n"
                yield from _docstring(method)


def _call(name: str, owner: Any) -> str:
    return f"{name}{_signature(getattr(owner, name), skip=('self', 'cls'))}"


def _signature(found: Any, skip: tuple[str, ...] = ()) -> str:
    """Names and defaults; the types stand beside the explanations."""
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return ""
    bare = [p.replace(annotation=p.empty) for p in parameters if p.name not in skip]
    return "(" + ", ".join(str(p) if _is_plain(p.default) else f"{p.name}=..." for p in bare) + ")"


def _is_plain(default: Any) -> bool:
    """Whether it looks the same in every process."""
    return default is inspect.Parameter.empty or isinstance(default, str | int | float | tuple | None)


def _docstring(described: Any) -> Iterator[str]:
    for section in described.docstring.parsed if described.docstring else ():
        match section.kind.value:
            case "text":
                yield from (f"{_shown(paragraph)}\n" for paragraph in section.value.split("\n\n"))
            case "parameters" | "other parameters" | "attributes":
                yield from (_item(f"`{part.name}`{_type(part)}", part) for part in section.value)
                yield ""
            case "returns" | "yields":
                yield from (_item(f"Returns{_type(part)}", part) for part in section.value)
                yield ""
            case "raises":
                yield from (_item(f"Raises `{part.annotation}`", part) for part in section.value)
                yield ""


def _shown(paragraph: str) -> str:
    """A paragraph of a docstring as Markdown has it."""
    if paragraph.startswith(">>>"):
        return f"```pycon\n{paragraph}\n```"
    return re.sub(r"::$", ":", paragraph)


def _type(part: Any) -> str:
    return f" (`{part.annotation}`)" if part.annotation else ""


def _item(head: str, part: Any) -> str:
    return f"- {head}: " + " ".join(part.description.split())


PAGES = {"command.md": command_page, "python.md": interface_page, "output.json": schemas_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (ROOT / "docs/reference" / name).write_text(page(), "utf-8")
