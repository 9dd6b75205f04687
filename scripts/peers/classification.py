"""Classification: torch, torchvision, optax; CTC also against the enumeration of all alignments."""

import itertools
import math

import optax.losses
import torch
import torch.nn.functional as F
import torchvision.ops

from .case import INF, NAN, loss, ones, softplus, zeros


@loss("bce", "torch.nn.functional.binary_cross_entropy", wrt=["p"])
def bce(p, y):
    return F.binary_cross_entropy(p, y)


def probabilities(*shape):
    return lambda r: dict(p=r.uniform(*shape, low=0.01, high=0.99), y=r.uniform(*shape))


bce.case("typical", probabilities(7), hessian=["p"])
bce.case("hard targets", lambda r: dict(p=r.uniform(7, low=0.01, high=0.99), y=r.bits(7)))
bce.case("one", probabilities(1))
bce.case("matrix", probabilities(3, 5))
bce.case("long", probabilities(67))
bce.case(
    "0 and 1",
    dict(p=[0.0, 1.0, 0.0, 1.0, 0.5], y=[0.0, 1.0, 1.0, 0.0, 1.0]),
    grad=None,
    note="the gradient at 0 and 1 is free",
)
bce.case("small", dict(p=[1e-30, 1e-10, 0.5], y=[0.0, 1.0, 0.5]))


@loss("bce_with_logits", "torch.nn.functional.binary_cross_entropy_with_logits", wrt=["logits"])
def bce_with_logits(logits, y, pos_weight=1.0):
    return F.binary_cross_entropy_with_logits(logits, y, pos_weight=torch.tensor(pos_weight))


def soft_bits(*shape):
    return lambda r: dict(logits=r.normal(*shape, scale=2.0), y=r.uniform(*shape))


EXTREME_LOGITS = [1e3, -1e3, 0.0, -90.0, 90.0, -104.0, 1e-10, 17.0, -17.0]
EXTREME_BITS = [0.0, 1.0, 0.5, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0]

bce_with_logits.case("typical", soft_bits(7), hessian=["logits"])
bce_with_logits.case("pos_weight", soft_bits(7), pos_weight=2.5, hessian=["logits"])
bce_with_logits.case("pos_weight 0", soft_bits(5), pos_weight=0.0)
bce_with_logits.case("one", soft_bits(1))
bce_with_logits.case("matrix", soft_bits(3, 5))
bce_with_logits.case("long", lambda r: dict(logits=r.grid(1021, size=8.0), y=r.bits(1021)))
bce_with_logits.case("extreme", dict(logits=EXTREME_LOGITS, y=EXTREME_BITS))
bce_with_logits.case(
    "confident and right",
    dict(logits=[1e3, -1e3, 60.0], y=[1.0, 0.0, 1.0]),
    grad=dict(logits=[0.0, 0.0, -math.exp(-60) / 3]),
    note="torch: sigmoid(60) - 1 = 0",
)


def rows(n, c, scale=1.0):
    return lambda r: dict(logits=r.normal(n, c, scale=scale), target=r.integers(c, n))


def some_ignored(n, c, index=-100):
    def make(r):
        inputs = rows(n, c)(r)
        inputs["target"][::3] = index
        return inputs

    return make


@loss("cross_entropy", "torch.nn.functional.cross_entropy", wrt=["logits"])
def cross_entropy(logits, target, label_smoothing=0.0, ignore_index=-100):
    return F.cross_entropy(logits, target, label_smoothing=label_smoothing, ignore_index=ignore_index)


cross_entropy.case("typical", rows(4, 3), hessian=["logits"])
cross_entropy.case("ignored", some_ignored(7, 5), hessian=["logits"])
cross_entropy.case("label_smoothing", some_ignored(4, 3), label_smoothing=0.1, hessian=["logits"])
cross_entropy.case("label_smoothing 1", rows(4, 3), label_smoothing=1.0)
cross_entropy.case("ignore_index", some_ignored(7, 3, index=1), ignore_index=1)
cross_entropy.case("one class", rows(3, 1))
cross_entropy.case("one row", rows(1, 7))
for classes in (2, 4, 5, 8, 9, 16, 17):  # around the lanes of vector code
    cross_entropy.case(f"{classes} classes", some_ignored(5, classes), label_smoothing=0.25)
