"""The command line as people use it who know nothing of the code: slips, completion, odd names."""

import io
import shutil
import sys
from types import SimpleNamespace

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from toy_runs import make

from handbench import demo, files, registry
from handbench.cli import COMMANDS, describe, group, main
from handbench.errors import DataError, HandbenchError
from handbench.preparing.readers import open_readers
from handbench.training.recipe import to_toml
from handbench.training.runs import run_of


def refused(*words: str) -> str:
    """The one line with which a command is refused."""
    found = CliRunner().invoke(group, words)
    if isinstance(found.exception, HandbenchError):
        return str(found.exception)
    assert found.exit_code == 2, found.exception
    return found.stderr.splitlines()[-1]


def offered(words: str, begun: str) -> list[str]:
    """What TAB offers after these words."""
    shell = ShellComplete(group, {}, "handbench", "_HANDBENCH_COMPLETE")
    return [item.value for item in shell.get_completions(words.split(), begun)]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("prepare synthetic --sequences list.txt", "--sequences list.txt: give a whole number"),
        ("prepare synthetic -o sequences=many", "-o sequences=many: give a whole number"),
        ("prepare synthetic -o seed=-1", "synthetic needs seed of at least 0, not -1"),
        ("prepare synthetic --seed -1", "-1 is not in the range x>=0"),
        ("synth --as freihand raw --seed -1", "-1 is not in the range x>=0"),
        ("show nothing.h5", "there is no file nothing.h5"),
        ("doctor --leakage foo", "(handbench list datasets)"),
        ("doctor --leakage fpha --data-dir nowhere", "(handbench prepare fpha)"),
        ("speed plane", "no method or run 'plane'; did you mean 'plain'?"),
        ("speed plane --train", "no method or run 'plane'; did you mean 'plain'?"),
    ],
)
def test_slips_are_one_line(words, told):
    assert told in refused(*words.split())


def test_the_shell_completes_names(toy_places):
    assert offered("", "pre") == ["prepare", "predict"]
    assert offered("prepare", "ho3d") == ["ho3d_v2", "ho3d_v3"]
    assert offered("train", "hando") == ["handoccnet"]
    assert offered("show", "small/t") == ["small/test", "small/train"]
    assert offered("eval --data", "small/v") == ["small/val"]
    assert offered("nonsense", "x") == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("eval plain --protocol ho3d_v2", "--protocol goes with --predictions"),
        ("eval plain --out scores", "--out goes with --predictions"),
        ("eval plain --all", "give RUNs, or --all, or --predictions"),
        ("eval --predictions p.h5 --boxes jittered", "--boxes goes with runs"),
        ("eval --predictions none.h5 --ground-truth a/b", "there is no file none.h5"),
        (
            "eval --predictions {here} --ground-truth a/b",
            "is no predictions.h5: name the --protocol",
        ),
        (
            "eval --predictions {here} --ground-truth a/b --levels l.csv",
            "--levels goes with an off",
        ),
        ("eval plain --boxes ,", "no box source ''"),
        ("train toy --label ../x", "--label ../x: give one without"),
        ("train toy --seed -1", "-1 is not in the range x>=0"),
        ("train toy --steps 0", "0 is not in the range x>=1"),
        ("tables --format ,", "no format ''"),
        ("plots --query 3,4", "--query goes with attention"),
        ("doctor -o fps=5", "-o goes with --raw"),
        ("show synthetic/test --seed 3", "--seed goes with --random or --sheet"),
        ("tables --paper all --mixed", "--mixed goes with tables of runs"),
    ],
)
def test_options_that_would_do_nothing_are_refused(words, told, toy_places):
    words = words.replace("synthetic/", "small/").replace("{here}", __file__)
    assert told in refused(*words.split())


def test_a_traceback_is_shown_when_asked_for_and_only_then(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["handbench", "show", "nothing.h5"])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().err
    assert ended.value.code == 1
    assert told.startswith("handbench: there is no file nothing.h5")
    assert told.count("\n") == 1
    sys.argv.append("--debug")
    with pytest.raises(HandbenchError):
        main()
    assert describe(PermissionError(13, "", "there")).startswith("no permission (there): work in")


def test_the_advice_of_a_missing_result_names_its_split(toy_places, tmp_path):
    run = run_of(make())
    files.write_text(run.recipe_file, to_toml(make()))
    assert refused("compare", "toy", "toy").endswith(f"handbench eval {run.name}")
    assert refused("compare", "toy", "toy", "--data", "a/b").endswith(f"{run.name} --data a/b")


@pytest.mark.parametrize(
    ("words", "told"), [("prepare x", "goes on from here"), ("synth x", "starts anew")]
)
def test_a_stopped_command_says_how_it_will_go_on(words, told, monkeypatch, capsys):
    def stopped(*_, **__):
        raise click.exceptions.Abort

    monkeypatch.setattr(group, "main", stopped)
    monkeypatch.setattr(sys, "argv", ["handbench", *words.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == f"handbench: stopped; the same command {told}\n"


def test_the_demo_names_a_command_that_can_be_typed_and_says_things_once(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python"))
    assert demo.called() == f"{tmp_path}/.venv/bin/python -m handbench"
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/handbench").touch()
    monkeypatch.chdir(tmp_path)
    assert demo.called() == ".venv/bin/handbench"
    log = io.StringIO("2 hands have no box\na/predictions.h5: 9 hands\n2 hands have no box\n")
    job = demo.scoring("onset", [tmp_path] * 2)
    demo._finish(job, SimpleNamespace(returncode=0), log)
    assert capsys.readouterr().err.split("\n") == [
        "score     synthetic/onset        2 runs",
        "2 hands have no box",
        "",
    ]


def test_a_package_that_cannot_be_imported_hides_no_other_method(monkeypatch, toy_places):
    real = registry.table
    broken = {"broken": "no_such_module:X"}
    monkeypatch.setattr(registry, "table", lambda kind: {**real(kind), **broken})
    found = CliRunner().invoke(group, ["list", "variants"])
    assert found.exit_code == 0, found.exception
    assert "toy/full" in found.stdout
    assert "broken is left out" in found.stderr


def test_of_a_prefix_what_is_present_is_prepared_and_the_rest_is_told(capsys):
    class Partial:
        name, splits, needs_raw = "partial", ("s0_train", "s0_val", "s1_train"), False

        def __init__(self, split, raw=None):
            if split == "s0_val":
                raise DataError("no picture of it")
            self.split = split

    assert [each.split for each in open_readers(Partial, ["s0"], None, {})] == ["s0_train"]
    assert capsys.readouterr().err == "not there:  partial/s0_val: no picture of it\n"
    with pytest.raises(DataError, match="no picture of it"):
        list(open_readers(Partial, ["s0_val"], None, {}))


def test_a_package_that_is_not_installed_is_one_line(monkeypatch, capsys):
    monkeypatch.setitem(COMMANDS, "needy", ("needy_command:needy", ""))
    monkeypatch.setattr(sys, "argv", ["handbench", "needy"])
    with pytest.raises(SystemExit):
        main()
    assert "has no package 'needy_command': install" in capsys.readouterr().err
