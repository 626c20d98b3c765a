"""Commands that serve, and tidy up."""

from typing import Annotated

import typer

from metta.sweep.cli import completions
from metta.sweep.cli.app import SERVE, Json, app, complain, not_empty


@app.command(rich_help_panel=SERVE)
def dev(
    stop: Annotated[
        bool,
        typer.Option(
            "--stop",
            help="Stop the server and all workers of this project; unfinished work goes on with the next"
            " command, also one that is looking on.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Run a server, its UI and a worker for this project until Ctrl-C."""
    from metta.sweep.client.consoles import console_of
    from metta.sweep.client.settings import Settings
    from metta.sweep.worker.dev import run_dev, stop_dev

    (stop_dev if stop else run_dev)(Settings.load(), console_of(), json)


@app.command(rich_help_panel=SERVE)
def worker(
    modules: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODULE]...", help="What it registers: a module, or a package with all below it."
        ),
    ] = None,
    queue: Annotated[str, typer.Option(help="The queue that it serves.", show_default="metta-sweep")] = "",
    store: Annotated[str, typer.Option(help="Folder or address of the store.", show_default=False)] = "",
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            help="What it takes besides: commands, scripts, by-value, pickle; may be repeated.",
            autocompletion=completions.allowed,
        ),
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where Prometheus finds its metrics.")
    ] = None,
    health: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where /healthz and /livez are answered.")
    ] = None,
    json: Json = False,
) -> None:
    """Serve a queue to which anybody sends work, with the code that is registered, until Ctrl-C."""
    from metta.sweep.cli.workers import serve_shared
    from metta.sweep.client.settings import Settings

    settings = Settings.load()
    settings = settings.with_store(store) if store else settings
    serve_shared(settings, modules or (), allow or (), queue, (metrics, health), json)


@app.command(rich_help_panel=SERVE)
def gc(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Sweeps and experiments to look at; without any, all.",
            autocompletion=completions.names,
            callback=not_empty,
        ),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete it; else it is only shown.")] = False,
    older_than: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="Age of values, blobs and drafts that may go: 90m, 12h, 7d; at least 1h."
        ),
    ] = "1d",
    json: Json = False,
) -> int:
    """Show what nobody needs any more in this project's store, or delete it."""
    from metta.sweep.cli.garbage import GarbageOutput, age_from
    from metta.sweep.client.sweeps import Sweeps

    found = Sweeps().gc(*(names or ()), delete=delete, older_than=age_from(older_than))
    GarbageOutput(json).shown(found, names or (), older_than)
    return max([complain(problem) for problem in found.problems], default=0)


@app.command(rich_help_panel=SERVE)
def doctor(
    fix: Annotated[
        bool,
        typer.Option(
            "--fix",
            help="Mend what is safe to mend: register search attributes, start workers that died, close"
            " launches and end workers that have no work.",
        ),
    ] = False,
    json: Json = False,
) -> int:
    """Name all that is wrong, and the cure for it."""
    from metta.sweep.cli.doctor import DoctorOutput
    from metta.sweep.client.health.examination import examined
    from metta.sweep.client.health.findings import are_healthy
    from metta.sweep.client.loop import call

    found = call(examined(fix))
    DoctorOutput(json).shown(found)
    return 0 if are_healthy(found) else 1
