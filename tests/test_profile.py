"""Profiles: what extends what, what is refused, and where an error points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from imgfix import profile_load
from imgfix.errors import ProfileError
from imgfix.profile import Mode, Profile

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


def _refusal(call: Callable[[], object], tmp_path: Path) -> tuple[str, str | None]:
    with pytest.raises(ProfileError) as caught:
        call()
    return str(caught.value).replace(f"{tmp_path}/", ""), caught.value.hint


# -- bundled


@pytest.mark.parametrize("name", profile_load.bundled_names())
def test_every_bundled_profile_is_valid(name: str) -> None:
    profile = profile_load.load(name)
    assert profile.name == name
    assert profile.description
    assert (profile.match is None) == (name == "azure")
    assert profile.initramfs.drivers == ("hv_vmbus", "hv_storvsc", "hv_netvsc")
    assert "/tmp/*" in profile.generalize.remove


def test_a_bundled_name_may_end_in_yaml() -> None:
    assert profile_load.load("debian.yaml") == profile_load.load("debian")


def test_debian_takes_back_what_azure_adds() -> None:
    debian, azure = profile_load.load("debian").kernel_args, profile_load.load("azure").kernel_args
    assert "rootdelay=300" in azure.add
    assert not [arg for arg in debian.add if arg.startswith("rootdelay")]
    assert debian.remove == (*azure.remove, "rootdelay=*")


# -- extends


def test_settings_merge_key_by_key(load: Load) -> None:
    profile = load("extends: azure\nswap: {size_mib: 512}\nservices: {enable: {x: [x.service]}}\n")
    assert (profile.name, profile.swap.size_mib, profile.swap.remove) == ("mine", 512, True)
    assert set(profile.services.enable) == {"ssh server", "Azure Linux Agent", "x"}


def test_null_takes_a_service_back(load: Load) -> None:
    assert (
        load("extends: azure\nservices: {enable: {ssh server: null}}\n").services.enable["ssh server"] is None
    )


def test_plain_lists_are_replaced(load: Load) -> None:
    assert load("extends: azure\nleftovers: {remove: [/a]}\n").leftovers.remove == ("/a",)


@pytest.mark.parametrize(
    ("base", "middle", "top", "add", "remove"),
    [
        ("{add: [a, b]}", "{add: [c]}", "{add: [d]}", "abcd", ""),
        ("{add: [a, b]}", "{remove: [a]}", "{}", "b", "a"),
        ("{add: [a, b]}", "{remove: [a]}", "{add: [a]}", "ba", ""),
        ("{remove: [a]}", "{add: [a]}", "{remove: [a]}", "", "a"),
        ("{remove: [a]}", "{remove: [b]}", "{remove: [a, c]}", "", "abc"),
        ("{remove: ['?']}", "{add: [a]}", "{}", "a", ""),
        ("{add: [a]}", "{}", "{remove: ['*']}", "", "*"),
    ],
)
@pytest.mark.parametrize("section", ["kernel_args", "packages"])
def test_lists_to_be_edited_merge_through_all_levels(
    load: Load, section: str, base: str, middle: str, top: str, add: str, remove: str
) -> None:
    profile = load(
        f"extends: middle\n{section}: {top}\n",
        base=f"{section}: {base}\n",
        middle=f"extends: base\n{section}: {middle}\n",
    )
    edits = getattr(profile, section)
    assert (edits.add, edits.remove) == (tuple(add), tuple(remove))


def test_a_role_may_be_called_add(load: Load) -> None:
    text = "services: {enable: {add: [%s.service], remove: null}}\n"
    enable = load("extends: base\n" + text % "b", base=text % "a").services.enable
    assert enable == {"add": ("b.service",), "remove": None}


def test_packages_keep_what_is_not_a_list(load: Load) -> None:
    profile = load("extends: base\npackages: {missing: warn, add: [b]}\n", base="packages: {add: [a]}\n")
    assert (profile.packages.missing, profile.packages.add) == ("warn", ("a", "b"))


def test_a_profile_named_like_the_bundled_one_extends_that(tmp_path: Path) -> None:
    path = tmp_path / "debian.yaml"
    path.write_text("extends: debian\nmode: specialized\n")
    assert profile_load.load(str(path)).mode is Mode.SPECIALIZED


@pytest.mark.parametrize("base", ["mine", "mine.yaml", "../{here}/mine"])
def test_a_cycle_is_refused(load: Load, tmp_path: Path, base: str) -> None:
    text = f"extends: {base.format(here=tmp_path.name)}\n"
    assert "extends itself" in _refusal(lambda: load(text), tmp_path)[0]


def test_a_longer_cycle_is_refused(load: Load, tmp_path: Path) -> None:
    message, _ = _refusal(lambda: load("extends: a\n", a="extends: b\n", b="extends: mine\n"), tmp_path)
    assert message.endswith("mine.yaml -> a.yaml -> b.yaml -> mine.yaml")


def test_an_error_of_the_base_points_into_the_base(load: Load, tmp_path: Path) -> None:
    message, _ = _refusal(lambda: load("extends: base\n", base="\nswap: {size_mib: 0}\n"), tmp_path)
    assert message.startswith("base.yaml:2:8: swap.size_mib: ")


def test_a_layer_that_contradicts_itself_is_refused(load: Load, tmp_path: Path) -> None:
    text = "extends: azure\nkernel_args: {add: [rootdelay=300, rootdelay=9]}\n"
    message, _ = _refusal(lambda: load(text), tmp_path)
    assert message == "mine.yaml:2:1: kernel_args: rootdelay=300 and rootdelay=9 are both to be added"


# -- --set and --mode


def _setting(profile: Profile, dotted: str) -> object:
    value: object = profile
    for part in dotted.split("."):
        value = getattr(value, part)
    return value


@pytest.mark.parametrize(
    ("setting", "where", "value"),
    [
        ("mode=specialized", "mode", Mode.SPECIALIZED),
        ("swap.size_mib=4096", "swap.size_mib", 4096),
        ("swap.size_mib = 4096", "swap.size_mib", 4096),
        ("initramfs.backup=false", "initramfs.backup", False),
        ("services.serial_console=null", "services.serial_console", None),
        ("cloud_init.locale=", "cloud_init.locale", ""),
        ("waagent.config=/etc/a=b", "waagent.config", "/etc/a=b"),
        ("waagent.values.Logs.Verbose=y", "waagent.values", {"Logs.Verbose": "y"}),
        ("kernel_args.add=[a, b=1]", "kernel_args.add", ("k", "a", "b=1")),
        ("kernel_args.remove=[k]", "kernel_args.add", ()),
        ("packages.missing=warn", "packages.missing", "warn"),
    ],
)
def test_a_setting_is_the_last_layer(load: Load, setting: str, where: str, value: object) -> None:
    assert _setting(load("kernel_args: {add: [k]}\n", setting), where) == value


def test_settings_apply_in_order(load: Load) -> None:
    profile = load("", "services.enable.a.b=[a.service]", "kernel_args.add=[x]", "kernel_args.remove=[x]")
    assert profile.services.enable == {"a.b": ("a.service",)}
    assert (profile.kernel_args.add, profile.kernel_args.remove) == ((), ("x",))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("swap", "--set swap: KEY=VALUE is needed"),
        ("=x", "--set =x: KEY=VALUE is needed"),
        ("swap..remove=x", "--set swap..remove=x: KEY=VALUE is needed"),
        ("swap.size_mib=x", "swap.size_mib: a whole number is needed here (given: 'x')"),
        ("swap.remove=yes", "swap.remove: true or false is needed here"),
        ("swap.foo=x", "--set swap.foo=x: swap.foo: unknown key"),
        ("foo.bar.baz=x", "foo: unknown key"),
        ("swap=1", "swap: a mapping of settings is needed here"),
        ("extends=rhel", "extends: unknown key"),
        ("mode=special", "mode: generalized or specialized is needed here (given: 'special')"),
        ("kernel_args.add=quiet", "kernel_args.add: a list is needed here"),
        ("kernel_args.add=[a, 1]", "--set kernel_args.add=[a, 1]: kernel_args.add[1]: a word is needed here"),
        ("kernel_args.add=[", "expected the node content"),
        ("kernel_args.add=[a b]", "not one kernel argument: 'a b'"),
    ],
)
def test_a_wrong_setting_names_itself(load: Load, tmp_path: Path, setting: str, message: str) -> None:
    found, hint = _refusal(lambda: load("", setting), tmp_path)
    assert found.startswith(f"--set {setting}")
    assert message in found
    assert hint or "expected" in found


# -- what is refused, and where

_HERE = "mine.yaml:"
_REFUSED = [
    ("swap:\n  size_mib: 1\n  size_mib: 2\n", "3:3: swap.size_mib: duplicate key; first given at line 2"),
    ("swap: {}\nmode: generalized\nswap: {}\n", "3:1: swap: duplicate key; first given at line 1"),
    ("- a: {b: 1, b: 2}\n", "1:1: a mapping of settings is needed here, not a list"),
    ("just words\n", "1:1: a mapping of settings is needed here, not a single value"),
    ("foo: 1\n", "1:1: foo: unknown key"),
    ("swap:\n  remov: true\n", "2:3: swap.remov: unknown key"),
    ("swap:\n  remove: yes\n", "2:3: swap.remove: true or false is needed here; yes, no"),
    ("swap: {remove: on}\n", "1:8: swap.remove: true or false is needed here"),
    ("swap: {remove: 1}\n", "1:8: swap.remove: true or false is needed here"),
    ("swap: {remove: True}\n", "1:8: swap.remove: true or false is needed here"),
    ("swap: {size_mib: 2.5}\n", "1:8: swap.size_mib: a whole number is needed here (given: 2.5)"),
    ("swap:\n", "1:1: swap: a mapping of settings is needed here"),
    ("kernel_args: [a]\n", "1:1: kernel_args: a mapping of settings is needed here"),
    ("kernel_args: {add: quiet}\n", "1:15: kernel_args.add: a list is needed here"),
    ("kernel_args:\n  add:\n    - a\n    - 3\n", "4:7: kernel_args.add[1]: a word is needed here"),
    ("kernel_args: {add: [a b]}\n", "1:1: kernel_args: not one kernel argument: 'a b'"),
    ("packages: {add: [a], remove: [a]}\n", "1:1: packages: a is both to be added and to be removed"),
    ("services: {enable: {ssh: a.service}}\n", "1:21: services.enable.ssh: a list is needed here"),
    (
        "generalize: {remove: [/a, var/x]}\n",
        "1:27: generalize.remove[1]: a path that begins with / is needed",
    ),
    ("match: {family: debian, version: 7}\n", "1:25: match.version: a word is needed here; quote it"),
    ("match: {family: debian, version: '~7'}\n", "1:25: match.version: a condition such as '>=7'"),
    ("match: {version: '>=7'}\n", "1:1: match.family: is needed and missing"),
    ("1: x\n", "1:1: 1: a key must be a word; quote it if it is meant"),
    ("true: x\n", "1:1: true: a key must be a word"),
    ("? [a]\n: x\n", "1:3: (the whole file): a key must be a word"),
    ("<<: {mode: generalized}\n", "1:1: <<: a key must be a word"),
    ("\tswap: {}\n", "1:1: a tab stands here; YAML is indented by spaces"),
    ('description: "x\n', "2:1: found unexpected end of stream; the quoted text begins at line 1, column 14"),
    (
        "kernel_args:\n  add: [a\n  remove: [b]\n",
        "3:9: expected ',' or ']', but got ':'; the list begins at line 2, column 8",
    ),
    ("mode: generalized\n---\nmode: generalized\n", "2:1: but found another document"),
    ("description: a\x07b\n", "1:15: the character U+0007 cannot be in YAML"),
    ("x: *a\n", "1:4: found undefined alias"),
    ("x: &a [1, *a]\n", "1:4: an alias leads back to itself"),
    ("x: !!python/object:os.system {}\n", "1:4: could not determine a constructor"),
    ("extends: [a]\n", "1:1: extends: the name of one profile is needed here"),
    ("mode: generalized\nextends: debain\n", "2:1: extends: debain: no such profile"),
]


@pytest.mark.parametrize(("text", "message"), _REFUSED, ids=[m for _, m in _REFUSED])
def test_a_wrong_profile_is_refused_where_it_is_wrong(
    load: Load, tmp_path: Path, text: str, message: str
) -> None:
    assert _refusal(lambda: load(text), tmp_path)[0].startswith(_HERE + message)


def test_all_wrong_keys_are_told_at_once(load: Load, tmp_path: Path) -> None:
    message, hint = _refusal(lambda: load("foo: 1\nbar: 2\n"), tmp_path)
    assert message.splitlines() == ["mine.yaml:1:1: foo: unknown key", "mine.yaml:2:1: bar: unknown key"]
    # In the order of the lines, and not of the schema, in which kernel_args comes before swap.
    message, _ = _refusal(lambda: load("swap: {foo: 1}\nkernel_args: {bar: 2}\n"), tmp_path)
    assert [line.split(":")[1] for line in message.splitlines()] == ["1", "2"]
    assert hint is not None
    assert "profile show" in hint


def _bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_bomb(12), "more than 20000 values"),
        ("x: " + "[" * 600 + "]" * 600, "values are nested too deeply"),
        ("x: " + "{a: " * 600 + "1" + "}" * 600, "values are nested too deeply"),
        ('x: !!int ""\n', "a value that cannot be read"),
        ("x: 2020-99-99\n", "a value that cannot be read"),
        ('x: !!timestamp "x"\n', "a value that cannot be read"),
    ],
    ids=["aliases", "lists", "mappings", "int", "date", "timestamp"],
)
def test_a_hostile_profile_is_refused(load: Load, tmp_path: Path, text: str, message: str) -> None:
    assert message in _refusal(lambda: load(text), tmp_path)[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(1 << 21), "2097152 bytes, at most 1048576 can be a profile"),
        (bytes(4096), "the character U+0000 cannot be in YAML"),
        (b"\xebX\x90mkfs.fat" + bytes(500) + b"\x55\xaa", "is not UTF-8 text: byte 0xeb in line 1"),
    ],
    ids=["large", "zeros", "fat"],
)
def test_a_disk_is_no_profile(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "disk.raw"
    path.write_bytes(content)
    found, hint = _refusal(lambda: profile_load.load(str(path)), tmp_path)
    assert message in found
    assert hint == "the profile comes first, then the disk: imgfix apply PROFILE DISK"


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("debain", "debain: no such profile, neither a file nor a bundled one", "did you mean debian?"),
        ("nothing/like/it", "no such profile", "bundled profiles: amazon, azure"),
        (".", "is a folder, not a profile", "bundled profiles: amazon, azure"),
    ],
)
def test_an_unknown_name_is_refused(name: str, message: str, hint: str) -> None:
    with pytest.raises(ProfileError) as caught:
        profile_load.load(name)
    assert message in str(caught.value)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "---\n", "\ufeffmode: generalized\n", "mode: generalized\r\n"]
)
def test_an_empty_or_oddly_ended_profile_is_one(load: Load, text: str) -> None:
    assert load(text) == Profile(name="mine")


def test_words_that_look_like_booleans_stay_words(load: Load) -> None:
    words: Sequence[str] = load("kernel_args: {add: [yes, no, on, off, y, n]}\n").kernel_args.add
    assert list(words) == ["yes", "no", "on", "off", "y", "n"]


def test_a_setting_of_one_value_takes_the_place_of_the_inherited_one(load: Load) -> None:
    loaded = load("extends: rhel\nkernel_args: {add: [rootdelay=9, console=tty0]}\n")
    assert "rootdelay=9" in loaded.kernel_args.add
    assert "rootdelay=300" not in loaded.kernel_args.add
    assert {"console=ttyS0", "console=tty0"} <= set(loaded.kernel_args.add)


@pytest.mark.parametrize(
    ("setting", "emulated", "method"),
    [
        ("auto", True, "append"),
        ("auto", False, "rebuild"),
        ("append", False, "append"),
        ("rebuild", True, "rebuild"),
    ],
)
def test_how_an_initramfs_is_mended_depends_on_kvm_unless_said(
    setting: str, emulated: bool, method: str
) -> None:
    profile = profile_load.load("debian", [f"initramfs.method={setting}"])
    assert profile.for_appliance(emulated=emulated).initramfs.method == method
    assert profile.for_appliance(emulated=emulated).initramfs.drivers == profile.initramfs.drivers