cross_entropy.case("many classes", lambda r: dict(logits=r.grid(3, 131), target=r.integers(131, 3)))
cross_entropy.case("many rows", lambda r: dict(logits=r.grid(131, 3), target=r.integers(3, 131)))
cross_entropy.case(
    "all but one ignored", dict(logits=[[1.0, 2.0, 0.5], [3.0, 1.0, 2.0], [0.0, 0.0, 9.0]], target=[-100, 2, -100])
)
cross_entropy.case(
    "all ignored",
    dict(logits=[[1.0, 2.0], [3.0, 4.0]], target=[-100, -100]),
    value=NAN,
    grad=dict(logits=zeros(2, 2)),
    note="a mean of nothing; torch gives no gradient either",
)
EXTREME_ROWS = [[1e3, 0.0, -1e3], [-1e3, 1e3, 0.0], [0.0, 0.0, 0.0], [-1e30, 0.0, 1e30]]
cross_entropy.case("extreme", dict(logits=EXTREME_ROWS, target=[0, 0, 1, 2]))
cross_entropy.case("far from 0", dict(logits=[[1000.0, 999.0, 998.5], [-1000.0, -1001.0, -1000.25]], target=[0, 1]))
cross_entropy.case(
    "excluded classes", dict(logits=[[1.0, -INF, 0.5], [0.25, 2.0, -INF], [-INF, -INF, 3.0]], target=[0, 1, 2])
)


def soft_rows(n, c):
    return lambda r: dict(logits=r.normal(n, c), target=r.distribution(n, c))


def soft_cross_entropy_optax(logits, target):
    return float(optax.losses.softmax_cross_entropy(logits.numpy(), target.numpy()).mean())


@loss(
    "soft_cross_entropy",
    "torch.nn.functional.cross_entropy with probabilities, optax.softmax_cross_entropy",
    wrt=["logits"],
    peer=soft_cross_entropy_optax,
)
def soft_cross_entropy(logits, target):
    return F.cross_entropy(logits, target)


