"""Metric learning, ranking, contrastive: torch, and definitions in torch; ListMLE also as the product of choices."""

import math

import torch
import torch.nn.functional as F

from .case import NAN, autograd, loss, softplus, zeros


@loss("margin_ranking", "torch.nn.functional.margin_ranking_loss", wrt=["x1", "x2"])
def margin_ranking(x1, x2, y, margin=0.0):
    return F.margin_ranking_loss(x1, x2, y, margin=margin)


def pairs(*shape):
    return lambda r: dict(x1=r.normal(*shape), x2=r.normal(*shape), y=r.signs(*shape))


margin_ranking.case("typical", pairs(7))
margin_ranking.case("margin", pairs(7), margin=0.5)
margin_ranking.case("matrix", pairs(3, 5), margin=1.0)
margin_ranking.case("long", lambda r: dict(x1=r.grid(67), x2=r.grid(67), y=r.signs(67)), margin=0.25)
margin_ranking.case("kink", dict(x1=[1.0, 2.0], x2=[1.0, 2.0], y=[1.0, -1.0]))
margin_ranking.case("kink at the margin", dict(x1=[1.5, 2.0], x2=[1.0, 2.5], y=[1.0, -1.0]), margin=0.5)


@loss("triplet_margin", "torch.nn.functional.triplet_margin_loss", wrt=["anchor", "positive", "negative"])
def triplet_margin(anchor, positive, negative, margin=1.0, eps=1e-6):
    return F.triplet_margin_loss(anchor, positive, negative, margin=margin, eps=eps)


def triplets(n, d):
    return lambda r: dict(anchor=r.normal(n, d), positive=r.normal(n, d), negative=r.normal(n, d))


triplet_margin.case("typical", triplets(4, 3))
triplet_margin.case("margin", triplets(7, 5), margin=0.25, eps=1e-3)
triplet_margin.case("one dimension", triplets(5, 1))
triplet_margin.case("many dimensions", triplets(2, 67))
triplet_margin.case("easy", dict(anchor=[[0.0, 0.0]], positive=[[0.0, 1.0]], negative=[[3.0, 4.0]]))
triplet_margin.case(
    "anchor equals positive", dict(anchor=[[1.0, 2.0]], positive=[[1.0, 2.0]], negative=[[1.5, 2.0]]), eps=0.0
)
triplet_margin.case("kink", dict(anchor=[[0.0, 0.0]], positive=[[0.0, 1.0]], negative=[[2.0, 0.0]]), eps=0.0)


@loss("cosine_similarity", "torch.nn.functional.cosine_similarity", wrt=["x1", "x2"])
def cosine_similarity(x1, x2, eps=1e-8):
    return (1 - F.cosine_similarity(x1, x2, dim=1, eps=eps)).mean()


def two(n, d):
    return lambda r: dict(x1=r.normal(n, d), x2=r.normal(n, d))


cosine_similarity.case("typical", two(4, 3))
cosine_similarity.case("one dimension", two(5, 1), grad=None, note="the gradient is 0 up to rounding")
cosine_similarity.case("many dimensions", two(2, 67))
cosine_similarity.case("large and small", dict(x1=[[3e5, 4e5], [3e-5, 4e-5]], x2=[[1e-5, 2e-5], [1e5, -2e5]]))
cosine_similarity.case(
    "row of zeros",
    dict(x1=[[0.0, 0.0], [3.0, 4.0]], x2=[[1.0, 2.0], [4.0, 3.0]]),
    grad=None,
    note="the gradient below eps is free",
)


def cosine_embedding_torch(x1, x2, y, margin=0.0):
    return F.cosine_embedding_loss(x1, x2, y, margin=margin)


@loss(
    "cosine_embedding",
    "torch.nn.functional.cosine_embedding_loss; by definition where its 1e-12, rounded to f32, shows",
    wrt=["x1", "x2"],
    peer=autograd(cosine_embedding_torch, ["x1", "x2"]),
)
def cosine_embedding(x1, x2, y, margin=0.0):
    cosine = (x1 * x2).sum(1) / (((x1**2).sum(1) + 1e-12) * ((x2**2).sum(1) + 1e-12)).sqrt()
    return torch.where(y == 1, 1 - cosine, F.relu(cosine - margin)).mean()


def labelled(n, d):
    return lambda r: dict(x1=r.normal(n, d), x2=r.normal(n, d), y=r.signs(n))


