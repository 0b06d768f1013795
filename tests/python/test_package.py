"""The package as its users meet it: names, types, help, import."""

from __future__ import annotations

import ast
import doctest
import inspect
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import ruvector as rv
from ruvector import _ruvector

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGE = Path(rv.__file__).parent
STUB = PACKAGE / "_ruvector.pyi"


def documented() -> list[tuple[str, str]]:
    """Names and docstrings, of the package and of the stub, that show examples."""
    tree = ast.parse(STUB.read_text(encoding="utf-8"))
    nodes = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    texts = [("ruvector", rv.__doc__), *((node.name, ast.get_docstring(node)) for node in nodes)]
    return [(name, text) for name, text in texts if text and ">>>" in text]


@pytest.mark.parametrize(("name", "text"), documented())
def test_examples_of_the_stub_run(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    test = doctest.DocTestParser().get_doctest(text, {}, name, str(STUB), 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(test)
    assert runner.failures == 0


def test_stubs_agree_with_what_runs(tmp_path: Path) -> None:
    config = Path(__file__).parents[2] / "pyproject.toml"
    command = [sys.executable, "-m", "mypy.stubtest", "ruvector._ruvector", "--mypy-config-file", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_name_has_help() -> None:
    for name in rv.__all__:
        assert inspect.getdoc(getattr(rv, name)), name
    for owner in (rv.Index, rv.Hits, rv.NestedHits, rv.Scores, rv.ArrowColumn, rv.Rotation):
        for name, member in vars(owner).items():
            if not name.startswith("_"):
                assert inspect.getdoc(member), f"{owner.__name__}.{name}"


def test_classes_say_where_they_live() -> None:
    for owner in (rv.Index, rv.Hits, rv.NestedHits, rv.Scores, rv.ArrowColumn, rv.Rotation):
        assert (owner.__module__, getattr(rv, owner.__name__)) == ("ruvector", owner)


def test_a_star_import_hides_no_builtin() -> None:
    import builtins

    assert set(rv.__all__).isdisjoint(dir(builtins))
    assert set(rv.__all__) <= set(dir(rv))


def test_version_is_known() -> None:
    assert rv.__version__ == _ruvector.__version__


def test_cpu_features_are_named() -> None:
    found = rv.cpu_features()
    assert found["detected"]
    assert all(isinstance(has, bool) for has in found["detected"].values())
    assert (found["kernel"], found["threads"] >= 1) == (rv.simd_level(), True)


def test_the_namesake_is_warned_of(tmp_path: Path, python: Callable[..., str]) -> None:
    shutil.copytree(PACKAGE, tmp_path / "ruvector", ignore=shutil.ignore_patterns("__pycache__"))
    code = "import warnings\nwith warnings.catch_warnings(record=True) as seen:\n    import ruvector as rv\n"
    code += "print(rv.__file__, [warning.category.__name__ for warning in seen])"
    file = str(tmp_path / "ruvector" / "__init__.py")
    (tmp_path / "ruvector_arrow-0.1.0.dist-info").mkdir()
    assert python(code, PYTHONPATH=str(tmp_path)).split() == [file, "[]"]
    (tmp_path / "ruvector-2.0.0.dist-info").mkdir()
    assert python(code, PYTHONPATH=str(tmp_path)).split() == [file, "['ConflictWarning']"]


def test_engines_are_imported_when_they_are_used(python: Callable[..., str]) -> None:
    code = """
import sys
sys.modules["polars"] = None  # as if it were not installed
import ruvector as rv
hits = rv.build([[0.0], [1.0]]).search([0.9], k=1)
print([name for name in ("numpy", "pyarrow", "tqdm", "importlib.metadata") if name in sys.modules])
"""
    assert python(code).strip() == "[]"


def test_the_lake_is_there_without_an_import_of_its_own(python: Callable[..., str]) -> None:
    assert "scan_polars" in python("import ruvector as rv; print(rv.lake.scan_polars.__name__)")
