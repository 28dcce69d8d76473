"""Agents told from their files; the steps' cases have the rest."""

from __future__ import annotations

import pytest

from imgfix.facts import agents
from tests.fake_tree import FakeTree, folder, link

VERSION = "/usr/lib/python3/dist-packages/azurelinuxagent/common/version.py"


@pytest.mark.parametrize(
    ("line", "interpreter"),
    [
        ("#!/usr/bin/python3", "/usr/bin/python3"),
        ("#! /usr/bin/python3 -u", "/usr/bin/python3"),
        ("#!/usr/bin/env python", "python"),
        ("#!/usr/bin/env -S python3 -u", "python3"),
        ("#!/usr/bin/env LANG=C python3", "python3"),
        ("#!", ""),
        ("import sys", ""),
        ("", ""),
    ],
)
def test_the_first_line_names_the_interpreter(line: str, interpreter: str) -> None:
    found = agents.read_agent(
        FakeTree({"/usr/sbin/waagent": f"{line}\n", VERSION: "AGENT_VERSION = '2.9'\n"})
    )
    assert found is not None
    assert (found.interpreter, found.version, found.program) == (interpreter, "2.9", "/usr/sbin/waagent")


def test_interpreters_are_found_through_links_and_in_the_path() -> None:
    tree = FakeTree(
        {"/usr/bin/python3": link("python3.9"), "/usr/bin/python3.9": "x", "/bin": link("usr/bin")}
    )
    for name in ("/usr/bin/python3", "/bin/python3", "python3", ""):
        assert agents.has_interpreter(tree, name), name
    for name in ("/usr/bin/python", "python2", "/usr/local/bin/python3"):
        assert not agents.has_interpreter(tree, name), name


def test_no_program_is_no_agent() -> None:
    """A package that was removed leaves its configuration, and Python leaves caches."""
    assert (
        agents.read_agent(FakeTree({VERSION: "AGENT_VERSION = '2.9'\n", "/usr/sbin/waagent": folder()}))
        is None
    )


def test_a_module_without_a_version_is_passed_over() -> None:
    other = "/usr/local/lib/python3.9/site-packages/azurelinuxagent/common/version.py"
    tree = FakeTree(
        {"/usr/sbin/waagent": "x", VERSION: "# no version\n", other: 'AGENT_VERSION = "2.2.45"\n'}
    )
    found = agents.read_agent(tree)
    assert found is not None
    assert (found.version, found.path) == ("2.2.45", other)


def test_cloud_init() -> None:
    tree = FakeTree(
        {
            "/usr/bin/cloud-init": "#!/usr/bin/python3\n",
            "/usr/lib/python3.6/site-packages/cloudinit/version.py": '__VERSION__ = "18.5"\n',
        }
    )
    found = agents.read_software(tree, agents.CLOUD_INIT)
    assert found is not None
    assert (found.name, found.version) == ("cloud-init", "18.5")