cosine_embedding.case("typical", labelled(4, 3))
cosine_embedding.case("margin", labelled(7, 5), margin=0.25)
cosine_embedding.case("one dimension", labelled(5, 1), grad=None, note="the gradient is 0 up to rounding")
cosine_embedding.case("many dimensions", labelled(2, 67))
cosine_embedding.case(
    "row of zeros", dict(x1=[[0.0, 0.0], [3.0, 4.0]], x2=[[1.0, 2.0], [4.0, 3.0]], y=[1.0, -1.0]), peer=False
)
cosine_embedding.case("kink", dict(x1=[[3.0, 0.0], [0.0, 2.0]], x2=[[0.0, 4.0], [1.0, 0.0]], y=[-1.0, -1.0]))


@loss("ranknet", "by definition in torch", wrt=["scores"])
def ranknet(scores, relevance):
    better = relevance[:, :, None] > relevance[:, None, :]
    return softplus((scores[:, None, :] - scores[:, :, None])[better]).mean()


def ranked(q, l):
    return lambda r: dict(scores=r.normal(q, l), relevance=r.integers(4, q, l).double())


NO_PAIRS = dict(scores=[[1.0, 2.0], [3.0, 5.0]], relevance=[[1.0, 1.0], [0.0, 0.0]])
ranknet.case("typical", ranked(3, 5), hessian=["scores"])
ranknet.case("long", ranked(1, 23))
ranknet.case(
    "a query without pairs",
    dict(scores=[[1.0, 2.0, 0.5], [3.0, 5.0, 4.0]], relevance=[[1.0, 1.0, 1.0], [0.0, 2.0, 2.0]]),
)
ranknet.case("no pairs", NO_PAIRS, value=NAN, grad=dict(scores=zeros(2, 2)), note="a mean of nothing")
ranknet.case(
    "one item",
    dict(scores=[[1.0]], relevance=[[1.0]]),
    value=NAN,
    grad=dict(scores=zeros(1, 1)),
    note="a mean of nothing",
)
ranknet.case("extreme", dict(scores=[[-1e3, 1e3, 0.0]], relevance=[[2.0, 1.0, 0.0]]))


@loss("bpr", "by definition in torch", wrt=["positive", "negative"])
def bpr(positive, negative):
    return softplus(negative - positive).mean()


def chosen(*shape):
    return lambda r: dict(positive=r.normal(*shape), negative=r.normal(*shape))


bpr.case("typical", chosen(7), hessian=["positive", "negative"])
bpr.case("one", chosen(1))
bpr.case("matrix", chosen(3, 5))
bpr.case("long", lambda r: dict(positive=r.grid(67), negative=r.grid(67)))
bpr.case("extreme", dict(positive=[-1e3, 1e3, 0.0, 1e30], negative=[1e3, -1e3, 0.0, 0.0]))


@loss("listnet", "by definition in torch", wrt=["scores"])
def listnet(scores, relevance):
    return F.cross_entropy(scores, torch.softmax(relevance, 1))


listnet.case("typical", ranked(3, 5), hessian=["scores"])
listnet.case("one item", dict(scores=[[1.0], [2.0]], relevance=[[1.0], [0.0]]))
listnet.case("long", ranked(1, 67))
listnet.case("extreme", dict(scores=[[1e3, 0.0, -1e3], [0.0, 1e3, 0.0]], relevance=[[0.0, 1e3, 1e3], [3.0, 3.0, -1e3]]))


def plackett_luce(scores, relevance):
    """The likelihood as a product of choices, one after the other."""
    total = 0.0
    for s, order in zip(scores, torch.argsort(-relevance, dim=1, stable=True)):
        left = order.tolist()
        while left:
            total = total - torch.log_softmax(s[left], 0)[0]
            left.pop(0)
    return total / len(scores)


@loss("listmle", "by definition in torch", wrt=["scores"], peer=plackett_luce)
def listmle(scores, relevance):
    s = scores.gather(1, torch.argsort(-relevance, dim=1, stable=True))
    remaining = s.flip(1).logcumsumexp(1).flip(1)
    return (remaining - s).sum(1).mean()


listmle.case("typical", lambda r: dict(scores=r.normal(3, 5), relevance=r.normal(3, 5)))
listmle.case("ties", ranked(4, 7))
listmle.case("all equal", lambda r: dict(scores=r.normal(2, 5), relevance=zeros(2, 5)))
listmle.case("one item", dict(scores=[[1.0], [2.0]], relevance=[[1.0], [0.0]]), grad=dict(scores=[[0.0], [0.0]]))
listmle.case("long", ranked(1, 67))
listmle.case(
    "extreme", dict(scores=[[1e3, 0.0, -1e3], [0.0, 1e3, 500.0]], relevance=[[0.0, 1.0, 2.0], [3.0, 3.0, 1.0]])
)


