"""Structured, regularised, multi-objective: pytorch-crf, definitions in torch, and enumeration for CRF and soft-DTW."""

import itertools

import torch
import torch.nn.functional as F
from torchcrf import CRF

from .case import INF, NAN, loss


def crf_peer(emissions, transitions, start, end, tags, mask):
    """pytorch-crf, with its gradients; and every sequence of tags one by one where they are few."""
    layer = CRF(emissions.shape[2], batch_first=True)
    names = dict(transitions=transitions, start_transitions=start, end_transitions=end)
    for name, x in names.items():
        setattr(layer, name, torch.nn.Parameter(x.clone()))
    leaf = emissions.clone().requires_grad_()
    value = -layer(leaf, tags, mask=mask, reduction="mean")
    value.backward()
    if emissions.shape[2] ** emissions.shape[1] <= 3000:
        crf_nll.compare("enumeration", value.item(), enumerate_tags(emissions, transitions, start, end, tags, mask), {})
    grads = dict(
        emissions=leaf, transitions=layer.transitions, start=layer.start_transitions, end=layer.end_transitions
    )
    return value.item(), {name: x.grad for name, x in grads.items() if x.grad is not None}


def path_score(emissions, transitions, start, end, path):
    steps = sum(transitions[a, b] for a, b in itertools.pairwise(path))
    return start[path[0]] + end[path[-1]] + sum(emissions[t, k] for t, k in enumerate(path)) + steps


def enumerate_tags(emissions, transitions, start, end, tags, mask):
    total = 0.0
    for e, gold, length in zip(emissions, tags.tolist(), mask.sum(1).tolist()):
        score = lambda path: path_score(e, transitions, start, end, path)
        paths = itertools.product(range(e.shape[1]), repeat=length)
        total += torch.logsumexp(torch.stack([score(path) for path in paths]), 0) - score(gold[:length])
    return (total / len(emissions)).item()


@loss(
    "crf_nll",
    "torchcrf.CRF(batch_first=True), reduction mean",
    wrt=["emissions", "transitions", "start", "end"],
    peer=crf_peer,
)
def crf_nll(emissions, transitions, start, end, tags, mask):
    total = 0.0
    for e, gold, length in zip(emissions, tags.tolist(), mask.sum(1).tolist()):
        alpha = start + e[0]
        for t in range(1, length):
            alpha = torch.logsumexp(alpha[:, None] + transitions, 0) + e[t]
        total = total + torch.logsumexp(alpha + end, 0) - path_score(e, transitions, start, end, gold[:length])
    return total / len(emissions)


def tagged(b, t, k, lengths, scale=1.0):
    return lambda r: dict(
        emissions=r.normal(b, t, k, scale=scale),
        transitions=r.normal(k, k),
        start=r.normal(k),
        end=r.normal(k),
        tags=r.integers(k, b, t),
        mask=torch.arange(t) < torch.tensor(lengths)[:, None],
    )


def with_forbidden_transition(r):
    inputs = tagged(2, 3, 3, [3, 2])(r)
    inputs["transitions"][1, 2] = -INF
    inputs["tags"] = torch.tensor([[0, 1, 1], [2, 0, 0]])
    return inputs


crf_nll.case("typical", tagged(2, 4, 3, [4, 2]))
crf_nll.case("one position", tagged(2, 1, 3, [1, 1]))
crf_nll.case("one tag", tagged(2, 3, 1, [3, 2]))
crf_nll.case("one position counts", tagged(3, 4, 2, [1, 1, 4]))
crf_nll.case("long", tagged(2, 23, 5, [23, 17]))
crf_nll.case("extreme", tagged(2, 4, 3, [4, 3], scale=1e3))
crf_nll.case("forbidden transition", with_forbidden_transition)


def alignments(i, j):
    """All monotone paths from (0, 0) to (i - 1, j - 1) with steps right, down and diagonal."""
    if (i, j) == (1, 1):
        return [[(0, 0)]]
    before = [(a, b) for a, b in ((i - 1, j), (i, j - 1), (i - 1, j - 1)) if a > 0 and b > 0]
    return [path + [(i - 1, j - 1)] for a, b in before for path in alignments(a, b)]


def soft_dtw_paths(x, y, gamma=1.0):
    if len(x) + len(y) > 9:
        return soft_dtw.function(x, y, gamma).item()
    costs = torch.stack([sum((x[i] - y[j]) ** 2 for i, j in path) for path in alignments(len(x), len(y))])
    return (-gamma * torch.logsumexp(-costs / gamma, 0)).item()


@loss("soft_dtw", "by definition in torch", wrt=["x", "y"], peer=soft_dtw_paths)
def soft_dtw(x, y, gamma=1.0):
    r = {}
    for i, j in itertools.product(range(len(x)), range(len(y))):
        before = [r[at] for at in ((i - 1, j), (i, j - 1), (i - 1, j - 1)) if at in r]
        r[i, j] = (x[i] - y[j]) ** 2
        if before:
            r[i, j] = r[i, j] - gamma * torch.logsumexp(-torch.stack(before) / gamma, 0)
    return r[len(x) - 1, len(y) - 1]