EXTREME_TARGETS = [[1.0, 0.0, 0.0], [0.5, 0.25, 0.25], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
soft_cross_entropy.case("typical", soft_rows(4, 3), hessian=["logits"])
soft_cross_entropy.case("one class", soft_rows(3, 1))
soft_cross_entropy.case("one row", soft_rows(1, 7))
soft_cross_entropy.case("many classes", soft_rows(2, 67))
soft_cross_entropy.case("mass other than 1", lambda r: dict(logits=r.normal(3, 5), target=r.uniform(3, 5)))
soft_cross_entropy.case("extreme", dict(logits=EXTREME_ROWS, target=EXTREME_TARGETS))


@loss("weighted_cross_entropy", "torch.nn.functional.cross_entropy(weight=)", wrt=["logits"])
def weighted_cross_entropy(logits, target, weight, ignore_index=-100):
    return F.cross_entropy(logits, target, weight=weight, ignore_index=ignore_index)


def weighted(n, c, index=-100):
    return lambda r: dict(some_ignored(n, c, index)(r), weight=r.uniform(c, low=0.1, high=2.0))


weighted_cross_entropy.case("typical", weighted(7, 3))
weighted_cross_entropy.case("ignore_index", weighted(7, 3, index=2), ignore_index=2)
weighted_cross_entropy.case("one class", lambda r: dict(rows(3, 1)(r), weight=ones(1) * 3))
weighted_cross_entropy.case(
    "many rows", lambda r: dict(logits=r.grid(67, 5), target=r.integers(5, 67), weight=r.uniform(5))
)
weighted_cross_entropy.case("weight 0", dict(logits=[[1.0, 2.0], [3.0, 1.0]], target=[0, 1], weight=[0.0, 2.0]))
weighted_cross_entropy.case(
    "all ignored",
    dict(logits=[[1.0, 2.0], [3.0, 4.0]], target=[-100, -100], weight=[1.0, 2.0]),
    value=NAN,
    grad=dict(logits=zeros(2, 2)),
    note="a mean of nothing",
)
weighted_cross_entropy.case(
    "class of probability 0", dict(logits=[[-INF, 0.0, 1.0], [2.0, -INF, -INF]], target=[1, 0], weight=[0.5, 2.0, 1.0])
)
weighted_cross_entropy.case("extreme", dict(logits=EXTREME_ROWS, target=[0, 0, 1, 2], weight=[0.5, 2.0, 1.0]))


@loss("nll", "torch.nn.functional.nll_loss", wrt=["log_probs"])
def nll(log_probs, target, ignore_index=-100):
    return F.nll_loss(log_probs, target, ignore_index=ignore_index)


def log_rows(n, c, index=-100):
    def make(r):
        inputs = some_ignored(n, c, index)(r)
        return dict(log_probs=r.log_distribution(n, c), target=inputs["target"])

    return make


nll.case("typical", log_rows(7, 3))
nll.case("ignore_index", log_rows(7, 3, index=0), ignore_index=0)
nll.case("one", dict(log_probs=[[-0.5]], target=[0]))
nll.case("many rows", lambda r: dict(log_probs=r.grid(67, 5), target=r.integers(5, 67)))
nll.case("all but one ignored", dict(log_probs=[[-1.0, -2.0], [-3.0, -4.0]], target=[-100, 1]))
nll.case(
    "all ignored",
    dict(log_probs=[[-1.0, -2.0], [-3.0, -4.0]], target=[-100, -100]),
    value=NAN,
    grad=dict(log_probs=zeros(2, 2)),
    note="a mean of nothing",
)
nll.case("another class has probability 0", dict(log_probs=[[-INF, 0.0], [-1.0, -INF]], target=[1, 0]))


@loss("log_likelihood", "minus the log of the gathered probabilities, in torch", wrt=["p"])
def log_likelihood(p, target):
    return -p.gather(1, target[:, None]).log().mean()


def probable(n, c):
    return lambda r: dict(p=r.distribution(n, c), target=r.integers(c, n))


log_likelihood.case("typical", probable(4, 3), hessian=["p"])
log_likelihood.case("one", probable(1, 1))
log_likelihood.case("many rows", probable(67, 3))
log_likelihood.case("another class has probability 0", dict(p=[[0.0, 1.0], [0.25, 0.0]], target=[1, 0]))
log_likelihood.case("probability 0", dict(p=[[0.0, 1.0], [0.5, 0.5]], target=[0, 0]), value=INF, grad=None)
log_likelihood.case("small", dict(p=[[1e-30, 1.0], [0.5, 1e-20]], target=[0, 1]))


@loss("kl_div", 'torch.nn.functional.kl_div(reduction="batchmean")', wrt=["log_probs"])
def kl_div(log_probs, target):
    return F.kl_div(log_probs, target, reduction="batchmean")


def divergence(n, c):
    return lambda r: dict(log_probs=r.log_distribution(n, c), target=r.distribution(n, c))


kl_div.case("typical", divergence(4, 3), hessian=["log_probs"])
kl_div.case("one", divergence(1, 1))
kl_div.case("many rows", divergence(67, 3))
kl_div.case(
    "0 and 1", dict(log_probs=[[-1.0, -2.0, -0.5], [-1e3, -1.0, -0.5]], target=[[0.0, 1.0, 0.0], [0.0, 0.25, 0.75]])
)


def hinge_optax(score, y):
    return float(optax.losses.hinge_loss(score.numpy(), y.numpy()).mean())


@loss("hinge", "optax.hinge_loss, gradient by definition in torch", wrt=["score"], peer=hinge_optax)
def hinge(score, y):
    return torch.maximum(1 - y * score, torch.zeros_like(score)).mean()


def signed(*shape):
    return lambda r: dict(score=r.normal(*shape, scale=2.0), y=r.signs(*shape))


hinge.case("typical", signed(7))
hinge.case("one", signed(1))
hinge.case("matrix", signed(3, 5))
hinge.case("long", lambda r: dict(score=r.grid(67), y=r.signs(67)))
hinge.case("kink", dict(score=[1.0, -1.0, 1.0, 0.0], y=[1.0, -1.0, -1.0, 1.0]))
hinge.case("empty", dict(score=[], y=[]), value=NAN, grad=dict(score=[]))
hinge.case("extreme", dict(score=[1e30, -1e30, 1e3], y=[1.0, 1.0, -1.0]))


@loss("zero_one", "by definition in torch", wrt=["score"])
def zero_one(score, y):
    return (y * score <= 0).double().mean()


zero_one.case("typical", signed(7))
zero_one.case("one", signed(1))
zero_one.case("long", lambda r: dict(score=r.grid(67), y=r.signs(67)))
zero_one.case("kink", dict(score=[0.0, -0.0, 1.0, 2.0], y=[1.0, -1.0, -1.0, 1.0]))


@loss("focal", "torchvision.ops.sigmoid_focal_loss", wrt=["logits"])
def focal(logits, y, alpha=0.25, gamma=2.0):
    return torchvision.ops.sigmoid_focal_loss(logits, y, alpha=alpha, gamma=gamma, reduction="mean")


def bits(*shape):
    return lambda r: dict(logits=r.normal(*shape, scale=2.0), y=r.bits(*shape))


focal.case("typical", bits(7), hessian=["logits"])
focal.case("soft targets", soft_bits(7))
focal.case("unweighted", bits(7), alpha=-1.0, hessian=["logits"])
focal.case("gamma", bits(7), alpha=0.75, gamma=1.5)
focal.case("gamma 0", bits(5), gamma=0.0)
focal.case("gamma 1", bits(5), gamma=1.0)
focal.case("one", bits(1))
focal.case("matrix", bits(3, 5))
focal.case("long", lambda r: dict(logits=r.grid(1021, size=8.0), y=r.bits(1021)))
focal.case("extreme", dict(logits=[1e3, -1e3, 1e3, -1e3, 0.0, 90.0], y=[0.0, 1.0, 1.0, 0.0, 1.0, 0.0]))
focal.case("extreme, gamma 0", dict(logits=[1e3, -1e3, 1e3, -1e3], y=[0.0, 1.0, 1.0, 0.0]), gamma=0.0)


@loss("focal_multiclass", "by definition in torch", wrt=["logits"])
def focal_multiclass(logits, target, gamma=2.0):
    log_pt = F.log_softmax(logits, 1).gather(1, target[:, None])
    return (-((-torch.expm1(log_pt)) ** gamma) * log_pt).mean()


focal_multiclass.case("typical", rows(4, 3), hessian=["logits"])
focal_multiclass.case("gamma", rows(4, 3), gamma=1.5)
focal_multiclass.case("gamma 0", rows(4, 3), gamma=0.0)
focal_multiclass.case("one class", rows(3, 1))
focal_multiclass.case("many classes", rows(2, 67))
focal_multiclass.case("class of probability 0", dict(logits=[[-INF, 0.0, 1.0], [2.0, 0.0, -INF]], target=[1, 0]))
focal_multiclass.case("extreme", dict(logits=EXTREME_ROWS, target=[0, 0, 1, 2]))


@loss("hinge_embedding", "torch.nn.functional.hinge_embedding_loss", wrt=["x"])
def hinge_embedding(x, y, margin=1.0):
    return F.hinge_embedding_loss(x, y, margin=margin)


def distances(*shape):
    return lambda r: dict(x=r.uniform(*shape, high=2.0), y=r.signs(*shape))


hinge_embedding.case("typical", distances(7))
hinge_embedding.case("margin", distances(7), margin=0.5)
hinge_embedding.case("matrix", distances(3, 5))
hinge_embedding.case("long", lambda r: dict(x=r.grid(67), y=r.signs(67)))
hinge_embedding.case("kink", dict(x=[1.0, 1.0, 0.0, 2.0], y=[-1.0, 1.0, -1.0, -1.0]))


@loss("soft_margin", "by definition in torch, stable", wrt=["score"])
def soft_margin(score, y):
    return softplus(-y * score).mean()


soft_margin.case("typical", signed(7), hessian=["score"])
soft_margin.case("one", signed(1))
soft_margin.case("matrix", signed(3, 5))
soft_margin.case("long", lambda r: dict(score=r.grid(67), y=r.signs(67)))
soft_margin.case("extreme", dict(score=[1e3, -1e3, 1e30, 0.0, 90.0], y=[1.0, 1.0, -1.0, 1.0, -1.0]))
soft_margin.case("confident and right", dict(score=[1e3, -1e3, 60.0], y=[1.0, -1.0, 1.0]))


@loss("multi_margin", "torch.nn.functional.multi_margin_loss(p=1)", wrt=["logits"])
def multi_margin(logits, target, margin=1.0):
    return F.multi_margin_loss(logits, target, margin=margin)


multi_margin.case("typical", rows(4, 3))
multi_margin.case("margin", rows(4, 3), margin=0.5)
multi_margin.case("one class", rows(3, 1))
multi_margin.case("many classes", lambda r: dict(logits=r.grid(3, 67), target=r.integers(67, 3)))
multi_margin.case("kink", dict(logits=[[1.0, 0.0, 2.0], [0.0, 0.0, 0.0]], target=[0, 1]))
multi_margin.case("extreme", dict(logits=EXTREME_ROWS, target=[0, 0, 1, 2]))


@loss("multilabel_margin", "torch.nn.functional.multilabel_margin_loss", wrt=["logits"])
def multilabel_margin(logits, target):
    return F.multilabel_margin_loss(logits, target)


multilabel_margin.case(
    "typical", lambda r: dict(logits=r.normal(3, 4), target=[[3, 0, -1, -1], [1, -1, -1, -1], [2, 1, 0, -1]])
)
multilabel_margin.case(
    "after the first -1", lambda r: dict(logits=r.normal(2, 4), target=[[3, 0, -1, 1], [2, -1, 0, 3]])
)
multilabel_margin.case(
    "no label, all labels", lambda r: dict(logits=r.normal(3, 3), target=[[-1, 2, 0], [2, 0, 1], [0, -1, -1]])
)
multilabel_margin.case("one class", dict(logits=[[0.5], [2.0]], target=[[0], [-1]]))
multilabel_margin.case("kink", dict(logits=[[1.0, 0.0, 0.5]], target=[[0, -1, -1]]))


@loss("multilabel_soft_margin", "torch.nn.functional.multilabel_soft_margin_loss", wrt=["logits"])
def multilabel_soft_margin(logits, y):
    return F.multilabel_soft_margin_loss(logits, y)


multilabel_soft_margin.case("typical", bits(4, 3), hessian=["logits"])
multilabel_soft_margin.case("one", bits(1, 1))
multilabel_soft_margin.case("many rows", bits(23, 5))
multilabel_soft_margin.case("extreme", dict(logits=[EXTREME_LOGITS], y=[EXTREME_BITS]))


def poly_optax(logits, target, epsilon=2.0):
    return float(optax.losses.poly_loss_cross_entropy(logits.numpy(), target.numpy(), epsilon=epsilon).mean())


@loss(
    "poly_cross_entropy",
    "optax.losses.poly_loss_cross_entropy, gradient by definition in torch",
    wrt=["logits"],
    peer=poly_optax,
)
def poly_cross_entropy(logits, target, epsilon=2.0):
    rest = (target * (1 - torch.softmax(logits, 1))).sum(1)
    return F.cross_entropy(logits, target) + epsilon * rest.mean()


poly_cross_entropy.case("typical", soft_rows(4, 3))
poly_cross_entropy.case("epsilon", soft_rows(4, 3), epsilon=-1.0)
poly_cross_entropy.case("one class", soft_rows(3, 1), grad=None, note="the gradient is 0 up to rounding")
poly_cross_entropy.case("many classes", soft_rows(2, 67))
poly_cross_entropy.case("extreme", dict(logits=EXTREME_ROWS, target=EXTREME_TARGETS))


def ctc_peer(log_probs, targets, input_lengths, target_lengths, blank=0):
    """torch's value, and all alignments one by one where they are few."""
    reference = F.ctc_loss(log_probs, targets, input_lengths, target_lengths, blank=blank).item()
    if log_probs.shape[2] ** log_probs.shape[0] <= 3000:
        ctc.compare(
            "enumeration", reference, *enumerate_alignments(log_probs, targets, input_lengths, target_lengths, blank)
        )
    return reference


def enumerate_alignments(log_probs, targets, input_lengths, target_lengths, blank):
    total = 0.0
    for n, (length, symbols) in enumerate(zip(input_lengths.tolist(), target_lengths.tolist())):
        wanted = targets[n, :symbols].tolist()
        paths = [
            path
            for path in itertools.product(range(log_probs.shape[2]), repeat=length)
            if [c for c, _ in itertools.groupby(path) if c != blank] == wanted
        ]
        scores = [sum(log_probs[t, n, c] for t, c in enumerate(path)) for path in paths]
        nll = -torch.logsumexp(torch.stack(scores), 0) if scores else torch.tensor(INF)
        total = total + nll / max(symbols, 1)
    return (total / log_probs.shape[1]).item(), {}


@loss(
    "ctc",
    "torch.nn.functional.ctc_loss for the value; the true derivative by log_probs from the forward recursion in torch",
    wrt=["log_probs"],
    peer=ctc_peer,
)
def ctc(log_probs, targets, input_lengths, target_lengths, blank=0):
    total = 0.0
    for n, (length, symbols) in enumerate(zip(input_lengths.tolist(), target_lengths.tolist())):
        label = [blank] + [x for c in targets[n, :symbols].tolist() for x in (c, blank)]
        # Only positions that can be reached are kept, so that no -inf meets autograd.
        alpha = {at: log_probs[0, n, label[at]] for at in range(min(2, len(label)))}
        for t in range(1, length):
            alpha = {
                at: log_probs[t, n, label[at]] + torch.logsumexp(torch.stack(before), 0)
                for at in range(len(label))
                if (before := reachable(alpha, label, at))
            }
        ends = [alpha[at] for at in {len(label) - 1, len(label) - 2} if at in alpha]
        nll = -torch.logsumexp(torch.stack(ends), 0) if ends else torch.tensor(INF)
        total = total + nll / max(symbols, 1)
    return total / log_probs.shape[1]


def reachable(alpha, label, at):
    steps = [at, at - 1] + ([at - 2] if at >= 2 and label[at] != label[at - 2] else [])
    return [alpha[step] for step in steps if step in alpha]


def sequences(t, n, c, s, input_lengths, target_lengths):
    return lambda r: dict(
        log_probs=r.log_distribution(t, n, c),
        targets=r.integers(c, n, s, low=1),
        input_lengths=input_lengths,
        target_lengths=target_lengths,
    )


ctc.case("typical", sequences(5, 2, 3, 2, [5, 4], [2, 1]))
ctc.case("longer", sequences(12, 3, 5, 4, [12, 9, 7], [4, 3, 2]))
ctc.case("one time", sequences(1, 2, 3, 1, [1, 1], [1, 0]))
ctc.case(
    "repeats",
    lambda r: dict(log_probs=r.log_distribution(6, 1, 3), targets=[[1, 1, 2]], input_lengths=[6], target_lengths=[3]),
)
ctc.case(
    "empty label",
    lambda r: dict(
        log_probs=r.log_distribution(4, 2, 3), targets=[[1, 2], [2, 1]], input_lengths=[4, 3], target_lengths=[0, 2]
    ),
)
ctc.case(
    "another blank",
    lambda r: dict(log_probs=r.log_distribution(4, 1, 3), targets=[[0, 1]], input_lengths=[4], target_lengths=[2]),
    blank=2,
)
ctc.case(
    "exactly fits",
    lambda r: dict(log_probs=r.log_distribution(3, 1, 3), targets=[[1, 1]], input_lengths=[3], target_lengths=[2]),
)
ctc.case(
    "infeasible",
    lambda r: dict(log_probs=r.log_distribution(2, 1, 3), targets=[[1, 1]], input_lengths=[2], target_lengths=[2]),
    value=INF,
    grad=dict(log_probs=zeros(2, 1, 3)),
    note="no alignment: infinite, gradient 0; torch: NaN",
)
ctc.case(
    "extreme",
    dict(
        log_probs=[[[-1e3, 0.0]], [[0.0, -1e3]], [[-0.5, -1.0]]], targets=[[1]], input_lengths=[3], target_lengths=[1]
    ),
)
