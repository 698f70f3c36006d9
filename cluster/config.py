"""The settings of the served application, and the only reader of the environment."""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator

import models
from allocator.limits import Limit
from cluster.autoscale_settings import AutoscaleSettings
from cluster.carbon.settings import CarbonSettings
from cluster.experiment_settings import ExperimentSettings, FeedbackSettings
from cluster.limits.holdable import Holdable
from cluster.limits.settings import LimitSettings, check_limits
from cluster.limits.tokens import Tokens, tokens_of
from cluster.live.settings import PageSettings
from cluster.outcomes.log_settings import LogSettings
from cluster.power.settings import PowerSettings
from models.errors import FixSetup

DEMO = Path(models.__file__).parent / "zoo" / "demo"
PREFIX = "GREENFLOW_"
ADMIN_TOKEN = f"{PREFIX}ADMIN_TOKEN"
WAITING_BATCHES, LEAST_WAITING = 8, 256
"""How many full micro-batches' worth of requests may wait, and how many requests at least: on two cores about a
second's work for an ingress replica, after which a client that is told to come back in a second finds room."""
CLOSE = 0.85
"""How alike a variable is to the one that was meant, as difflib counts."""


class BatchSettings(BaseModel):
    """How the ingress gathers concurrent requests.

    max_rows   most requests in one micro-batch
    wait_ms    longest that a request waits for company while the stages are free
    in_flight  micro-batches under way at a time in one ingress replica, so that its stages work on different ones at
               once; when left out, one more than there are stages with a deployment of their own
    most_waiting  requests that wait in one ingress replica to get into a micro-batch, and of those in a hurry as many
               again; more are answered 503 at once. When left out, 8 times max_rows, and 256 at least
    timeout_ms the time after which requests that do not say are of no use, and answered 504; when left out, there is
               none
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_rows: Annotated[int, Field(ge=1, le=1024)] = 64
    wait_ms: Annotated[float, Field(ge=0, le=1000)] = 2.0
    in_flight: Annotated[int | None, Field(ge=1, le=64)] = None
    most_waiting: Annotated[int | None, Field(ge=1, le=100_000)] = None
    timeout_ms: Annotated[float | None, Field(ge=1, le=600_000)] = None

    @property
    def bound(self) -> int:
        """Most requests that wait."""
        return self.most_waiting or max(WAITING_BATCHES * self.max_rows, LEAST_WAITING)


class AllocatorSettings(BaseModel):
    """How requests get their chains.

    enabled      whether a policy chooses the chains of requests that name none; when left out, it does if the cascade
                 has a reward model. Else they run the static chain
    flops_per_s  the limit that prices hold; when left out there is none, and every request gets the chain of the
                 greatest predicted reward
    expected_rps requests a second that a start is prepared for: the first price is the one at which so many spend the
                 limit. When left out, the first two windows with requests run the cheapest chains, and overspend at
                 no rate
    safe_chain   id of the chain that a request takes when nobody can decide in time; when left out, the static one, or
                 under a limit that binds the best one that all requests could take
    placement    where decisions are worked out: inside each ingress replica, or in a deployment of their own
    replicas     of that deployment, where there is one
    timeout_ms   a decision of that deployment that takes longer is not waited for
    window_s     how often prices change
    stale_s      a policy that the controller has not confirmed for so long is marked stale; its prices hold
    sample_rows  most reward rows that a replica reports in a window; fewer where chains are so many that a report
                 would grow beyond a megabyte
    remember_mb  predicted rewards of the newest contexts are kept, so many megabytes in every replica that decides:
                 who comes back with the same context costs no run of the reward model. 0 keeps none
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool | None = None
    flops_per_s: Annotated[float | None, Field(gt=0, allow_inf_nan=False)] = None
    expected_rps: Annotated[float | None, Field(gt=0, allow_inf_nan=False)] = None
    safe_chain: str | None = None
    placement: Literal["inline", "own"] = "inline"
    replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    timeout_ms: Annotated[float, Field(gt=0, le=60_000)] = 100.0
    window_s: Annotated[float, Field(ge=0.1, le=60)] = 1.0
    stale_s: Annotated[float, Field(gt=0, le=86_400)] = 10.0
    sample_rows: Annotated[int, Field(ge=1, le=4096)] = 128
    remember_mb: Annotated[float, Field(ge=0, le=100_000)] = 32.0


