"""References: how functions and classes are named in plain JSON."""

from pathlib import PurePath
from typing import Literal, NamedTuple, Self

from metta.sweep.contracts.errors import DefinitionError

ReferenceKind = Literal["module", "script", "value"]


class Reference(NamedTuple):
    """Names something that code defines.

    Args:
        kind: ``module`` is imported by its name, ``script`` by its path, ``value`` comes out of the store.
        target: The module, the path of the script, or the hash of the value; a value that is not in
            the store yet has none.
        name: The attribute, dots allowed; for a value only what people call it.
    """

    kind: ReferenceKind
    target: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``package.module:function``, ``path/script.py:function`` or ``value:<hash>:name``.

        >>> Reference.parse("tasks/digits.py:train")
        Reference(kind='script', target='tasks/digits.py', name='train')

        Raises:
            DefinitionError: When it has none of these forms.
        """
        prefix, _, rest = text.partition(":")
        value, _, name = rest.partition(":")
        target, _, attribute = text.rpartition(":")
        if prefix == "value" and name:
            return cls("value", value, name)
        if target.endswith(".py") and _dotted(attribute):
            return cls("script", target, attribute)
        if _dotted(target) and _dotted(attribute):
            return cls("module", target, attribute)
        raise DefinitionError(
            [
                f"{text!r} names nothing that can be imported; write 'package.module:name'"
                " or 'path/script.py:name'"
            ],
            "the reference",
        )

    @property
    def definition(self) -> str:
        """What stays the same when the code is edited or the project is moved."""
        if self.kind == "module":
            return str(self)
        return f"{PurePath(self.target).name}:{self.name}" if self.kind == "script" else self.name

    def __str__(self) -> str:
        """The text that ``parse`` reads."""
        prefix = "value:" if self.kind == "value" else ""
        return f"{prefix}{self.target}:{self.name}"


def _dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))
