"""The house rules that no linter knows: sizes, mirrors, who may open files, what must never be called.

The exceptions stand in the tables below, each with its reason; a table entry that is no longer needed fails too.
"""

import ast
import re
import statistics
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILE_MOST = 400
FUNCTION_MOST = 60
MEDIAN_MOST = 9
P90_MOST = 35

# Source files without a test file of their own name: file -> where it is tested instead.
TESTED_ELSEWHERE: dict[str, str] = {
    "authn/logins.py": "tests/authn/test_password.py",
    "web/portal/entry.py": "tests/web/portal/test_login.py",
    "web/portal/portal.py": "tests/web/portal/test_userinfo.py",
    "web/portal/storage.py": "tests/web/portal/test_logout.py",
    "web/portal/texts.py": "tests/web/portal/test_pages.py",
    "authenticators.py": "tests/test_runtime.py",
    "logs.py": "tests/server/test_reload.py",
    "cli/replay_report.py": "tests/cli/test_policy_replay.py",
}
# Who opens files, beside config/load.py: file -> which ones, and why there.
OPENS: dict[str, str] = {
    "config/load.py": "the configuration and the policies",
    "config/secrets.py": "the secrets that the configuration names, at load",
    "config/named_files.py": "the keys, certificates and authorities that the configuration names, at load",
    "config/users.py": "the users files that the configuration names, at load; `authproxy user` changes them",
    "web/portal/pages.py": "the style sheet that comes with it, at import",
    "server/memory.py": "where this process has its memory, and what pages the kernel offers",
    "telemetry/line_log.py": "the logs that the configuration names, for appending",
    "server/trail_socket.py": "the state directory, so that the path of a socket in it is short",
    "state/lmdb.py": "its own folder: what marks an environment as opened since this boot",
    "state/lmdb_records.py": "its own folder: room for the lock before LMDB maps it",
    "backend/key_source.py": "the key set that a backend names, in its own program",
    "cli/main.py": "/dev/null, when whoever read stdout is gone",
}
FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__",
    "pickle.load", "pickle.loads", "marshal.loads", "shelve.open",
    "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load",
    "os.system", "os.popen", "tempfile.mktemp",
}  # fmt: skip
OPENING = {"open", "os.open", "io.open", "read_text", "read_bytes"}
STARTS_TASK = {"create_task", "ensure_future"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def source() -> dict[str, ast.Module]:
    """Every module of the program, parsed, by its path below authproxy/."""
    folder = ROOT / "authproxy"
    return {
        path.relative_to(folder).as_posix(): ast.parse(path.read_text())
        for path in sorted(folder.rglob("*.py"))
    }


@cache
def suite() -> dict[str, ast.Module]:
    """Every test module, parsed, by its path below tests/."""
    folder = ROOT / "tests"
    return {
        path.relative_to(folder).as_posix(): ast.parse(path.read_text())
        for path in sorted(folder.rglob("*.py"))
    }


def functions(module: ast.Module) -> Iterator[Function]:
    """All functions of a module, inner ones and methods among them."""
    return (node for node in ast.walk(module) if isinstance(node, Function))


def length(function: Function) -> int:
    """Lines from `def` to the end."""
    return (function.end_lineno or 0) - function.lineno + 1


def called(node: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Every call below, as it is written: `open`, `jwt.decode`, and its last word alone where it is a method."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call):
            yield call, ast.unparse(call.func)


def last_word(name: str) -> str:
    """`a.b.read_text` is `read_text`."""
    return name.rpartition(".")[2]


def test_every_source_file_has_its_test_file() -> None:
    """authproxy/X/y.py is tested by tests/X/test_y.py, or the table says where."""
    missing = set()
    for name in source():
        path = Path(name)
        if path.name == "__init__.py" or name in TESTED_ELSEWHERE:
            continue
        if not (ROOT / "tests" / path.with_name(f"test_{path.name}")).exists():
            missing.add(name)
    assert missing == set()


def test_what_is_tested_elsewhere_is_tested_there() -> None:
    """An exception from the mirror names a test file that exists, for a source file that exists and has none."""
    for name, where in TESTED_ELSEWHERE.items():
        path = Path(name)
        assert name in source(), name
        assert (ROOT / where).is_file(), where
        assert not (ROOT / "tests" / path.with_name(f"test_{path.name}")).exists(), name


def test_no_file_is_too_long() -> None:
    """A file can be read in one sitting: at most 400 lines, tests and benches too."""
    files = [
        p for room in ("authproxy", "tests", "bench", "docs") for p in (ROOT / room).rglob("*.py")
    ]
    sizes = {p.relative_to(ROOT).as_posix(): len(p.read_text().splitlines()) for p in files}
    assert {name: size for name, size in sizes.items() if size > FILE_MOST} == {}


def test_no_function_is_too_long() -> None:
    """A function fits on a screen: at most 60 lines, those of tests too."""
    modules = {f"authproxy/{n}": m for n, m in source().items()}
    modules |= {f"tests/{n}": m for n, m in suite().items()}
    found = {f"{n}:{f.name}": length(f) for n, m in modules.items() for f in functions(m)}
    assert {name: size for name, size in found.items() if size > FUNCTION_MOST} == {}


def test_functions_are_short_on_the_whole() -> None:
    """Half of all functions have at most 9 lines, nine in ten at most 35."""
    lengths = [length(f) for module in source().values() for f in functions(module)]
    assert statistics.median(lengths) <= MEDIAN_MOST
    assert statistics.quantiles(lengths, n=10)[-1] <= P90_MOST


def test_every_module_says_what_it_is() -> None:
    """Every module of the program opens with the law of its room."""
    assert [name for name, module in source().items() if not ast.get_docstring(module)] == []


def test_every_function_is_typed() -> None:
    """Every argument and every result has a type, in the program and in its tests."""
    untyped = []
    for name, module in [*source().items(), *suite().items()]:
        for function in functions(module):
            arguments = function.args
            every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            every += [a for a in (arguments.vararg, arguments.kwarg) if a]
            bare = [a.arg for a in every if a.annotation is None and a.arg not in {"self", "cls"}]
            if bare or function.returns is None:
                untyped.append(f"{name}:{function.name}")
    # __init__ needs no result type where its arguments are typed (PEP 484)
    assert [name for name in untyped if not name.endswith(":__init__")] == []


def test_every_test_says_its_promise() -> None:
    """Every test function has a docstring: the promise that it holds the program to."""
    silent = [
        f"{name}:{function.name}"
        for name, module in suite().items()
        for function in functions(module)
        if function.name.startswith("test")
        and not ast.get_docstring(function)
        # a method or function of a test's own body that merely begins so is none of pytest's
        and Path(name).name.startswith("test_")
    ]
    assert silent == []


def test_nothing_is_left_to_do() -> None:
    """No comment defers work: what is known to be missing is an issue, not a comment."""
    words = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in repository_files()
        if path.suffix in {".py", ".sh", ".yaml"} and path != Path(__file__)
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if words.search(line)
    ]
    assert found == []


def repository_files() -> Iterator[Path]:
    """The text files of the repository, as far as they are ours."""
    for entry in sorted(ROOT.iterdir()):
        ours = entry.name != ".git"  # a file, with a path of the machine, in a second worktree
        if ours and entry.is_file() and entry.suffix in {"", ".md", ".toml", ".yaml", ".yml"}:
            yield entry
    for room in (".ci", "authproxy", "tests", "bench", "docs", "policies"):
        for path in sorted((ROOT / room).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def test_the_repository_knows_no_machine() -> None:
    """No file names a registry's host or a path of the machine that it was written on."""
    places = re.compile(
        r"(?<![\w.~])/(?:work|root|opt)/\w|pypi\.org|pythonhosted\.org|snapshot\.debian|deb\.debian\.org"
        r"|registry\.npmjs|proxy\.golang|artifactory|nexus\."
    )
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in repository_files()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if path != Path(__file__) and places.search(line)
    ]
    assert found == []


def test_few_may_ask_pyjwt_to_decode() -> None:
    """A token is judged in one place (authn/bearer.py), an assertion too, in the programs behind (backend/assertion.py)."""
    callers = {
        name
        for name, module in source().items()
        for _, call in called(module)
        if re.fullmatch(r"(jwt|api_jwt|PyJWT\(\))\.decode(_complete)?", call)
    }
    imports = {
        name
        for name, module in source().items()
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom)
        and node.module == "jwt"
        and any(alias.name.startswith("decode") for alias in node.names)
    }
    assert callers | imports <= {"authn/bearer.py", "backend/assertion.py"}


