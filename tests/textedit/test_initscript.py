from __future__ import annotations

import pytest

from imgfix.textedit import initscript

LSB = "### BEGIN INIT INFO\n# Provides: sshd\n# Default-Start:\t3 5\n# Default-Stop: 0 1\n### END INIT INFO\n"


@pytest.mark.parametrize(
    ("text", "levels", "number"),
    [
        ("#!/bin/bash\n#\n# chkconfig: 2345 55 25\n# description: x\n", "2345", 55),
        ("#chkconfig:   345\t08 80  \r\n", "345", 8),
        ("# chkconfig: - 50 50\n", "", 50),
        ("# chkconfig: 35 1 2\n" + LSB, "35", 1),
        (LSB, "35", None),
        ("# Default-Start: 2\n", "", None),
        (LSB.replace("\t3 5", ""), "", None),
        ("echo '# chkconfig: 2345 55 25'\n", "", None),
        ("# chkconfig: 2345 55\n", "", None),
        ("# chkconfig: 789 55 25\n", "", None),
        ("", "", None),
    ],
)
def test_what_a_script_says(text: str, levels: str, number: int | None) -> None:
    assert initscript.levels(text) == levels
    assert initscript.start_number(text) == number
    assert (initscript.stop_number(text) is None) is (number is None)


def test_the_number_of_the_stop_link() -> None:
    assert initscript.stop_number("# chkconfig: 2345 55 25\n") == 25
