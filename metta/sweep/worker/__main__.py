"""``python -m metta.sweep.worker``: the worker process."""

from metta.sweep.worker.main import main

if __name__ == "__main__":
    main()