class EnergySettings(BaseModel):
    """How joules are accounted for.

    enabled         whether meters run and what they read is kept
    ledger          file of the account, on the machine where the controller runs; when left out, ledger.sqlite in the
                    user's state folder
    retention_days  single windows are kept so long; totals by hour longer, those by day for ever
    profile         what `greenflow profile --json` printed for this cascade on this kind of machine: what the energy
                    model starts from; when left out, FLOPs
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    ledger: Path | None = None
    retention_days: Annotated[float, Field(gt=0, le=36_500)] = 1.0
    profile: Path | None = None

    @field_validator("ledger", "profile")
    @classmethod
    def _absolute(cls, file: Path | None) -> Path | None:
        return None if file is None else file.expanduser().absolute()

    @property
    def ledger_file(self) -> Path:
        """Where the ledger lies."""
        return self.ledger or state_folder() / "ledger.sqlite"


class Settings(BaseModel):
    """Everything that `cluster.app.build` needs to know. Fields of `args` in a Serve config, options of `up`.

    cascade           folder of the cascade; must lie at this path on every node
    placement         where variants run: as the cascade's file says, or all in one way
    cpu_replicas      replicas of each CPU variant that has its own deployment
    gpu_replicas      replicas of each CUDA variant
    replica_cpus      logical CPUs that Ray reserves for each replica; a share, so that a whole cascade fits a laptop
    keeper_resource   a custom resource of Ray's nodes (`ray start --resources='{"greenflow-books": 1}'`): who keeps the
                      ledger, and who keeps the log and the account of outcomes, run on nodes that have it and nowhere
                      else, so that what they keep stays on one disk; when left out, on any node
    ingress_replicas  replicas of the ingress, each with its own copy of the inline variants; when left out, as many
                      as cores (4 at most) if the static chain runs inline, for then they do all the work, else 1
    stage_threads     model runs at a time inside one replica of a variant
    inline_threads    model runs at a time inside one ingress replica
    max_ongoing_requests  requests that an ingress replica holds at a time. Serve refuses more, or behind HAProxy lets
                      them wait without a bound: keep it above what waits and runs in micro-batches (batch.most_waiting)
    max_body_bytes    a request's body may be this long
    stage_timeout_s   a stage call that takes longer counts as lost
    autoscale         how many replicas variants with their own deployments have
    batch             how the ingress gathers requests
    allocator         how requests get their chains
    energy            how joules are accounted for
    power             what reads power on every node
    carbon            what a joule emits
    limits            what power, energy, carbon or computation may come to
    experiment        what is tried on a share of the requests, so that savings are measured
    feedback          how rewards are joined to requests
    logs              what the lines of Ray Serve's log files are: text, or json with a key `event` (cluster/events.py)
    log               what is kept of decisions, to train and judge reward models by
    page              how many may look at the live page
    admin_token       who may change limits and the reward model while the application runs: a token, or
                      name:token,name2:token2; best given by GREENFLOW_ADMIN_TOKEN, which the ingress replicas' own
                      environment may hold too and which then counts (arguments of a Serve config show on Ray's
                      dashboard); never shown or logged
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    cascade: Path = DEMO
    placement: Literal["file", "inline", "own"] = "file"
    cpu_replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    gpu_replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    replica_cpus: Annotated[float, Field(ge=0, le=256)] = 0.1
    keeper_resource: Annotated[str | None, Field(min_length=1, max_length=200)] = None
    ingress_replicas: Annotated[int | None, Field(ge=1, le=1000)] = None
    stage_threads: Annotated[int, Field(ge=1, le=256)] = 1
    inline_threads: Annotated[int, Field(ge=1, le=256)] = 2
    autoscale: AutoscaleSettings = AutoscaleSettings()
    batch: BatchSettings = BatchSettings()
    allocator: AllocatorSettings = AllocatorSettings()
    energy: EnergySettings = EnergySettings()
    power: PowerSettings = PowerSettings()
    carbon: CarbonSettings = CarbonSettings()
    limits: LimitSettings = LimitSettings()
    experiment: ExperimentSettings = ExperimentSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    log: LogSettings = LogSettings()
    logs: Literal["text", "json"] = "text"
    page: PageSettings = PageSettings()
    admin_token: SecretStr | None = None
    max_ongoing_requests: Annotated[int, Field(ge=1, le=100_000)] = 2048
    max_body_bytes: Annotated[int, Field(ge=256, le=16 << 20)] = 64 << 10
    stage_timeout_s: Annotated[float, Field(gt=0, le=600)] = 30.0

    @field_validator("cascade")
    @classmethod
    def _absolute(cls, folder: Path) -> Path:
        return folder.expanduser().absolute()

    @field_validator("limits")
    @classmethod
    def _can_be_held(cls, limits: LimitSettings, info: ValidationInfo) -> LimitSettings:
        if not {"allocator", "energy", "carbon"} <= info.data.keys():
            return limits  # one of these is wrong, and said to be
        return check_limits(limits, _holdable(info.data), info.data["allocator"].flops_per_s)

    @field_validator("admin_token")
    @classmethod
    def _proper_token(cls, token: SecretStr | None) -> SecretStr | None:
        tokens_of("" if token is None else token.get_secret_value())
        return token

    @property
    def stated_limits(self) -> tuple[Limit, ...]:
        """Limits that hold from the start, by name."""
        return self.limits.stated(self.allocator.flops_per_s)

    @property
    def holdable(self) -> Holdable:
        """Which limits could be held, the cascade permitting."""
        return _holdable(dict(self))

    @classmethod
    def from_environment(cls, overrides: Mapping[str, object], environment: Mapping[str, str] = os.environ) -> Self:
        """Settings from `GREENFLOW_<FIELD>` variables, overridden by those `overrides` that are not None.

        A field of `batch` is `GREENFLOW_BATCH_<FIELD>` and the override `batch_<field>`, and so for the other groups.
        Raises FixSetup naming the variable or option, also for a variable that is nearly one of these.
        """
        _refuse_misspelt(cls, environment)
        given = {name: value for name, value in overrides.items() if value is not None}
        values: dict[str, object] = {}
        for name in cls.model_fields:
            if name in GROUPS:
                fields = {field: f"{name}_{field}" for field in GROUPS[name].model_fields}
                found = {field: _chosen(key, given, environment) for field, key in fields.items()}
                group = {field: value for field, value in found.items() if value is not None}
                values.update({name: group} if group else {})
            elif (value := _chosen(name, given, environment)) is not None:
                values[name] = value
        try:
            return cls.model_validate({**values, **given})
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            option = PREFIX + field.upper().replace(".", "_")
            raise FixSetup(f"setting {field} (option or variable {option}): {first['msg']}") from None


