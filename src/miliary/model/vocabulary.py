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
    FIBROSIS = "fibrosis"
    HONEYCOMBING = "honeycombing"
    BRONCHIECTASIS = "bronchiectasis"
    EMPHYSEMA = "emphysema"
    CRAZY_PAVING = "crazy_paving"
    SPLENOMEGALY = "splenomegaly"
    HEPATOMEGALY = "hepatomegaly"
    PLEURAL_THICKENING = "pleural_thickening"


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
    SPUTUM = "sputum"
    WHEEZING = "wheezing"
    FATIGUE = "fatigue"
    ANOREXIA = "anorexia"
    NAUSEA = "nausea"
    DIARRHEA = "diarrhea"
    CHILLS = "chills"
    BACK_PAIN = "back_pain"
    ARTHRALGIA = "arthralgia"
    LYMPHADENOPATHY = "lymphadenopathy"
    EDEMA = "edema"
    JAUNDICE = "jaundice"
    CLUBBING = "clubbing"
    HYPOXEMIA = "hypoxemia"
    HOARSENESS = "hoarseness"
    DYSPHAGIA = "dysphagia"
    DIZZINESS = "dizziness"
    SYNCOPE = "syncope"
    SEIZURE = "seizure"
    CONFUSION = "confusion"
    VISUAL_DISTURBANCE = "visual_disturbance"
    NEUROLOGIC_DEFICIT = "neurologic_deficit"


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
    BREASTFEEDING = "breastfeeding"
    HEMOLYSIS = "hemolysis"
    CHOLESTASIS = "cholestasis"
    DIABETES = "diabetes"
    HYPERTENSION = "hypertension"
    HEART_DISEASE = "heart_disease"
    ARRHYTHMIA = "arrhythmia"
    STROKE = "stroke"
    THROMBOEMBOLISM = "thromboembolism"
    CHRONIC_LIVER_DISEASE = "chronic_liver_disease"
    HEPATITIS_B = "hepatitis_b"
    HEPATITIS_C = "hepatitis_c"
    AUTOIMMUNE_DISEASE = "autoimmune_disease"
    THYROID_DISEASE = "thyroid_disease"
    PSYCHIATRIC_DISEASE = "psychiatric_disease"
    SARCOIDOSIS = "sarcoidosis"
    INTERSTITIAL_LUNG_DISEASE = "interstitial_lung_disease"
    ASBESTOS_EXPOSURE = "asbestos_exposure"
    TRANSPLANTATION = "transplantation"
    DIALYSIS = "dialysis"
    DRUG_ALLERGY = "drug_allergy"
    GASTROESOPHAGEAL_REFLUX = "gastroesophageal_reflux"


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


class TumorPattern(StrEnum):
    """How several tumor foci of one lung cancer are read; which it is somebody has to say."""

    SEPARATE_NODULES = "separate_nodules"
    SYNCHRONOUS_PRIMARIES = "synchronous_primaries"
    MULTIFOCAL_LEPIDIC = "multifocal_lepidic"
    PNEUMONIC = "pneumonic"


class ChildPugh(StrEnum):
    """Class of liver function."""

    A = "A"
    B = "B"
    C = "C"


class Count(StrEnum):
    """How many, where records give words."""

    SINGLE = "single"
    MULTIPLE = "multiple"


class Distribution(StrEnum):
    """How small nodules lie in the secondary lobule."""

    RANDOM = "random"
    PERILYMPHATIC = "perilymphatic"
    CENTRILOBULAR = "centrilobular"


class PrevailingZone(StrEnum):
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

