"""Names of sweeps and experiments."""

import re
from random import SystemRandom

# fmt: off
ADJECTIVES = (
    "amber", "brave", "brisk", "calm", "clever", "crisp", "eager", "early", "fair", "fond",
    "gentle", "glad", "keen", "kind", "light", "lively", "lucid", "merry", "mild", "noble", "quick",
    "quiet", "swift", "vivid",
)
NOUNS = (
    "acorn", "badger", "beacon", "birch", "brook", "cedar", "comet", "coral", "crane", "delta",
    "ember", "falcon", "finch", "fox", "grove", "heron", "island", "lynx", "maple", "otter", "owl",
    "pine", "quail", "robin",
)
# fmt: on

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


TRIAL = re.compile(r"/trial-\d+/experiment(/|$)")


def is_of_a_trial(name: str) -> bool:
    """Whether it is the name of a trial that is an experiment, or of something within one.

    >>> is_of_a_trial("digits/trial-7/experiment"), is_of_a_trial("digits")
    (True, False)
    """
    return TRIAL.search(name) is not None


def generated_name() -> str:
    """A readable name that hardly comes twice, such as ``brave-otter-4821``."""
    # not the seeded generators: two scripts with the same seed are to get different names
    random = SystemRandom()
    return f"{random.choice(ADJECTIVES)}-{random.choice(NOUNS)}-{random.randrange(1000, 10000)}"


def name_problem(name: object) -> str | None:
    """Why a sweep cannot be called so, or None.

    >>> name_problem("digits"), name_problem("a b")
    (None, "name 'a b' has to be letters, digits, '.', '_' and '-', at most 100, a letter or digit first")
    """
    if isinstance(name, str) and NAME.fullmatch(name):
        return None
    return f"name {name!r} has to be letters, digits, '.', '_' and '-', at most 100, a letter or digit first"
