"""What a project writes down: settings in its own file, and a baseline of what is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from libferry.audit.asking import check_files, question_of
from libferry.audit.baseline import read_baseline, write_baseline
from libferry.audit.config import Config, find_config, read_config
from libferry.errors import SettingsError
from tests.audit.compiling import GCC, build


def written(folder: Path, text: str, name: str = "libferry.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_settings_are_in_a_file_of_their_own_or_in_pyproject(tmp_path: Path) -> None:
    own = written(tmp_path, '[check]\ntarget = "debian-12-amd64"\n')
    shared = written(
        tmp_path, '[tool.libferry.check]\ntarget = "debian-12-amd64"\n', "pyproject.toml"
    )
    assert read_config(own).target == read_config(shared).target == "debian-12-amd64"


def test_the_nearest_file_counts_and_one_about_something_else_does_not(tmp_path: Path) -> None:
    written(tmp_path, "[check]\nstrict = true\n")
    inner = tmp_path / "package" / "native"
    inner.mkdir(parents=True)
    written(tmp_path / "package", "[tool.ruff]\nline-length = 100\n", "pyproject.toml")
    assert find_config(inner).path == tmp_path / "libferry.toml"
    assert find_config(inner).strict


def test_paths_are_meant_from_the_file(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, '[check]\nbaseline = "known.json"\n'))
    assert config.baseline == tmp_path / "known.json"


@pytest.mark.parametrize(
    ("text", "happened", "hint"),
    [
        ('[check]\ntraget = "this"\n', "check.traget means nothing", "target"),
        ("[check]\nstrict = 1\n", "check.strict is 1", "true or false"),
        ('[check]\nignore = ["no-rello"]\n', "no rule or group 'no-rello'", "no-relro"),
        ('[check]\nselect = ["secutity"]\n', "no rule or group 'secutity'", "security"),
        ("[check]\nignore = [1]\n", "1 is no rule", "names"),
        ('[check.per-file-ignores]\n"*.so" = "load"\n', "this is 'load'", "list"),
        ("[check\n", "it is no TOML", "toml.io"),
        ("check = 5\n", "check is 5", "a table"),
    ],
)
def test_what_means_nothing_is_refused(text: str, happened: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as error:
        read_config(written(tmp_path, text))
    assert happened in str(error.value)
    assert hint in error.value.hint


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, '[check]\ntarget = "a"\nselect = ["load"]\n'))
    question = question_of(config, target="b", select=["security,build"])
    assert question.target == "b"
    assert question.selection.select == {"security", "build"}
    assert question_of(config).target == "a"


@GCC
def test_a_file_can_be_excused_from_a_rule(tmp_path: Path) -> None:
    bad = [build(tmp_path, name, "-Wl,-z,norelro") for name in ("libours.so", "libtheirs.so")]
    text = '[check]\nselect = ["no-relro"]\n[check.per-file-ignores]\n"libtheirs*" = ["security"]\n'
    config = read_config(written(tmp_path, text))
    report = check_files(bad, question_of(config))
    assert [finding.file for finding in report.findings] == [str(bad[0])]


@GCC
def test_what_the_baseline_knows_is_not_said_again(tmp_path: Path) -> None:
    made = build(tmp_path, "liba.so", "-Wl,-z,norelro")
    question = question_of(Config(), strict=True)
    report = check_files([made], question)
    assert report.answer is False
    count = write_baseline(tmp_path / "known.json", report.findings)
    after = read_baseline(tmp_path / "known.json").without_known(report, strict=True)
    assert (after.answer, after.findings, after.known) == (True, (), count)


@GCC
def test_a_new_finding_counts_beside_the_known_ones(tmp_path: Path) -> None:
    made = build(tmp_path, "liba.so", "-Wl,-z,norelro")
    question = question_of(Config(), strict=True)
    write_baseline(tmp_path / "known.json", check_files([made], question).findings)
    worse = check_files([build(tmp_path, "liba.so", "-Wl,-z,norelro,-z,execstack")], question)
    after = read_baseline(tmp_path / "known.json").without_known(worse, strict=True)
    assert [finding.rule for finding in after.findings] == ["executable-stack"]
    assert after.answer is False


@GCC
def test_a_baseline_goes_with_the_project(tmp_path: Path) -> None:
    """Its paths are relative to its folder."""
    here, there = tmp_path / "here", tmp_path / "there"
    made = build(here, "liba.so", "-Wl,-z,norelro")
    question = question_of(Config())
    write_baseline(here / "known.json", check_files([made], question).findings)
    here.rename(there)
    report = check_files([there / "liba.so"], question)
    assert read_baseline(there / "known.json").without_known(report).findings == ()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2, "findings": []}', "[" * 100_000])
def test_what_is_no_baseline_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        read_baseline(written(tmp_path, text, "known.json"))


def test_a_baseline_is_sorted_so_that_it_can_be_reviewed(tmp_path: Path) -> None:
    assert write_baseline(tmp_path / "known.json", []) == 0
    assert json.loads((tmp_path / "known.json").read_text()) == {"format": 1, "findings": []}
