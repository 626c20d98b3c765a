"""Chunks: what a ledger is made of."""

from typing import Literal

from pydantic import ConfigDict, Field

from metta.sweep.contracts.decisions import Decision
from metta.sweep.contracts.events import Event
from metta.sweep.contracts.models import Numbered


class Chunk(Numbered):
    """Events that came in together, and the decisions taken from them.

    Args:
        epoch: Epoch of the writer.
        events: In the order they were observed.
        asks: How many suggestions the optimizer was asked for, call by call.
        decisions: In the order they were taken.
        version: Version of this format.
    """

    model_config = ConfigDict(populate_by_name=True)

    epoch: int
    events: tuple[Event, ...] = ()
    asks: tuple[int, ...] = ()
    decisions: tuple[Decision, ...] = ()
    version: Literal[1] = Field(default=1, alias="schema")
