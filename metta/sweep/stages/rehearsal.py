"""The rehearsal: a program that says whether an experiment can be begun again, with its code of now.

It reads a ``RetryQuestion``, and answers with a ``RetryAnswer``. It is a process of its own, for it imports
the user's code, as the experiment's worker does: with that one's interpreter, where that one stands.
"""

import os
import sys

from metta.sweep.contracts.changes import changes_since
from metta.sweep.contracts.errors import DefinitionChanged, DefinitionError
from metta.sweep.contracts.raised import Mistakes
from metta.sweep.contracts.retries import RetryAnswer, RetryQuestion
from metta.sweep.pipeline.pictures import description
from metta.sweep.runners.objective import enter
from metta.sweep.stages.experiments import loaded_again
from metta.sweep.stages.restarts import restart
from metta.sweep.stores.outcomes import Outcomes
from metta.sweep.stores.urls import store_of


def main() -> None:
    """Answer what stands on standard input."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the user's code prints is not to stand between the JSON
    question = RetryQuestion.model_validate_json(sys.stdin.read())
    try:
        answer = RetryAnswer(stage=_rehearsed(question))
    except DefinitionError as error:
        mistakes = Mistakes(problems=error.problems, subject=error.subject)
        answer = RetryAnswer(error=type(error).__name__, mistakes=mistakes)
    answers.write(answer.model_dump_json())
    answers.flush()


def _rehearsed(question: RetryQuestion) -> str:
    """The stage from which it is to be run, in full.

    Raises:
        DefinitionError: When it cannot be run again, or from there.
    """
    enter(question.code)
    store = store_of(question.store, question.home)
    outcomes = Outcomes(store.outcome_log(question.name))
    outcomes.refresh()
    before = outcomes.began
    assert before is not None
    definition = loaded_again(before.spec, store).definition
    structure = tuple(description(definition).splitlines())
    now = before.model_copy(update={"fingerprint": definition.plan.fingerprint, "structure": structure})
    if changes := changes_since(before, now):
        raise DefinitionChanged(question.name, changes, "experiment")
    if not question.stage:
        return ""
    return str(restart(question.name, definition.plan, outcomes, question.stage))


if __name__ == "__main__":
    main()
