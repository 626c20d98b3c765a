"""Every scheduler by its name; a class is imported when it is first asked for."""

SCHEDULERS = {
    "asynchronous": "metta.sweep.schedulers.asynchronous:AsynchronousScheduler",
    "batch": "metta.sweep.schedulers.batch:SynchronousBatchScheduler",
}
