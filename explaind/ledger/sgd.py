"""SGD with and without momentum, Nesterov and dampening; weight decay enters the buffer (torch.optim.SGD)."""

from __future__ import annotations

from explaind.ledger.adamw import signs
from explaind.ledger.coefficients import Coefficients, UpdateRule
from explaind.recording.trajectory import StepRecord


def coefficients(record: StepRecord, fresh: bool) -> Coefficients:
    """Momentum: b = μ b + (1 − dampening) d, u = −α b; Nesterov: u = −α (d + μ b); plain: u = −α d.

    torch sets the buffer to d at the first update of a fresh optimizer: no dampening there.
    """
    groups = range(len(record.lr))
    momentum = record.momentum
    kappa = tuple(1.0 if fresh else 1 - record.dampening[g] for g in groups)
    rho, sigma = [], []
    for g in groups:
        lr = record.lr[g]
        if momentum[g] == 0:
            rho.append(0.0)
            sigma.append(lr)
        elif record.nesterov[g]:
            rho.append(lr * momentum[g])
            sigma.append(lr)
        else:
            rho.append(lr)
            sigma.append(0.0)
    return Coefficients(
        mu=momentum,
        kappa=kappa,
        rho=tuple(rho),
        sigma=tuple(sigma),
        coupled=record.weight_decay,
        decoupled=(0.0,) * len(record.lr),
        sign=signs(record),
    )


RULE = UpdateRule(coefficients, None)
