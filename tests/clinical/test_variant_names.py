"""A variant is read alike by any of its names."""

import pytest

from miliary.clinical.genes.drivers import assess
from miliary.clinical.genes.variant_names import read_variants
from miliary.clinical.rulebook import find_rules
from tests.clinical.cases import make_case

NAMES = {
    ("EGFR", "ex19del"): [
        "p.E746_A750del",
        "E746_A750del",
        "p.Glu746_Ala750del",
        "p.(Glu746_Ala750del)",
        "p.E746_A750delELREA",
        "p.L747_P753delinsS",
        "p.L747_A750>P",
        "c.2235_2249del",
        "c.2236_2250del15",
        "exon 19 deletion",
        "deletion in exon 19",
        "Ex19del",
        "Del19",
        "19del",
    ],
    ("EGFR", "ex20ins"): [
        "exon 20 insertion",
        "ex20ins",
        "p.A767_V769dup",
        "p.D770_N771insSVD",
        "p.V769_D770insASV",
        "p.N771delinsGF",
        "c.2307_2308insGCCAGCGTG",
    ],
    ("EGFR", "L858R"): ["L858R", "p.L858R", "p.(Leu858Arg)", "c.2573T>G", "exon 21 L858R", "L858R mutation"],
    ("EGFR", "T790M"): ["T790M", "p.Thr790Met", "c.2369C>T", "exon 20 T790M"],
    ("EGFR", "G719X"): ["G719X", "G719A", "p.G719S", "p.Gly719Cys", "c.2155G>A", "exon 18 G719C"],
    ("EGFR", "S768I"): ["S768I", "p.Ser768Ile", "c.2303G>T"],
    ("EGFR", "L861Q"): ["L861Q", "p.L861Q", "c.2582T>A", "EGFR L861Q"],
    ("EGFR", "C797S"): ["C797S", "c.2390G>C", "c.2389T>A"],
    ("ERBB2", "ex20ins"): ["p.Y772_A775dup", "A775_G776insYVMA", "exon 20 insertion"],
    ("MET", "ex14"): ["exon 14 skipping", "METex14", "ex14", "c.3028+1G>A", "p.D1010N", "MET exon 14"],
    ("MET", "amplification"): ["amplification", "MET amplification", "copy number gain"],
    ("ALK", "fusion"): ["fusion", "EML4-ALK", "EML4::ALK v3", "rearranged", "ALK rearrangement"],
    ("RET", "fusion"): ["KIF5B-RET", "KIF5B::RET"],
    ("BRAF", "V600E"): ["V600E", "p.Val600Glu", "c.1799T>A"],
    ("KRAS", "G12C"): ["G12C", "p.G12C", "p.Gly12Cys", "c.34G>T"],
}


@pytest.mark.parametrize(
    ("text", "gene", "name"), [(text, gene, name) for (gene, name), ways in NAMES.items() for text in ways]
)
def test_a_variant_is_read_by_every_way_of_writing_it(text, gene, name):
    assert read_variants(text, gene) == (name,)


@pytest.mark.parametrize(
    ("text", "gene", "names"),
    [
        ("L858R + T790M", "EGFR", ("L858R", "T790M")),
        ("L858R, T790M", "EGFR", ("L858R", "T790M")),
        ("exon 19 deletion and C797S", "EGFR", ("ex19del", "C797S")),
        ("", "EGFR", ()),
    ],
)
def test_several_variants_are_each_read(text, gene, names):
    assert read_variants(text, gene) == names


@pytest.mark.parametrize(
    ("text", "gene"),
    [
        ("p.E709_T710delinsD", "EGFR"),  # exon 18
        ("p.G12D", "KRAS"),
        ("p.V600K", "BRAF"),
        ("p.E709K", "EGFR"),
        ("p.K860I", "EGFR"),
        ("c.2572C>A", "EGFR"),
        ("p.Y1230C", "MET"),
    ],
)
def test_a_variant_that_is_no_target_is_not_taken_for_one(text, gene):
    targets = {name for known, name in NAMES if known == gene}
    assert not targets & set(read_variants(text, gene))


def report_on(*genes, **more):
    report = {"id": "m", "analytes": ["dna", "rna"], "genes": list(genes)}
    return {item.rule_id: item for item in assess(make_case({"molecular": [report]} | more))}


@pytest.mark.parametrize(
    ("gene", "alteration", "is_missing"),
    [
        ("MET", "amplification", True),
        ("MET", "copy number gain", True),
        ("MET", "exon 14 skipping", False),
        ("MET", "exon 14 skipping, amplification", False),
        ("ERBB2", "amplification", True),
        ("ERBB2", "p.Y772_A775dup", False),
        ("KRAS", "G12D", False),
    ],
)
def test_a_copy_number_leaves_the_mutation_of_a_gene_open(gene, alteration, is_missing):
    found = report_on({"gene": gene, "result": "positive", "alteration": alteration})
    assert (gene in found["drivers.completeness.esmo_nccn_2023"].values) is is_missing


def test_a_stain_of_the_protein_leaves_the_mutation_of_a_gene_open():
    stain = {"id": "i", "target": "c-MET", "result": "positive"}
    found = {item.rule_id: item for item in assess(make_case({"immunostains": [stain]}))}
    assert "MET" in found["drivers.completeness.esmo_nccn_2023"].values
    assert found["drivers.gene.met"].values == ("overexpression",)


def test_tests_of_one_gene_that_disagree_are_said_to():
    stain = {"id": "i", "target": "ALK", "clone": "D5F3", "result": "positive"}
    found = report_on({"gene": "ALK", "result": "negative"}, immunostains=[stain])
    assert "orthogonal test is not recorded" in found["drivers.discordance.alk"].statement
    assert found["drivers.gene.alk"].value == "positive"


VARIANTS = find_rules("variants")


@pytest.mark.parametrize("row", VARIANTS.rows("coding_change"), ids=lambda row: row.id)
def test_every_coding_change_is_read_in_its_gene_only(row):
    assert read_variants(f"c.{row['change']}", row["gene"]) == (row["name"],)
    assert row["name"] not in read_variants(f"c.{row['change']}", "ALK")


@pytest.mark.parametrize("row", VARIANTS.rows("exon_target"), ids=lambda row: row.id)
def test_a_change_is_a_target_within_its_codons_and_not_beyond(row):
    kind = "del" if row["change"] == "deletion" else "insA"
    for first, last, is_named in (
        (row["first_codon"], row["first_codon"] + 1, True),
        (row["last_codon"] - 1, row["last_codon"], True),
        (row["first_codon"] - 1, row["first_codon"], False),
        (row["last_codon"], row["last_codon"] + 1, False),
    ):
        names = read_variants(f"p.G{first}_G{last}{kind}", row["gene"])
        assert (row["name"] in names) is is_named, (first, last, names)


@pytest.mark.parametrize("row", VARIANTS.rows("alteration"), ids=lambda row: row.id)
def test_every_word_for_an_alteration_names_it(row):
    assert all(read_variants(word, "ALK") == (row.id,) for word in row["words"])
