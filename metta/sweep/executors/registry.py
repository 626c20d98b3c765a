"""Every executor by its name; a class is imported when it is first asked for."""

EXECUTORS = {
    "local": "metta.sweep.executors.local:LocalExecutor",
    "worker": "metta.sweep.executors.worker:WorkerExecutor",
}
