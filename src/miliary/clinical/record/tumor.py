"""Whether a record holds a tumor at all, and whether tissue or culture explains it without lung cancer."""

from __future__ import annotations

from miliary.clinical.record.diagnosis_words import DiagnosisStatus, find_entities, list_specimens
from miliary.clinical.record.differential import rank_diagnoses
from miliary.model.assessment import Input
from miliary.model.case import Case, Staging
from miliary.model.vocabulary import History, Presence, Result

_MALIGNANCIES = tuple(item for item in History if item.value.startswith("malignancy_"))
_TUMORS = tuple(
    entity for kind in ("lung_tumor", "extrathoracic_tumor", "tumor") for entity in find_entities(kind)
)


def has_tumor(case: Case) -> bool:
    """Whether anything on record says that the patient has, or had, a tumor.

    Parameters
    ----------
    case : Case

    Returns
    -------
    bool
        True for a malignancy in the history, a tumor confirmed or suspected in tissue, any fact of a stage,
        a lesion, a response, a positive gene test or stain, or a claim of a tumor.
    """
    tissue = any(
        any(list_specimens(case, _TUMORS, status))
        for status in (DiagnosisStatus.CONFIRMED, DiagnosisStatus.SUSPECTED)
    )
    genes = any(gene.result is Result.POSITIVE for report in case.molecular for gene in report.genes)
    return (
        tissue
        or genes
        or case.staging not in (Staging(), Staging(primary=Presence.ABSENT))
        or bool(case.lesions or case.responses)
        or any(stain.result is Result.POSITIVE for stain in case.immunostains)
        or any(case.past(item) is Presence.PRESENT for item in _MALIGNANCIES)
        or any("tumor" in claim.kind for claim in case.claims)
    )


def may_have_lung_cancer(case: Case) -> bool:
    """Whether anything on record says, or leaves open, that the patient has a lung cancer to be staged.

    Parameters
    ----------
    case : Case

    Returns
    -------
    bool
        True for any fact of a stage, a tumor of the lung or of no named organ in tissue (confirmed or
        suspected), a lesion, a response, a gene test or stain, a lung cancer in the history, or a claim of a
        tumor. A tumor elsewhere, or none at all, is nothing to stage here.
    """
    tumors = (*find_entities("lung_tumor"), *find_entities("tumor"))
    statuses = (DiagnosisStatus.CONFIRMED, DiagnosisStatus.SUSPECTED)
    return (
        case.staging != Staging()
        or any(any(list_specimens(case, tumors, status)) for status in statuses)
        or case.past(History.MALIGNANCY_LUNG) is Presence.PRESENT
        or bool(case.molecular or case.immunostains or case.lesions or case.responses)
        or any("tumor" in claim.kind or claim.kind == "driver_rearranged" for claim in case.claims)
    )


def list_other_proof(case: Case) -> tuple[Input, ...]:
    """Tissue or culture that explains a record which says nothing of a lung cancer.

    Parameters
    ----------
    case : Case

    Returns
    -------
    tuple of Input
        The facts that prove another cause; empty where there are none, where a stage is recorded, or where
        tissue names a tumor of the lung: then the lung cancer is staged.
    """
    lung = find_entities("lung_tumor")
    statuses = (DiagnosisStatus.CONFIRMED, DiagnosisStatus.SUSPECTED)
    if case.staging != Staging() or any(any(list_specimens(case, lung, status)) for status in statuses):
        return ()
    if case.past(History.MALIGNANCY_LUNG) is Presence.PRESENT or case.molecular:
        return ()
    proved = [cause for cause in rank_diagnoses(case) if cause.proof]
    return tuple(
        fact for cause in proved for item in cause.evidence if item.name in cause.proof for fact in item.facts
    )
