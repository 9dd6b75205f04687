"""Segmentation and boxes: torchvision, and definitions in torch."""

import torch
import torch.nn.functional as F
import torchvision.ops
from torchvision.ops._utils import _loss_inter_union

from .case import loss


def images(n, p, scale=2.0):
    return lambda r: dict(logits=r.normal(n, p, scale=scale), target=r.bits(n, p))


EXTREME_IMAGES = dict(
    logits=[[1e3, -1e3, 1e3, -1e3], [-1e3, -1e3, -1e3, -1e3], [90.0, -90.0, 0.0, 1.0]],
    target=[[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 1.0]],
)


@loss("dice", "by definition in torch", wrt=["logits"])
def dice(logits, target, smooth=1.0):
    p = torch.sigmoid(logits)
    return (1 - (2 * (p * target).sum(1) + smooth) / (p.sum(1) + target.sum(1) + smooth)).mean()


@loss("jaccard", "by definition in torch", wrt=["logits"])
def jaccard(logits, target, smooth=1.0):
    p = torch.sigmoid(logits)
    both = (p * target).sum(1)
    return (1 - (both + smooth) / (p.sum(1) + target.sum(1) - both + smooth)).mean()


@loss("tversky", "by definition in torch (as Keras, with smooth)", wrt=["logits"])
def tversky(logits, target, alpha=0.5, beta=0.5, smooth=1.0):
    p = torch.sigmoid(logits)
    tp = (p * target).sum(1)
    fp = (p * (1 - target)).sum(1)
    fn = ((1 - p) * target).sum(1)
    return (1 - (tp + smooth) / (tp + alpha * fp + beta * fn + smooth)).mean()


for overlap in (dice, jaccard, tversky):
    overlap.case("typical", images(3, 5), hessian=["logits"])
    overlap.case("smooth", images(3, 5), smooth=0.125)
    overlap.case("one pixel", images(3, 1))
    for pixels in (2, 4, 7, 8, 9, 15, 16, 17):  # around the lanes of vector code
        overlap.case(f"{pixels} pixels", images(2, pixels))
    overlap.case("many pixels", images(2, 131))
    overlap.case("soft targets", lambda r: dict(logits=r.normal(2, 7), target=r.uniform(2, 7)))
    overlap.case("empty image", lambda r: dict(logits=r.normal(1, 4), target=[[0.0, 0.0, 0.0, 0.0]]))
    overlap.case("extreme", EXTREME_IMAGES)
tversky.case("alpha, beta", images(3, 5), alpha=0.3, beta=0.7)


@loss("lovasz_hinge", "by definition in torch", wrt=["logits"])
def lovasz_hinge(logits, target):
    total = 0.0
    for x, t in zip(logits, target):
        errors, order = (1 - x * (2 * t - 1)).sort(descending=True, stable=True)
        t = t[order]
        jaccard_loss = 1 - (t.sum() - t.cumsum(0)) / (t.sum() + (1 - t).cumsum(0))
        growth = jaccard_loss.diff(prepend=torch.zeros(1))
        total = total + (F.relu(errors) * growth).sum()
    return total / len(logits)


lovasz_hinge.case("typical", images(3, 5))
lovasz_hinge.case("one pixel", images(3, 1))
lovasz_hinge.case("many pixels", images(2, 67))
lovasz_hinge.case(
    "ties",
    dict(logits=[[0.5, -0.5, 0.5, 1.0], [0.0, 0.0, 0.0, 0.0]], target=[[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 1.0]]),
)
lovasz_hinge.case("empty image", dict(logits=[[-2.0, 0.0, 0.5]], target=[[0.0, 0.0, 0.0]]))
lovasz_hinge.case("full image", dict(logits=[[-2.0, 0.0, 0.5]], target=[[1.0, 1.0, 1.0]]))
lovasz_hinge.case("kink", dict(logits=[[1.0, -1.0, 3.0]], target=[[1.0, 0.0, 0.0]]))
lovasz_hinge.case("extreme", EXTREME_IMAGES)


@loss("iou", "the terms of torchvision.ops, one minus their ratio", wrt=["pred"])
def iou(pred, target, eps=1e-7):
    intersection, union = _loss_inter_union(pred, target)
    return (1 - intersection / (union + eps)).mean()


@loss("giou", "torchvision.ops.generalized_box_iou_loss", wrt=["pred"])
def giou(pred, target, eps=1e-7):
    return torchvision.ops.generalized_box_iou_loss(pred, target, reduction="mean", eps=eps)


@loss("diou", "torchvision.ops.distance_box_iou_loss", wrt=["pred"])
def diou(pred, target, eps=1e-7):
    return torchvision.ops.distance_box_iou_loss(pred, target, reduction="mean", eps=eps)


def ciou_torchvision(pred, target, eps=1e-7):
    return torchvision.ops.complete_box_iou_loss(pred, target, reduction="mean", eps=eps)


