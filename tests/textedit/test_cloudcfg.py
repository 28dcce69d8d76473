from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from imgfix.errors import ParseError
from imgfix.textedit import cloudcfg

from .garbage import or_refused, texts

NAMES = ("mounts", "disk_setup")
# As RHEL 7 and 8 ship it: disk_setup and mounts in the config stage.
EL8 = """\
users:
 - default

disable_root: 1
ssh_pwauth:   0

mount_default_fields: [~, ~, 'auto', 'defaults,nofail,x-systemd.requires=cloud-init.service', '0', '2']

cloud_init_modules:
 - disk_setup
 - migrator
 - bootcmd
 - write-files
 - growpart
 - resizefs
 - set_hostname
 - users-groups
 - ssh

cloud_config_modules:
 - mounts
 - locale
 - set-passwords

cloud_final_modules:
 - package-update-upgrade-install
 - phone-home

system_info:
  default_user:
    name: cloud-user
    sudo: ["ALL=(ALL) NOPASSWD:ALL"]
# vim:syntax=yaml
"""
OLD_EL7 = """\
cloud_init_modules:
 - migrator
 - bootcmd
 - growpart
 - resizefs
 - set_hostname

cloud_config_modules:
 - disk_setup   # partitions
 - [mounts, always]
# - locale
 - runcmd
"""


def test_el8() -> None:
    new = cloudcfg.move_modules(EL8, NAMES)
    assert new == EL8.replace(" - resizefs\n", " - resizefs\n - mounts\n").replace(
        "modules:\n - mounts\n", "modules:\n"
    )
    assert cloudcfg.move_modules(new, NAMES) is new


def test_el7_keeps_frequency_and_comment() -> None:
    new = cloudcfg.move_modules(OLD_EL7, NAMES)
    moved = " - disk_setup   # partitions\n - [mounts, always]\n"
    assert new == OLD_EL7.replace(moved, "").replace(" - resizefs\n", f" - resizefs\n{moved}")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # Nowhere yet: added where upstream has it.
        (
            "cloud_init_modules:\n  - growpart\n  - ssh\n",
            "cloud_init_modules:\n  - growpart\n  - disk_setup\n  - mounts\n  - ssh\n",
        ),
        ("cloud_init_modules:\n- ssh", "cloud_init_modules:\n- disk_setup\n- mounts\n- ssh"),
        ("cloud_init_modules:\n- growpart", "cloud_init_modules:\n- growpart\n- disk_setup\n- mounts\n"),
        # Dashes and underscores; quotes.
        (
            "cloud_init_modules:\n - growpart\n - 'disk-setup'\ncloud_config_modules:\n - \"mounts\"\n - x\n",
            "cloud_init_modules:\n - growpart\n - 'disk-setup'\n - \"mounts\"\ncloud_config_modules:\n - x\n",
        ),
        # In both: the stray one goes.
        (
            "cloud_init_modules:\n - disk_setup\n - mounts\ncloud_final_modules:\n - x\n - mounts # again\n",
            "cloud_init_modules:\n - disk_setup\n - mounts\ncloud_final_modules:\n - x\n",
        ),
        # A list left empty stays a list.
        (
            "cloud_init_modules:\n - growpart\ncloud_config_modules: # c\n - disk_setup\n - mounts\n",
            "cloud_init_modules:\n - growpart\n - disk_setup\n - mounts\ncloud_config_modules: [] # c\n",
        ),
        # Lists in brackets.
        (
            "cloud_init_modules: [growpart, ssh]\ncloud_config_modules: [mounts, a, disk_setup, b]\n",
            "cloud_init_modules: [growpart, disk_setup, mounts, ssh]\ncloud_config_modules: [a, b]\n",
        ),
        (
            "cloud_init_modules: []\ncloud_config_modules: [[mounts, always], disk_setup]\n",
            "cloud_init_modules: [disk_setup, [mounts, always]]\ncloud_config_modules: []\n",
        ),
        ("cloud_init_modules: [ ssh ]\n", "cloud_init_modules: [ disk_setup, mounts, ssh ]\n"),
        (
            "cloud_init_modules:\ncloud_config_modules:\n - mounts\n - x\n",
            "cloud_init_modules: [disk_setup, mounts]\ncloud_config_modules:\n - x\n",
        ),
        # CRLF.
        (
            "cloud_init_modules:\r\n - x\r\n - disk_setup\r\ncloud_config_modules:\r\n - mounts\r\n - x\r\n",
            "cloud_init_modules:\r\n - x\r\n - disk_setup\r\n - mounts\r\ncloud_config_modules:\r\n - x\r\n",
        ),
        # No final newline.
        (
            "cloud_config_modules:\n - disk_setup\n - mounts\n - x\ncloud_init_modules:\n - growpart",
            "cloud_config_modules:\n - x\ncloud_init_modules:\n - growpart\n - disk_setup\n - mounts\n",
        ),
    ],
)
def test_move_modules(before: str, after: str) -> None:
    assert cloudcfg.move_modules(before, NAMES) == after
    assert cloudcfg.move_modules(after, NAMES) == after


