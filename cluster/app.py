"""build(settings): the application as Serve deploys it. The only place that chooses implementations."""

import asyncio
import random
import time
from collections import Counter
from typing import Any

from ray import serve
from ray.serve import Application

from allocator.chains import ChainSpace
from allocator.reward import RewardModel
from cluster.allocation import Allocator
from cluster.autoscale import kept_warm, scaling
from cluster.carbon.select import open_carbon
from cluster.carbon.transport import HttpTransport
from cluster.config import Settings, state_folder
from cluster.control_settings import safe_chain, wants_allocator, wants_experiment
from cluster.controller import Controller, prior_of
from cluster.limits.holdable import NO_ALLOCATOR
from cluster.outcomes_replica import Outcomes
from cluster.placing import deployment_name, own_variants, usual_ingress_replicas
from cluster.salt import kept_salt
from cluster.serve_logs import logging_config
from cluster.stages import Ingress, StageReplica
from models.checking import check_cascade
from models.errors import FixFile, FixSetup
from models.loading import Cascade
from models.spec import FILE_NAME, Device, VariantSpec

ONGOING_STAGE_CALLS = 64
ONGOING_REPORTS = 4096
CONTROLLER, ALLOCATOR, OUTCOMES = "controller", "allocator", "outcomes"
KEEPER_SHARE = 1e-3
"""Of `Settings.keeper_resource`, that each takes: a node's whole of it is enough for many applications."""
ONE_BLAS_THREAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Replicas work on several batches side by side; a matrix product that also takes all cores makes them fight."""


def build(settings: Settings) -> Application:
    """The ingress and a deployment for each variant with a placement of its own.

    With them the Controller, where a policy chooses the chains, joules are counted or variants go cold, and the
    Allocator if it has a placement of its own.
    The cascade is checked first, whole: a broken one raises FixFile, settings that do not fit it raise FixSetup, and
    nothing is deployed.
    """
    cascade = check(settings)
    if wants_experiment(settings, cascade.spec) and settings.experiment.salt is None:
        experiment = settings.experiment.salted(kept_salt(state_folder()))
        settings = settings.model_copy(update={"experiment": experiment})
    controller, allocator = _allocation(settings, cascade)
    own = _own_variants(settings, cascade, controller)
    return serve.deployment(
        name="ingress",
        num_replicas=settings.ingress_replicas or usual_ingress_replicas(cascade.spec, settings),
        max_ongoing_requests=settings.max_ongoing_requests,
        ray_actor_options=_resources(settings),
        logging_config=logging_config(settings.logs),
    )(Ingress).bind(settings, own, controller, allocator, _outcomes(settings, cascade, controller))


def _outcomes(settings: Settings, cascade: Cascade, controller: Application | None) -> Application | None:
    """Who keeps the account of outcomes; None where nobody wants to know."""
    if controller is None or not wants_experiment(settings, cascade.spec):
        return None
    return serve.deployment(
        name=OUTCOMES,
        num_replicas=1,
        max_ongoing_requests=ONGOING_REPORTS,
        ray_actor_options=_of_keeper(settings),
        logging_config=logging_config(settings.logs),
    )(Outcomes).bind(_without_token(settings), controller)


def _own_variants(settings: Settings, cascade: Cascade, controller: Application | None) -> dict[str, Application]:
    own: dict[str, Application] = {}
    placed = own_variants(settings, cascade.spec)
    warm = kept_warm(settings, ChainSpace(cascade.spec, len(cascade.items)))
    for stage in cascade.spec.stages:
        for variant in stage.variants:
            if (stage.name, variant.name) in placed:
                name = deployment_name(stage.name, variant.name)
                own[name] = serve.deployment(
                    name=name,
                    max_ongoing_requests=ONGOING_STAGE_CALLS,
                    ray_actor_options=_resources(settings, variant),
                    logging_config=logging_config(settings.logs),
                    **_replicas(settings, variant, warm=(stage.name, variant.name) in warm),
                )(StageReplica).bind(_without_token(settings), stage.name, variant.name, controller)
    return own


def _replicas(settings: Settings, variant: VariantSpec, warm: bool) -> dict[str, Any]:
    replicas = settings.gpu_replicas if variant.device is Device.CUDA else settings.cpu_replicas
    if settings.autoscale.enabled:
        return {"autoscaling_config": scaling(settings.autoscale, replicas, warm)}
    return {"num_replicas": replicas}


def _allocation(settings: Settings, cascade: Cascade) -> tuple[Application | None, Application | None]:
    """The Controller and the Allocator; None for what is not wanted."""
    allocates = wants_allocator(settings.allocator, cascade.spec)
    if not (allocates or settings.energy.enabled or settings.autoscale.enabled):
        return None, None
    controller = serve.deployment(
        name=CONTROLLER,
        num_replicas=1,
        max_ongoing_requests=ONGOING_REPORTS,
        ray_actor_options=_of_keeper(settings),
        logging_config=logging_config(settings.logs),
    )(Controller).bind(_without_token(settings))
    if settings.allocator.placement == "inline" or not allocates:
        return controller, None
    allocator = serve.deployment(
        name=ALLOCATOR,
        num_replicas=settings.allocator.replicas,
        max_ongoing_requests=ONGOING_STAGE_CALLS,
        ray_actor_options=_resources(settings),
        logging_config=logging_config(settings.logs),
    )(Allocator).bind(_without_token(settings), controller)
    return controller, allocator


def check(settings: Settings) -> Cascade:
    """The cascade, with all of its files checked and its static chain among the valid ones.

    Raises FixFile, also for what the account of joules needs, and FixSetup where the settings do not fit the cascade.
    """
    cascade = check_cascade(settings.cascade)
    space = ChainSpace(cascade.spec, len(cascade.items))
    if wants_allocator(settings.allocator, cascade.spec):
        safe_chain(settings.allocator, space)
        RewardModel.open(settings.cascade, cascade.spec, space)
    elif settings.stated_limits:
        raise FixSetup(f"settings limits: the limit {settings.stated_limits[0].name}: {NO_ALLOCATOR}")
    if settings.energy.enabled:
        prior_of(settings, cascade.spec)
        open_carbon(settings.carbon, HttpTransport(), time.time, asyncio.sleep, random.Random())
    names = Counter(deployment_name(stage.name, v.name) for stage in cascade.spec.stages for v in stage.variants)
    if twice := [name for name, times in names.items() if times > 1]:
        problem = f"two variants would be deployed as {twice[0]!r}; rename a stage or a variant"
        raise FixFile(settings.cascade / FILE_NAME, "stages", problem)
    return cascade


def _without_token(settings: Settings) -> Settings:
    """For deployments that answer no person."""
    return settings.model_copy(update={"admin_token": None})


def _resources(settings: Settings, variant: VariantSpec | None = None) -> dict[str, object]:
    resources: dict[str, object] = {
        "num_cpus": settings.replica_cpus,
        "runtime_env": {"env_vars": ONE_BLAS_THREAD},
    }
    if variant is not None and variant.device is Device.CUDA:
        resources["num_gpus"] = variant.gpus
    return resources


def _of_keeper(settings: Settings) -> dict[str, object]:
    """Of who keeps files: where they lie, it must run again."""
    resources = _resources(settings)
    if settings.keeper_resource is not None:
        resources["resources"] = {settings.keeper_resource: KEEPER_SHARE}
    return resources
