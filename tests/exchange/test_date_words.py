"""Dates as records of several countries write them; a word that is no month makes no date."""

import pytest

from miliary.exchange.case.date_words import read_date_words, read_month_words


@pytest.mark.parametrize(
    ("text", "date"),
    [
        *(("14-Mar-25", "2025-3-14"), ("Mar 14, 2025", "2025-3-14"), ("2025-Mar-3", "2025-3-3")),
        *(("14. März 2025", "2025-3-14"), ("3 Jänner 2025", "2025-1-3"), ("4 Dez 1999", "1999-12-4")),
        *(("12 juillet 2024", "2024-7-12"), ("15-déc-2024", "2024-12-15"), ("2 août 2024", "2024-8-2")),
        *(("12 de marzo de 2025", "2025-3-12"), ("1 ene 2025", "2025-1-1"), ("3 giugno 2024", "2024-6-3")),
        *(("5 de outubro de 2023", "2023-10-5"), ("9 Mar 2021 10:22", "2021-3-9")),
        *(("14.03.2025", "2025-3-14"), ("令和3年3月9日", "2021-3-9"), ("20210309", "2021-03-09")),
    ],
)
def test_a_date_that_can_be_read_in_one_way_is_read(text, date):
    assert read_date_words(text) == date


@pytest.mark.parametrize(
    "text", ["3/4/2025", "5 junk 2025", "7 marked 2024", "2 ju 2024", "cycle 2", "2 jui 2024"]
)
def test_what_has_two_readings_or_names_no_month_is_no_date(text):
    assert read_date_words(text) == ""


@pytest.mark.parametrize(
    ("text", "month"),
    [("Mar 2025", "2025-03"), ("juin 2025", "2025-06"), ("Sept 2024", "2024-09"), ("2025年3月", "2025-03")],
)
def test_a_month_is_read(text, month):
    assert read_month_words(text) == month


@pytest.mark.parametrize("text", ["junk 2025", "marked 2024", "jui 2024", "stage 2024", "2025/13"])
def test_another_word_before_a_year_is_no_month(text):
    assert read_month_words(text) == ""
