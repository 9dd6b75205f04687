"""Regression: torch and scikit-learn; definitions in torch for log_cosh (optax as peer), msle, mape, tweedie."""

import math

import numpy as np
import optax.losses
import sklearn.metrics
import torch
import torch.nn.functional as F
from sklearn._loss import HalfTweedieLoss

from .case import INF, NAN, loss


def both(count, **keywords):
    """Predictions and targets of one shape."""
    shape = count if isinstance(count, tuple) else (count,)
    return lambda r: dict(yhat=r.normal(*shape, **keywords), y=r.normal(*shape, **keywords))


def grids(count):
    return lambda r: dict(yhat=r.grid(count), y=r.grid(count))


@loss("mse", "torch.nn.functional.mse_loss", wrt=["yhat"])
def mse(yhat, y):
    return F.mse_loss(yhat, y)


mse.case("typical", both(7), hessian=["yhat"])
mse.case("one", both(1))
mse.case("matrix", both((3, 5)))
mse.case("rank 4", both((2, 1, 3, 2)))
mse.case("scalar", both(()))
mse.case("long", grids(1021))
mse.case("extreme", dict(yhat=[1e3, -1e3, 0.0, 1e-8, 1e15], y=[-1e3, -1e3, 0.0, 0.0, 0.0]))
mse.case("exact", dict(yhat=[1.0, -2.0], y=[1.0, -2.0]))
mse.case("empty", dict(yhat=[], y=[]), value=NAN, grad=dict(yhat=[]))
mse.case("infinite", dict(yhat=[INF, 1.0], y=[0.0, 0.0]))


@loss("rmse", "sqrt of torch.nn.functional.mse_loss", wrt=["yhat"])
def rmse(yhat, y):
    return F.mse_loss(yhat, y).sqrt()


rmse.case("typical", both(7), hessian=["yhat"])
rmse.case("one", both(1))
rmse.case("matrix", both((3, 5)))
rmse.case("long", grids(67))
rmse.case(
    "exact", dict(yhat=[1.0, -2.0], y=[1.0, -2.0]), grad=dict(yhat=[0.0, 0.0]), note="0 as that of a norm; torch: NaN"
)
rmse.case("tiny", dict(yhat=[1e-18, -2e-18, 0.0], y=[0.0, 0.0, 0.0]))
rmse.case("huge", dict(yhat=[1e25, -2e25, 0.0], y=[0.0, 0.0, 0.0]))


@loss("mae", "torch.nn.functional.l1_loss", wrt=["yhat"])
def mae(yhat, y):
    return F.l1_loss(yhat, y)


mae.case("typical", both(7))
mae.case("one", both(1))
mae.case("matrix", both((3, 5)))
mae.case("long", grids(131))
mae.case("kink", dict(yhat=[1.0, -2.0, 0.0, 3.0], y=[1.0, -2.0, 0.0, 2.0]))
mae.case("extreme", dict(yhat=[1e3, -1e30, 1e-30], y=[-1e3, 1e30, 0.0]))


@loss("huber", "torch.nn.functional.huber_loss", wrt=["yhat"])
def huber(yhat, y, delta=1.0):
    return F.huber_loss(yhat, y, delta=delta)


huber.case("typical", both(7), hessian=["yhat"])
huber.case("delta", both(7, scale=2.0), delta=0.7, hessian=["yhat"])
huber.case("one", both(1), delta=10.0)
huber.case("matrix", both((3, 5)), delta=0.25)
huber.case("long", grids(1021), delta=1.5)
huber.case("kink", dict(yhat=[0.0, 1.5, -1.5, 1.5000001], y=[0.0, 0.0, 0.0, 0.0]), delta=1.5)
huber.case("extreme", dict(yhat=[1e3, -1e30, 1e-30], y=[-1e3, 1e30, 0.0]))


@loss("smooth_l1", "torch.nn.functional.smooth_l1_loss", wrt=["yhat"])
def smooth_l1(yhat, y, beta=1.0):
    return F.smooth_l1_loss(yhat, y, beta=beta)


