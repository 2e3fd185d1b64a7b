"""`miliary vocabulary`: the words that a case may be written in."""

from __future__ import annotations

import json

import click

from miliary.errors import InputError


@click.command()
@click.argument("name", metavar="[LIST]", default="")
@click.option(
    "--find", "text", metavar="WORD", default="", help="Only words that hold this, in all lists or in LIST."
)
@click.option("--json", "as_json", is_flag=True, help="Lists as JSON.")
def vocabulary(name: str, *, text: str, as_json: bool) -> None:
    """Show the words that a case may be written in, with other spellings that are taken.

    Without LIST the names of all lists are shown. A word of no list is asked back and never taken for
    something else.
    """
    from miliary.exchange.case.decode import suggest
    from miliary.workflow.word_lists import find_listed_words, list_words

    lists = list_words()
    if name and name not in lists:
        raise InputError(f"{name!r}: no such list; {suggest(name, lists)}")
    shown = {name: lists[name]} if name else lists
    if text:
        shown = find_listed_words(text, shown)
        if not shown:
            raise InputError(f"{text!r}: no list holds such a word; leave out --find to see all")
    if as_json:
        plain = {
            title: [{"word": w.word, "spellings": list(w.spellings), "note": w.note} for w in words]
            for title, words in shown.items()
        }
        print(json.dumps(plain, ensure_ascii=False))
        return
    for title, words in shown.items():
        if not name and not text:
            print(f"{title:<20} {len(words)} words")
            continue
        print(f"{title}:" if not name else f"{title} ({len(words)} words)")
        for word in words:
            spellings = f": {', '.join(word.spellings)}" if word.spellings else ""
            note = f"  [{word.note}]" if word.note else ""
            print(f"  {word.word}{spellings}{note}")