@loss("approx_ndcg", "by definition in torch", wrt=["scores"])
def approx_ndcg(scores, relevance, temperature=1.0):
    ahead = torch.sigmoid((scores[:, None, :] - scores[:, :, None]) / temperature)
    rank = 1 + (ahead * (1 - torch.eye(scores.shape[1]))).sum(2)
    gain = 2**relevance - 1
    dcg = (gain / torch.log2(1 + rank)).sum(1)
    places = torch.arange(scores.shape[1])
    ideal = (gain.sort(1, descending=True).values / torch.log2(2.0 + places)).sum(1)
    some = ideal > 0
    return -(dcg[some] / ideal[some]).sum() / len(scores)


approx_ndcg.case("typical", ranked(3, 5))
approx_ndcg.case("temperature", ranked(3, 5), temperature=0.25)
approx_ndcg.case("nothing relevant", dict(scores=[[1.0, 2.0], [0.5, 0.25]], relevance=[[0.0, 0.0], [0.0, 1.0]]))
approx_ndcg.case("nothing relevant anywhere", dict(scores=[[1.0, 2.0]], relevance=[[0.0, 0.0]]))
approx_ndcg.case("one item", dict(scores=[[1.0], [2.0]], relevance=[[1.0], [3.0]]))
approx_ndcg.case("long", ranked(1, 23))
approx_ndcg.case("extreme", dict(scores=[[1e3, 0.0, -1e3]], relevance=[[0.0, 1.0, 2.0]]))


def unit(x):
    """Rows of length 1. Rows shorter than 1e-12 are held: they are only divided by it, without a gradient."""
    length = x.norm(dim=1, keepdim=True)
    held = length <= 1e-12
    return torch.where(held, x.detach() / 1e-12, x / torch.where(held, 1.0, length))


@loss("info_nce", "by definition in torch", wrt=["query", "key"])
def info_nce(query, key, temperature=0.07):
    scores = unit(query) @ unit(key).T / temperature
    return F.cross_entropy(scores, torch.arange(len(query)))


def queries(n, d):
    return lambda r: dict(query=r.normal(n, d), key=r.normal(n, d))


info_nce.case("typical", queries(4, 3))
info_nce.case("temperature", queries(4, 3), temperature=0.5)
info_nce.case("one row", queries(1, 5))
info_nce.case("more rows", queries(13, 7))
info_nce.case("many dimensions", queries(3, 67))
info_nce.case("row of zeros", dict(query=[[0.0, 0.0], [3.0, 4.0]], key=[[1.0, 2.0], [0.0, 0.0]]), temperature=0.5)
info_nce.case("large and small", dict(query=[[3e15, 4e15], [1e-5, 0.0]], key=[[1.0, 2.0], [3e-3, 4e-3]]))


@loss("nt_xent", "by definition in torch", wrt=["z1", "z2"])
def nt_xent(z1, z2, temperature=0.5):
    z = unit(torch.cat([z1, z2]))
    scores = (z @ z.T / temperature).masked_fill(torch.eye(len(z), dtype=torch.bool), -math.inf)
    return F.cross_entropy(scores, torch.arange(len(z)).roll(len(z1)))


def views(n, d):
    return lambda r: dict(z1=r.normal(n, d), z2=r.normal(n, d))


nt_xent.case("typical", views(4, 3))
nt_xent.case("temperature", views(4, 3), temperature=0.1)
nt_xent.case("one row", views(1, 5))
nt_xent.case("more rows", views(7, 5))
nt_xent.case("many dimensions", views(2, 67))
nt_xent.case("row of zeros", dict(z1=[[0.0, 0.0], [3.0, 4.0]], z2=[[1.0, 2.0], [0.0, 0.0]]))


@loss("supcon", "by definition in torch", wrt=["z"])
def supcon(z, label, temperature=0.1):
    u = unit(z)
    others = ~torch.eye(len(u), dtype=torch.bool)
    scores = u @ u.T / temperature
    log_total = scores.masked_fill(~others, -math.inf).logsumexp(1)
    total = 0.0 * scores.sum()
    for n in range(len(u)):
        positives = scores[n][(label == label[n]) & others[n]]
        if len(positives):
            total = total + log_total[n] - positives.mean()
    return total / len(u)


def classes(n, d, c):
    return lambda r: dict(z=r.normal(n, d), label=r.integers(c, n))


supcon.case("typical", classes(5, 3, 2))
supcon.case("temperature", classes(5, 3, 2), temperature=0.5)
supcon.case("some without positives", lambda r: dict(z=r.normal(5, 3), label=[4, 1, 4, 2, 9]))
supcon.case("none with positives", lambda r: dict(z=r.normal(3, 3), label=[0, 1, 2]))
supcon.case("one class", lambda r: dict(z=r.normal(4, 3), label=[7, 7, 7, 7]))
supcon.case("more rows", classes(13, 7, 3))
supcon.case("row of zeros", dict(z=[[0.0, 0.0], [3.0, 4.0], [1.0, 0.0]], label=[1, 1, 1]))
