"""Losses with gradients inside, which are no part of the catalogue: `tests/inner/*.loss`."""

import torch

from .case import loss, softplus


def leaf(x):
    """x itself where it is differentiated already, else a copy that can be."""
    return x if x.requires_grad else x.detach().requires_grad_()


def derivative(value, x):
    return torch.autograd.grad(value, x, create_graph=True)[0]


@loss("wgan_gp", "by definition in torch, through the critic's gradient", wrt=["x", "w", "b", "v"])
def wgan_gp(x, w, b, v, weight=10.0):
    x = leaf(x)
    critic = torch.tanh(x @ w.T + b) @ v
    return weight * ((derivative(critic.sum(), x).norm(dim=1) - 1) ** 2).mean()


def critic(n, d, h):
    return lambda r: dict(x=r.normal(n, d), w=r.normal(h, d), b=r.normal(h), v=r.normal(h))


wgan_gp.case("typical", critic(4, 3, 5))
wgan_gp.case("weight", critic(3, 2, 7), weight=0.5)
wgan_gp.case("one", critic(1, 1, 1))
wgan_gp.case("odd sizes", critic(9, 5, 17))


@loss("line_search", "by definition in torch, third order", wrt=["w"])
def line_search(w, xs, ys, xq, yq):
    w = leaf(w)
    total = 0.0
    for x, y, x_query, y_query in zip(xs, ys, xq, yq):
        slope = derivative(((x @ w - y) ** 2).mean() + 0.01 * (w**4).sum(), w)
        bent = derivative((slope * slope.detach()).sum(), w)
        adapted = w - (slope**2).sum() / (slope * bent).sum() * slope
        total = total + softplus(-y_query * (x_query @ adapted)).mean()
    return total / len(xs)


def tasks(t, s, q, d):
    return lambda r: dict(
        w=r.normal(d), xs=r.normal(t, s, d), ys=r.normal(t, s), xq=r.normal(t, q, d), yq=r.signs(t, q)
    )


line_search.case("typical", tasks(2, 4, 3, 3))
line_search.case("one", tasks(1, 1, 1, 1), grad=None, note="the exact step of a line fits it: the slope is 0")
line_search.case("more", tasks(4, 7, 5, 6))


@loss("implicit", "by definition in torch, Hessian-vector products by autograd", wrt=["log_decay", "w"])
def implicit(log_decay, w, x, y, xv, yv, rate=0.05):
    log_decay, w = leaf(log_decay), leaf(w)
    train = softplus(-y * (x @ w)).mean() + log_decay.exp() * (w**2).sum()
    valid = softplus(-yv * (xv @ w)).mean()
    slope = derivative(train, w)
    mixed = torch.stack([derivative(s, log_decay) for s in slope])
    terms = [derivative(valid, w)]
    for _ in range(2):
        terms.append(terms[-1] - rate * derivative((slope * terms[-1].detach()).sum(), w))
    return -rate * (sum(terms) * mixed).sum()


def split(n, m, d):
    return lambda r: dict(
        log_decay=r.normal(), w=r.normal(d), x=r.normal(n, d), y=r.signs(n), xv=r.normal(m, d), yv=r.signs(m)
    )


implicit.case("typical", split(6, 4, 3))
implicit.case("rate", split(5, 9, 2), rate=0.5)
implicit.case("one", split(1, 1, 1))


@loss("sharpness", "by definition in torch, the perturbation detached", wrt=["w"])
def sharpness(w, x, target, rho=0.05):
    w = leaf(w)
    fit = lambda at: torch.nn.functional.cross_entropy(x @ at.T, target)
    slope = torch.autograd.grad(fit(w), w)[0]
    return fit(w + rho * slope / slope.norm())


def labelled(n, c, d):
    return lambda r: dict(w=r.normal(c, d), x=r.normal(n, d), target=r.integers(c, n))


sharpness.case("typical", labelled(6, 3, 4))
sharpness.case("rho", labelled(5, 2, 3), rho=1.0)
sharpness.case("more", labelled(17, 9, 5))
