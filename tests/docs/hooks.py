"""The reference page of hooks, made from their table: ``python -m tests.docs.hooks`` writes it."""

from collections.abc import Iterator
from pathlib import Path

from metta.sweep.pipeline.assembly import CODE_ONLY, STAGE_ONLY
from metta.sweep.pipeline.hooks import HOOKS, Hook, HookKind

PAGE = Path(__file__).parents[2] / "docs/reference/hooks.md"

SEES_INPUT = ("skip_if", "before", "cache_key")
"""Functions that are called before the stage's code."""

FAILURES: dict[HookKind, str] = {
    "observation": "logged and counted; the stage goes on",
    "validation": "the stage fails (`validation`)",
    "transformation": "the stage fails (`hook`)",
    "persistence": "the stage fails (`hook`)",
    "control": "the stage fails (`hook`)",
}

OWN_FAILURES = {
    "cache": "what cannot be read is computed again",
    "profile": "",
    "retry": "the stage fails with its last error",
    "timeout": "the attempt fails (`timeout`), and `retry` holds for it",
    "on_error": "the stage fails with the newer error",
    "serialize": "the stage fails (`hook`, or `contract` when nothing comes of it that can be stored)",
    "checkpoint": "the stage fails (`contract`) when its output cannot be stored",
}

HEAD = """\
<!-- Made by `python -m tests.docs.hooks` from the table in metta/sweep/pipeline/hooks.py: do not edit. -->

# Hooks

What `through(...)` takes besides a contract or fields, in the order in which it takes part. How to use it
stands in the [guide](../guide/pipelines.md#hooks). `input` is what flows into the stage, `output` what it
gives.
"""

FOOT = """
- Functions may be async. Each gets a copy.
- `None` and `False` mean that there is no such hook: `checkpoint=DEBUG`.
- The failure of a hook is never tried again: `retry` holds for the stage's own code alone. `on_error` is
  asked after every failure. Where nothing recovers it, the pipeline ends with `StageFailed`, whose
  `failure.kind` is the word in parentheses.
- The functions of `with_global_hooks(...)` get the path of the stage first:
  `log=lambda stage, output: ...`. They run outside of the boundary's own: first before the stage, last
  behind it. Only the innermost counts of {nearest}.
- A boundary that stands behind no function cannot have {stage_only}.
- A boundary behind an experiment cannot have {code_only}.
"""

NEAREST = [
    "cache",
    "cache_key",
    "profile",
    "retry",
    "timeout",
    "validate_type",
    "schema",
    "serialize",
    "checkpoint",
    "checkpoint_path",
    "archive",
]
"""Hooks of which the innermost counts."""


def takes(name: str, hook: Hook) -> str:
    """What a hook may be, as people write it."""
    seen = "input" if name in SEES_INPUT else "output"
    forms = {0: [], 1: [f"`f({seen})`"], 2: ["`f(error)`", "`f(error, input)`"]}[len(hook.arity)]
    return " or ".join([*forms, *filter(None, [hook.takes.value])])


def rows() -> Iterator[str]:
    """The lines of the table."""
    for order, (name, hook) in enumerate(HOOKS.items(), 1):
        fails = OWN_FAILURES.get(name, FAILURES[hook.kind])
        yield f"| {order} | `{name}` | {hook.kind} | {takes(name, hook)} | {hook.summary} | {fails} |"


def listed(names: tuple[str, ...] | list[str]) -> str:
    """Names of hooks in a sentence."""
    return ", ".join(f"`{name}`" for name in names)


def page() -> str:
    """The page as it has to be."""
    foot = FOOT.format(nearest=listed(NEAREST), stage_only=listed(STAGE_ONLY), code_only=listed(CODE_ONLY))
    titles = ("order", "hook", "kind", "it may be", "what it does", "when it fails")
    return "\n".join([HEAD, f"| {' | '.join(titles)} |", "|---" * len(titles) + "|", *rows(), foot])


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
