"""Consent: which code a worker lets the input of workflows name.

Whoever may start workflows on a queue names code by text. A worker looks a name up only below the modules
that were registered with it, and asks before anything is imported. In a process that holds no consent, such
as the user's own program, everything may be named.
"""

import collections
import datetime
import decimal
import fractions
import pathlib
import sys
import types
import uuid
import zoneinfo
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import PurePath
from types import ModuleType
from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import AfterValidator

from metta.sweep.contracts.ambient import Ambient
from metta.sweep.contracts.errors import Refused
from metta.sweep.contracts.models import Wire
from metta.sweep.contracts.references import Reference

EVERY = "*"
"""Stands for all modules."""

OWN = "metta.sweep"
"""Is registered with every worker, but for its ``testing``."""

TESTING = f"{OWN}.testing"
"""Starts programs and writes files to put executors to the test."""

Allowed: TypeAlias = Literal["commands", "scripts", "by-value", "pickle"]
"""What a worker may consent to besides modules."""

ALLOWED: tuple[Allowed, ...] = get_args(Allowed)

_PLAIN = (
    *(bool, int, float, complex, str, bytes, bytearray, list, dict, tuple, set, frozenset, range, slice),
    *(object, collections.deque, collections.OrderedDict, collections.Counter, collections.defaultdict),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone),
    *(decimal.Decimal, fractions.Fraction, uuid.UUID, zoneinfo.ZoneInfo),
    *(pathlib.Path, pathlib.PosixPath, pathlib.PurePath, pathlib.PurePosixPath, pathlib.PureWindowsPath),
)
"""Python's own types, for which the classes of what is packed may be generic: to make one does nothing."""

_PLAIN_NAMES = {f"{kind.__module__}:{kind.__qualname__}" for kind in _PLAIN}


def _module(name: str) -> str:
    if name != EVERY and not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(f"write a module such as my_lab or my_lab.training, or '*' for all, got {name!r}")
    return name


ModuleName: TypeAlias = Annotated[str, AfterValidator(_module)]


class Consent(Wire):
    """What may be named.

    Args:
        modules: Names of modules; a package stands for all below it, ``*`` for all there are.
        commands: Whether trials may be programs.
        scripts: Whether scripts may be named by their paths.
        by_value: Whether code may come out of the store by value (cloudpickle).
    """

    modules: tuple[ModuleName, ...] = ()
    commands: bool = False
    scripts: bool = False
    by_value: bool = False

    @property
    def registered(self) -> tuple[str, ...]:
        """All modules, the own one first."""
        return tuple(dict.fromkeys((OWN, *self.modules)))

    def admits(self, module: str) -> bool:
        """Whether a module is registered.

        >>> here = Consent(modules=("my_lab",))
        >>> here.admits("my_lab.training"), here.admits("my_labels")
        (True, False)
        """
        is_testing = _is_within(module, TESTING)
        names = (name for name in self.registered if not (is_testing and name == OWN))
        return any(name == EVERY or _is_within(module, name) for name in names)

    def refusal(self, text: str) -> str:
        """Why code may not be named so; empty when it may.

        Args:
            text: A reference.

        Raises:
            DefinitionError: When it is none.
        """
        reference = Reference.parse(text)
        match reference.kind:
            case "script":
                name = PurePath(reference.target).name
                return "" if self.scripts else _unwelcome(f"{text} is in the script {name}", "scripts")
            case "value":
                return "" if self.by_value else _unwelcome(f"{reference.name} was sent by value", "by-value")
        if self.admits(reference.target) or text in _PLAIN_NAMES:
            return ""
        return self._unregistered(text, reference.target)

    def refusal_of_found(self, text: str, found: object) -> str:
        """Why what a registered name leads to may not be used; empty when it may: it may be another's.

        Args:
            text: What names it.
            found: What stands there.
        """
        if EVERY in self.modules:
            return ""
        home, name = _home_of(found)
        if not home or self.admits(home):
            return ""
        return self._unregistered(f"{text}, which is {home}{name},", home)

    def refusal_of_command(self, command: Sequence[str]) -> str:
        """Why a program may not run; empty when it may."""
        return "" if self.commands else _unwelcome(f"{' '.join(command)!r} is a command", "commands")

    def _unregistered(self, what: str, module: str) -> str:
        root = TESTING if _is_within(module, TESTING) else module.split(".")[0]
        known, wanted = ", ".join(self.registered), [*self.modules, root]
        refused = f"{what} is not registered with this worker, which knows {known}"
        if root in sys.stdlib_module_names:  # to register it would open the machine
            return f"{refused}: it is a part of Python, so name what uses it in a module that is registered"
        return (
            f"{refused}: register it with `sweep worker {' '.join(wanted)}`, or with modules={wanted} of"
            " MettaSweepPlugin"
        )


