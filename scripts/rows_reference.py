"""Writes tests/rows/<loss>.json: what the rows of a loss become, without a reduction, summed, averaged, with weights.

    pip install -r scripts/requirements.txt
    python scripts/rows_reference.py

The rows, their sum and their mean are those of the library that `source` names (`reduction="none"` and so on). With
weights, the rows are multiplied by them, and the mean is NumPy's `average` of the rows that count. Gradients are
autograd's, without a reduction those of the sum of the rows.
"""

import json
import sys
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
import torchvision.ops as tv  # noqa: E402
from peers.case import Random, digits, plain  # noqa: E402

OUTPUT = ROOT / "tests" / "rows"
LOSSES = {}


def loss(name, source, wrt, inputs, counts=None, own=None, check=True, **hyper):
    """The function below it is the library's, with a parameter `reduction`.

    counts: which rows count, from the inputs; all if nothing is said. own: the loss's own weights of its mean.
    check: whether the library has the reductions itself.
    """

    def register(function):
        LOSSES[name] = dict(
            source=source, wrt=wrt, inputs=inputs, counts=counts, own=own, check=check, function=function, hyper=hyper
        )
        return function

    return register


def two(r):
    return dict(yhat=r.grid(7, size=3), y=r.grid(7, size=3))


@loss("mse", "torch.nn.functional.mse_loss", ["yhat"], lambda r: dict(yhat=r.grid(2, 3, 2), y=r.grid(2, 3, 2)))
def mse(yhat, y, reduction):
    return F.mse_loss(yhat, y, reduction=reduction)


@loss("mae", "torch.nn.functional.l1_loss", ["yhat"], two)
def mae(yhat, y, reduction):
    return F.l1_loss(yhat, y, reduction=reduction)


@loss("huber", "torch.nn.functional.huber_loss", ["yhat"], two, delta=0.75)
def huber(yhat, y, reduction, delta):
    return F.huber_loss(yhat, y, delta=delta, reduction=reduction)


@loss("smooth_l1", "torch.nn.functional.smooth_l1_loss", ["yhat"], two, beta=0.5)
def smooth_l1(yhat, y, reduction, beta):
    return F.smooth_l1_loss(yhat, y, beta=beta, reduction=reduction)


@loss("bce", "torch.nn.functional.binary_cross_entropy", ["p"], lambda r: dict(p=r.uniform(6), y=r.bits(6)))
def bce(p, y, reduction):
    return F.binary_cross_entropy(p, y, reduction=reduction)


@loss(
    "bce_with_logits",
    "torch.nn.functional.binary_cross_entropy_with_logits",
    ["logits"],
    lambda r: dict(logits=r.normal(3, 4), y=r.bits(3, 4)),
    pos_weight=2.5,
)
def bce_with_logits(logits, y, reduction, pos_weight):
    return F.binary_cross_entropy_with_logits(logits, y, pos_weight=torch.tensor(pos_weight), reduction=reduction)


def classes(r):
    target = r.integers(4, 6)
    target[2] = -100
    return dict(logits=r.normal(6, 4, scale=2.0), target=target)


@loss(
    "cross_entropy",
    "torch.nn.functional.cross_entropy",
    ["logits"],
    classes,
    counts=lambda x: x["target"] != -100,
    label_smoothing=0.25,
)
def cross_entropy(logits, target, reduction, label_smoothing):
    return F.cross_entropy(logits, target, label_smoothing=label_smoothing, reduction=reduction)


@loss(
    "weighted_cross_entropy",
    "torch.nn.functional.cross_entropy with weight",
    ["logits"],
    lambda r: dict(weight=r.uniform(4, low=0.5, high=2.0), **classes(r)),
    counts=lambda x: x["target"] != -100,
    own=lambda x: x["weight"][x["target"].clamp(min=0)],
)
def weighted_cross_entropy(logits, target, weight, reduction):
    return F.cross_entropy(logits, target, weight=weight, reduction=reduction)


@loss(
    "nll",
    "torch.nn.functional.nll_loss",
    ["log_probs"],
    lambda r: dict(log_probs=r.log_distribution(5, 3), target=r.integers(3, 5)),
)
def nll(log_probs, target, reduction):
    return F.nll_loss(log_probs, target, reduction=reduction)


@loss(
    "kl_div",
    "torch.nn.functional.kl_div, summed over classes",
    ["log_probs"],
    lambda r: dict(log_probs=r.log_distribution(4, 3), target=r.distribution(4, 3)),
    check=False,
)
def kl_div(log_probs, target, reduction):
    rows = F.kl_div(log_probs, target, reduction="none").sum(1)
    return {"none": rows, "sum": rows.sum(), "mean": rows.mean()}[reduction]


