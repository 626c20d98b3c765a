"""Numbers: the metrics in what an experiment gave, without the classes that it names."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from metta.sweep.contracts.errors import BadMetric, shown
from metta.sweep.contracts.metrics import BARE
from metta.sweep.contracts.reports import finite, finite_number
from metta.sweep.contracts.values import Value
from metta.sweep.pipeline.packing import Packer

WAY_OUT = "let its last stage return a number, or numbers by name: a dict, dataclass, NamedTuple or model"

_PAIRS = ("$dict", "$ordered", "$counter")
_NAMED = ("$named", "$dataclass", "$model")


def metrics_of(value: Value, metric: str | None, packer: Packer) -> dict[str, float] | None:
    """Named finite numbers in what the last stage gave; what else stands beside them is left out.

    Args:
        value: What it gave.
        metric: The metric that counts, which has to be a number; None when that is not said.
        packer: Reads what the store keeps.

    Returns:
        None when it gave nothing.

    Raises:
        BadMetric: When there is no number, or one is NaN or infinite.
        StoreError: When the store cannot be read.
    """
    packed = value.packed if value.kept is None else _read(value.kept, packer)
    if packed is None:
        return None
    fields = _fields_of(packed, packer)
    if fields is None:
        if not _is_number(found := _plain(packed, packer)):
            raise BadMetric(f"its result is {_described(packed)}, which is no number; {WAY_OUT}")
        return {BARE: finite_number("the result", found)}
    return _numbers(fields, metric, packer)


def _read(name: str, packer: Packer) -> Any:
    with packer.blobs.open(name) as file:
        return json.loads(file.read())


def _numbers(fields: Mapping[str, Any], metric: str | None, packer: Packer) -> dict[str, float]:
    found = {name: _plain(field, packer) for name, field in fields.items()}
    if metric is not None and metric in found and not _is_number(found[metric]):
        what = _described(fields[metric])
        raise BadMetric(f"metric {metric!r} is {what}, which is no number; {WAY_OUT}")
    if numbers := {name: number for name, number in found.items() if _is_number(number)}:
        return finite(numbers)
    names = f": it has {', '.join(found)}" if found else ""
    raise BadMetric(f"there is no number in its result{names}; {WAY_OUT}")


def _fields_of(packed: Any, packer: Packer) -> dict[str, Any] | None:
    """What stands in a result by name; None when nothing does."""
    if not isinstance(packed, dict):
        return None
    tag, content = next(iter(packed.items()), ("", packed))
    if len(packed) != 1 or not tag.startswith("$"):
        return packed
    if tag == "$record":
        return dict(content)
    if tag in _NAMED:
        return dict(content[1])
    if tag in _PAIRS:
        return {str(_plain(name, packer)): field for name, field in content}
    return None


def _plain(packed: JsonValue, packer: Packer) -> Any:
    """A number or a text as Python has it; anything else as it was packed."""
    if not isinstance(packed, dict) or len(packed) != 1:
        return packed
    match packed:
        # what lies within is text or a file: anything else might name a class, and import it
        case {"$float": str()} | {"$int": str()} | {"$scalar": [str() | {"$blob": str()}]}:
            found = packer.unpack(packed)
            return found.tolist() if hasattr(found, "tolist") else found  # a scalar of numpy's
    return packed


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _described(packed: Any) -> str:
    """What was packed, for people: the class of an object, else the value."""
    if isinstance(packed, dict) and len(packed) == 1 and (tag := next(iter(packed))).startswith("$"):
        content = packed[tag]
        return str(content[0]) if tag == "$own" else f"a {tag.removeprefix('$')}"
    return shown(packed)