# What molecular reports of lung cancer name; an unknown symbol is refused unless written "other:SYMBOL".
_GENES = """
AKT1 AKT2 AKT3 ALK APC AR ARAF ARID1A ARID2 ATM ATR AXL BAP1 BRAF BRCA1 BRCA2 BRIP1 CCND1 CCND2 CCND3
CCNE1 CDK12 CDK2 CDK4 CDK6 CDKN1B CDKN2A CDKN2B CHEK1 CHEK2 CREBBP CSNK2A1 CTNNB1 CUL3 DDR2 EGFR EML4
ERBB2 ERBB3 ERBB4 ERCC2 ERG ESR1 ETV1 ETV4 ETV5 FANCA FANCD2 FANCI FAT1 FBXW7 FGFR1 FGFR2 FGFR3 FGFR4 FGR
FLT3 FOXL2 GATA2 GNA11 GNAQ GNAS H3-3A HNF1A HRAS IDH1 IDH2 IGF1R JAK1 JAK2 JAK3 KDR KEAP1 KIF5B KIT
KNSTRN KRAS LTK MAGOH MAP2K1 MAP2K2 MAP2K4 MAPK1 MAX MDM2 MDM4 MED12 MET MLH1 MRE11 MSH2 MSH6 MTAP MTOR
MYB MYBL1 MYC MYCL MYCN MYD88 NBN NF1 NF2 NFE2L2 NKX2-1 NOTCH1 NOTCH2 NOTCH3 NRAS NRG1 NTRK1 NTRK2 NTRK3
NUTM1 PALB2 PBRM1 PDGFRA PDGFRB PIK3CA PIK3CB PIK3R1 PMS2 POLE PPARG PPP2R1A PTCH1 PTEN PTPN11 RAC1 RAD50
RAD51 RAD51B RAD51C RAD51D RAF1 RB1 RBM10 RET RHEB RHOA RICTOR RIT1 RNF43 ROS1 RSPO2 RSPO3 SDC4 SETD2
SF3B1 SLC34A2 SLX4 SMAD4 SMARCA4 SMARCB1 SMO SOX2 SPOP SRC STAT3 STK11 TERT TOP1 TP53 TSC1 TSC2 U2AF1 VHL
XPO1
"""
GENES = frozenset(_GENES.split())
GENE_ALIASES: Mapping[str, str] = MappingProxyType(
    {"HER2": "ERBB2", "HER-2": "ERBB2", "HER3": "ERBB3", "C-MET": "MET", "CMET": "MET", "LKB1": "STK11"}
    # Stains are named with the clone of their antibody.
    | {f"ALK{text}": "ALK" for text in (" (D5F3)", " D5F3", " (5A4)", " 5A4", " (1A4)")}
    | {f"ROS1{text}": "ROS1" for text in (" (D4D6)", " D4D6", " (SP384)", " SP384")}
    | {"C-MET (SP44)": "MET", "C-MET SP44": "MET", "MET (SP44)": "MET"}
    | {"TRKA": "NTRK1", "TRKB": "NTRK2", "TRKC": "NTRK3", "P53": "TP53", "ERBB1": "EGFR", "TTF1": "NKX2-1"}
)

