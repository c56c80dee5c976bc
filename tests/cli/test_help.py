"""`--help`: what a user reads first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from command import call

from xrdpipe.cli.calibrate.words import KEYS
from xrdpipe.cli.help import GROUPS, help_text
from xrdpipe.config.described import described_keys
from xrdpipe.config.loader import conf_dir

OPTIONS = [(path.parent.name, path.stem) for group in GROUPS for path in sorted((conf_dir() / group).glob("*.yaml"))]


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_is_in_the_manual_with_its_title(group: str, option: str) -> None:
    title = (conf_dir() / group / f"{option}.yaml").read_text().splitlines()[0].lstrip("# ")
    assert any(line.split() == [f"{group}={option}", *title.split()] for line in help_text().splitlines())


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_key_is_in_the_manual_with_words(group: str, option: str) -> None:
    lines = {line.split()[0]: line for line in help_text().splitlines() if line.strip()}
    values = yaml.safe_load((conf_dir() / group / f"{option}.yaml").read_text())
    for key, value in values.items():
        inner = value if isinstance(value, dict) else {}
        for name in (f"{group}.{key}", *(f"{group}.{key}.{name}" for name in inner)):
            if key != "_target_":
                assert len(lines[name].split()) >= 3, name


def test_every_top_level_key_is_in_the_manual_with_its_default() -> None:
    values = yaml.safe_load((conf_dir() / "config.yaml").read_text())
    lines = {line.split()[0]: line for line in help_text().splitlines() if line.strip()}
    for key in set(values) - {"defaults", "hydra"}:
        assert lines[key].rstrip().endswith(")"), key


def test_defaults_in_the_manual_are_those_of_the_default_option() -> None:
    lines = {line.split()[0]: line for line in help_text().splitlines() if line.strip()}
    assert lines["mask.alpha"].endswith("(2.0)")
    assert lines["integ.method"].endswith("([full, csr, cython])")
    assert lines["plot.image.cmap"].endswith("(viridis)")


def test_a_value_with_a_number_sign_keeps_its_words(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text('color: "#0072b2"  # of the line\n')
    assert described_keys(tmp_path / "a.yaml")["color"] == ('"#0072b2"', "of the line")


def test_the_manual_has_what_manual_pages_have() -> None:
    for title in (
        "USAGE",
        "EXAMPLES",
        "ARGUMENTS",
        "TOP LEVEL",
        "EXPERIMENT",
        "OPTIONS",
        "EXIT STATUS",
        *map(str.upper, GROUPS),
    ):
        assert title in help_text().splitlines()
    assert max(map(len, help_text().splitlines())) <= 160


def test_the_manual_needs_no_heavy_import() -> None:
    code = (
        "import sys; from xrdpipe.cli.help import help_text; help_text();"
        "assert not {'hydra', 'numpy', 'pyFAI', 'matplotlib', 'fabio', 'numba', 'omegaconf', 'yaml'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_calibrate_has_a_page_of_its_own() -> None:
    ended = call("calibrate", "--help")
    assert (ended.status, ended.err) == (0, "")
    for word in (*KEYS, "bounds.NAME"):
        assert f"\n  {word} " in ended.out
