"""Attaching: the handle of whatever a name belongs to."""

from typing import TypeAlias

from metta.sweep.client.experiment_handle import ExperimentHandle
from metta.sweep.client.handle import SweepHandle
from metta.sweep.client.loop import call
from metta.sweep.client.starts import Starts
from metta.sweep.contracts.errors import SweepNotFound

AnyHandle: TypeAlias = SweepHandle | ExperimentHandle


def handle_of(name: str, starts: Starts | None = None) -> AnyHandle:
    """The handle of a sweep or experiment that was started before.

    Args:
        name: Its name.
        starts: Of its project; None means that of the current folder.

    Raises:
        SweepNotFound: When there is none of that name.
        ServerError: When the server does not answer.
    """
    starts = starts or Starts()
    sweep = SweepHandle(name, starts.store, starts.settings, starts.client)
    experiment = ExperimentHandle(name, starts.store, starts.settings, starts.client)
    if sweep.is_recorded():
        return sweep
    if experiment.is_recorded():
        return experiment
    # what runs has a server: none is started only to hear that nothing does
    if (sweep.ui or not starts.settings.is_embedded) and (found := call(sweep.described())):
        return experiment if found.workflow_type == "Experiment" else sweep
    raise SweepNotFound(name, [*sweep.known(), *experiment.known()], "sweep or experiment")
