"""`Nodules`: the table of measured nodules, its columns declared once.

The declaration feeds the CSV and Parquet writers, the JSON schema, the docs and the tests.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from miliary.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


class Attenuation(enum.StrEnum):
    """Attenuation class of a nodule; `unresolved` where size and density cannot be told apart."""

    SOLID = "solid"
    SUBSOLID = "subsolid"
    CALCIFIED = "calcified"
    UNRESOLVED = "unresolved"


class NoduleFlag(enum.StrEnum):
    """What a reader of one row should know about it."""

    VESSEL_ATTACHED = "vessel_attached"
    PLEURA_ATTACHED = "pleura_attached"
    BLENDED = "blended"
    FIT_POOR = "fit_poor"
    BELOW_RESOLUTION = "below_resolution"
    CLIPPED_HU = "clipped_hu"
    EDGE_OF_SCAN = "edge_of_scan"
    READER_ADDED = "reader_added"


@dataclass(frozen=True)
class Column:
    """One column: name, numpy dtype (object for text), unit and meaning."""

    name: str
    dtype: type
    unit: str
    meaning: str


COLUMNS: tuple[Column, ...] = (
    Column("id", np.int64, "", "number of the nodule in this scan, from 1"),
    Column("x_mm", np.float64, "mm", "patient LPS x of the centre (towards the left)"),
    Column("y_mm", np.float64, "mm", "patient LPS y of the centre (towards the back)"),
    Column("z_mm", np.float64, "mm", "patient LPS z of the centre (towards the head)"),
    Column("diameter_mm", np.float64, "mm", "diameter of the sphere of `volume_mm3`"),
    Column("diameter_mm_err", np.float64, "mm", "one-sigma error of `diameter_mm`"),
    Column(
        "volume_mm3",
        np.float64,
        "mm3",
        "solid-equivalent volume: excess attenuation over background at the reference density",
    ),
    Column("volume_mm3_err", np.float64, "mm3", "one-sigma error of `volume_mm3`"),
    Column("excess_mass_mg", np.float64, "mg", "integrated excess attenuation, 1 HU mm3 = 0.001 mg"),
    Column("probability", np.float64, "", "calibrated probability of being a nodule"),
    Column("attenuation", object, "", "solid, subsolid, calcified or unresolved"),
    Column("side", object, "", "right or left lung"),
    Column("zone", object, "", "upper, middle or lower third of the lung's height"),
    Column("distance_to_pleura_mm", np.float64, "mm", "from the centre to the lung's outer surface"),
    Column("flags", object, "", "NoduleFlag names joined by ';'"),
)
COLUMN_NAMES: tuple[str, ...] = tuple(column.name for column in COLUMNS)


@dataclass(frozen=True)
class Nodules:
    """Reported nodules, one row each; zero rows where there are none.

    Parameters
    ----------
    columns : mapping of str to ndarray
        Exactly the columns of `COLUMNS`, all of one length.
    """

    columns: Mapping[str, npt.NDArray[Any]]

    def __post_init__(self) -> None:
        if tuple(self.columns) != COLUMN_NAMES:
            raise ValueError(f"columns must be {COLUMN_NAMES}, found {tuple(self.columns)}")
        lengths = {len(values) for values in self.columns.values()}
        if len(lengths) > 1:
            raise ValueError(f"columns differ in length: {sorted(lengths)}")

    def __repr__(self) -> str:
        return f"Nodules({len(self.columns['id']):,} rows of {len(COLUMNS)} columns)"

    @classmethod
    def empty(cls) -> Nodules:
        """A table of no rows."""
        return cls({column.name: np.empty(0, dtype=column.dtype) for column in COLUMNS})

    def __len__(self) -> int:
        return len(self.columns["id"])

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.columns[name]

    @property
    def position_lps_mm(self) -> npt.NDArray[np.float64]:
        """Centres, shape (n, 3), patient LPS mm."""
        return np.stack([self.columns[f"{axis}_mm"] for axis in "xyz"], axis=1)

    @property
    def is_reader_added(self) -> npt.NDArray[np.bool_]:
        """Rows that a reader added, shape (n,); what the program misses says nothing of them."""
        flag = NoduleFlag.READER_ADDED.value
        return np.array([flag in flags.split(";") for flags in self.columns["flags"]], dtype=bool)

    def select(self, keep: npt.NDArray[Any]) -> Nodules:
        """The rows of a boolean mask or index array, ids unchanged."""
        return Nodules({name: values[keep] for name, values in self.columns.items()})

    def to_frame(self) -> pd.DataFrame:
        """The table as a pandas DataFrame: one row per nodule, the columns of `COLUMNS`.

        Raises
        ------
        InputError
            If pandas is not installed: it comes with the extra ``table``.
        """
        try:
            import pandas as pd
        except ImportError:
            raise InputError(
                "a DataFrame needs pandas, which is not installed: pip install 'miliary[table]'"
            ) from None

        return pd.DataFrame(dict(self.columns))


class Fate(enum.StrEnum):
    """What became of a nodule between two scans."""

    KEPT = "kept"
    SHRUNK = "shrunk"
    GROWN = "grown"
    NO_LONGER_SEEN = "no_longer_seen"
    NEW = "new"

    @property
    def words(self) -> str:
        """The fate as a reader reads it."""
        return self.value.replace("_", " ")

    @classmethod
    def _missing_(cls, value: object) -> Fate | None:
        # Files of earlier versions call it gone, which a scan that shows less cannot know.
        return cls.NO_LONGER_SEEN if value == "gone" else None


TRACK_COLUMNS: tuple[Column, ...] = (
    Column("id", np.int64, "", "number of the track, from 1"),
    Column("fate", object, "", "kept, shrunk, grown, no_longer_seen or new"),
    Column("baseline_id", np.int64, "", "id in the baseline's nodules.csv, 0 for a new nodule"),
    Column("followup_id", np.int64, "", "id in the follow-up's nodules.csv, 0 for one no longer seen"),
    Column("probability", np.float64, "", "that this is what became of it: identity, disappearance, arrival"),
    Column("x_mm", np.float64, "mm", "patient LPS x in the baseline scan"),
    Column("y_mm", np.float64, "mm", "patient LPS y in the baseline scan"),
    Column("z_mm", np.float64, "mm", "patient LPS z in the baseline scan"),
    Column("side", object, "", "right or left lung"),
    Column("zone", object, "", "upper, middle or lower third of the lung's height at baseline"),
    Column("baseline_volume_mm3", np.float64, "mm3", "volume at baseline"),
    Column("followup_volume_mm3", np.float64, "mm3", "volume at follow-up"),
    Column(
        "volume_change_fraction",
        np.float64,
        "",
        "follow-up volume over baseline volume, less 1; empty where it was not seen on both scans",
    ),
    Column("volume_change_fraction_err", np.float64, "", "one-sigma error of `volume_change_fraction`"),
)
TRACK_COLUMN_NAMES: tuple[str, ...] = tuple(column.name for column in TRACK_COLUMNS)


@dataclass(frozen=True)
class Tracks:
    """Nodules followed from one scan to the next, one row each; zero rows where there are none.

    Parameters
    ----------
    columns : mapping of str to ndarray
        Exactly the columns of `TRACK_COLUMNS`, all of one length. What does not apply is NaN.
    """

    columns: Mapping[str, npt.NDArray[Any]]

    def __post_init__(self) -> None:
        if tuple(self.columns) != TRACK_COLUMN_NAMES:
            raise ValueError(f"columns must be {TRACK_COLUMN_NAMES}, found {tuple(self.columns)}")
        lengths = {len(values) for values in self.columns.values()}
        if len(lengths) > 1:
            raise ValueError(f"columns differ in length: {sorted(lengths)}")

    def __repr__(self) -> str:
        counts = ", ".join(f"{self.count(fate):,} {fate.words}" for fate in Fate)
        return f"Tracks({counts})"

    @classmethod
    def empty(cls) -> Tracks:
        """A table of no rows."""
        return cls({column.name: np.empty(0, dtype=column.dtype) for column in TRACK_COLUMNS})

    def __len__(self) -> int:
        return len(self.columns["id"])

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.columns[name]

    def select(self, keep: npt.NDArray[Any]) -> Tracks:
        """The rows of a boolean mask or index array, ids unchanged."""
        return Tracks({name: values[keep] for name, values in self.columns.items()})

    def count(self, fate: Fate) -> int:
        """How many met this fate."""
        return int(np.count_nonzero(self.columns["fate"] == fate.value))
