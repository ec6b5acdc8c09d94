"""What is written is whole and readable by others."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from ladagan_tf import files
from ladagan_tf.errors import InputError
from ladagan_tf.files import json_line


def test_a_line_of_json_has_null_for_what_json_has_not():
    content = {"a": np.float32("nan"), "b": [1.5, -math.inf, np.int64(3)], "c": Path("x"), 1: None}
    line = json_line(content)
    assert line.endswith("\n")

    def refuse(name):
        raise AssertionError(name)

    assert json.loads(line, parse_constant=refuse) == {
        "a": None, "b": [1.5, None, 3], "c": "x", "1": None
    }  # fmt: skip


def test_a_user_without_a_home_is_told_where_to_name_a_cache(monkeypatch):
    monkeypatch.setattr(files.os.path, "expanduser", lambda path: path)  # as it is without one
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(InputError, match=r"^there is no home folder .*; set XDG_CACHE_HOME, or"):
        files.cache_folder()
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert files.cache_folder() == Path("/somewhere/ladagan_tf")
