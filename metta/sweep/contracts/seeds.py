"""Seeds: all randomness of a sweep, derived from one number by name."""

from hashlib import blake2b

SEED_BITS = 32
"""Seeds fit where NumPy and scikit-learn take them."""


def derived_seed(seed: int | str, number: int, purpose: str) -> int:
    """A seed that depends on nothing but its arguments, in any process on any machine.

    Args:
        seed: Seed of the sweep, or the sweep's id when none was given.
        number: Number of the trial.
        purpose: What it is for, such as ``"trial"`` or ``"suggest"``.

    Returns:
        A number from 0 to 2**32 - 1.

    >>> derived_seed(7, 0, "trial")
    2284666775
    """
    text = f"{seed}\0{number}\0{purpose}".encode()
    return int.from_bytes(blake2b(text, digest_size=SEED_BITS // 8).digest(), "big")
