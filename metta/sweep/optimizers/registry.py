"""Every optimizer by its name; a class is imported when it is first asked for."""

OPTIMIZERS = {
    "optuna": "metta.sweep.optimizers.optuna:OptunaOptimizer",
    "random": "metta.sweep.optimizers.random:RandomOptimizer",
}
