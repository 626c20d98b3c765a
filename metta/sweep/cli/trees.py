"""What the command shows of all that runs within an experiment."""

from collections.abc import Iterator

from rich.text import Text

from metta.sweep.cli.output import Printer
from metta.sweep.cli.shapes import ExperimentWithin, SweepWithin
from metta.sweep.client.attaching import AnyHandle
from metta.sweep.client.live import best_known
from metta.sweep.client.trees import Tree, tree_of
from metta.sweep.contracts.sweeps import SweepStatus

STYLES = {"running": "green", "failed": "red", "cancelled": "yellow", "paused": "yellow"}


class TreeOutput(Printer):
    """Prints trees."""

    def shown(self, handle: AnyHandle) -> None:
        """Everything within something, each with its state and how far it is."""
        tree = tree_of(handle)
        if self._json:
            self._print(_shape(tree))
            return
        for line in _lines(tree, tree.name):  # not those of rich, which cuts them
            self._say(line)
        innermost = next((t for t in tree.walk() if t.status.state == "failed" and not t.children), None)
        self._next(f"sweep show {innermost.name if innermost else tree.name}", handle.ui)


def _lines(tree: Tree, label: str) -> Iterator[Text]:
    """A line for something, and those of all within it."""
    yield _line(tree, label)
    for child in tree.children:
        is_last = child is tree.children[-1]
        branch, below = ("└── ", "    ") if is_last else ("├── ", "│   ")
        first, *others = _lines(child, _label(child, tree))
        yield Text.assemble((branch, "dim"), first)
        yield from (Text.assemble((below, "dim"), other) for other in others)


def _label(child: Tree, parent: Tree) -> str:
    """Its name without those that it runs within."""
    if child.name.startswith(f"{parent.name}/"):
        return child.name.removeprefix(f"{parent.name}/")
    return child.name.partition("/~")[2].partition("/")[2] or child.name


def _line(tree: Tree, label: str) -> Text:
    status = tree.status
    stopped = " (stopped)" if status.reason == "stopped" else ""
    state = (f"{status.state}{stopped}", STYLES.get(status.state, ""))
    return Text.assemble((label, "bold"), "  ", state, f"  {_progress(tree)}")


def _progress(tree: Tree) -> str:
    status = tree.status
    if not isinstance(status, SweepStatus):
        return f"{status.ended} stage{'' if status.ended == 1 else 's'}"
    return f"{status.progress.counts.started} trials{best_known(status.progress)}"


def _shape(tree: Tree) -> SweepWithin | ExperimentWithin:
    within = tuple(map(_shape, tree.children))
    if isinstance(tree.status, SweepStatus):
        return SweepWithin(sweep=tree.name, within=within, **dict(tree.status))
    return ExperimentWithin(experiment=tree.name, within=within, **dict(tree.status))