@loss(
    "poisson_nll",
    "torch.nn.functional.poisson_nll_loss",
    ["log_rate"],
    lambda r: dict(log_rate=r.normal(5), y=r.integers(5, 5).double()),
)
def poisson_nll(log_rate, y, reduction):
    return F.poisson_nll_loss(log_rate, y, reduction=reduction)


@loss(
    "margin_ranking",
    "torch.nn.functional.margin_ranking_loss",
    ["x1", "x2"],
    lambda r: dict(x1=r.normal(6), x2=r.normal(6), y=r.signs(6)),
    margin=0.5,
)
def margin_ranking(x1, x2, y, reduction, margin):
    return F.margin_ranking_loss(x1, x2, y, margin=margin, reduction=reduction)


@loss(
    "cosine_embedding",
    "torch.nn.functional.cosine_embedding_loss",
    ["x1", "x2"],
    lambda r: dict(x1=r.normal(4, 3), x2=r.normal(4, 3), y=r.signs(4)),
)
def cosine_embedding(x1, x2, y, reduction):
    return F.cosine_embedding_loss(x1, x2, y, reduction=reduction)


@loss(
    "triplet_margin",
    "torch.nn.functional.triplet_margin_loss",
    ["anchor", "positive", "negative"],
    lambda r: dict(anchor=r.normal(4, 3), positive=r.normal(4, 3), negative=r.normal(4, 3)),
)
def triplet_margin(anchor, positive, negative, reduction):
    return F.triplet_margin_loss(anchor, positive, negative, reduction=reduction)


@loss(
    "multi_margin",
    "torch.nn.functional.multi_margin_loss",
    ["logits"],
    lambda r: dict(logits=r.normal(5, 4), target=r.integers(4, 5)),
)
def multi_margin(logits, target, reduction):
    return F.multi_margin_loss(logits, target, reduction=reduction)


@loss(
    "multilabel_margin",
    "torch.nn.functional.multilabel_margin_loss",
    ["logits"],
    lambda r: dict(logits=r.normal(3, 4), target=torch.tensor([[2, 0, -1, 1], [3, -1, -1, -1], [0, 1, 2, 3]])),
)
def multilabel_margin(logits, target, reduction):
    return F.multilabel_margin_loss(logits, target, reduction=reduction)


@loss(
    "soft_margin",
    "torch.nn.functional.soft_margin_loss",
    ["score"],
    lambda r: dict(score=r.normal(6, scale=3.0), y=r.signs(6)),
)
def soft_margin(score, y, reduction):
    return F.soft_margin_loss(score, y, reduction=reduction)


@loss(
    "focal",
    "torchvision.ops.sigmoid_focal_loss",
    ["logits"],
    lambda r: dict(logits=r.normal(3, 3), y=r.bits(3, 3)),
)
def focal(logits, y, reduction):
    return tv.sigmoid_focal_loss(logits, y, reduction=reduction)


@loss(
    "giou",
    "torchvision.ops.generalized_box_iou_loss",
    ["pred"],
    lambda r: dict(pred=r.boxes(5), target=r.boxes(5)),
)
def giou(pred, target, reduction):
    return tv.generalized_box_iou_loss(pred, target, reduction=reduction)


@loss(
    "ctc",
    "torch.nn.functional.ctc_loss, each sequence divided by its length",
    ["log_probs"],
    lambda r: dict(
        log_probs=r.normal(6, 3, 4),
        targets=torch.tensor([[1, 2, 2], [3, 1, 0], [2, 0, 0]]),
        input_lengths=torch.tensor([6, 5, 4]),
        target_lengths=torch.tensor([3, 2, 1]),
    ),
    check=False,
)
def ctc(log_probs, targets, input_lengths, target_lengths, reduction):
    # Forward variables as in the definition: torch's own gradient is right behind a log_softmax only.
    rows = []
    for n in range(len(input_lengths)):
        s, t = int(target_lengths[n]), int(input_lengths[n])
        label = [0] + [x for k in targets[n, :s].tolist() for x in (k, 0)]
        alpha = [log_probs[0, n, label[k]] if k < 2 else torch.tensor(-torch.inf) for k in range(len(label))]
        for i in range(1, t):
            step = []
            for k in range(len(label)):
                terms = [alpha[k]] + ([alpha[k - 1]] if k > 0 else [])
                if k > 1 and label[k] not in (0, label[k - 2]):
                    terms.append(alpha[k - 2])
                finite = [x for x in terms if x > -torch.inf]
                total = torch.logsumexp(torch.stack(finite), 0) if finite else torch.tensor(-torch.inf)
                step.append(total + log_probs[i, n, label[k]])
            alpha = step
        rows.append(-torch.logsumexp(torch.stack(alpha[-2:]), 0) / s)
    rows = torch.stack(rows)
    return {"none": rows, "sum": rows.sum(), "mean": rows.mean()}[reduction]