def series(i, j):
    return lambda r: dict(x=r.normal(i), y=r.normal(j))


soft_dtw.case("typical", series(4, 3))
soft_dtw.case("gamma", series(5, 4), gamma=0.125)
soft_dtw.case("one", series(1, 1))
soft_dtw.case("one against many", series(1, 5))
soft_dtw.case("long", series(13, 17))
soft_dtw.case("equal", dict(x=[1.0, 2.0, 3.0], y=[1.0, 2.0, 3.0]))
soft_dtw.case("extreme", dict(x=[1e3, 0.0, -1e3], y=[0.0, 1e3]))


@loss("ridge", "torch.nn.functional.mse_loss and the penalty's definition", wrt=["yhat", "w"])
def ridge(yhat, w, y, weight=1.0):
    return F.mse_loss(yhat, y) + weight * (w**2).sum()


@loss("lasso", "torch.nn.functional.mse_loss and the penalty's definition", wrt=["yhat", "w"])
def lasso(yhat, w, y, weight=1.0):
    return F.mse_loss(yhat, y) + weight * w.abs().sum()


def model(n, d):
    return lambda r: dict(yhat=r.normal(n), w=r.normal(d), y=r.normal(n))


for penalised, second in ((ridge, ["yhat", "w"]), (lasso, [])):
    penalised.case("typical", model(7, 3), hessian=second)
    penalised.case("weight", model(5, 4), weight=0.25)
    penalised.case("one", model(1, 1))
    penalised.case("no weights", dict(yhat=[1.0, 2.0], w=[], y=[0.5, 2.5]))
    penalised.case("long", model(67, 23))
    penalised.case("weights of 0", dict(yhat=[1.0, 2.0], w=[0.0, -1.0, 0.0], y=[0.5, 2.0]))


@loss("l1_penalty", "by definition in torch", wrt=["w"])
def l1_penalty(w, weight=1.0):
    return weight * w.abs().sum()


@loss("l2_penalty", "by definition in torch", wrt=["w"])
def l2_penalty(w, weight=1.0):
    return weight * (w**2).sum()


for penalty, second in ((l1_penalty, []), (l2_penalty, ["w"])):
    penalty.case("typical", lambda r: dict(w=r.normal(7)), hessian=second)
    penalty.case("weight", lambda r: dict(w=r.normal(3, 5)), weight=0.25)
    penalty.case("weight 0", lambda r: dict(w=r.normal(3)), weight=0.0)
    penalty.case("long", lambda r: dict(w=r.grid(131)))
    penalty.case("kink", dict(w=[0.0, -1.0, 2.0]))
    penalty.case("empty", dict(w=[]))


@loss("demographic_parity", "by definition in torch", wrt=["logits"])
def demographic_parity(logits, y, group, weight=1.0):
    p = torch.sigmoid(logits)
    return F.binary_cross_entropy_with_logits(logits, y) + weight * (p[group].mean() - p[~group].mean()) ** 2


def people(n):
    def make(r):
        group = r.mask(n)
        group[0], group[1] = True, False
        return dict(logits=r.normal(n), y=r.bits(n), group=group)

    return make


demographic_parity.case("typical", people(7))
demographic_parity.case("weight", people(7), weight=4.0)
demographic_parity.case("two", people(2))
demographic_parity.case("many", people(67))
demographic_parity.case(
    "extreme", dict(logits=[1e3, -1e3, 0.0, 1e3], y=[1.0, 0.0, 1.0, 0.0], group=[True, False, True, False])
)
demographic_parity.case(
    "empty group", dict(logits=[1.0, 2.0], y=[1.0, 0.0], group=[False, False]), value=NAN, grad=dict(logits=[NAN, NAN])
)
demographic_parity.case(
    "nobody outside", dict(logits=[1.0, 2.0], y=[1.0, 0.0], group=[True, True]), value=NAN, grad=dict(logits=[NAN, NAN])
)


@loss("multi_task", "torch.nn.functional.mse_loss and cross_entropy", wrt=["yhat", "logits"])
def multi_task(yhat, logits, y, target, regression_weight=1.0, classification_weight=1.0):
    return regression_weight * F.mse_loss(yhat, y) + classification_weight * F.cross_entropy(logits, target)


def tasks(n, c):
    def make(r):
        target = r.integers(c, n)
        target[1::3] = -100
        return dict(yhat=r.normal(n), logits=r.normal(n, c), y=r.normal(n), target=target)

    return make


multi_task.case("typical", tasks(4, 3))
multi_task.case("weights", tasks(5, 3), regression_weight=0.25, classification_weight=3.0)
multi_task.case("one", tasks(1, 1))
multi_task.case("many", tasks(23, 5))
multi_task.case("extreme", dict(yhat=[1e3, 0.0], logits=[[1e3, 0.0], [0.0, -1e3]], y=[-1e3, 0.0], target=[1, 0]))


