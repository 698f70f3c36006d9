"""cluster.carbon.settings, select and countries: what an operator says, and what comes of it."""

import random
from pathlib import Path

import pytest
from fake_time import FakeTime
from pydantic import ValidationError

from allocator.emissions import Pue
from allocator.joules import Quality
from cluster.carbon.base import CarbonProvider
from cluster.carbon.countries import yearly_mean, yearly_means
from cluster.carbon.http import HttpCarbon
from cluster.carbon.select import open_carbon
from cluster.carbon.settings import CarbonSettings
from cluster.carbon.transport import HttpTransport
from models.errors import FixFile, FixSetup


def opened(**settings: object) -> CarbonProvider:
    time = FakeTime()
    found = CarbonSettings.model_validate(settings)
    return open_carbon(found, HttpTransport(), time, time.sleep, random.Random(1))


def test_nothing_said_is_unknown_and_a_pue_of_one_is_assumed() -> None:
    settings = CarbonSettings()
    assert settings.provider == "unknown"
    assert settings.building == Pue(1.0, Quality.ASSUMED)
    assert CarbonSettings(pue=1.2).building == Pue(1.2, Quality.MODELLED)


def test_a_figure_or_a_file_names_its_provider(tmp_path: Path) -> None:
    assert CarbonSettings(g_per_kwh=210).provider == "fixed"
    assert CarbonSettings(file=tmp_path / "grid.csv").provider == "file"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"provider": "fixed"}, "provider fixed needs g_per_kwh"),
        ({"provider": "file"}, "provider file needs file"),
        ({"provider": "country"}, "provider country needs zone"),
        ({"provider": "electricity-maps", "token": "x"}, "provider electricity-maps needs zone"),
        ({"provider": "electricity-maps", "zone": "DE"}, "needs token or token_file"),
        ({"provider": "uk", "g_per_kwh": 3}, "g_per_kwh is for provider fixed"),
        ({"provider": "unknown", "file": "grid.csv"}, "file is for provider file"),
        ({"provider": "uk", "zone": "FR"}, "the zone must be GB"),
        ({"provider": "wind"}, "Input should be"),
        ({"pue": 0.9}, "greater than or equal to 1"),
        ({"g_per_kwh": -1}, "greater than or equal to 0"),
        ({"g_per_kwh": "nan"}, "finite|greater"),
        ({"url": "ftp://x"}, "pattern"),
        ({"refresh_s": 1}, "greater than or equal to 30"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        CarbonSettings.model_validate(settings)


def test_the_token_is_never_shown() -> None:
    settings = CarbonSettings.model_validate({"provider": "electricity-maps", "zone": "DE", "token": "s3cr3t"})
    assert "s3cr3t" not in repr(settings) + str(settings) + settings.model_dump_json()
    with pytest.raises(ValidationError) as refused:
        CarbonSettings.model_validate({"provider": "electricity-maps", "token": "s3cr3t"})
    assert "s3cr3t" not in str(refused.value)


def test_a_token_may_be_in_a_file_and_is_not_quoted_when_it_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cr3t\n")
    known = {"provider": "electricity-maps", "zone": "DE", "token_file": file}
    assert isinstance(opened(**known), HttpCarbon)
    for wrong in ("", "s3cr3t s3cr3t", "s3cr3t\nmore", "s3cr3t\u00e9"):
        file.write_text(wrong)
        with pytest.raises(FixFile, match="token_file: must hold the token alone") as refused:
            opened(**known)
        assert "s3cr3t" not in str(refused.value)
        with pytest.raises(FixSetup, match="must be the token alone") as refused_too:
            opened(provider="electricity-maps", zone="DE", token=wrong)
        assert "s3cr3t" not in str(refused_too.value)
    file.unlink()
    with pytest.raises(FixFile, match="cannot be read"):
        opened(**known)


def test_a_country_has_its_yearly_mean_with_year_and_attribution() -> None:
    found = opened(provider="country", zone="deu").now(0.0)
    assert found is not None
    assert (found.g_per_kwh, found.zone, found.quality) == (344.14, "DE", Quality.ASSUMED)
    assert found.source == "yearly mean of Germany in 2024 (Ember, CC BY 4.0)"
    assert yearly_mean("world").g_per_kwh == 473.05


def test_a_country_that_is_not_in_the_table_is_refused_with_those_that_are() -> None:
    with pytest.raises(FixSetup, match=r"'XX': no yearly mean.*AR, AU, AT"):
        opened(provider="country", zone="XX")


def test_the_table_of_countries_is_whole() -> None:
    means = yearly_means()
    codes = [code for one in means for code in one.codes]
    assert len(codes) == len(set(codes))
    assert all(len(one.codes) == 2 and list(map(len, one.codes)) == [2, 3] for one in means[:-2])
    assert all(2020 <= one.year <= 2030 and 10 < one.g_per_kwh < 1000 for one in means)
    assert len(means) > 60
