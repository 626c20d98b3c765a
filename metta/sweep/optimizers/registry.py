"""Every optimizer by its name; a class is imported when it is first asked for."""

OPTIMIZERS = {
    "random": "metta.sweep.optimizers.random:RandomOptimizer",
}
