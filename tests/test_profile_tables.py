"""The tables of a profile: files, commands and commands for the first boot; what they inherit, what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from imgfix import profile_load
from imgfix.errors import ProfileError
from imgfix.profile import Profile
from imgfix.profile_tables import File, slug

Load = Callable[..., Profile]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return a function that loads a profile from text, after writing the given others beside it."""

    def from_text(text: str, *settings: str, **others: str) -> Profile:
        for name, content in others.items():
            (tmp_path / f"{name}.yaml").write_text(content)
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return profile_load.load(str(path), settings)

    return from_text


def _file(profile: Profile, path: str) -> File:
    file = profile.files[path]
    assert file is not None
    return file


def _refusal(call: Callable[[], object], folder: Path) -> tuple[str, str]:
    with pytest.raises(ProfileError) as caught:
        call()
    return caught.value.message.replace(f"{folder}/", ""), caught.value.hint or ""


# -- files


def test_a_source_lies_beside_the_profile_that_names_it(load: Load, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "key").write_bytes(b"\x00\xff")
    (tmp_path / "sub" / "base.yaml").write_text("files: {/etc/key: {source: key, mode: '0600'}}\n")
    profile = load("extends: sub/base\nfiles: {/etc/key: {owner: web}}\n")
    file = _file(profile, "/etc/key")
    assert (file.data, file.permissions, file.owner, file.source) == (b"\x00\xff", 0o600, "web", "key")


def test_what_gives_the_content_replaces_what_gave_it_below(load: Load, tmp_path: Path) -> None:
    (tmp_path / "motd").write_text("new\n")
    base = "files: {/etc/motd: {content: old, mode: '0600'}, /etc/other: {content: kept}, /etc/not: {content: x}}\n"
    profile = load("extends: base\nfiles: {/etc/motd: {source: motd}, /etc/not: null}\n", base=base)
    file = _file(profile, "/etc/motd")
    assert (file.content, file.data, file.permissions) == (None, b"new\n", 0o600)
    assert _file(profile, "/etc/other").data == b"kept"
    assert profile.files["/etc/not"] is None


def test_a_setting_gives_a_whole_file(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").write_text("from here\n")
    monkeypatch.chdir(tmp_path)
    profile = load("", "files./etc/a.conf={content: é}", "files./etc/b={source: here}")
    assert (_file(profile, "/etc/a.conf").data, _file(profile, "/etc/b").data) == (
        "é".encode(),
        b"from here\n",
    )


def test_what_profile_show_prints_is_a_profile_with_the_same_files(load: Load, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    profile = load("files: {/etc/x: {source: secret}}\ncommands: {a: {run: [b]}}\nfirst_boot: {c: echo}\n")
    shown = yaml.safe_dump(profile.model_dump(mode="json"))
    assert "s3cret" not in shown
    again = load(shown)
    assert (again.files, again.commands, again.first_boot) == (
        profile.files,
        profile.commands,
        profile.first_boot,
    )


def test_sources_are_bounded_regular_files(load: Load, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate((16 << 20) + 1)
    for name, told in {
        "none": "none: there is no such file, needed as the content of a guest's file",
        "pipe": "pipe: there is no such file",
        "folder": "folder: there is no such file",
        "large": "large: 16777217 bytes, at most 16777216 can be given to the guest",
    }.items():
        text = f"files:\n  /etc/x:\n    source: {name}\n"
        message, _ = _refusal(lambda text=text: load(text), tmp_path)  # type: ignore[misc]
        assert message.startswith("mine.yaml:3:5: ")
        assert told in message


# -- what is refused, and where

_HERE = "mine.yaml:"
_REFUSED = [
    ("files: {etc/x: {content: a}}\n", "1:9: files.etc/x: the path of a file is needed: absolute"),
    ("files: {/etc/../x: {content: a}}\n", "1:9: files./etc/../x: the path of a file is needed"),
    ("files: {/etc//x: {content: a}}\n", "1:9: files./etc//x: the path of a file is needed"),
    ("files: {/: {content: a}}\n", "1:9: files./: the path of a file is needed"),
    ("files: {/x: {}}\n", "1:9: files./x: one of content, source, link is needed"),
    ("files: {/x: {content: a, link: b}}\n", "1:9: files./x: one of content, source, link is needed, given: con"),
    ("files: {/x: {link: b, mode: '0600'}}\n", "1:9: files./x: a link has neither mode nor owner of its own"),
    ("files: {/x: {content: a, mode: 0600}}\n", "1:26: files./x.mode: a word is needed here; quote it"),
    ("files: {/x: {content: a, mode: '0888'}}\n", "1:26: files./x.mode: a mode in quotes, such as '0644', is needed"),
    ("files: {/x: {content: a, owner: 'a b'}}\n", "1:26: files./x.owner: an owner such as root:root is needed"),
    ("files: {/x: a}\n", "1:9: files./x: a mapping of settings is needed here"),
    ("files: {/x: {contents: a}}\n", "1:14: files./x.contents: unknown key"),
    ("files: [/x]\n", "1:1: files: a mapping is needed here"),
    ("commands: {a: {}}\n", "1:12: commands.a.run: is needed and missing"),
    ("commands: {a: {run: []}}\n", "1:16: commands.a.run: a command is needed"),
    ("commands: {a: {run: ' '}}\n", "1:16: commands.a.run: a command is needed"),
    ("commands: {a: {run: [x, 1]}}\n", "1:25: commands.a.run[1]: a word is needed here"),
    ("commands: {a: {run: [x], creates: y}}\n", "1:26: commands.a.creates: the path of a file is needed"),
    ("commands: {a: {run: [x], creates: /y, removes: /z}}\n", "1:12: commands.a: at most one of"),
    ("commands: {\"a\\nb\": {run: [x]}}\n", "1:12: commands.a\nb: a name that can be printed is needed"),
    ("first_boot: {a: ''}\n", "1:14: first_boot.a: a command is needed"),
    ("first_boot: {a: true}\n", "1:14: first_boot.a: a list is needed here"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), _REFUSED, ids=[m for _, m in _REFUSED])
def test_a_wrong_table_is_refused_where_it_is_wrong(
    load: Load, tmp_path: Path, text: str, message: str
) -> None:
    assert _refusal(lambda: load(text), tmp_path)[0].startswith(_HERE + message)


# -- commands


def test_text_is_for_the_shell_and_a_list_is_not(load: Load) -> None:
    profile = load("commands: {a: {run: 'x | y'}, b: {run: [x, '', 'y z']}}\nfirst_boot: {c: x}\n")
    assert [c and c.run for c in profile.commands.values()] == [
        ("/bin/sh", "-e", "-c", "x | y"),
        ("x", "", "y z"),
    ]
    assert profile.first_boot == {"c": ("/bin/sh", "-e", "-c", "x")}


def test_inherited_commands_come_first_and_are_changed_key_by_key(load: Load) -> None:
    base = "commands: {b: {run: [b], creates: /b}, c: {run: [c]}}\n"
    profile = load("extends: base\ncommands: {a: {run: [a]}, b: {run: [b, -x]}, c: null}\n", base=base)
    assert list(profile.commands) == ["b", "c", "a"]
    found = profile.commands["b"]
    assert found is not None
    assert (found.run, found.creates) == (("b", "-x"), "/b")
    assert profile.commands["c"] is None


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("Trust the CA!", "trust-the-ca"),
        ("../x", "x"),
        ("---", "command"),
        ("ä" * 9, "command"),
        ("a" * 99, "a" * 40),
    ],
)
def test_a_name_as_part_of_a_file_name(name: str, part: str) -> None:
    assert slug(name) == part
