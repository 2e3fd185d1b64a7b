"""`miliary doctor`: what an installation lacks."""

from __future__ import annotations

import json
from dataclasses import asdict

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(*, as_json: bool) -> int:
    """Say what this installation lacks: codecs, model files, caches, fonts, the viewer's bundle.

    Exit code 0 where scans can be measured, 2 where something that is needed for it is missing.
    """
    from miliary.cli.installation import check_installation

    found = check_installation()
    if as_json:
        content = {"kind": "miliary.doctor", "checks": [asdict(one) for one in found]}
        print(json.dumps(content, ensure_ascii=False))
    else:
        for one in found:
            word = "ok" if one.is_fine else "missing" if one.is_needed else "without"
            print(f"{word:<9}{one.name:<16}{one.says}")
    return 2 if any(one.is_needed and not one.is_fine for one in found) else 0