GROUPS: Mapping[str, type[BaseModel]] = {
    "autoscale": AutoscaleSettings,
    "batch": BatchSettings,
    "allocator": AllocatorSettings,
    "energy": EnergySettings,
    "power": PowerSettings,
    "carbon": CarbonSettings,
    "limits": LimitSettings,
    "experiment": ExperimentSettings,
    "feedback": FeedbackSettings,
    "log": LogSettings,
    "page": PageSettings,
}


def _holdable(groups: Mapping[str, Any]) -> Holdable:
    return Holdable(
        allocates=groups["allocator"].enabled is not False,
        joules=groups["energy"].enabled,
        grams=groups["carbon"].provider != "unknown",
    )


def _refuse_misspelt(settings: type[BaseModel], environment: Mapping[str, str]) -> None:
    """Others may use the prefix too (Kubernetes does, for a service of that name), so only what is close is refused."""
    known = [f"{group}_{field}".upper() for group, model in GROUPS.items() for field in model.model_fields]
    known += [name.upper() for name in settings.model_fields if name not in GROUPS]
    for name in (variable.removeprefix(PREFIX) for variable in environment if variable.startswith(PREFIX)):
        if name not in known and (meant := difflib.get_close_matches(name, known, n=1, cutoff=CLOSE)):
            raise FixSetup(f"variable {PREFIX}{name}: there is no such setting; did you mean {PREFIX}{meant[0]}?")


def _chosen(key: str, given: dict[str, object], environment: Mapping[str, str]) -> object:
    """An override, which is taken out of `given`, or else what the environment says; None for neither."""
    return given.pop(key, environment.get(PREFIX + key.upper()))


def admin_tokens(settings: Settings | None = None, environment: Mapping[str, str] = os.environ) -> Tokens:
    """Who may change limits: as this process's own environment says, else as the settings do. Raises FixSetup."""
    said = environment.get(ADMIN_TOKEN, "")
    if not said and settings is not None and settings.admin_token is not None:
        said = settings.admin_token.get_secret_value()
    try:
        return tokens_of(said)
    except ValueError as error:
        raise FixSetup(f"variable {ADMIN_TOKEN}: {error}") from None


def own_token(environment: Mapping[str, str] = os.environ) -> str:
    """What this process's environment says of tokens, "" for nothing."""
    return environment.get(ADMIN_TOKEN, "")


def state_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The user's folder for what outlives a run, as the XDG base directory specification has it."""
    base = environment.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "greenflow"


def ray_grafana_folder(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where Ray was told to write its dashboards for Grafana; None for the folder of its session."""
    folder = environment.get("RAY_METRICS_GRAFANA_DASHBOARD_OUTPUT_DIR")
    return Path(folder).absolute() if folder else None


def ray_address(environment: Mapping[str, str] = os.environ) -> str | None:
    """The Ray cluster to join, from RAY_ADDRESS; None to start one here."""
    return environment.get("RAY_ADDRESS") or None
