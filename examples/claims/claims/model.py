"""The features of a claim, and the model: gradient boosting of small trees over all claims so far."""

from __future__ import annotations

import polars as pl
from sklearn.ensemble import GradientBoostingClassifier

LABEL = "FraudFound_P"
NUMBERS = ("WeekOfMonth", "WeekOfMonthClaimed", "Age", "RepNumber", "Deductible", "DriverRating")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
VALUES = {
    "Month": _MONTHS,
    "MonthClaimed": _MONTHS,
    "DayOfWeek": _DAYS,
    "DayOfWeekClaimed": _DAYS,
    "Make": (
        *("Accura", "BMW", "Chevrolet", "Dodge", "Ferrari", "Ford", "Honda", "Jaguar", "Lexus", "Mazda", "Mecedes"),
        *("Mercury", "Nisson", "Pontiac", "Porche", "Saab", "Saturn", "Toyota", "VW"),
    ),
    "AccidentArea": ("Rural", "Urban"),
    "Sex": ("Female", "Male"),
    "MaritalStatus": ("Divorced", "Married", "Single", "Widow"),
    "Fault": ("Policy Holder", "Third Party"),
    "VehicleCategory": ("Sedan", "Sport", "Utility"),
    "BasePolicy": ("All Perils", "Collision", "Liability"),
    "VehiclePrice": (
        *("less than 20000", "20000 to 29000", "30000 to 39000", "40000 to 59000", "60000 to 69000"),
        "more than 69000",
    ),
    "Days_Policy_Accident": ("none", "1 to 7", "8 to 15", "15 to 30", "more than 30"),
    "Days_Policy_Claim": ("none", "8 to 15", "15 to 30", "more than 30"),
    "PastNumberOfClaims": ("none", "1", "2 to 4", "more than 4"),
    "AgeOfVehicle": ("new", "2 years", "3 years", "4 years", "5 years", "6 years", "7 years", "more than 7"),
    "AgeOfPolicyHolder": (
        *("16 to 17", "18 to 20", "21 to 25", "26 to 30", "31 to 35", "36 to 40", "41 to 50", "51 to 65", "over 65"),
    ),
    "PoliceReportFiled": ("No", "Yes"),
    "WitnessPresent": ("No", "Yes"),
    "AgentType": ("External", "Internal"),
    "NumberOfSuppliments": ("none", "1 to 2", "3 to 5", "more than 5"),
    "AddressChange_Claim": ("under 6 months", "1 year", "2 to 3 years", "4 to 8 years", "no change"),
    "NumberOfCars": ("1 vehicle", "2 vehicles", "3 to 4", "5 to 8", "more than 8"),
}
"""All values of each column, as its forms offer them: not what has been seen so far."""

FEATURES = (*NUMBERS, *(f"{name}={value}" for name, values in VALUES.items() for value in values))


def build(claims: pl.LazyFrame) -> pl.LazyFrame:
    """One column a value, 0 or 1, beside the numbers."""
    flags = [
        (pl.col(name) == value).cast(pl.Int8).alias(f"{name}={value}")
        for name, values in VALUES.items()
        for value in values
    ]
    return claims.select("PolicyNumber", "at", LABEL, *NUMBERS, *flags)


def train(features: pl.DataFrame, trees: int = 100, depth: int = 3, seed: int = 0) -> GradientBoostingClassifier:
    model = GradientBoostingClassifier(n_estimators=trees, max_depth=depth, random_state=seed)
    return model.fit(features.select(FEATURES).to_pandas(), features[LABEL].to_numpy())
