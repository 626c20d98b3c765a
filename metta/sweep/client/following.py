"""Following: live progress until the sweep is over, or until somebody detaches."""

from time import sleep

from rich.console import Console

from metta.sweep.client.handle import SweepHandle
from metta.sweep.client.live import follow
from metta.sweep.client.loop import submit
from metta.sweep.client.results import Results

SECOND_CHANCE_S = 2.0
"""A second Ctrl-C within this time stops the sweep."""


class Detached(KeyboardInterrupt):
    """Ctrl-C while a sweep was followed: it goes on, only this program ends."""


def followed(handle: SweepHandle, console: Console | None = None) -> Results:
    """Show how far a sweep is until it is over.

    Args:
        handle: The sweep.
        console: Where to show it; None means standard error, so that standard output stays clean.

    Returns:
        Its results.

    Raises:
        SweepFailed: When no trial succeeded.
        Detached: When the user pressed Ctrl-C once; twice stops the sweep and returns.
    """
    console = console or Console(stderr=True)
    console.print(f"sweep [bold]{handle.sweep_id}[/bold]  {handle.ui}", highlight=False)
    end = submit(handle.finished())
    try:
        follow(handle.ledger, end.done, console)
    except KeyboardInterrupt:
        _detach(handle, console)
        follow(handle.ledger, end.done, console)
    end.result()
    return handle.result()


def _detach(handle: SweepHandle, console: Console) -> None:
    """Return when the sweep is to be stopped, else raise ``Detached``."""
    name = handle.sweep_id
    console.print(
        f"\ndetached: [bold]{name}[/bold] goes on without this program (Ctrl-C again to stop it)\n"
        f"  watch it again   sweep attach {name}\n"
        f"  stop it          sweep stop {name}",
        highlight=False,
    )
    try:
        sleep(SECOND_CHANCE_S)
    except KeyboardInterrupt:
        console.print(f"stopping {name}: its running trials end at their next report", highlight=False)
        handle.stop()
        return
    raise Detached(f"{name} goes on; this program does not follow it any more") from None
