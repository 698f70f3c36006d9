"""Yearly means by country, for operators who know no better figure of their own. Where they are from: countries.csv."""

import csv
from dataclasses import dataclass
from pathlib import Path

from models.errors import FixSetup

TABLE = Path(__file__).with_name("countries.csv")


@dataclass(frozen=True, slots=True)
class YearlyMean:
    """Grams of CO2e per kilowatt-hour that a country's plants emitted in a year, life cycle, without imports.

    codes  by which it is found: ISO 3166 alpha-2 and alpha-3; EU and WORLD have one each
    """

    codes: tuple[str, ...]
    name: str
    year: int
    g_per_kwh: float

    @property
    def source(self) -> str:
        """For people, with the attribution that the licence asks for."""
        return f"yearly mean of {self.name} in {self.year} (Ember, CC BY 4.0)"


def yearly_means(table: Path = TABLE) -> tuple[YearlyMean, ...]:
    """All rows of the table."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return tuple(
            YearlyMean(
                tuple(code for code in (row["alpha2"], row["alpha3"]) if code),
                row["name"],
                int(row["year"]),
                float(row["g_per_kwh"]),
            )
            for row in rows
        )


def yearly_mean(code: str, table: Path = TABLE) -> YearlyMean:
    """That of a country. Raises FixSetup naming the codes that there are."""
    means = yearly_means(table)
    for one in means:
        if code.strip().upper() in one.codes:
            return one
    known = ", ".join(one.codes[0] for one in means)
    raise FixSetup(f"carbon.zone {code!r}: no yearly mean for it; give carbon.g_per_kwh, or one of {known}")
