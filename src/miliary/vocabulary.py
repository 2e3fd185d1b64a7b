"""The words a case is written in: one enum each, and the kinds of claims."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Origin(StrEnum):
    """Where a fact comes from."""

    PUBLISHED = "published"
    RECORDED = "recorded"
    MEASURED = "measured"
    SIMULATED = "simulated"
    CORRECTED = "corrected"


class Presence(StrEnum):
    """Whether something was seen. Not stated is never absent."""

    PRESENT = "present"
    ABSENT = "absent"
    NOT_STATED = "not_stated"

    @property
    def is_known(self) -> bool:
        """It was stated, one way or the other."""
        return self is not Presence.NOT_STATED


class Sex(StrEnum):
    """Sex as the records give it."""

    FEMALE = "female"
    MALE = "male"
    OTHER = "other"


class Smoking(StrEnum):
    """Smoking history. `NON_SMOKER` is what records say when they do not tell never from former."""

    NEVER = "never"
    FORMER = "former"
    CURRENT = "current"
    NON_SMOKER = "non_smoker"


class Side(StrEnum):
    """Side of the body."""

    RIGHT = "right"
    LEFT = "left"


class Lobe(StrEnum):
    """Lobe of the lung."""

    RUL = "RUL"
    RML = "RML"
    RLL = "RLL"
    LUL = "LUL"
    LLL = "LLL"

    @property
    def side(self) -> Side:
        """Side this lobe is on."""
        return Side.RIGHT if self.value.startswith("R") else Side.LEFT


class Result(StrEnum):
    """Outcome of a test."""

    POSITIVE = "positive"
    NEGATIVE = "negative"
    INDETERMINATE = "indeterminate"
    FAILED = "failed"
    NOT_TESTED = "not_tested"
    NOT_STATED = "not_stated"


class Modality(StrEnum):
    """How an image was made."""

    CT = "ct"
    XRAY = "xray"
    MRI = "mri"
    PET_CT = "pet_ct"
    BONE_SCAN = "bone_scan"
    ULTRASOUND = "ultrasound"
    OTHER = "other"


class Finding(StrEnum):
    """What an imaging study of the chest may show; the names of the published vocabulary."""

    SEPTAL_THICKENING_SMOOTH = "septal_thickening_smooth"
    SEPTAL_THICKENING_NODULAR = "septal_thickening_nodular"
    BRONCHOVASCULAR_THICKENING = "bronchovascular_thickening"
    FISSURAL_NODULES = "fissural_nodules"
    SUBPLEURAL_NODULES = "subpleural_nodules"
    CLUSTERED_NODULES = "clustered_nodules"
    GROUND_GLASS = "ground_glass"
    GROUND_GLASS_OVER_QUARTER = "ground_glass_over_quarter"
    GROUND_GLASS_HALO = "ground_glass_halo"
    ILL_DEFINED_NODULES = "ill_defined_nodules"
    TREE_IN_BUD = "tree_in_bud"
    BRONCHOGENIC_SPREAD = "bronchogenic_spread"
    CONSOLIDATION = "consolidation"
    DOMINANT_MASS = "dominant_mass"
    CAVITY = "cavity"
    CAVITATING_NODULES = "cavitating_nodules"
    CYSTS = "cysts"
    CALCIFIED_NODULES = "calcified_nodules"
    DENSE_NODULES = "dense_nodules"
    EGGSHELL_NODES = "eggshell_nodes"
    CALCIFIED_NODES = "calcified_nodes"
    NECROTIC_NODES = "necrotic_nodes"
    HILAR_NODES = "hilar_nodes"
    SYMMETRIC_HILAR_NODES = "symmetric_hilar_nodes"
    MEDIASTINAL_NODES = "mediastinal_nodes"
    PLEURAL_EFFUSION = "pleural_effusion"
    PERICARDIAL_EFFUSION = "pericardial_effusion"
    PLEURAL_NODULES = "pleural_nodules"
    BLACK_PLEURAL_LINE = "black_pleural_line"
    AIR_TRAPPING = "air_trapping"
    FEEDING_VESSEL = "feeding_vessel"
    PROGRESSIVE_MASSIVE_FIBROSIS = "progressive_massive_fibrosis"
    SPARED_COSTOPHRENIC_ANGLES = "spared_costophrenic_angles"
    ATELECTASIS = "atelectasis"
    BONE_LESIONS = "bone_lesions"
    BRAIN_LESIONS = "brain_lesions"
    LIVER_LESIONS = "liver_lesions"
    ADRENAL_LESIONS = "adrenal_lesions"
    HEPATOSPLENIC_MICROABSCESSES = "hepatosplenic_microabscesses"
    SPLENIC_CALCIFICATIONS = "splenic_calcifications"
    PANCREAS_ABNORMAL = "pancreas_abnormal"
    SALIVARY_GLANDS_ABNORMAL = "salivary_glands_abnormal"


class Symptom(StrEnum):
    """Symptoms and signs."""

    COUGH = "cough"
    DYSPNEA = "dyspnea"
    HEMOPTYSIS = "hemoptysis"
    FEVER = "fever"
    NIGHT_SWEATS = "night_sweats"
    WEIGHT_LOSS = "weight_loss"
    CHEST_PAIN = "chest_pain"
    BONE_PAIN = "bone_pain"
    HEADACHE = "headache"
    ABDOMINAL_PAIN = "abdominal_pain"
    VOMITING = "vomiting"
    SALIVARY_SWELLING = "salivary_swelling"
    SKIN_LESIONS = "skin_lesions"
    EYE_INFLAMMATION = "eye_inflammation"
    CHOROID_TUBERCLES = "choroid_tubercles"
    SINUSITIS = "sinusitis"


class History(StrEnum):
    """What may stand in a history."""

    RESPIRATORY_DISEASE = "respiratory_disease"
    HIV = "hiv"
    CD4_BELOW_200 = "cd4_below_200"
    IMMUNOSUPPRESSION = "immunosuppression"
    CORTICOSTEROIDS = "corticosteroids"
    ANTI_TNF = "anti_tnf"
    TB_CONTACT = "tb_contact"
    PAST_TB = "past_tb"
    TB_ENDEMIC_BIRTH = "tb_endemic_birth"
    MALIGNANCY_THYROID = "malignancy_thyroid"
    MALIGNANCY_KIDNEY = "malignancy_kidney"
    MALIGNANCY_MELANOMA = "malignancy_melanoma"
    MALIGNANCY_CHORIOCARCINOMA = "malignancy_choriocarcinoma"
    MALIGNANCY_OSTEOSARCOMA = "malignancy_osteosarcoma"
    MALIGNANCY_BREAST = "malignancy_breast"
    MALIGNANCY_COLORECTAL = "malignancy_colorectal"
    MALIGNANCY_LUNG = "malignancy_lung"
    MALIGNANCY_BLADDER = "malignancy_bladder"
    MALIGNANCY_OTHER = "malignancy_other"
    BCG_INSTILLATION = "bcg_instillation"
    SILICA_OR_COAL_EXPOSURE = "silica_or_coal_exposure"
    ORGANIC_ANTIGEN_EXPOSURE = "organic_antigen_exposure"
    HISTOPLASMA_EXPOSURE = "histoplasma_exposure"
    COCCIDIOIDES_EXPOSURE = "coccidioides_exposure"
    PARASITE_EXPOSURE = "parasite_exposure"
    VARICELLA_PAST = "varicella_past"
    VARICELLA_NOW = "varicella_now"
    INTRAVENOUS_DRUG_USE = "intravenous_drug_use"
    RECENT_FRACTURE = "recent_fracture"
    SEPTIC_SOURCE = "septic_source"
    ASPIRATION = "aspiration"
    EAST_ASIAN_ORIGIN = "east_asian_origin"
    PULMONARY_HYPERTENSION = "pulmonary_hypertension"
    RHEUMATOID_ARTHRITIS = "rheumatoid_arthritis"
    FAMILY_HISTORY_OF_CANCER = "family_history_of_cancer"
    RENAL_FAILURE = "renal_failure"
    PANCREATITIS = "pancreatitis"
    SALIVARY_DISEASE = "salivary_disease"
    ALCOHOL_EXCESS = "alcohol_excess"
    BULIMIA = "bulimia"
    DIABETIC_KETOACIDOSIS = "diabetic_ketoacidosis"
    OTHER_AMYLASE_TUMOR = "other_amylase_tumor"
    RECENT_SURGERY = "recent_surgery"
    PREGNANCY = "pregnancy"
    CONTRACEPTION = "contraception"
    HEMOLYSIS = "hemolysis"
    CHOLESTASIS = "cholestasis"


class Structure(StrEnum):
    """What a primary tumor may involve, as far as T depends on it."""

    MAIN_BRONCHUS = "main_bronchus"
    VISCERAL_PLEURA = "visceral_pleura"
    ADJACENT_LOBE = "adjacent_lobe"
    ATELECTASIS_TO_HILUM = "atelectasis_to_hilum"
    PARIETAL_PLEURA = "parietal_pleura"
    CHEST_WALL = "chest_wall"
    PERICARDIUM = "pericardium"
    PHRENIC_NERVE = "phrenic_nerve"
    AZYGOS_VEIN = "azygos_vein"
    THORACIC_NERVE_ROOTS = "thoracic_nerve_roots"
    STELLATE_GANGLION = "stellate_ganglion"
    MEDIASTINUM = "mediastinum"
    DIAPHRAGM = "diaphragm"
    HEART = "heart"
    GREAT_VESSELS = "great_vessels"
    TRACHEA = "trachea"
    CARINA = "carina"
    RECURRENT_LARYNGEAL_NERVE = "recurrent_laryngeal_nerve"
    VAGUS_NERVE = "vagus_nerve"
    ESOPHAGUS = "esophagus"
    VERTEBRAL_BODY = "vertebral_body"
    SPINAL_CANAL = "spinal_canal"
    BRACHIAL_PLEXUS = "brachial_plexus"
    CERVICAL_NERVE_ROOTS = "cervical_nerve_roots"


class Count(StrEnum):
    """How many, where records give words."""

    SINGLE = "single"
    MULTIPLE = "multiple"


class Distribution(StrEnum):
    """How small nodules lie in the secondary lobule."""

    RANDOM = "random"
    PERILYMPHATIC = "perilymphatic"
    CENTRILOBULAR = "centrilobular"


class Zone(StrEnum):
    """Where in the lungs nodules prevail."""

    UPPER = "upper"
    MIDDLE = "middle"
    LOWER = "lower"
    DIFFUSE = "diffuse"


class LesionState(StrEnum):
    """What a reader could say of a lesion at one time point, where it is not a plain number."""

    PRESENT = "present"
    ABSENT = "absent"
    TOO_SMALL = "too_small"
    NOT_EVALUATED = "not_evaluated"
    PROGRESSED = "progressed"  # unequivocal progression of a non-target lesion
    EQUIVOCAL = "equivocal"


CLAIM_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "miliary": "the pattern is called miliary; threshold_mm as stated, strict",
        "earlier_cases_excluded_by_size": "earlier reports are set aside for the size of their nodules",
        "no_earlier_case": "no similar case is said to exist",
        "amylase_producing_tumor": "the tumor is said or suspected to make amylase",
        "bone_before_lung": "the lung is said to be seeded from the bone",
        "driver_rearranged": "a rearrangement is asserted; about names the tests",
        "tumor_markers_not_raised": "tumor markers are said not to be raised",
        "marker_rising": "a marker is said to rise in spite of treatment",
        "no_severe_adverse_event": "no severe adverse event is said to have occurred",
        "tuberculosis_excluded": "tuberculosis is said to be excluded",
        "lymphangitic_spread_excluded": "lymphangitic spread is said to be excluded",
        "poor_survival_of_miliary": "miliary disease is said to shorten survival",
        "response": "a response is described in words",
        "values_fell_with_response": "a lab value is said to fall with response",
        "immunity_from_tps": "a statement on immunity rests on the PD-L1 score",
    }
)
