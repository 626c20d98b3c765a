"""Trees: parameters split at the dots of their names. The standard library alone."""

from collections.abc import Mapping
from itertools import accumulate
from typing import Any


def nested(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as a tree, split at the dots.

    A parameter that is also a prefix, such as a choice ``model`` beside ``model.depth``, stands
    in its own branch under the empty name.

    >>> nested({"trainer.lr": 0.1, "trainer.steps": 5, "seed": 1})
    {'trainer': {'lr': 0.1, 'steps': 5}, 'seed': 1}
    >>> nested({"model": "cnn", "model.depth": 3})
    {'model': {'': 'cnn', 'depth': 3}}
    """
    tree: dict[str, Any] = {}
    prefixes = {prefix for name in params for prefix in accumulate(name.split(".")[:-1], _join)}
    for name, value in params.items():
        *path, leaf = [*name.split("."), *([""] if name in prefixes else [])]
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = value
    return tree


def _join(prefix: str, part: str) -> str:
    return f"{prefix}.{part}"
