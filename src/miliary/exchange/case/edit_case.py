"""Change a `case.yaml` in place: the lines of what changed, and no other; comments and unknown fields stay.

The text is read into nodes that know their place. What can only be changed by losing a comment is refused
with its line, and what comes out is read again and compared before anything is written.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from miliary.errors import CaseError, OutputError
from miliary.exchange.case.case_file import CASE_NAME, inspect_case_text

# An item of an edited list holds the place that it had; one without is new.
PLACE = "_at"
_PLAIN = re.compile(r"[^\W_][\w .+/%()>=<,\-]*\Z")
_NOT_PLAIN = re.compile(r": |\s#|,\s*\Z|\s\Z")
_NEW = 'schema_version: "1.0"\nid: case-1\n'


class _Edits(list[tuple[int, int, str]]):
    """Stretches of a text, by first and last position, and what stands there instead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def put(self, start: int, end: int, new: str, line: int) -> None:
        """Replace a stretch; one with a comment in it is refused."""
        if "#" in self.text[start:end]:
            raise CaseError(
                f"{CASE_NAME} line {line + 1}: holds a comment that would be lost; change it in an editor"
            )
        self.append((start, end, new))

    def apply(self) -> str:
        """The text with every edit made."""
        text = self.text
        # The last first; of two at one place what was put first stands first.
        for _, (start, end, new) in sorted(enumerate(self), key=lambda e: (e[1][0], e[0]), reverse=True):
            text = text[:start] + new + text[end:]
        return text


def read_plain_case(text: str) -> dict[str, Any]:
    """A case as text has it: every value a string, a list or a dict.

    Parameters
    ----------
    text : str
        Of `case.yaml`.

    Returns
    -------
    dict

    Raises
    ------
    CaseError
        It is not YAML, or no mapping.
    """
    try:
        content = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  makes strings and nothing else
    except (yaml.YAMLError, RecursionError):
        raise CaseError(f"{CASE_NAME}: is not YAML; mend it in an editor first") from None
    if not isinstance(content or {}, dict):
        raise CaseError(f"{CASE_NAME}: is no list of fields; mend it in an editor first")
    return content or {}


def stamp_text(text: str) -> str:
    """What tells one version of a file from another: a hash of its text."""
    return hashlib.sha256(text.encode()).hexdigest()


def edit_case_text(text: str, content: Mapping[str, Any]) -> str:
    """The text of a case, changed so that it holds some content.

    Parameters
    ----------
    text : str
        Of `case.yaml`; empty for a new one.
    content : mapping of str to Any
        The case as it shall be, of strings, lists and dicts. An item of a list that was there holds its place
        from 0 on under `PLACE`. A field left out is emptied.

    Returns
    -------
    str

    Raises
    ------
    CaseError
        It cannot be changed without losing a comment, or not at all.
    """
    text = text if text.strip() else _NEW
    if not text.endswith("\n"):
        text += "\n"
    read_plain_case(text)
    root = yaml.compose(text, Loader=yaml.BaseLoader)
    edits = _Edits(text)
    if isinstance(root, yaml.MappingNode):
        _edit(root, dict(content), edits)
    changed = edits.apply()
    try:
        is_right = _without_empty(read_plain_case(changed)) == _without_empty(content)
    except CaseError:
        is_right = False
    if not is_right:
        raise CaseError(f"{CASE_NAME}: cannot be changed here as it is written; change it in an editor")
    return changed


