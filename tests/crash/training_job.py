"""The same training as a job: a program that knows of its trial by its environment alone.

python -m tests.crash.training_job
"""

from metta.sweep.trial import current_trial
from tests.crash.training import train

if __name__ == "__main__":
    train(current_trial())  # type: ignore[arg-type]  # a trial of the same names, without the library