smooth_l1.case("typical", both(7), hessian=["yhat"])
smooth_l1.case("beta", both(7, scale=2.0), beta=0.7, hessian=["yhat"])
smooth_l1.case("beta 0", dict(yhat=[1.0, -2.0, 0.5], y=[1.0, 2.0, -0.5]), beta=0.0)
smooth_l1.case("matrix", both((3, 5)), beta=3.0)
smooth_l1.case("long", grids(67), beta=0.5)
smooth_l1.case("kink", dict(yhat=[0.0, 1.5, -1.5], y=[0.0, 0.0, 0.0]), beta=1.5)
smooth_l1.case("extreme", dict(yhat=[1e3, -1e30, 1e-30], y=[-1e3, 1e30, 0.0]))


def pinball(yhat, y, tau=0.5):
    return sklearn.metrics.mean_pinball_loss(y.flatten(), yhat.flatten(), alpha=tau)


@loss("quantile", "sklearn.metrics.mean_pinball_loss, gradient by definition in torch", wrt=["yhat"], peer=pinball)
def quantile(yhat, y, tau=0.5):
    r = y - yhat
    return torch.maximum(tau * r, (tau - 1) * r).mean()


quantile.case("typical", both(7))
quantile.case("tau", both(7), tau=0.9)
quantile.case("tau 0", both(5), tau=0.0)
quantile.case("tau 1", both(5), tau=1.0)
quantile.case("matrix", both((3, 5)), tau=0.25)
quantile.case("long", grids(67), tau=0.125)
quantile.case("kink", dict(yhat=[1.0, -2.0, 0.5], y=[1.0, -2.0, 0.0]), tau=0.75)


@loss("gaussian_nll", "torch.nn.functional.gaussian_nll_loss(full=False)", wrt=["yhat", "var"])
def gaussian_nll(yhat, var, y, eps=1e-6):
    return F.gaussian_nll_loss(yhat, y, var, eps=eps)


def normals(count):
    return lambda r: dict(yhat=r.normal(count), var=r.uniform(count, low=0.1, high=3.0), y=r.normal(count))


gaussian_nll.case("typical", normals(7), hessian=["yhat", "var"])
gaussian_nll.case("one", normals(1))
gaussian_nll.case("long", normals(67))
gaussian_nll.case("matrix", lambda r: dict(yhat=r.normal(3, 5), var=r.uniform(3, 5, low=0.1), y=r.normal(3, 5)))
gaussian_nll.case("held", dict(yhat=[0.0, 1.0, 2.0], var=[0.0, 0.125, 0.25], y=[0.5, 1.5, 1.0]), eps=0.25)
gaussian_nll.case("extreme", dict(yhat=[1e3, 0.0, 3.0], var=[1e6, 1e30, 1e-4], y=[-1e3, 1.0, 3.0]))


def log_cosh_optax(yhat, y):
    return float(optax.losses.log_cosh(yhat.numpy(), y.numpy()).mean())


@loss("log_cosh", "optax.log_cosh, gradient by definition in torch", wrt=["yhat"], peer=log_cosh_optax)
def log_cosh(yhat, y):
    r = yhat - y
    return (torch.logaddexp(r, -r) - math.log(2)).mean()


log_cosh.case("typical", both(7), hessian=["yhat"])
log_cosh.case("one", both(1))
log_cosh.case("matrix", both((3, 5)))
log_cosh.case("long", grids(67))
log_cosh.case("extreme", dict(yhat=[1e3, -1e3, 90.0, 1e30, 0.0], y=[0.0, 0.0, 0.0, 0.0, 0.0]))
log_cosh.case("small", dict(yhat=[1e-4, -3e-5, 0.0], y=[0.0, 0.0, 0.0]))


@loss("poisson_nll", "torch.nn.functional.poisson_nll_loss", wrt=["log_rate"])
def poisson_nll(log_rate, y):
    return F.poisson_nll_loss(log_rate, y)


