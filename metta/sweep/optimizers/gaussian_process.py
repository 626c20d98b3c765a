"""A Gaussian process over few observations: mean and deviation of what a point would give.

References:
    Rasmussen and Williams, "Gaussian Processes for Machine Learning", MIT Press 2006.
    Snoek et al., "Practical Bayesian Optimization of Machine Learning Algorithms", NeurIPS 2012: Matern 5/2.
    Hvarfner et al., "Vanilla Bayesian Optimization Performs Great in High Dimensions", ICML 2024: the prior
    of the length scales.
    Ament et al., "Unexpected Improvements to Expected Improvement for Bayesian Optimization", NeurIPS 2023:
    the logarithm of the expected improvement.

The kernels and the posterior are scikit-learn's. Its own fit maximizes the likelihood alone, which with ten
points takes noise for structure and back; here priors are added, and the search for the maximum is bounded.
"""

from collections.abc import Callable, Sequence
from math import log, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize  # type: ignore[import-untyped]  # it has no types
from scipy.special import erfcx, ndtr  # type: ignore[import-untyped]
from sklearn import gaussian_process
from threadpoolctl import threadpool_limits

Array = NDArray[np.float64]

learn: Any = gaussian_process
"""Without types: it has none, and those that checkers infer are wrong."""

FENCES = 1.5
"""So many interquartile ranges above the upper quartile a loss is cut off: how bad is no matter there."""

FITTED = 100
"""So many points at the most say which kernel is the likeliest."""

STEPS = 40
"""Steps of each search for the likeliest kernel."""

SCALES = (1.0, 0.2)
"""Length scales, as shares of the prior's, at which such a search begins."""


class Prediction(NamedTuple):
    """What points would give: mean and deviation of the loss, each of shape (n_points,)."""

    mean: Array
    deviation: Array


class Surrogate:
    """A Gaussian process with a Matern 5/2 kernel, one length scale a feature.

    Args:
        features: Rows in [0, 1], of shape (n_points, n_features); at least one.
        losses: What they gave, of shape (n_points,).
    """

    def __init__(self, features: Sequence[Sequence[float]], losses: Sequence[float]) -> None:
        self._features, (self._losses, self._shift, self._scale) = np.array(features), _standardised(losses)
        shown = np.linspace(0, len(losses) - 1, min(len(losses), FITTED)).astype(int)
        with threadpool_limits(1):  # small matrices; and sums do not depend on the number of cores
            theta = _likeliest(self._features[shown], self._losses[shown])
        amplitude, *lengths, self._noise = np.exp(theta)
        self._kernel = learn.kernels.ConstantKernel(amplitude) * learn.kernels.Matern(lengths, nu=2.5)
        self._fit(self._features, self._losses)

    def pretend(self, features: Sequence[Sequence[float]]) -> None:
        """Believe that these points, and no other ones, gave what is expected of them."""
        self._fit(self._features, self._losses)  # anew: nothing depends on what was believed before
        if len(features):
            rows = np.array(features)
            believed = np.concatenate([self._losses, self._predicted(rows)[0]])
            self._fit(np.vstack([self._features, rows]), believed)

    def predict(self, features: Sequence[Sequence[float]]) -> Prediction:
        """What points would give, in the unit of the losses."""
        mean, deviation = self._predicted(np.array(features))
        return Prediction(mean * self._scale + self._shift, deviation * self._scale)

    def log_improvement(self, features: Sequence[Sequence[float]]) -> Array:
        """Logarithm of the expected improvement on the best point that is known."""
        mean, deviation = self._predicted(np.array(features))
        z = (self._best - mean) / deviation
        return np.log(deviation) + _log_h(z)

    def confidence(self, features: Sequence[Sequence[float]], beta: float) -> Array:
        """How good points may be: the mean, and ``beta`` deviations on top; upside down for losses."""
        mean, deviation = self._predicted(np.array(features))
        return beta * deviation - mean

    def _fit(self, features: Array, losses: Array) -> None:
        self._process = learn.GaussianProcessRegressor(self._kernel, alpha=self._noise, optimizer=None)
        with threadpool_limits(1):
            self._process.fit(features, losses)
            self._best = float(self._process.predict(features).min())

    def _predicted(self, rows: Array) -> tuple[Array, Array]:
        with threadpool_limits(1):
            mean, deviation = self._process.predict(rows, return_std=True)
        return mean, np.maximum(deviation, 1e-9)  # at a point without noise


def _standardised(losses: Sequence[float]) -> tuple[Array, float, float]:
    """Losses with mean 0 and deviation 1, and what was subtracted from and divided out of them."""
    given = np.array(losses, dtype=np.float64)
    lower, upper = np.quantile(given / 4, (0.25, 0.75))  # a quarter, for 1e308 - -1e308 is no number
    given = np.minimum(given / 4, upper + FENCES * (upper - lower)) if upper > lower else given / 4
    size = float(np.abs(given).max()) or 1.0  # squares of large numbers are no numbers either
    shares = given / size
    shift, scale = float(shares.mean()), float(shares.std()) or 1.0
    return (shares - shift) / scale, 4 * size * shift, 4 * size * scale


def _likeliest(features: Array, losses: Array) -> Array:
    """Logarithms of amplitude, length scales and noise, of shape (n_features + 2,)."""
    width = features.shape[1]
    # logarithms are normal: (mean, deviation, lower, upper) of each
    length = (sqrt(2) + log(width or 1) / 2, sqrt(3), log(0.02), log(1e3))
    prior = np.array([(0.0, 1.0, log(0.05), log(20)), *[length] * width, (-7.0, 2.0, log(1e-6), log(1.0))])
    mean, deviation = prior[:, 0], prior[:, 1]
    kernel = (
        learn.kernels.ConstantKernel() * learn.kernels.Matern(np.ones(width), nu=2.5)
        + learn.kernels.WhiteKernel()
    )
    process = learn.GaussianProcessRegressor(kernel, optimizer=None).fit(features, losses)

    def unlikelihood(theta: Array) -> tuple[float, Array]:
        value, slope = process.log_marginal_likelihood(theta, eval_gradient=True, clone_kernel=False)
        z = (theta - mean) / deviation
        return -value + float(z @ z) / 2, -slope + z / deviation

    begins = (mean + np.array([0.0, *[log(share)] * width, 0.0]) for share in SCALES)
    found = [_descended(unlikelihood, begin, prior[:, 2:]) for begin in begins]
    return np.asarray(min(found, key=lambda result: result.fun).x, dtype=np.float64)


def _descended(function: Callable[[Array], tuple[float, Array]], begin: Array, bounds: Array) -> Any:
    return minimize(function, begin, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS})


def _log_h(z: Array) -> Array:
    """Logarithm of phi(z) + z * Phi(z), exact far below 0 too (Ament et al. 2023, equation 9)."""
    density = -z * z / 2 - log(2 * np.pi) / 2
    low = np.minimum(z, -1.0)
    ratio = sqrt(np.pi / 2) * erfcx(-low / sqrt(2)) * -low
    far = density + np.log1p(-np.minimum(ratio, 1 - 1e-16))
    near = np.log(np.maximum(np.exp(density) + z * ndtr(z), 1e-300))
    return np.asarray(np.where(z < -1.0, far, near), dtype=np.float64)
