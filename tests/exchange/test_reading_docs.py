"""docs/reading.md lists the warnings that the readers give, no more and no fewer."""

import re


def test_every_warning_code_is_documented(root):
    source = "".join(path.read_text() for path in sorted((root / "src/miliary/exchange").rglob("*.py")))
    given = set(re.findall(r'ScanWarning\(\s*"([a-z_]+)"', source))
    text = (root / "docs/reading.md").read_text()
    section = text.split("## Warnings")[1].split("## ")[0]
    documented = re.findall(r"^\| `([a-z_]+)` \|", section, flags=re.MULTILINE)
    assert documented == sorted(documented)
    assert set(documented) == given
