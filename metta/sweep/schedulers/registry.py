"""Every scheduler by its name; a class is imported when it is first asked for."""

SCHEDULERS = {
    "asha": "metta.sweep.schedulers.asha:ASHAScheduler",
    "asynchronous": "metta.sweep.schedulers.asynchronous:AsynchronousScheduler",
    "batch": "metta.sweep.schedulers.batch:SynchronousBatchScheduler",
    "median": "metta.sweep.schedulers.median:MedianStoppingScheduler",
}
