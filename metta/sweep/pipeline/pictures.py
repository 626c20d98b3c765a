"""Pictures: a pipeline as text and as a Mermaid flowchart."""

from collections.abc import Iterator, Mapping

from metta.sweep.pipeline.effective import effective
from metta.sweep.pipeline.flows import Flow
from metta.sweep.pipeline.nodes import Block, Conditional, Loop, Nested, Node, Parallel, Stage
from metta.sweep.pipeline.planning import Definition


def description(definition: Definition) -> str:
    """The steps of a pipeline, one a line, with what they give and their hooks."""
    return "\n".join(_lines(definition.block, definition.flows, ""))


def _lines(block: Block, flows: Mapping[str, Flow], indent: str) -> Iterator[str]:
    for node in block:
        yield indent + _line(node, flows[node.path])
        for title, inner in _titled(node):
            if title:
                yield f"{indent}  {title}"
            yield from _lines(inner, flows, indent + ("    " if title else "  "))


def _line(node: Node, flow: Flow) -> str:
    name = _name(node)
    match node:
        case Stage():
            hooks = effective(node).names
            gives = "" if flow.is_unknown else f" -> {flow}"
            return f"{name}{gives}" + (f" [{', '.join(hooks)}]" if hooks else "")
        case Loop() if node.max_iterations is not None:
            return f"{name}, at most {node.max_iterations} times"
    return name


def _name(node: Node) -> str:
    match node:
        case Conditional() | Loop():
            return f"{'if' if isinstance(node, Conditional) else 'while'} {_predicate(node.predicate)}"
        case Parallel():
            return "in parallel"
    name = node.path.rpartition("/")[2]
    return "contract" if name.startswith("@through") else name


def _predicate(predicate: object) -> str:
    name = getattr(predicate, "__name__", "...")
    return "..." if name == "<lambda>" else name


def _titled(node: Node) -> Iterator[tuple[str, Block]]:
    match node:
        case Nested() | Loop():
            yield "", node.body
        case Parallel():
            yield from ((f"{label}:", branch) for label, branch in node.branches.items())
        case Conditional():
            yield "then:", node.then
            if node.otherwise:
                yield "else:", node.otherwise


class _Chart:
    """The lines of a flowchart while it is drawn."""

    def __init__(self, flows: Mapping[str, Flow]) -> None:
        self.lines = ["flowchart TD"]
        self._flows, self._count = flows, 0

    def box(self, text: str, left: str = "[", right: str = "]") -> str:
        self._count += 1
        self.lines.append(f'    n{self._count}{left}"{_escaped(text)}"{right}')
        return f"n{self._count}"

    def arrow(self, start: str, end: str, text: str = "") -> None:
        self.lines.append(f'    {start} -->|"{_escaped(text)}"| {end}' if text else f"    {start} --> {end}")

    def block(self, block: Block, came_from: str, text: str = "") -> tuple[str, str]:
        """Draws a block; returns the box it ends at, and the text of the arrow that leaves it."""
        for node in block:
            came_from = self._node(node, came_from, text)
            flow = self._flows[node.path]
            text = "" if flow.is_unknown else str(flow)
        return came_from, text

    def _node(self, node: Node, came_from: str, text: str) -> str:
        match node:
            case Nested():
                return self.block(node.body, came_from, text)[0]
            case Loop():
                test = self._after(came_from, text, self.box(_name(node), "{", "}"))
                self.arrow(self.block(node.body, test, "yes")[0], test, "again")
                return test
            case Parallel() | Conditional():
                return self._branches(node, came_from, text)
            case Stage():
                return self._after(came_from, text, self.box(_name(node)))

    def _branches(self, node: Parallel | Conditional, came_from: str, text: str) -> str:
        sides = ("{", "}") if isinstance(node, Conditional) else ("[/", "/]")
        start = self._after(came_from, text, self.box(_name(node), *sides))
        end = self.box(" ", "((", "))")
        for title, inner in _titled(node):
            self.arrow(*self._last(inner, start, title.rstrip(":"), end))
        if isinstance(node, Conditional) and not node.otherwise:
            self.arrow(start, end, "else")
        return end

    def _last(self, inner: Block, start: str, title: str, end: str) -> tuple[str, str, str]:
        last, text = self.block(inner, start, title)
        return last, end, text

    def _after(self, came_from: str, text: str, box: str) -> str:
        self.arrow(came_from, box, text)
        return box


def mermaid(definition: Definition) -> str:
    """A flowchart in Mermaid's language."""
    chart = _Chart(definition.flows)
    last, text = chart.block(definition.block, chart.box("input", "([", "])"))
    chart.arrow(last, chart.box("output", "([", "])"), text)
    return "\n".join(chart.lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