def opens_files(module: ast.Module) -> bool:
    """Does the module open or read a file? (`store.open()` and a pool's take no mode; `Path.open` does.)"""
    for call, name in called(module):
        mode = call.args[0] if call.args else None
        with_mode = isinstance(mode, ast.Constant) and isinstance(mode.value, str)
        if name in OPENING or last_word(name) in OPENING - {"open"}:
            return True
        if last_word(name) == "open" and with_mode and not name.startswith("lmdb"):
            return True
    return False


def test_few_open_files() -> None:
    """What files the program reads is seen in one table; commands that make files (cli/) are the only others."""
    openers = {name for name, module in source().items() if opens_files(module)}
    openers -= {name for name in openers if name.startswith("cli/") and name not in OPENS}
    assert openers == set(OPENS)


@pytest.mark.parametrize("name", sorted(FORBIDDEN_CALLS))
def test_nothing_runs_what_it_reads(name: str) -> None:
    """Nothing in the program turns data into code, or asks a shell."""
    callers = [
        f"{file}:{call.lineno}"
        for file, module in source().items()
        for call, text in called(module)
        if text == name
    ]
    assert callers == []


def test_pickle_is_not_even_imported() -> None:
    """No module imports what can only be used to load foreign objects."""
    never = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
    importers = []
    for name, module in source().items():
        for node in ast.walk(module):
            words = []
            if isinstance(node, ast.Import):
                words = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                words = [node.module or ""]
            importers += [name for word in words if word.split(".")[0] in never]
    assert importers == []


