"""Distributions: the values a parameter can take, and how likely they are.

Each maps the unit interval to its values (``from_unit``, the inverse of its distribution function)
and back (``to_unit``), so an optimizer that thinks in a unit cube needs to know nothing else.

A new distribution is a class, with its name in JSON, and an entry here.
"""

from metta.sweep.contracts.bells import LogNormal, Normal
from metta.sweep.contracts.categories import Choice, Constant, Ordinal
from metta.sweep.contracts.distribution import Distribution, is_number, same
from metta.sweep.contracts.ranges import Integer, LogitUniform, LogUniform, Pow2, Uniform

__all__ = [
    "TYPES",
    "Choice",
    "Constant",
    "Distribution",
    "Integer",
    "LogNormal",
    "LogUniform",
    "LogitUniform",
    "Normal",
    "Ordinal",
    "Pow2",
    "Uniform",
    "is_number",
    "same",
]

TYPES: dict[str, type[Distribution]] = {
    cls.kind: cls
    for cls in (
        Uniform,
        LogUniform,
        LogitUniform,
        Integer,
        Pow2,
        Normal,
        LogNormal,
        Choice,
        Ordinal,
        Constant,
    )
}
"""All of them, by their names in JSON."""
