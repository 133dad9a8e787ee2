import pytest

from aico_sched.tasks.source import ParsedClass, parse_classes


def names(source: str) -> list[str]:
    return [found.name for found in parse_classes(source, "file.py")]


def test_what_a_class_says_of_itself_is_read_without_running_it() -> None:
    source = '''
raise SystemExit("never run")
class Clean(BaseTask):
    """Cleans up.

    More words.
    """
    name: ClassVar[str] = "user.clean"
    default_schedule = "@daily"
'''
    assert parse_classes(source, "f") == [ParsedClass("user.clean", "Clean", "Cleans up.", "@daily", True, plain=True)]


def test_a_description_wins_over_the_docstring() -> None:
    source = 'class A(BaseTask):\n    """Doc."""\n    name = "user.a"\n    description = "Said."\n'
    assert parse_classes(source, "f")[0].description == "Said."


def test_a_schedule_that_is_no_literal_is_not_known() -> None:
    source = 'class A(BaseTask):\n    name = "user.a"\n    default_schedule = DAILY\n'
    assert parse_classes(source, "f")[0][3:6] == (None, False, {})


@pytest.mark.parametrize(
    "bases",
    ["BaseTask", "tasks.BaseTask", "SlowTask", "Mixin, BaseTask", "BaseTask[Config]", "lib.SlowTask[int]", "Root"],
)
def test_bases_that_make_a_task(bases: str) -> None:
    source = f'from aico_sched.tasks import BaseTask as Root\nclass A({bases}):\n    name = "user.a"\n'
    assert names(source) == ["user.a"]


@pytest.mark.parametrize(
    "source",
    [
        'class A:\n    name = "user.a"\n',
        'class A(Thing):\n    name = "user.a"\n',
        "class A(BaseTask):\n    name = NAME\n",
        "class A(BaseTask):\n    name: ClassVar[str]\n",
        'class A(BaseTask):\n    other = "user.a"\n',
        'def make():\n    class A(BaseTask):\n        name = "user.a"\n',
        "",
    ],
)
def test_what_is_no_task_class(source: str) -> None:
    assert names(source) == []


def test_classes_behind_optional_imports_are_seen() -> None:
    source = """
try:
    import sklearn
except ImportError:
    class A(BaseTask):
        name = "user.a"
else:
    class B(BaseTask):
        name = "user.b"
if True:
    class C(BaseTask):
        name = "user.c"
"""
    assert names(source) == ["user.a", "user.b", "user.c"]


@pytest.mark.parametrize("source", ["class A(BaseTask:\n    name = 'user.a'\n", "x = '\0'\n    name = 1"])
def test_broken_source_is_an_error(source: str) -> None:
    with pytest.raises((SyntaxError, ValueError)):
        parse_classes(source, "f")


def test_source_too_deep_for_the_parser_is_a_syntax_error() -> None:
    with pytest.raises(SyntaxError):
        parse_classes("class A(BaseTask):\n    name = 'user.a'\nx = " + "(" * 100_000, "f")


@pytest.mark.parametrize(
    ("source", "plain"),
    [
        ("class A(BaseTask):\n    name = 'user.a'\n", True),
        ("class A(BlockingTask):\n    name = 'user.a'\n", True),
        ("class A(BaseTask):\n    name = 'user.a'\n    Config = Mine\n", False),
        ("class A(BaseTask):\n    name = 'user.a'\n    class Config: pass\n", False),
        ("class A(OtherTask):\n    name = 'user.a'\n", False),
        ("class A(tasks.BaseTask, Mixin):\n    name = 'user.a'\n", False),
        ("@decorated\nclass A(BaseTask):\n    name = 'user.a'\n", False),
    ],
)
def test_a_class_whose_source_says_nothing_of_a_configuration_is_plain(source: str, plain: bool) -> None:
    assert parse_classes(source, "f")[0].plain is plain
