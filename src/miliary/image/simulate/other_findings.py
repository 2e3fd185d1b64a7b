"""What a simulated chest may hold beside nodules: other disease, artifacts, and things beside the body.

One severity per kind of finding, 0 to 1; kinds are combined at will. What they look like is described with
the modules that draw them: `disease_fields`, `airway_disease`, `lung_texture`, `around_body`, `artifacts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from miliary.errors import InputError

DISEASES = (
    "tree_in_bud",
    "bronchiectasis",
    "mucus_plugs",
    "emphysema",
    "honeycombing",
    "reticulation",
    "crazy_paving",
    "mosaic",
    "organizing",
    "atelectasis",
    "effusion",
    "aspiration",
)
ARTIFACTS = ("motion", "streaks", "low_dose", "sharp_kernel")
BESIDE = ("arms_down", "devices", "table", "clothes")

FINDING_COLUMN_NAMES = ("kind", "x_mm", "y_mm", "z_mm", "diameter_mm")


@dataclass(frozen=True)
class OtherFindings:
    """Severity of each kind of finding in a simulated chest that is not a nodule: 0 none, 1 severe.

    Parameters
    ----------
    tree_in_bud : float
        Bronchiolitis: forked twigs of filled bronchioles with buds at their ends, in clumps, off the pleura.
    bronchiectasis : float
        Bronchi wider than their artery, with thick walls, reaching farther out than they should.
    mucus_plugs : float
        Bronchi filled with mucus, some of them forked.
    emphysema : float
        Centrilobular: holes of 2 to 10 mm without walls, more of them above.
    honeycombing : float
        Layers of cysts of 3 to 10 mm with walls below the pleura of the bases.
    reticulation : float
        A net of fine lines below the pleura of the bases, with some ground glass.
    crazy_paving : float
        Sharply bounded ground glass with thickened septa and a net of lines in it.
    mosaic : float
        Lobules of trapped air beside denser ones.
    organizing : float
        Patches of consolidation under the pleura and around bronchi, with air in the bronchi and a halo.
    atelectasis : float
        Plates at the bases; a collapsed part of a lower lobe from 0.5 on.
    effusion : float
        Fluid behind one or both lungs, which it compresses.
    aspiration : float
        Filled bronchioles, soft nodular shadows and consolidation in the dependent parts.
    motion : float
        Double contours of breathing and heartbeat on some slices.
    streaks : float
        Horizontal streaks at the shoulders, and those of metal where there are `devices`.
    low_dose : float
        Coarse noise of low dose, correlated in plane, stronger in the middle of the body.
    sharp_kernel : float
        A kernel that enhances edges and noise.
    arms_down : float
        Arms beside the chest where not 0.
    devices : float
        Leads on the skin, a port with its catheter, the lead of a pacemaker.
    table : float
        A table under the patient where not 0; its shape is drawn from the seed.
    clothes : float
        Cloth with folds on the skin.
    """

    tree_in_bud: float = 0.0
    bronchiectasis: float = 0.0
    mucus_plugs: float = 0.0
    emphysema: float = 0.0
    honeycombing: float = 0.0
    reticulation: float = 0.0
    crazy_paving: float = 0.0
    mosaic: float = 0.0
    organizing: float = 0.0
    atelectasis: float = 0.0
    effusion: float = 0.0
    aspiration: float = 0.0
    motion: float = 0.0
    streaks: float = 0.0
    low_dose: float = 0.0
    sharp_kernel: float = 0.0
    arms_down: float = 0.0
    devices: float = 0.0
    table: float = 0.0
    clothes: float = 0.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not 0.0 <= value <= 1.0:
                raise InputError(f"other_findings.{item.name} = {value:g} is no severity; give 0 to 1")

    def __bool__(self) -> bool:
        return any(getattr(self, item.name) > 0 for item in fields(self))

    @classmethod
    def draw(cls, seed: int, *, n_diseases: int | None = None) -> OtherFindings:
        """Draw a mixture: some diseases, often artifacts, and things beside the body.

        Parameters
        ----------
        seed : int
            The same seed gives the same mixture.
        n_diseases : int, optional
            Number of `DISEASES`; one to three by default.

        Returns
        -------
        OtherFindings
        """
        rng = np.random.default_rng([seed, 78])
        n = int(rng.integers(1, 4)) if n_diseases is None else n_diseases
        chosen = {str(kind): float(rng.uniform(0.2, 1.0)) for kind in rng.permutation(DISEASES)[:n]}
        for kinds, chance in ((ARTIFACTS, 0.25), (BESIDE, 0.5)):
            for kind in kinds:
                if rng.random() < chance:
                    chosen[kind] = float(rng.uniform(0.1, 1.0))
        return cls(**chosen)


NO_OTHER_FINDINGS = OtherFindings()


def read_other_findings(given: bool | OtherFindings | Mapping[str, float], *, seed: int) -> OtherFindings:
    """Convert the argument `other_findings` of `simulate_scan`.

    Parameters
    ----------
    given : bool, OtherFindings or mapping
        True draws a mixture, False means none, a mapping gives severities by kind.
    seed : int
        Seed of the mixture.

    Returns
    -------
    OtherFindings

    Raises
    ------
    InputError
        A kind is not known, or a severity lies outside 0 to 1.
    """
    if isinstance(given, OtherFindings):
        return given
    if isinstance(given, Mapping):
        known = (*DISEASES, *ARTIFACTS, *BESIDE)
        for kind in given:
            if kind not in known:
                raise InputError(
                    f"other_findings: {kind!r} is not a kind of finding; choose of {', '.join(known)}"
                )
        return OtherFindings(**given)
    return OtherFindings.draw(seed) if given else NO_OTHER_FINDINGS


def make_table(rows: list[tuple[str, npt.NDArray[np.float64], float]]) -> dict[str, npt.NDArray[Any]]:
    """Table of discrete findings that are not nodules.

    Parameters
    ----------
    rows : list of (kind, center, diameter)
        Kind of finding, center (z, y, x) in the body frame [mm] and diameter [mm].

    Returns
    -------
    dict of str to ndarray
        Columns `FINDING_COLUMN_NAMES`; the body frame and patient LPS coincide.
    """
    center = np.array([row[1] for row in rows]).reshape(-1, 3)
    columns = (
        np.array([row[0] for row in rows], dtype=object),
        *center.T[::-1],
        np.array([row[2] for row in rows], dtype=np.float64),
    )
    return dict(zip(FINDING_COLUMN_NAMES, columns, strict=True))
