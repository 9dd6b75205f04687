"""Generative models and distances of distributions: definitions in torch, SciPy for wasserstein_1d."""

import scipy.stats
import torch
import torch.nn.functional as F

from .case import loss, softplus


def samples(real, fake, names=("real", "fake"), scale=1.0):
    return lambda r: {names[0]: r.normal(real, scale=scale), names[1]: r.normal(fake, scale=scale)}


LOGITS = ("real_logits", "fake_logits")
EXTREME = [1e3, -1e3, 0.0, 90.0, -90.0]


@loss("gan_discriminator", "by definition in torch", wrt=["real_logits", "fake_logits"])
def gan_discriminator(real_logits, fake_logits):
    return softplus(-real_logits).mean() + softplus(fake_logits).mean()


gan_discriminator.case("typical", samples(7, 5, LOGITS), hessian=["real_logits", "fake_logits"])
gan_discriminator.case("one", samples(1, 1, LOGITS))
gan_discriminator.case("long", lambda r: dict(real_logits=r.grid(67), fake_logits=r.grid(131)))
gan_discriminator.case("extreme", dict(real_logits=EXTREME, fake_logits=EXTREME[::-1]))


@loss("gan_generator", "by definition in torch", wrt=["fake_logits"])
def gan_generator(fake_logits):
    return softplus(-fake_logits).mean()


@loss("gan_generator_minimax", "by definition in torch, stable", wrt=["fake_logits"])
def gan_generator_minimax(fake_logits):
    return -softplus(fake_logits).mean()


for generator in (gan_generator, gan_generator_minimax):
    generator.case("typical", lambda r: dict(fake_logits=r.normal(7, scale=2.0)), hessian=["fake_logits"])
    generator.case("one", lambda r: dict(fake_logits=r.normal(1)))
    generator.case("long", lambda r: dict(fake_logits=r.grid(131)))
    generator.case("extreme", dict(fake_logits=EXTREME))
    generator.case("-90", dict(fake_logits=[-90.0, -40.0]))
    generator.case("90", dict(fake_logits=[90.0, 40.0]))


@loss("lsgan_discriminator", "by definition in torch", wrt=["real", "fake"])
def lsgan_discriminator(real, fake):
    return 0.5 * ((real - 1) ** 2).mean() + 0.5 * (fake**2).mean()


lsgan_discriminator.case("typical", samples(7, 5))
lsgan_discriminator.case("one", samples(1, 1))
lsgan_discriminator.case("long", lambda r: dict(real=r.grid(131), fake=r.grid(67)))
lsgan_discriminator.case("exact", dict(real=[1.0, 1.0], fake=[0.0]))


@loss("hinge_gan_discriminator", "by definition in torch", wrt=["real", "fake"])
def hinge_gan_discriminator(real, fake):
    zero = torch.zeros(())
    return torch.maximum(1 - real, zero).mean() + torch.maximum(1 + fake, zero).mean()


hinge_gan_discriminator.case("typical", samples(7, 5, scale=2.0))
hinge_gan_discriminator.case("one", samples(1, 1))
hinge_gan_discriminator.case("long", lambda r: dict(real=r.grid(67), fake=r.grid(131)))
hinge_gan_discriminator.case("kink", dict(real=[1.0, 2.0, 0.0], fake=[-1.0, -2.0, 0.0]))


@loss("wasserstein_critic", "by definition in torch", wrt=["real", "fake"])
def wasserstein_critic(real, fake):
    return fake.mean() - real.mean()


wasserstein_critic.case("typical", samples(7, 5))
wasserstein_critic.case("one", samples(1, 1))
wasserstein_critic.case("long", lambda r: dict(real=r.grid(131), fake=r.grid(67)))
wasserstein_critic.case("nothing real", dict(real=[], fake=[1.0, 2.0]), grad=dict(real=[], fake=[0.5, 0.5]))
wasserstein_critic.case("extreme", dict(real=[1e30, -1e30], fake=[1e10, 1.0]))


@loss("wasserstein_generator", "by definition in torch", wrt=["fake"])
def wasserstein_generator(fake):
    return -fake.mean()


wasserstein_generator.case("typical", lambda r: dict(fake=r.normal(7)))
wasserstein_generator.case("one", lambda r: dict(fake=r.normal(1)))
wasserstein_generator.case("long", lambda r: dict(fake=r.grid(131)))


@loss("gradient_penalty", "by definition in torch", wrt=["g"])
def gradient_penalty(g, weight=10.0):
    return weight * ((g.norm(dim=1) - 1) ** 2).mean()


gradient_penalty.case("typical", lambda r: dict(g=r.normal(4, 3)), hessian=["g"])
gradient_penalty.case("weight", lambda r: dict(g=r.normal(4, 3)), weight=0.5)
gradient_penalty.case("one dimension", lambda r: dict(g=r.normal(5, 1)))
for dimensions in (2, 4, 5, 8, 9, 16, 17):  # around the lanes of vector code
    gradient_penalty.case(f"{dimensions} dimensions", lambda r, d=dimensions: dict(g=r.normal(2, d)))
gradient_penalty.case("many dimensions", lambda r: dict(g=r.grid(3, 67)))
gradient_penalty.case("row of zeros", dict(g=[[0.0, 0.0], [3.0, 4.0]]))
gradient_penalty.case("extreme", dict(g=[[3e-25, 4e-25], [3e12, -4e12]]))


def wasserstein_scipy(u, v):
    return scipy.stats.wasserstein_distance(u.numpy(), v.numpy())


@loss(
    "wasserstein_1d",
    "scipy.stats.wasserstein_distance, gradient by definition in torch",
    wrt=["u", "v"],
    peer=wasserstein_scipy,
)
def wasserstein_1d(u, v):
    return (u.sort(stable=True).values - v.sort(stable=True).values).abs().mean()


wasserstein_1d.case("typical", lambda r: dict(u=r.normal(7), v=r.normal(7)))
wasserstein_1d.case("one", lambda r: dict(u=r.normal(1), v=r.normal(1)))
wasserstein_1d.case("ties", dict(u=[1.0, 0.0, 1.0, 2.0, 1.0], v=[0.0, 3.0, 0.0, 1.0, 0.5]))
wasserstein_1d.case("equal", dict(u=[1.0, 0.0, 2.0], v=[2.0, 1.0, 0.0]))
wasserstein_1d.case("long", lambda r: dict(u=r.grid(131), v=r.grid(131)))


@loss("emd", "by definition in torch", wrt=["p"])
def emd(p, q):
    return (p - q).cumsum(1).abs().sum(1).mean()


def histograms(n, k):
    """Counts of 64 draws each, so that the masses agree exactly."""

    def make(r):
        draws = [F.one_hot(r.integers(k, n, 64), k).sum(1) / 64 for _ in range(2)]
        return dict(p=draws[0], q=draws[1])

    return make


emd.case("typical", histograms(4, 5))
emd.case("one bin", histograms(3, 1))
emd.case("many bins", histograms(2, 67))
emd.case("equal", dict(p=[[0.25, 0.5, 0.25]], q=[[0.25, 0.5, 0.25]]))
emd.case("far apart", dict(p=[[1.0, 0.0, 0.0, 0.0]], q=[[0.0, 0.0, 0.0, 1.0]]))
