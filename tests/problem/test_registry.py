import subprocess
import sys

import pytest
import torch

import hollowpde as hp
from hollowpde.problem import find_problem

HEAD = """
import torch
import hollowpde as hp

def problem(name):
    data = hp.Trajectories.from_dense(torch.arange(3.0), torch.randn(10, 3, 1))
    return hp.SDEProblem(name=name, data=data)

"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="some.py"):
        file = tmp_path / name
        file.write_text(HEAD + text)
        return file

    return write


def test_the_problem_named_like_the_file_or_the_only_one_or_the_one_named(write):
    file = write("hp.register(problem('some'))\nhp.register(problem('other'))\n")
    assert find_problem(str(file))[0].name == "some"
    assert find_problem(f"{file}:other")[0].name == "other"
    assert find_problem(str(write("hp.register(problem('x'))\n", "one.py")))[0].name == "x"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 +", "not valid Python"),
        ("raise KeyError('k')", "raised KeyError in line 9"),
        ("import sys; sys.exit(3)", "raised SystemExit"),
        ("import no_such_module", "raised ModuleNotFoundError in line 9"),
        ("", "registers no problem"),
        ("hp.register(problem('a'))\nhp.register(problem('a'))", "'a' is registered twice"),
        ("hp.register(3)", "register takes a problem"),
        ("hp.register(problem('a'))\nhp.register(problem('b'))", "choose one: .*:a, .*:b"),
        ("hp.SDEProblem(name='a', data=3)", "data must be hp.Simulated"),
    ],
)
def test_files_that_cannot_be_used(write, text, message):
    with pytest.raises(hp.InputError, match=message):
        find_problem(str(write(text)))


def test_unknown_name_and_file(write, tmp_path):
    file = write("hp.register(problem('alpha'))")
    with pytest.raises(hp.InputError, match="did you mean 'alpha'"):
        find_problem(f"{file}:alpa")
    with pytest.raises(hp.InputError, match="no problem file at"):
        find_problem(str(tmp_path / "none.py"))
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    with pytest.raises(hp.InputError, match="not a Python file"):
        find_problem(str(text))


def test_neighbours_can_be_imported_and_the_path_is_restored(write):
    write("SHARED = 1", "neighbour_of_some.py")
    before = list(sys.path)
    file = write("from neighbour_of_some import SHARED\nhp.register(problem('a'))")
    assert list(hp.load_problems(file)) == ["a"]
    assert sys.path == before


def test_a_failed_file_leaves_no_registry_behind(write):
    with pytest.raises(hp.InputError):
        hp.load_problems(write("hp.register(problem('a'))\n1/0"))
    assert list(hp.load_problems(write("hp.register(problem('a'))"))) == ["a"]


def test_a_problem_file_runs_as_a_script(write):
    file = write("hp.register(problem('a'))")
    assert subprocess.run([sys.executable, str(file)], check=False).returncode == 0


def test_paths_with_colons(write):
    folder = write("").parent / "a:b"
    folder.mkdir()
    file = folder / "some.py"
    file.write_text(HEAD + "hp.register(problem('x'))")
    assert find_problem(str(file))[0].name == "x"
    assert find_problem(f"{file}:x")[0].name == "x"


@pytest.mark.parametrize("name", ["", "../evil", "a/b", ".hidden", "a b"])
def test_names_that_make_no_folder(name):
    data = hp.Trajectories.from_dense(torch.arange(3.0), torch.randn(10, 3, 1))
    with pytest.raises(hp.InputError, match="name must be letters"):
        hp.SDEProblem(name=name, data=data)
