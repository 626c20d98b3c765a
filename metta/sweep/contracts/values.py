"""Values: what flows between the stages of a pipeline, as plain data."""

from hashlib import blake2b

from pydantic import JsonValue

from metta.sweep.contracts.models import Wire

INLINE_BYTES = 4096
"""Up to this size a value travels through the engine; a larger one stays in the store."""

FLOOD_BYTES = 256 * 1024
"""All branches of a pipeline together let no more than this travel at the same time: the engine takes
2 MB in one payload, and 4 MB in one message."""


class Value(Wire):
    """A value, packed: itself when it is small, else the name under which the store keeps it.

    Args:
        packed: The packed value; None when it is kept in the store.
        kept: The name there; None when it is not kept.
        fields: What stages have made of the fields of their experiment, by name, which flows beside it; None
            when they are as they were given.
    """

    packed: JsonValue = None
    kept: str | None = None
    fields: "Value | None" = None

    @property
    def alone(self) -> "Value":
        """The value without the fields."""
        return self if self.fields is None else self.model_copy(update={"fields": None})

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that change with it, and with the fields beside it.

        >>> one = Value(packed=1).digest
        >>> one == Value(packed=1).digest, one == Value(packed=1.0).digest
        (True, False)
        """
        # without defaults: what is recorded is to hold when there are more of them
        text = self.model_dump_json(exclude_defaults=True)
        return blake2b(text.encode(), digest_size=8).hexdigest()


def inline_bytes(width: int) -> int:
    """How large a value may be that travels through the engine, where so many branches run side by side.

    >>> inline_bytes(1), inline_bytes(500)
    (4096, 524)
    """
    return min(INLINE_BYTES, FLOOD_BYTES // max(1, width))