def test_another_list_can_be_the_target() -> None:
    text = "cloud_init_modules:\n - mounts\n - x\ncloud_config_modules:\n - y\n"
    after = "cloud_init_modules:\n - x\ncloud_config_modules:\n - y\n - mounts\n"
    assert cloudcfg.move_modules(text, ["mounts"], to="cloud_config_modules") == after


@pytest.mark.parametrize(
    "text",
    [
        "",
        "users: [default]\n",
        "cloud_init_modules: 1\n",
        "cloud_init_modules: {a: b}\n",
        "cloud_init_modules: &a [mounts]\ncloud_config_modules: *a\n",
        "cloud_init_modules: [x]\ncloud_config_modules:\n -\n  mounts\n - y\n",
        "cloud_init_modules:\n - x\ncloud_config_modules:\n - name: mounts\n   frequency: always\n - y\n",
        "cloud_init_modules: [x]\ncloud_config_modules: [a, # why\n mounts]\n",
        "a: [\n",
        "a: 2020-99-99\n",
        "- a\n",
        "a: 'x\n\nb: \udcff'\n",
        "a: &x [*x]\ncloud_init_modules: [x]\n",
        "%YAML 3.0\n",
        "a: !!int ''\n",
        "a: !!timestamp 'x'\n",
    ],
)
def test_what_cannot_be_edited_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        cloudcfg.move_modules(text, NAMES)


def test_an_error_of_yaml_carries_its_line() -> None:
    with pytest.raises(ParseError) as caught:
        cloudcfg.top_level("a: 1\nb: [1\nc: 2\n")
    assert caught.value.line == 3


def test_top_level() -> None:
    assert cloudcfg.top_level("# nothing\n") == {}
    assert cloudcfg.top_level("a: 1\nb: [c]\n") == {"a": 1, "b": ["c"]}


MODULES = st.lists(
    st.sampled_from(("mounts", "disk-setup", "[mounts, always]", "ssh", "growpart", "x # c")), unique=True
)


def written(key: str, modules: list[str], style: str) -> str:
    if style == "flow" or not modules:
        return f"{key}: [{', '.join(module.replace(' # c', '') for module in modules)}]\n"
    return f"{key}:\n" + "".join(f"{style}- {module}\n" for module in modules)


STYLES = st.sampled_from(("flow", "", " ", "    "))


@given(MODULES, MODULES, STYLES, STYLES)
def test_every_combination_is_moved(init: list[str], config: list[str], style: str, other: str) -> None:
    text = (
        "a: 1\n"
        + written("cloud_init_modules", init, style)
        + written("cloud_config_modules", config, other)
        + "# z\n"
    )
    new = cloudcfg.move_modules(text, NAMES)
    assert cloudcfg.move_modules(new, NAMES) == new
    loaded = yaml.safe_load(new)
    assert not {"mounts", "disk-setup", "disk_setup"} & set(map(str, loaded["cloud_config_modules"]))
    assert new.startswith("a: 1\n")
    assert new.endswith("# z\n")


@given(
    texts(
        "cloud_init_modules:",
        "cloud_config_modules:",
        "\n - ",
        "mounts",
        "[",
        "]",
        ", ",
        ": ",
        "&a ",
        "*a",
        max_size=10,
    )
)
def test_garbage_is_edited_or_refused(text: str) -> None:
    new = or_refused(lambda: cloudcfg.move_modules(text, NAMES))
    if new is not None:
        assert cloudcfg.move_modules(new, NAMES) == new