def save_case_text(folder: Path, text: str, *, stamp: str) -> Path:
    """Write `case.yaml` whole or not at all.

    Parameters
    ----------
    folder : Path
        Made where it is not there.
    text : str
    stamp : str
        Of the text that was changed (`stamp_text`); empty where there was none.

    Returns
    -------
    Path

    Raises
    ------
    CaseError
        The text is no readable case, or the file is not any more the one that was changed.
    OutputError
        It cannot be written.
    """
    problems = inspect_case_text(text)
    if problems:
        raise CaseError(problems[0])
    file = folder / CASE_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        now = stamp_text(file.read_text("utf-8-sig")) if file.exists() else ""
        if now != stamp:
            raise CaseError(f"{CASE_NAME}: was changed by somebody else; load it again")
        handle, name = tempfile.mkstemp(prefix=".case-", suffix=".yaml", dir=folder)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).chmod(file.stat().st_mode & 0o777 if file.exists() else 0o644)
            Path(name).replace(file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except (OSError, UnicodeDecodeError) as error:
        reason = (getattr(error, "strerror", None) or type(error).__name__).lower()
        raise OutputError(f"{CASE_NAME}: cannot be written ({reason})") from None
    return file


def _edit(node: yaml.Node, new: Any, edits: _Edits) -> None:
    if _same(node, new):
        return
    if isinstance(node, yaml.MappingNode) and isinstance(new, Mapping) and node.value:
        _edit_mapping(node, new, edits)
    elif isinstance(node, yaml.SequenceNode) and isinstance(new, list) and not node.flow_style and node.value:
        _edit_list(node, new, edits)
    else:
        _replace(node, new, edits)


def _same(node: yaml.Node, new: Any) -> bool:
    return bool(_without_empty(_plain(node)) == _without_empty(new))


def _plain(node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return {key.value: _plain(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(value) for value in node.value]
    return node.value


def _edit_mapping(node: yaml.MappingNode, new: Mapping[str, Any], edits: _Edits) -> None:
    held = {key.value for key, _ in node.value}
    for key, value in node.value:
        _edit(value, new.get(key.value, ""), edits)
    more = {
        key: value for key, value in new.items() if key not in held and key != PLACE and _is_stated(value)
    }
    if not more:
        return
    if node.flow_style:
        end = node.end_mark.index - 1
        edits.append((end, end, "".join(f", {_word(key)}: {_flow(value)}" for key, value in more.items())))
        return
    indent = node.value[0][0].start_mark.column
    end = _line_end(edits.text, _last_index(node))
    edits.append((end, end, "".join("\n" + _block(key, value, indent) for key, value in more.items())))


def _edit_list(node: yaml.SequenceNode, new: list[Any], edits: _Edits) -> None:
    places = {item[PLACE]: item for item in new if isinstance(item, Mapping) and PLACE in item}
    indent = node.start_mark.column
    for number, value in enumerate(node.value):
        if str(number) in places:
            _edit(value, places[str(number)], edits)
            continue
        start = edits.text.rindex("\n", 0, value.start_mark.index) + 1
        edits.put(start, _line_end(edits.text, _last_index(value)) + 1, "", value.start_mark.line)
    added = [item for item in new if not (isinstance(item, Mapping) and PLACE in item)]
    if len(added) + len(places) == 0:
        _replace(node, [], edits)
        return
    end = _line_end(edits.text, _last_index(node))
    edits.append((end, end, "".join("\n" + _item(item, indent) for item in added)))


def _replace(node: yaml.Node, new: Any, edits: _Edits) -> None:
    """Put another value in the place of a node."""
    text, start = edits.text, node.start_mark.index
    end = start if start == node.end_mark.index else _last_index(node)
    if isinstance(node, yaml.CollectionNode) and node.flow_style:
        end = node.end_mark.index
    is_block = isinstance(node, yaml.CollectionNode) and not node.flow_style
    if is_block:  # begins on a line of its own
        start = text.rindex(":", 0, start) + 1
        line_end = text.index("\n", start)
        if "#" in text[start:line_end]:
            raise CaseError(
                f"{CASE_NAME} line {node.start_mark.line}: holds a comment that would be lost; change it "
                "in an editor"
            )
    line_start = text.rfind("\n", 0, start) + 1
    indent = len(text[line_start:start]) - len(text[line_start:start].lstrip(" -"))
    if isinstance(new, (list, Mapping)) and _is_stated(new) and _may_be_block(text, start, end):
        lines = _nested(new, indent + 2)
        edits.put(start, end, "\n" + lines, node.start_mark.line)
    else:
        gap = "" if text[start - 1 : start] in (" ", "\n", "") else " "
        edits.put(start, end, gap + _flow(new) if _is_stated(new) else "", node.start_mark.line)


def _may_be_block(text: str, start: int, end: int) -> bool:
    """Whether a value stands alone on the rest of its line, after ``key:``."""
    rest = text[end : _line_end(text, end)].strip()
    return rest == "" and text[:start].rstrip(" ").endswith(":")


def _last_index(node: yaml.Node) -> int:
    """Where the last character of a node stands; the end of a block, as the reader has it, lies after."""
    if not isinstance(node, yaml.CollectionNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _last_index(last[1] if isinstance(last, tuple) else last)


def _line_end(text: str, index: int) -> int:
    found = text.find("\n", index)
    return len(text) if found < 0 else found


def _is_stated(value: Any) -> bool:
    return value is not None and value not in ("", {}, [])


def _without_empty(value: Any) -> Any:
    """Content without what is empty, and without the places of items."""
    if isinstance(value, Mapping):
        items = ((str(key), _without_empty(child)) for key, child in value.items() if key != PLACE)
        return {key: child for key, child in items if _is_stated(child)}
    if isinstance(value, list):
        return [item for item in map(_without_empty, value) if _is_stated(item)]
    return "" if value is None else str(value)


def _word(text: str) -> str:
    """A scalar as YAML reads it back: plain where that is safe, else in quotes."""
    is_plain = _PLAIN.match(text) and not _NOT_PLAIN.search(text)
    return text if is_plain and "," not in text else json.dumps(text, ensure_ascii=False)


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = (f"{_word(str(k))}: {_flow(v)}" for k, v in value.items() if k != PLACE and _is_stated(v))
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return _word(str(value))


def _block(key: str, value: Any, indent: int) -> str:
    """A field on lines of its own, without the last line end."""
    start = " " * indent + f"{_word(key)}:"
    if isinstance(value, (list, Mapping)):
        return f"{start}\n{_nested(value, indent + 2)}"
    return f"{start} {_word(str(value))}"


def _nested(value: Any, indent: int) -> str:
    if isinstance(value, list):
        return "\n".join(_item(item, indent) for item in value)
    return "\n".join(_block(key, child, indent) for key, child in _list_stated(value))


def _list_stated(value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((str(key), child) for key, child in value.items() if key != PLACE and _is_stated(child))


def _item(item: Any, indent: int) -> str:
    if not isinstance(item, Mapping):
        return " " * indent + f"- {_flow(item)}"
    inner = _nested(item, indent + 2)
    return " " * indent + "- " + inner[indent + 2 :]
