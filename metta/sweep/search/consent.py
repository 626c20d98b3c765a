"""What a sweep names, asked of the consent of the worker before anything of it is imported."""

from metta.sweep.contracts.consent import check_definition
from metta.sweep.contracts.jobs import Job
from metta.sweep.contracts.objective_specs import reference_in
from metta.sweep.contracts.sweeps import SweepSpec


def check_consent(spec: SweepSpec, sweep_id: str) -> None:
    """Raises when this worker does not consent to what a sweep names.

    What lies deeper, such as a component among the options of another one, is asked where it is loaded.

    Args:
        spec: The sweep.
        sweep_id: Its name.

    Raises:
        Refused: With all that is refused at once.
    """
    components = (spec.optimizer, spec.scheduler, spec.executor)
    references = [reference_in(spec.objective), *(component.type for component in components)]
    command = spec.objective.command if isinstance(spec.objective, Job) else ()
    check_definition(references, command, f"the sweep {sweep_id}")
