"""Codes that exchange formats ask for beside the words of a case.

Only codes that are known here; a word without one is written as text under a system of our own. LOINC codes
are used under the LOINC license (loinc.org), which is free of charge; SNOMED CT codes under the terms of
the reader's country.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
UCUM = "http://unitsofmeasure.org"
DCM = "http://dicom.nema.org/resources/ontology/DCM"
OWN = "urn:miliary"

# Analytes by LOINC code, as the rules for laboratory values name them, and vital signs.
ANALYTE_LOINC: Mapping[str, str] = MappingProxyType(
    {
        "amylase_total": "1798-8",
        "amylase_pancreatic": "1805-1",
        "amylase_salivary": "1809-3",
        "lipase": "3040-3",
        "cea": "2039-6",
        "cyfra_21_1": "25390-6",
        "scc": "9679-2",
        "ca_19_9": "24108-3",
        "ldh": "14804-9",
        "ast": "1920-8",
        "alt": "1742-6",
        "bilirubin_total": "1975-2",
        "alp": "6768-6",
        "ggt": "2324-2",
        "ck": "2157-6",
        "creatinine": "2160-0",
        "hemoglobin": "718-7",
        "white_cells": "6690-2",
        "platelets": "777-3",
    }
)
TUMOR_MARKERS = frozenset({"cea", "cyfra_21_1", "progrp", "scc", "ca_19_9", "nse"})

# PD-L1 by clone.
PDL1_LOINC: Mapping[str, str] = MappingProxyType({"22C3": "83052-1", "28-8": "83055-4", "SP142": "83057-0"})

# Kinds of imaging as DICOM writes them.
MODALITY_DCM: Mapping[str, str] = MappingProxyType(
    {
        "ct": "CT",
        "xray": "DX",
        "mri": "MR",
        "pet_ct": "PT",
        "bone_scan": "NM",
        "ultrasound": "US",
        "other": "OT",
    }
)

# Words of the case by SNOMED CT code. None for a current smoker: readers take 77176002 in two ways.
SMOKING_SNOMED: Mapping[str, str] = MappingProxyType(
    {"never": "266919005", "former": "8517006", "non_smoker": "8392000"}
)
PRESENCE_SNOMED: Mapping[str, str] = MappingProxyType({"present": "52101004", "absent": "2667000"})
SYMPTOM_SNOMED: Mapping[str, str] = MappingProxyType(
    {
        "cough": "49727002",
        "dyspnea": "267036007",
        "hemoptysis": "66857006",
        "fever": "386661006",
        "night_sweats": "42984000",
        "weight_loss": "89362005",
        "chest_pain": "29857009",
        "bone_pain": "12584003",
        "headache": "25064002",
        "abdominal_pain": "21522001",
        "vomiting": "422400008",
    }
)
RESULT_SNOMED: Mapping[str, str] = MappingProxyType(
    {"positive": "10828004", "negative": "260385009", "indeterminate": "82334004"}
)
# Editions of the staging manual.
STAGING_SNOMED: Mapping[str, str] = MappingProxyType({"8": "897275008", "9": "1269566009"})

# Symptoms and findings by term of the Human Phenotype Ontology.
SYMPTOM_HPO: Mapping[str, str] = MappingProxyType(
    {
        "cough": "HP:0012735",
        "dyspnea": "HP:0002094",
        "hemoptysis": "HP:0002105",
        "fever": "HP:0001945",
        "night_sweats": "HP:0030166",
        "weight_loss": "HP:0001824",
        "chest_pain": "HP:0100749",
        "bone_pain": "HP:0002653",
        "headache": "HP:0002315",
        "abdominal_pain": "HP:0002027",
        "vomiting": "HP:0002013",
    }
)
FINDING_HPO: Mapping[str, str] = MappingProxyType(
    {
        "pleural_effusion": "HP:0002202",
        "pericardial_effusion": "HP:0001698",
        "ground_glass": "HP:0025179",
        "tree_in_bud": "HP:0032174",
        "atelectasis": "HP:0100750",
    }
)