# Units as UCUM writes them, and the spellings that records use for them.
_UNITS = """
% /min /uL 1 10*12/L 10*3/uL 10*6/uL 10*9/L Cel Gy IU/L IU/mL L U/L U/mL [IU]/L [IU]/mL [iU]/L [iU]/mL cm
d fL g g/L g/dL h kU/L kg kg/m2 m2 mEq/L mL mL/min mL/min/{1.73_m2} mU/L mg mg/L mg/dL mg/kg mg/m2 min mm
mm[Hg] mmol/L ms ng/L ng/dL ng/mL nkat/L nmol/L pg pg/mL pmol/L s u[iU]/mL ug ug/L ug/dL ug/mL ukat/L
umol/L 10*2/uL 10*4/uL 10*5/uL 10*7/L mIU/L mIU/mL uIU/mL {copies}/mL {score} {spots} [pH]
"""
UNITS = frozenset(_UNITS.split())
UNIT_SPELLINGS: Mapping[str, str] = MappingProxyType(
    {"µg/L": "ug/L", "μg/L": "ug/L", "mcg/L": "ug/L", "µg/dL": "ug/dL", "μg/dL": "ug/dL", "µmol/L": "umol/L"}
    | {"μmol/L": "umol/L", "µkat/L": "ukat/L", "μkat/L": "ukat/L", "10^9/L": "10*9/L", "10^3/uL": "10*3/uL"}
    | {
        "10^3/µL": "10*3/uL",
        "10^6/uL": "10*6/uL",
        "10^12/L": "10*12/L",
        "x10^9/L": "10*9/L",
        "K/uL": "10*3/uL",
    }
    | {"bpm": "/min", "mmHg": "mm[Hg]", "msec": "ms", "°C": "Cel", "IU/L": "IU/L", "IU/mL": "IU/mL"}
    | {"iu/l": "IU/L", "u/l": "U/L", "ng/ml": "ng/mL", "pg/ml": "pg/mL", "mg/dl": "mg/dL", "g/dl": "g/dL"}
    | {"u/ml": "U/mL", "µg": "ug", "mcg": "ug", "µg/mL": "ug/mL", "/µL": "/uL", "percent": "%"}
    | dict.fromkeys(
        (
            "/mm3",
            "/mm^3",
            "/mm³",
            "1/mm3",
            "/cmm",
            "cells/mm3",
            "cells/uL",
            "cells/µL",
            "cells/μL",
            "/μL",
            "/ul",
        ),
        "/uL",
    )
    | dict.fromkeys(
        ("10*3/mm3", "10^3/mm3", "x10^3/uL", "x10^3/mm3", "10^3/μL", "K/mm3", "10³/µL"), "10*3/uL"
    )
    | dict.fromkeys(
        ("10^4/uL", "10^4/µL", "10^4/μL", "x10^4/uL", "10*4/mm3", "10^4/mm3", "万/μL", "万/uL"), "10*4/uL"
    )
    | dict.fromkeys(("10^6/mm3", "10*6/mm3", "x10^6/uL", "10^6/µL", "10^6/μL", "M/uL"), "10*6/uL")
    | dict.fromkeys(("mg%", "mgs%", "mg percent", "mgs/dL"), "mg/dL")
    | dict.fromkeys(("g%", "gm%", "gms%", "gm/dL", "gms/dL"), "g/dL")
    | dict.fromkeys(
        ("mL/min/1.73m2", "mL/min/1,73m2", "mL/min/1.73 m²", "mL/min/1.73m^2", "mL/min/1.73sqm"),
        "mL/min/{1.73_m2}",
    )
    | dict.fromkeys(("mL/min/1,73m²", "ml/mn/1.73m2", "ml/mn/1,73m2", "mL/min/1.73"), "mL/min/{1.73_m2}")
    | {"UI/L": "IU/L", "UI/mL": "IU/mL", "mUI/L": "mIU/L", "mUI/mL": "mIU/mL", "mval/L": "mEq/L"}
    | {"Gpt/L": "10*9/L", "Mrd/L": "10*9/L", "Tpt/L": "10*12/L", "T/L": "10*12/L", "tera/L": "10*12/L"}
    | {"г/л": "g/L", "ммоль/л": "mmol/L", "мкмоль/л": "umol/L", "ед/л": "U/L"}
    | {"/nL": "10*9/L", "/pL": "10*12/L", "Mio/uL": "10*6/uL", "mill/mm3": "10*6/uL"}
    | dict.fromkeys(("Tsd/uL", "tsd./uL", "thou/uL", "thousand/uL", "K/cumm", "千/uL"), "10*3/uL")
    | {"百/uL": "10*2/uL", "lakh/cumm": "10*5/uL", "lakhs/cumm": "10*5/uL", "lakh/uL": "10*5/uL"}
    | {"lac/cumm": "10*5/uL", "lacs/cumm": "10*5/uL", "/cumm": "/uL", "cells/cumm": "/uL"}
    | dict.fromkeys(("G/L", "giga/L", "10⁹/L", "x10*9/L"), "10*9/L")
)

# Analytes that rules know; another name is taken as it is unless it looks like a slip of one of these.
_ANALYTES = """
ace acth afp albumin alp alt ammonia amylase_creatinine_clearance_ratio amylase_pancreatic
amylase_salivary amylase_salivary_fraction amylase_total aptt ast beta_2_microglobulin bilirubin_direct
bilirubin_total blood_ph blood_pressure_diastolic blood_pressure_systolic bnp ca_125 ca_15_3 ca_19_9
ca_72_4 calcitonin calcium calcium_corrected calcium_ionized cd4 cea chloride cholesterol_hdl
cholesterol_ldl cholesterol_total ck cortisol creatinine creatinine_clearance crp cyfra_21_1 d_dimer
egfr_renal ejection_fraction elastase_1 eosinophils eosinophils_percent esr ferritin fibrinogen free_t3
free_t4 ggt glucose glucose_fasting haptoglobin hba1c hcg heart_rate hematocrit hemoglobin
immunoglobulin_g inr iron kl_6 lactate ldh lipase lymphocytes lymphocytes_percent magnesium monocytes
monocytes_percent neutrophils neutrophils_percent nse nt_probnp oxygen_saturation pao2 phosphate
platelets potassium procalcitonin progrp psa qtc reticulocytes scc slx sodium soluble_il2_receptor sp_a
sp_d temperature thyroglobulin total_protein triglycerides troponin_i troponin_t trypsin tsh urea
urea_nitrogen uric_acid urine_protein vitamin_d weight white_cells
"""
ANALYTES = frozenset(_ANALYTES.split())
