"""What was learned, as bytes, so that a controller that starts anew need not begin with the prior."""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from allocator.choice import Floats
from allocator.energy.attribution import Debts, Owed
from allocator.energy.background import Residuals
from allocator.energy.belief import Belief
from allocator.energy.prior import Prior
from allocator.energy.state import SETTLES_S, EnergyState, PoolState, initial, no_block
from allocator.joules import Quality

FORMAT = 4
_FIGURES = ("scale", "mean", "covariance", "point", "per_s", "figures", "debts")


def dumped(state: EnergyState, debts: Debts) -> bytes:
    """The state and the debts, about 8 (2 V)^2 bytes a pool. Windows that are held back are left out."""
    about = {
        "format": FORMAT,
        "names": state.names,
        "pools": [_about(name, pool) for name, pool in state.pools.items()],
        "debts": [{"pool": name, "epochs": dict(owed.epochs)} for name, owed in debts.pools.items()],
    }
    pools = list(state.pools.values())
    arrays = {
        "scale": [p.scale for p in pools],
        "mean": [p.belief.mean for p in pools],
        "covariance": [p.belief.covariance for p in pools],
        "point": [p.point for p in pools],
        "per_s": [p.per_s for p in pools],
        "figures": [_figures(p) for p in pools],
        "debts": [owed.joules for owed in debts.pools.values()],
    }
    sink = io.BytesIO()
    np.savez(sink, allow_pickle=False, about=json.dumps(about), **{n: np.array(a, float) for n, a in arrays.items()})
    return sink.getvalue()


def restored(prior: Prior, data: bytes) -> tuple[EnergyState, Debts]:
    """What `dumped` was given, with this prior for pools yet to come.

    Raises ValueError saying why, when it is of another format or of other variants: begin anew then.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            arrays = {name: file[name] for name in _FIGURES}
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"saved energy model: cannot be read: {error}") from None
    if about.get("format") != FORMAT:
        raise ValueError(f"saved energy model: of format {about.get('format')}, not {FORMAT}")
    names = tuple((stage, variant) for stage, variant in about["names"])
    if set(names) != set(prior.variants):
        raise ValueError("saved energy model: of other variants")
    ordered = replace(prior, variants={name: prior.variants[name] for name in names})
    pools = {of["pool"]: _pool(of, at, arrays) for at, of in enumerate(about["pools"])}
    owed = {of["pool"]: Owed(arrays["debts"][at], of["epochs"], 0) for at, of in enumerate(about["debts"])}
    return replace(initial(ordered), pools=pools), Debts(owed)


def _about(name: str, pool: PoolState) -> dict[str, object]:
    metered = pool.metered is not None
    return {"pool": name, "epochs": dict(pool.epochs), "quality": pool.quality, "metered": metered}


def _figures(pool: PoolState) -> list[float]:
    r = pool.residuals
    figures = [pool.first_w, pool.noise, pool.busy_noise, pool.core_j, pool.power_w, pool.blocks]
    return [*figures, r.last, r.variance, r.covariance, r.count, r.odd]


def _pool(about: Mapping[str, object], at: int, arrays: Mapping[str, Floats]) -> PoolState:
    first_w, noise, busy_noise, core_j, power_w, blocks, *of_residuals = arrays["figures"][at].tolist()
    last, variance, covariance, count, odd = of_residuals
    epochs = about["epochs"]
    assert isinstance(epochs, dict)
    return PoolState(
        scale=arrays["scale"][at],
        core_j=core_j,
        belief=Belief(arrays["mean"][at], arrays["covariance"][at]),
        point=arrays["point"][at],
        residuals=Residuals(last, variance, covariance, int(count), int(odd)),
        first_w=first_w,
        noise=noise,
        busy_noise=busy_noise,
        power_w=power_w,
        per_s=arrays["per_s"][at],
        blocks=int(blocks),
        held=no_block(len(arrays["scale"][at]) // 2),
        settles_s=SETTLES_S,
        told=False,
        epochs=epochs,
        quality=Quality(str(about["quality"])),
        last=0,
        metered=0 if about["metered"] else None,
    )
