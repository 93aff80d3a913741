"""The columns of the census-income file that are features, and all values of each."""

from __future__ import annotations

__all__ = ["CENSUS_CATEGORIES", "CENSUS_LABELS", "CENSUS_NUMBERS", "CENSUS_WIDTH"]

CENSUS_WIDTH = 42
"""Cells of a record; the file has no header."""

CENSUS_LABELS = {"- 50000.": 0, "50000+.": 1}
"""The last cell: whether the income is above 50,000 dollars."""

CENSUS_NUMBERS: dict[str, tuple[int, float]] = {
    "age": (0, 100.0),
    "wage per hour": (5, 1_000.0),
    "capital gains": (16, 10_000.0),
    "capital losses": (17, 1_000.0),
    "dividends from stocks": (18, 10_000.0),
    "persons worked for employer": (30, 6.0),
    "weeks worked in year": (39, 52.0),
}
"""Name to the place in a record, and a round public number to divide by (protocol 6.2)."""

CENSUS_CATEGORIES: dict[str, tuple[int, tuple[str, ...]]] = {
    "class of worker": (
        1,
        (
            "Not in universe",
            "Private",
            "Self-employed-not incorporated",
            "Local government",
            "State government",
            "Self-employed-incorporated",
            "Federal government",
            "Never worked",
            "Without pay",
        ),
    ),
    "education": (
        4,
        (
            "Children",
            "Less than 1st grade",
            "1st 2nd 3rd or 4th grade",
            "5th or 6th grade",
            "7th and 8th grade",
            "9th grade",
            "10th grade",
            "11th grade",
            "12th grade no diploma",
            "High school graduate",
            "Some college but no degree",
            "Associates degree-occup /vocational",
            "Associates degree-academic program",
            "Bachelors degree(BA AB BS)",
            "Masters degree(MA MS MEng MEd MSW MBA)",
            "Prof school degree (MD DDS DVM LLB JD)",
            "Doctorate degree(PhD EdD)",
        ),
    ),
    "marital status": (
        7,
        (
            "Never married",
            "Married-civilian spouse present",
            "Divorced",
            "Widowed",
            "Separated",
            "Married-spouse absent",
            "Married-A F spouse present",
        ),
    ),
    "occupation": (
        9,
        (
            "Not in universe",
            "Adm support including clerical",
            "Professional specialty",
            "Executive admin and managerial",
            "Other service",
            "Sales",
            "Precision production craft & repair",
            "Machine operators assmblrs & inspctrs",
            "Handlers equip cleaners etc",
            "Transportation and material moving",
            "Farming forestry and fishing",
            "Technicians and related support",
            "Protective services",
            "Private household services",
            "Armed Forces",
        ),
    ),
    "sex": (12, ("Female", "Male")),
    "tax filer status": (
        19,
        (
            "Nonfiler",
            "Joint both under 65",
            "Single",
            "Joint both 65+",
            "Head of household",
            "Joint one under 65 & one 65+",
        ),
    ),
}
"""Name to the place in a record and every value; a value becomes a feature of 0 and 1."""
