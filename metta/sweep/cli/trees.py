"""What the command shows of all that runs within an experiment."""

from typing import Any

from rich.text import Text
from rich.tree import Tree as Branches

from metta.sweep.cli.output import Printer
from metta.sweep.client.attaching import AnyHandle
from metta.sweep.client.trees import Tree, tree_of
from metta.sweep.contracts.sweeps import SweepStatus
from metta.sweep.contracts.wording import value_text

WIDTH = 1000
"""Lines are not cut: each ends with what one wants to know."""

STYLES = {"running": "green", "failed": "red", "cancelled": "yellow", "paused": "yellow"}


class TreeOutput(Printer):
    """Prints trees."""

    def shown(self, handle: AnyHandle) -> None:
        """Everything within something, each with its state and how far it is."""
        tree = tree_of(handle)
        if self._json:
            self._print(_plain(tree))
            return
        self._console.print(_branches(tree, tree.name), soft_wrap=True, width=WIDTH)
        innermost = next((t for t in tree.walk() if t.status.state == "failed" and not t.children), None)
        self._next(f"sweep show {innermost.name if innermost else tree.name}", handle.ui)


def _branches(tree: Tree, label: str) -> Branches:
    made = Branches(_line(tree, label), guide_style="dim")
    for child in tree.children:
        is_shortened = not child.name.startswith(f"{tree.name}/")
        shown = child.name.split("/~", 1)[-1].partition("/")[2] if is_shortened else ""
        made.add(_branches(child, shown or child.name.removeprefix(f"{tree.name}/")))
    return made


def _line(tree: Tree, label: str) -> Text:
    status = tree.status
    return Text.assemble(
        (label, "bold"), "  ", (status.state, STYLES.get(status.state, "")), f"  {_progress(tree)}"
    )


def _progress(tree: Tree) -> str:
    status = tree.status
    if not isinstance(status, SweepStatus):
        return f"{status.ended} stage{'' if status.ended == 1 else 's'}"
    best = status.progress.best
    known = f", best {status.progress.metric} {value_text(best[0].value)}" if best else ""
    return f"{status.progress.counts.started} trials{known}"


def _plain(tree: Tree) -> dict[str, Any]:
    kind = "sweep" if isinstance(tree.status, SweepStatus) else "experiment"
    children = [_plain(child) for child in tree.children]
    return {kind: tree.name, **tree.status.model_dump(mode="json"), "within": children}
