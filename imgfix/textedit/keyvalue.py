"""waagent.conf: `Key=Value` lines as the Azure Linux agent reads them.

Grammar: https://github.com/Azure/WALinuxAgent/blob/master/azurelinuxagent/common/conf.py (`load`). A line is
skipped if its first character is `#`; the key is what stands before the first `=`, stripped, case-sensitive;
the value ends at the next `#`, is stripped of blanks and double quotes, then of white space; the last line
wins.
"""

from __future__ import annotations

import re

from imgfix.textedit import physical_lines


def get(text: str, key: str) -> str | None:
    """Return the value the agent sees for `key`; None if unset, which it takes the word `None` for too."""
    index = _effective(physical_lines.split(text), key)
    if index is None:
        return None
    value = _value(_segment(physical_lines.split(text)[index]))
    return None if value == "None" else value


def set_value(text: str, key: str, value: str) -> str:
    """Return `text` with `key` set to `value`: its last line edited, else a line added.

    A new line goes behind the last commented-out `# Key=`, else to the end. Raises ValueError if `key` or
    `value` cannot be written in this grammar.
    """
    _check(key, value)
    lines = physical_lines.split(text)
    index = _effective(lines, key)
    if index is None:
        body, end = f"{key}={value}", physical_lines.newline(text)
        return "".join(physical_lines.insert(lines, _place(lines, key), body, end))
    if _value(_segment(lines[index])) == value:
        return text
    lines[index] = _replaced(lines[index], value)
    return "".join(lines)


def _effective(lines: list[str], key: str) -> int | None:
    """Return the index of the last line that sets `key`, or None."""
    hits = [
        index
        for index, line in enumerate(lines)
        if not line.startswith("#") and "=" in line and line.split("=", 1)[0].strip() == key
    ]
    return hits[-1] if hits else None


def _segment(line: str) -> str:
    """Return what stands between the first `=` and the comment, quotes and blanks included."""
    return line.removesuffix("\n").split("=", 1)[1].split("#")[0]


def _value(segment: str) -> str:
    return segment.strip('" ').strip()


def _replaced(line: str, value: str) -> str:
    """Return `line` with its value replaced; blanks, quotes, comment and line ending stay."""
    start = line.index("=") + 1
    segment = _segment(line)
    old = _value(segment)
    # An empty value goes between its quotes if it has any, else right behind the equals sign.
    at = segment.index(old) if old else segment.find('""') + 1
    rest = line[start + len(segment) :]
    new = segment[:at] + value + segment[at + len(old) :]
    if _value(new) != value or new.count('"') % 2:
        # Quotes next to a tab or a CR: the agent does not strip them, so they were part of the old value.
        new = value + (" " if rest.startswith("#") else "\r" if segment.endswith("\r") else "")
    return line[:start] + new + rest


def _place(lines: list[str], key: str) -> int:
    """Return where a new line for `key` belongs: behind its commented-out default, else at the end."""
    commented = re.compile(rf"#[#\s]*{re.escape(key)}\s*=")
    hits = [index for index, line in enumerate(lines) if commented.match(line)]
    return hits[-1] + 1 if hits else len(lines)


def _check(key: str, value: str) -> None:
    if not key or key != key.strip() or key.startswith("#") or any(c in key for c in "=\n"):
        raise ValueError(f"not a key: {key!r}")
    if _value(value) != value or any(c in value for c in "#\n"):
        raise ValueError(f"not a value that waagent.conf can hold: {value!r}")
