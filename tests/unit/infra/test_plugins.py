"""Plugins: found by file name, and a broken one stops the process."""

import sys

import pytest

from infra import plugins
from infra.errors import NotFound, PluginError


class Base:
    """What the plugins of these tests derive from."""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An importable package; `package(name, text)` adds a file to it and returns the package's name."""
    folder = tmp_path / "things_for_test"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "plugin_base_for_test", sys.modules[__name__])

    def add(name: str, text: str) -> str:
        (folder / f"{name}.py").write_text("from plugin_base_for_test import Base\n" + text)
        return folder.name

    yield add
    plugins.names.cache_clear()
    for name in [name for name in sys.modules if name.startswith(folder.name)]:
        del sys.modules[name]


def test_a_new_file_is_a_new_plugin(package):
    package("second", "class Second(Base): ...")
    package("_helper", "raise RuntimeError('never imported')")
    name = package("first", "class First(Base): ...")
    assert plugins.names(name) == ("first", "second")
    assert {key: cls.__name__ for key, cls in plugins.load_all(name, Base).items()} == {
        "first": "First",
        "second": "Second",
    }


def test_imported_and_abstract_classes_do_not_count(package):
    text = (
        "from abc import abstractmethod, ABC\n"
        "class _Half(Base, ABC):\n    @abstractmethod\n    def do(self): ...\n"
        "class Whole(_Half):\n    def do(self): ...\n"
    )
    assert plugins.load(package("one", text), "one", Base).__name__ == "Whole"


def test_a_wrong_name_is_answered_with_the_choices(package):
    name = package("restart", "class Restart(Base): ...")
    with pytest.raises(NotFound, match=r"did you mean 'restart'.*choose from: restart"):
        plugins.load(name, "restrat", Base)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import no_such_module", "does not import: ModuleNotFoundError"),
        ("x = 1 / 0", "does not import: ZeroDivisionError"),
        ("x = 1", "must define exactly one Base, it defines none"),
        ("class A(Base): ...\nclass B(Base): ...", r"exactly one Base, it defines \['A', 'B'\]"),
    ],
)
def test_a_broken_file_stops_the_process(package, text, told):
    package("fine", "class Fine(Base): ...")
    name = package("broken", text)
    with pytest.raises(PluginError, match=f"broken.py.*{told}"):
        plugins.load_all(name, Base)