@loss(
    "ranknet",
    "its definition in torch: all pairs, 0 where they are not ordered",
    ["scores"],
    lambda r: dict(scores=r.normal(2, 3), relevance=r.integers(3, 2, 3).double()),
    counts=lambda x: x["relevance"][:, :, None] > x["relevance"][:, None, :],
    check=False,
)
def ranknet(scores, relevance, reduction):
    counts = relevance[:, :, None] > relevance[:, None, :]
    rows = torch.where(counts, F.softplus(scores[:, None, :] - scores[:, :, None], threshold=1e9), 0.0)
    return {"none": rows, "sum": rows.sum(), "mean": rows.sum() / counts.sum()}[reduction]


@loss(
    "mape",
    "100 times sklearn.metrics.mean_absolute_percentage_error",
    ["yhat"],
    lambda r: dict(yhat=r.normal(5), y=r.normal(5)),
    check=False,
)
def mape(yhat, y, reduction):
    rows = 100 * ((y - yhat) / y.abs()).abs()
    return {"none": rows, "sum": rows.sum(), "mean": rows.mean()}[reduction]


@loss(
    "approx_ndcg",
    "its definition in torch",
    ["scores"],
    lambda r: dict(scores=r.normal(3, 4), relevance=r.integers(3, 3, 4).double()),
    check=False,
)
def approx_ndcg(scores, relevance, reduction):
    difference = torch.sigmoid(scores[:, None, :] - scores[:, :, None])
    rank = 1 + difference.sum(2) - 0.5
    gain = 2**relevance - 1
    dcg = (gain / torch.log2(1 + rank)).sum(1)
    ideal = (gain.sort(1, descending=True).values / torch.log2(2 + torch.arange(4.0))).sum(1)
    rows = -torch.where(ideal > 0, dcg / ideal, 0.0)
    return {"none": rows, "sum": rows.sum(), "mean": rows.mean()}[reduction]


def result(value, leaves, wrt):
    number = value.sum() if value.dim() else value
    grads = torch.autograd.grad(number, [leaves[k] for k in wrt])
    return dict(value=digits(value.tolist()), grad={k: digits(g.tolist()) for k, g in zip(wrt, grads)})


def case(name, entry, weights):
    r = Random(zlib.crc32(f"rows/{name}".encode()))
    inputs = entry["inputs"](r)
    function, wrt, hyper = entry["function"], entry["wrt"], entry["hyper"]

    def run(reduction, weigh=None):
        leaves = {k: x.clone().requires_grad_(k in wrt) for k, x in inputs.items()}
        if weigh is None:
            return result(function(**leaves, reduction=reduction, **hyper), leaves, wrt)
        rows = function(**leaves, reduction="none", **hyper)
        weighted = weigh * rows
        counts = entry["counts"](inputs) if entry["counts"] else torch.ones_like(rows, dtype=torch.bool)
        own = entry["own"](inputs) if entry["own"] else torch.ones_like(rows)
        if reduction == "none":
            return result(weighted, leaves, wrt)
        if reduction == "sum":
            return result(weighted.sum(), leaves, wrt)
        mean = result(weighted.sum() / (weigh * own)[counts].sum(), leaves, wrt)
        # The row term of a loss with weights of its own has them already.
        plain_rows = (rows / own).detach()[counts].numpy()
        expected = np.average(plain_rows, weights=(weigh * own)[counts].numpy())
        assert np.isclose(mean["value"], expected, rtol=1e-12), (name, mean["value"], expected)
        return mean

    shape = function(**inputs, reduction="none", **hyper).shape
    weigh = weights(r, shape)
    out = dict(inputs={k: x.tolist() for k, x in inputs.items()} | dict(sample_weight=weigh.tolist()))
    if hyper:
        out["set"] = hyper
    for reduction in ["none", "sum", "mean"]:
        out[reduction] = run(reduction)
    for reduction in ["none", "sum", "mean"]:
        out[f"weighted {reduction}"] = run(reduction, weigh)
    if entry["check"] and not entry["own"]:
        rows = np.array(out["none"]["value"])
        assert np.isclose(rows.sum(), out["sum"]["value"], rtol=1e-12), name
    return out


def main():
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for name, entry in LOSSES.items():
        found = case(name, entry, lambda r, shape: r.integers(9, *shape).double() / 4)
        lines = [f'  "loss": {json.dumps(name)}', f'  "source": {json.dumps(entry["source"])}']
        lines += [f"  {json.dumps(key)}: {json.dumps(plain(x), allow_nan=False)}" for key, x in found.items()]
        (OUTPUT / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
