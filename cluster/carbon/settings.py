"""What the operator says about the grid and the building: where intensities come from, PUE, embodied carbon."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from allocator.emissions import Kind, Pue
from allocator.joules import Quality
from cluster.carbon.file import MOST_G_PER_KWH
from cluster.carbon.uk_zones import check_zone

Provider = Literal["unknown", "fixed", "country", "file", "uk", "electricity-maps"]


class CarbonSettings(BaseModel):
    """Where grams come from. Nothing set: joules are counted and grams are not.

    provider    where intensities come from; when left out, `fixed` if g_per_kwh is given, `file` if file is, else
                `unknown`. `country` is a yearly mean of a shipped table, `uk` the Carbon Intensity API for Great
                Britain, `electricity-maps` the service of that name
    zone        country: its code, such as FR; uk: GB, a region from 1 to 17 or an outward postcode; electricity-maps:
                its zone, such as DE or US-CAL-CISO; fixed and file: any name, to be shown
    g_per_kwh   fixed: grams of CO2e per kilowatt-hour
    file        CSV file of a time series (columns: cluster/carbon/file.py); must lie at this path on every node
    kind        fixed and file: what the figures say, average or marginal; the others are average
    token       electricity-maps: best given by GREENFLOW_CARBON_TOKEN; never shown or logged
    token_file  electricity-maps: or a file that holds it alone, such as a mounted secret; needed under `serve deploy`
    url         uk and electricity-maps: another server that answers like theirs, such as a relay
    refresh_s   seconds between looks at the server
    timeout_s   an answer that takes longer counts as lost
    stale_s     a figure whose period ended so long ago is marked stale, and assumed
    forecast    fetch the server's forecast too: it stands in when figures come late
    pue         what the building draws for each joule of its machines, as metered by its operator; when left out, 1.0
                and assumed
    embodied_g_per_h  grams of CO2e of making the machines, spread over the hours of their life, for all of them
                together; shown beside the operational grams, never added to them
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    provider: Provider = "unknown"
    zone: Annotated[str, Field(max_length=64)] = ""
    g_per_kwh: Annotated[float | None, Field(ge=0, le=MOST_G_PER_KWH, allow_inf_nan=False)] = None
    file: Path | None = None
    kind: Kind = Kind.AVERAGE
    token: SecretStr | None = None
    token_file: Path | None = None
    url: Annotated[str | None, Field(pattern=r"^https?://[^\s/]+")] = None
    refresh_s: Annotated[float, Field(ge=30, le=86_400)] = 300.0
    timeout_s: Annotated[float, Field(gt=0, le=120)] = 10.0
    stale_s: Annotated[float, Field(ge=60, le=30 * 86_400)] = 7200.0
    forecast: bool = True
    pue: Annotated[float | None, Field(ge=1, le=10, allow_inf_nan=False)] = None
    embodied_g_per_h: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = None

    @model_validator(mode="before")
    @classmethod
    def _infer_provider(cls, given: object) -> object:
        if not isinstance(given, dict) or given.get("provider") is not None:
            return given
        named = [name for field, name in (("g_per_kwh", "fixed"), ("file", "file")) if given.get(field) is not None]
        rest = {key: value for key, value in given.items() if key != "provider"}
        return {"provider": named[0], **rest} if named else rest

    @field_validator("file", "token_file")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().absolute()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        lacking = {
            "fixed": self.g_per_kwh is None and "g_per_kwh",
            "country": not self.zone and "zone",
            "file": self.file is None and "file",
            "electricity-maps": (not self.zone and "zone") or (self._has_no_token and "token or token_file"),
        }.get(self.provider)
        if lacking:
            raise ValueError(f"provider {self.provider} needs {lacking}")
        foreign = {"fixed": self.g_per_kwh is not None, "file": self.file is not None}
        for provider, is_given in foreign.items():
            if is_given and provider != self.provider:
                field = "g_per_kwh" if provider == "fixed" else "file"
                raise ValueError(f"{field} is for provider {provider}, but the provider is {self.provider}")
        if self.provider == "uk" and self.zone:
            check_zone(self.zone)
        return self

    @property
    def _has_no_token(self) -> bool:
        return self.token is None and self.token_file is None

    @property
    def building(self) -> Pue:
        """The PUE to bill with, and how it is known: an operator's yearly figure is modelled; none is 1.0, assumed."""
        return Pue() if self.pue is None else Pue(self.pue, Quality.MODELLED)