@loss(
    "ciou",
    "torchvision.ops.complete_box_iou_loss; with another eps by definition (torchvision keeps 1e-7 in the distance)",
    wrt=["pred"],
    peer=ciou_torchvision,
)
def ciou(pred, target, eps=1e-7):
    intersection, union = _loss_inter_union(pred, target)
    angles = [torch.atan((box[:, 2] - box[:, 0]) / (box[:, 3] - box[:, 1])) for box in (target, pred)]
    v = 4 / torch.pi**2 * (angles[0] - angles[1]) ** 2
    alpha = (v / (1 - intersection / (union + eps) + v + eps)).detach()
    return diou(pred, target, eps) + (alpha * v).mean()


APART = [[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 2.0]], [[2.0, 3.0, 3.0, 5.0], [1.5, 0.5, 2.0, 1.0]]
INSIDE = [[0.0, 0.0, 4.0, 4.0], [1.0, 1.0, 2.0, 1.5]], [[1.0, 1.0, 2.0, 3.0], [0.0, 0.0, 4.0, 4.0]]
TOUCHING = [[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]], [[1.0, 0.0, 2.0, 1.0], [1.0, 1.0, 2.0, 3.0]]
SHARED_SIDES = [[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 3.0]], [[0.0, 0.0, 3.0, 2.0], [0.0, 1.0, 2.0, 2.0]]

for box_loss in (iou, giou, diou, ciou):
    box_loss.case("typical", lambda r: dict(pred=r.boxes(7), target=r.boxes(7)))
    box_loss.case("eps", lambda r: dict(pred=r.boxes(3), target=r.boxes(3)), eps=0.125, peer=False)
    box_loss.case("many", lambda r: dict(pred=r.boxes(67), target=r.boxes(67)))
    for name, (pred, target) in dict(apart=APART, inside=INSIDE, touching=TOUCHING).items():
        box_loss.case(name, dict(pred=pred, target=target))
    box_loss.case("shared sides", dict(pred=SHARED_SIDES[0], target=SHARED_SIDES[1]))
    box_loss.case("equal", dict(pred=[[1.0, 2.0, 3.0, 5.0]], target=[[1.0, 2.0, 3.0, 5.0]]), eps=0.5, peer=False)
    box_loss.case("pixels", dict(pred=[[100.0, 200.0, 400.0, 500.0]], target=[[150.0, 180.0, 380.0, 520.0]]))


def harmonized(g, bins):
    """N / (elements in its bin) / (bins in use), for each element."""
    place = (g * bins).floor().long().clamp(max=bins - 1)
    edge = (g * bins).round()
    inner = (edge > 0) & (edge < bins)
    assert ((g * bins - edge).abs()[inner & (g * bins != edge)] > 1e-5).all(), "too close to a bin's edge for f32"
    members = torch.bincount(place, minlength=bins)
    return (len(g) / members[place] / (members > 0).sum()).detach()


@loss("ghm_c", "the paper's formula in torch, without momentum", wrt=["logits"])
def ghm_c(logits, y, bins=10):
    g = (torch.sigmoid(logits) - y).abs().detach()
    return (harmonized(g, bins) * F.binary_cross_entropy_with_logits(logits, y, reduction="none")).mean()


ghm_c.case("typical", lambda r: dict(logits=r.normal(9, scale=2.0), y=r.bits(9)))
ghm_c.case("bins", lambda r: dict(logits=r.normal(9, scale=2.0), y=r.bits(9)), bins=3)
ghm_c.case("one bin", lambda r: dict(logits=r.normal(5), y=r.bits(5)), bins=1)
ghm_c.case("one", dict(logits=[0.25], y=[1.0]))
ghm_c.case("many", lambda r: dict(logits=r.grid(67, size=3.0), y=r.bits(67)), bins=7)
ghm_c.case("extreme", dict(logits=[1e3, -1e3, 0.0, 1e3], y=[0.0, 1.0, 1.0, 1.0]))


@loss("ghm_r", "the paper's formula in torch, without momentum", wrt=["yhat"])
def ghm_r(yhat, y, mu=0.02, bins=10):
    d = yhat - y
    asl = (d**2 + mu**2).sqrt()
    terms = d**2 / (asl + mu)  # asl - mu, without cancellation
    return (harmonized((d.abs() / asl).detach(), bins) * terms).mean()


def errors(count, scale=0.03):
    return lambda r: dict(yhat=r.normal(count, scale=scale), y=r.normal(count, scale=scale))


ghm_r.case("typical", errors(9))
ghm_r.case("mu, bins", errors(9, scale=0.5), mu=0.25, bins=3)
ghm_r.case("one bin", errors(5), bins=1)
ghm_r.case("many", errors(67), bins=7)
ghm_r.case("exact", dict(yhat=[1.0, 2.0, 0.5], y=[1.0, 2.0, 0.0]))
ghm_r.case("extreme", dict(yhat=[1e3, -1e6, 0.0], y=[0.0, 0.0, 0.0]))
