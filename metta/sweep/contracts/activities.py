"""Typed references to activities: workflows call by these what `metta.sweep.activities` implements."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel

from metta.sweep.contracts.sweeps import SessionInput, SessionResult

InputT = TypeVar("InputT", bound=BaseModel)
ResultT = TypeVar("ResultT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ActivityReference(Generic[InputT, ResultT]):
    """An activity by its name, with the types of what goes in and comes out."""

    name: str
    input: type[InputT]
    result: type[ResultT]


RUN_SEARCH_SESSION = ActivityReference("run_search_session", SessionInput, SessionResult)
"""Hosts a search and its runner processes until the search is over."""
