"""A fresh machine's folders for the notebooks of one file, which share what they train."""

import pytest
from papermill_command import environment_of


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tiny_folder):
    """Return the environment of a fresh machine whose data/ holds the tiny data set, shared by the module's runs."""
    base = tmp_path_factory.mktemp("notebooks")
    (base / "data").mkdir()
    (base / "data" / "tiny").symlink_to(tiny_folder)
    return environment_of(base / "data", base / "outputs")