def test_no_task_is_forgotten() -> None:
    """A task that nobody holds can vanish in the middle of its work (asyncio.create_task): each is kept."""
    forgotten = [
        f"{name}:{node.lineno}"
        for name, module in source().items()
        for node in ast.walk(module)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and last_word(ast.unparse(node.value.func)) in STARTS_TASK
    ]
    assert forgotten == []


def test_law_has_no_clock() -> None:
    """model/ and policy/ are told the time; they never look at a clock, at random, or at the environment."""
    looks = re.compile(
        r"(time\.\w+|\w*datetime\.(now|utcnow|today)|random\.\w+|os\.\w+|secrets\.\w+)"
    )
    found = [
        f"{name}:{call.lineno} {text}"
        for name, module in source().items()
        if name.startswith(("model/", "policy/"))
        for call, text in called(module)
        if looks.fullmatch(text)
    ]
    assert found == []


def test_every_ignored_lint_says_why() -> None:
    """A lint or a type is ignored by its code, never in whole."""
    blanket = re.compile(
        r"#\s*(noqa(?!: ?[A-Z]+\d)|type:\s*ignore(?!\[))|#\s*ruff:\s*noqa|#\s*mypy:\s*ignore-errors"
    )
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for room in ("authproxy", "tests", "bench")
        for path in sorted((ROOT / room).rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if path != Path(__file__) and blanket.search(line)
    ]
    assert found == []