EVERYTHING = Consent(modules=(EVERY,), commands=True, scripts=True, by_value=True)
"""What a worker lets pass that works for its own user alone."""


def _home_of(found: object) -> tuple[str, str]:
    """The module and name of what is called; empty for values, and for what was made by a call."""
    if isinstance(found, ModuleType):
        return found.__name__, ""
    if isinstance(found, partial):
        return _home_of(found.func)
    if not callable(found) or (isinstance(found, type) and found in _PLAIN):
        return "", ""
    kind, name, home = type(found), getattr(found, "__qualname__", None), getattr(found, "__module__", None)
    if not isinstance(name, str):
        name = kind.__qualname__
    if not home or not isinstance(home, str):  # methods of what C code made have none
        owner = getattr(found, "__self__", found)
        home = (owner if isinstance(owner, type) else type(owner)).__module__
    # make_dataclass says so of its classes
    is_made = "<locals>" in name or (home == "types" and getattr(types, name, None) is not found)
    return ("", "") if is_made else (home, f":{name}")


def _is_within(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")


def _unwelcome(what: str, allowed: Allowed) -> str:
    argument = allowed.replace("-", "_")
    put = "" if allowed == "commands" else "put it into a module that the worker registers, or "
    return (
        f"{what}, and this worker takes no {_WORDS[allowed]}: {put}allow that with"
        f" `sweep worker --allow {allowed}`, or with {argument}=True of MettaSweepPlugin"
    )


_WORDS: dict[Allowed, str] = {
    "commands": "commands",
    "scripts": "scripts",
    "by-value": "code by value",
    "pickle": "pickles",
}

_consent = Ambient[Consent]("consent")


def consenting(consent: Consent | None) -> AbstractContextManager[None]:
    """Within it a consent holds for what is named in this thread; None lets everything pass."""
    return _consent.holding(consent or EVERYTHING)


def consent_for_good(consent: Consent | None) -> None:
    """From now on a consent holds in this process; None changes nothing."""
    if consent is not None:
        _consent.hold(consent)


def check_reference(text: str) -> None:
    """Raises when a reference names what this worker knows nothing of; nothing is imported.

    Raises:
        Refused: With the way to change that.
    """
    consent = _consent.get()
    if consent is not None and (problem := consent.refusal(text)):
        raise Refused([problem], "the reference")


def check_found(text: str, found: object) -> None:
    """Raises when a registered name leads to what is not.

    Raises:
        Refused: With the way to change that.
    """
    consent = _consent.get()
    if consent is not None and (problem := consent.refusal_of_found(text, found)):
        raise Refused([problem], "the reference")


def check_value(name: str) -> None:
    """Raises when code may not be loaded by value.

    Args:
        name: What people call it.

    Raises:
        Refused: With the way to change that.
    """
    consent = _consent.get()
    if consent is not None and not consent.by_value:
        raise Refused([_unwelcome(f"{name} was sent by value", "by-value")], "the reference")


def check_definition(references: Sequence[str | None], command: Sequence[str], subject: str) -> None:
    """Raises when this worker refuses something of a definition; nothing of it is imported.

    Args:
        references: What names code in it; short names of components are fine.
        command: The program that is tried, if it is one.
        subject: What is defined.

    Raises:
        Refused: With all that is refused, and the ways to change that.
    """
    consent = _consent.get()
    if consent is None:
        return
    named = [consent.refusal(text) for text in references if text and ":" in text]
    refused = consent.refusal_of_command(command) if command else ""
    if problems := [*filter(None, [refused, *named])]:
        raise Refused(problems, subject)