@loss(
    "uncertainty_weighting",
    "the paper's formula over torch.nn.functional.mse_loss and cross_entropy",
    wrt=["yhat", "logits", "log_var"],
)
def uncertainty_weighting(yhat, logits, log_var, y, target):
    regression, classification = torch.exp(-log_var)
    return (
        0.5 * regression * F.mse_loss(yhat, y) + classification * F.cross_entropy(logits, target) + 0.5 * log_var.sum()
    )


def uncertain(n, c):
    def make(r):
        inputs = tasks(n, c)(r)
        return dict(
            yhat=inputs["yhat"], logits=inputs["logits"], log_var=r.normal(2), y=inputs["y"], target=inputs["target"]
        )

    return make


uncertainty_weighting.case("typical", uncertain(4, 3), hessian=["log_var", "yhat"])
uncertainty_weighting.case("one", uncertain(1, 1))
uncertainty_weighting.case("many", uncertain(23, 5))
uncertainty_weighting.case(
    "extreme",
    dict(yhat=[1e3, 0.0], logits=[[1e3, 0.0], [0.0, -1e3]], log_var=[10.0, -10.0], y=[-1e3, 0.0], target=[1, 0]),
)


@loss("fgsm_logistic", "by definition in torch", wrt=["w", "b"])
def fgsm_logistic(w, b, x, y, epsilon=0.1):
    clean = x.detach().clone().requires_grad_()
    direction = torch.autograd.grad(F.binary_cross_entropy_with_logits(clean @ w.detach() + b.detach(), y), clean)[
        0
    ].sign()
    return F.binary_cross_entropy_with_logits((x + epsilon * direction) @ w + b, y)


def features(n, d):
    return lambda r: dict(w=r.normal(d), b=r.normal(), x=r.normal(n, d), y=r.bits(n))


fgsm_logistic.case("typical", features(4, 3))
fgsm_logistic.case("epsilon", features(5, 2), epsilon=0.5)
fgsm_logistic.case("epsilon 0", features(4, 3), epsilon=0.0)
fgsm_logistic.case("one", features(1, 1))
fgsm_logistic.case("many", features(23, 7))
fgsm_logistic.case("weight of 0", dict(w=[0.0, 1.0], b=0.25, x=[[1.0, 2.0], [-1.0, 0.5]], y=[1.0, 0.0]))
fgsm_logistic.case("extreme", dict(w=[100.0, -50.0], b=0.0, x=[[5.0, 0.0], [-3.0, 1.0]], y=[0.0, 1.0]))


def trades_peer(logits, adversarial, target, beta=6.0):
    log_q = F.log_softmax(adversarial, 1)
    return F.cross_entropy(logits, target) + beta * F.kl_div(log_q, torch.softmax(logits, 1), reduction="batchmean")


@loss(
    "trades",
    "torch.nn.functional.cross_entropy and kl_div, gradient by definition in torch",
    wrt=["logits", "adversarial"],
    peer=trades_peer,
)
def trades(logits, adversarial, target, beta=6.0):
    log_p, log_q = F.log_softmax(logits, 1), F.log_softmax(adversarial, 1)
    return F.cross_entropy(logits, target) + beta * (log_p.exp() * (log_p - log_q)).sum(1).mean()


def attacked(n, c):
    def make(r):
        target = r.integers(c, n)
        target[1::3] = -100
        return dict(logits=r.normal(n, c), adversarial=r.normal(n, c), target=target)

    return make


trades.case("typical", attacked(4, 3))
trades.case("beta", attacked(4, 3), beta=0.5)
trades.case("one class", attacked(3, 1))
trades.case("many", attacked(13, 7))
trades.case(
    "extreme",
    dict(logits=[[1e3, 0.0, -1e3], [0.0, 0.0, 0.0]], adversarial=[[0.0, 1e3, 0.0], [1e3, -1e3, 0.0]], target=[0, 1]),
)


@loss("maml_linear", "by definition in torch, second order", wrt=["w"])
def maml_linear(w, xs, ys, xq, yq, inner_lr=0.1):
    at = w if w.requires_grad else w.detach().requires_grad_()
    total = 0.0
    for x, y, x_query, y_query in zip(xs, ys, xq, yq):
        step = torch.autograd.grad(((x @ at - y) ** 2).mean(), at, create_graph=True)[0]
        total = total + ((x_query @ (at - inner_lr * step) - y_query) ** 2).mean()
    return total / len(xs)


def meta(t, s, r_, d):
    return lambda r: dict(
        w=r.normal(d), xs=r.normal(t, s, d), ys=r.normal(t, s), xq=r.normal(t, r_, d), yq=r.normal(t, r_)
    )


maml_linear.case("typical", meta(2, 4, 3, 3))
maml_linear.case("inner_lr", meta(3, 5, 2, 4), inner_lr=0.01)
maml_linear.case("inner_lr 0", meta(2, 3, 3, 2), inner_lr=0.0)
maml_linear.case("one", meta(1, 1, 1, 1))
maml_linear.case("more", meta(5, 7, 6, 7))
