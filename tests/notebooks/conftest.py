"""A fresh machine's folders for the notebooks of one file, which share what they train."""

import os

import pytest
from papermill_command import ROOT


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tiny_folder):
    """Return the environment of a fresh machine whose data/ holds the tiny data set, shared by the module's runs."""
    base = tmp_path_factory.mktemp("notebooks")
    (base / "data").mkdir()
    (base / "data" / "tiny").symlink_to(tiny_folder)
    own = {"AVNB_DATA": str(base / "data"), "AVNB_OUTPUTS": str(base / "outputs"), "PYTHONPATH": str(ROOT)}
    one_thread = {"OMP_NUM_THREADS": "1"}  # on data this small a second thread only waits
    return {**os.environ, **own, **one_thread, "JUPYTER_PLATFORM_DIRS": "1"}
