"""What the notebooks do when it is asked for: ablations and sweeps."""

import pytest
from papermill_command import ROOT, papermill, parameters_of

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(1200)]


@pytest.mark.parametrize(
    ("name", "switches"),
    [
        ("02_ez_vsl.ipynb", {"sweep": "all", "heard": "2"}),
        ("03_mix_and_localize.ipynb", {"ablation": "True"}),
        ("04_avgn.ipynb", {"ablation": "True"}),
        ("05_dsol.ipynb", {"ablation": "table7"}),
        ("06_one_avm.ipynb", {"ablation": "True", "sweep": "all"}),
    ],
)
def test_the_switches_that_are_off_by_default_run(name, switches, folders, tmp_path):
    parameters = parameters_of(name) | switches
    done = papermill(ROOT / "notebooks" / name, tmp_path / name, parameters, folders)
    assert done.returncode == 0, done.stderr[-3000:]