def counts(count):
    return lambda r: dict(log_rate=r.normal(count), y=r.integers(6, count).double())


poisson_nll.case("typical", counts(7), hessian=["log_rate"])
poisson_nll.case("one", counts(1))
poisson_nll.case("matrix", lambda r: dict(log_rate=r.normal(3, 5), y=r.integers(6, 3, 5).double()))
poisson_nll.case("long", counts(67))
poisson_nll.case("extreme", dict(log_rate=[-1e3, 50.0, 0.0], y=[0.0, 1e3, 1.0]))


def msle_sklearn(yhat, y):
    return sklearn.metrics.mean_squared_log_error(F.relu(y).flatten(), F.relu(yhat).flatten())


@loss(
    "msle", "sklearn.metrics.mean_squared_log_error, gradient by definition in torch", wrt=["yhat"], peer=msle_sklearn
)
def msle(yhat, y):
    zero = torch.zeros_like(y)
    return ((torch.log1p(torch.maximum(y, zero)) - torch.log1p(torch.maximum(yhat, zero))) ** 2).mean()


msle.case("typical", lambda r: dict(yhat=r.uniform(7, high=9.0), y=r.uniform(7, high=9.0)), hessian=["yhat"])
msle.case("one", lambda r: dict(yhat=r.uniform(1), y=r.uniform(1)))
msle.case("negative", both(7))
msle.case("matrix", both((3, 5)))
msle.case("long", grids(67))
msle.case("kink", dict(yhat=[0.0, 0.0, 2.0], y=[1.0, 0.0, 0.0]))
msle.case("extreme", dict(yhat=[1e30, 1e-10, -1e30], y=[0.0, 1e-8, 1e3]))


@loss("mape", "by definition in torch (as Keras)", wrt=["yhat"])
def mape(yhat, y, eps=1e-7):
    return 100 * ((y - yhat) / torch.maximum(y.abs(), torch.tensor(eps))).abs().mean()


mape.case("typical", both(7))
mape.case("one", both(1))
mape.case("matrix", both((3, 5)))
mape.case("long", lambda r: dict(yhat=r.grid(67), y=r.grid(67) + 5))
mape.case("kink", dict(yhat=[1.0, -2.0, 3.0], y=[1.0, -2.0, 4.0]))
mape.case("held", dict(yhat=[1.0, -2.0, 0.5], y=[0.0, 0.25, -0.125]), eps=0.5)


def tweedie_sklearn(log_mean, y, power=1.5):
    """scikit-learn's loss differs by a constant, so only the gradient is compared."""
    gradient = HalfTweedieLoss(power=power).gradient(
        y_true=y.flatten().numpy(), raw_prediction=log_mean.flatten().numpy()
    )
    value = tweedie.function(log_mean, y, power).item()
    return value, dict(log_mean=np.reshape(gradient / y.numel(), y.shape))


@loss(
    "tweedie", "by definition in torch; gradient: sklearn._loss.HalfTweedieLoss", wrt=["log_mean"], peer=tweedie_sklearn
)
def tweedie(log_mean, y, power=1.5):
    return (
        torch.exp((2 - power) * log_mean) / (2 - power) - y * torch.exp((1 - power) * log_mean) / (1 - power)
    ).mean()


def amounts(*shape):
    return lambda r: dict(log_mean=r.normal(*shape), y=r.uniform(*shape, high=3.0) * r.bits(*shape))


tweedie.case("typical", amounts(7), hessian=["log_mean"])
tweedie.case("power", amounts(7), power=1.25, hessian=["log_mean"])
tweedie.case("power near 2", amounts(7), power=1.9)
tweedie.case("matrix", amounts(3, 5))
tweedie.case("long", amounts(67))
tweedie.case("extreme", dict(log_mean=[-150.0, 60.0, -20.0], y=[0.0, 1.0, 2.0]))
