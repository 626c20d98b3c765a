"""Every optimizer by its name; a class is imported when it is first asked for."""

OPTIMIZERS = {
    "bayesian": "metta.sweep.optimizers.bayesian:BayesianOptimizer",
    "optuna": "metta.sweep.optimizers.optuna:OptunaOptimizer",
    "random": "metta.sweep.optimizers.random:RandomOptimizer",
}
