"""The documentation is complete, its links lead somewhere, and its examples do what it says they do."""

import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cyclopts
import msgspec
import pytest

from doppia.api.reference import document as openapi
from doppia.api.routes import ROUTES, ApiRoute
from doppia.main import app
from doppia.proof.kinds import KINDS, Kind
from doppia.proof.records import Record
from doppia.proof.sealing import FORMS
from doppia.settings import Settings

ROOT = Path(__file__).parent.parent
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(path for folder in ("docs", "benchmarks", "requirements") for path in ROOT.glob(f"{folder}/**/*.md")),
]
PROGRAMS = Path(sys.executable).parent


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def test_the_page_of_errors_is_the_one_that_the_refusals_make() -> None:
    render = runpy.run_path(str(ROOT / "scripts" / "generate_errors.py"))["render"]

    assert text_of("docs/errors.md") == render(), "stale: run scripts/generate_errors.py"


@pytest.mark.parametrize("field", msgspec.structs.fields(Settings), ids=lambda field: field.name)
def test_every_setting_has_a_row_with_its_default(field: msgspec.structs.FieldInfo) -> None:
    rows = [line for line in text_of("docs/reference/settings.md").splitlines() if line.startswith(f"| `{field.name}`")]

    assert len(rows) == 1
    assert f"`DOPPIA_{field.name.upper()}`" in rows[0]
    assert (f"`{field.default}`" if field.default is not None else "none") in rows[0]


def section_of(route: ApiRoute) -> str:
    """Return the section of the page on compatibility that is about the resource of a route."""
    title = route.path.split("/")[1].replace("_", " ").capitalize()
    sections = re.split(r"^## ", text_of("docs/reference/compatibility.md"), flags=re.MULTILINE)
    return next(section for section in sections if section.startswith(f"{title}\n"))


def names_in(type_: Any) -> set[str]:
    return {field.name for field in msgspec.structs.fields(type_)} if type_ not in {None, str} else set()


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_with_its_fields_and_filters_is_in_the_page_on_compatibility(route: ApiRoute) -> None:
    section = section_of(route)
    names = {*route.filters, *names_in(route.body), *names_in(route.answer)}
    told = set(re.findall(r"`([a-z_]+)`", section))
    standard = {"id", "object", "live_mode", "created_at", "updated_at"}

    assert f"`{route.method} /api{route.path}`" in section
    assert names - standard <= told


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_of_record_is_described_field_by_field(kind: Kind) -> None:
    sections = re.split(r"^## Kind ", text_of("docs/reference/log.md"), flags=re.MULTILINE)
    (section,) = [section for section in sections if section.startswith(f"{kind.number}: ")]
    section = section.partition("\n## ")[0]
    table = re.findall(r"^\| (\d+) \| `(\w+)` \|", section, flags=re.MULTILINE)
    shared = Record.__struct_fields__
    own = FORMS[kind.type].figures[len(shared) :]

    assert table[: len(own)] == [(str(place), name) for place, name in enumerate(own, len(shared) + 1)]
    assert f"\n{len(own) + len(shared) + 1} elements at most." in section
    (texts,) = re.findall(r"^Texts: (.*)\.$", section, flags=re.MULTILINE) or ["none"]
    assert re.findall(r"`(\w+)`", texts) == [*kind.texts]


def commands_of(program: cyclopts.App, called: str) -> Iterator[str]:
    for name in program:
        if name.startswith("-"):
            continue
        yield f"{called} {name}"
        yield from commands_of(program[name], f"{called} {name}")


@pytest.mark.parametrize("command", list(commands_of(app, "doppia")))
def test_every_command_is_documented(command: str) -> None:
    assert f"`{command}`" in text_of("docs/operating/running.md")


@pytest.mark.parametrize("route", openapi.OPEN_ROUTES, ids=lambda route: route.path)
def test_every_route_for_operators_is_documented(route: openapi.OpenRoute) -> None:
    assert f"`GET {route.path}`" in text_of("docs/operating/running.md")


def test_the_architecture_names_every_layer_room_and_wing() -> None:
    told = set(re.findall(r"`(\w+)/`", text_of("ARCHITECTURE.md").partition("\n## ")[0]))
    packages = ROOT.glob("src/doppia/**/__init__.py")

    assert {package.parent.name for package in packages} - {"doppia"} <= told


def test_the_tests_and_constraints_that_the_architecture_names_exist() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/test_*.py"))
    schema = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("src/doppia/store/migrations/*.sql"))
    rows = re.findall(r"^\| [IR]\d+ \|.*", text_of("ARCHITECTURE.md"), flags=re.MULTILINE)

    assert rows
    for row in rows:
        _, _, _, _, constraints, shown_by, _ = row.split("|")
        for name in re.findall(r"`(\w+)`", constraints):
            assert re.search(rf"\b{name.removesuffix('_pkey')}\b", schema), name
        for name in re.findall(r"`(\w+)`", shown_by):
            assert f"def {name}(" in tests, name


RETIRED_WORDS = {
    "scenario": "story",
    "category lock": "guard",
    "unit of account": "currency",
}
"""Each of these words once stood for the same thing as the word beside it, which is the one in use."""


def test_the_glossary_has_a_row_for_each_word_and_each_word_once() -> None:
    _, _, rows = text_of("docs/glossary.md").partition("| --- | --- |\n")
    words = [word for row in rows.splitlines() for word in row.split(" | ")[0].removeprefix("| ").lower().split(", ")]

    assert len(words) > 50
    assert [word for word, times in Counter(words).items() if times > 1] == []
    assert [word for word in words if word in RETIRED_WORDS] == []


@pytest.mark.parametrize("word", RETIRED_WORDS)
def test_a_retired_word_stands_nowhere_in_the_source(word: str) -> None:
    pattern = re.compile(rf"\b{'[ _]'.join(word.split())}s?\b", re.IGNORECASE)
    files = [path for path in (ROOT / "src").rglob("*") if path.suffix in {".py", ".sql", ".txt", ".html", ".j2"}]
    found = [str(path.relative_to(ROOT)) for path in files if pattern.search(path.read_text(encoding="utf-8"))]

    assert len(files) > 100
    assert found == [], f"the word is {RETIRED_WORDS[word]}"


def anchors_of(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_inside_the_repository_leads_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)

    assert broken == []


@pytest.mark.parametrize("page", ["README.md", "docs/start.md"])
def test_every_guide_is_named_where_a_reader_begins(page: str) -> None:
    linked = set(re.findall(r"guides/([\w-]+\.md)", text_of(page)))

    assert linked == {guide.name for guide in (ROOT / "docs" / "guides").glob("*.md")}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder as one has it after `make run`: a service runs, and its credentials are in data/credentials.json."""
    home = Path(tempfile.mkdtemp(prefix="doppia-docs-"))
    home.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DOPPIA_")}
    with (home / "serve.log").open("wb") as log:
        service = subprocess.Popen(
            [PROGRAMS / "doppia", "serve", "--port", "0"], cwd=home, env=environment, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 60
        while not is_ready(home / "data" / "credentials.json"):
            assert service.poll() is None, (home / "serve.log").read_text(encoding="utf-8")
            assert time.monotonic() < deadline, "the service did not get ready"
            time.sleep(0.05)
        yield home
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(60)
        shutil.rmtree(home, ignore_errors=True)


def is_ready(credentials: Path) -> bool:
    try:
        base_url = json.loads(credentials.read_text(encoding="utf-8"))["base_url"]
        with urllib.request.urlopen(f"{base_url}/readyz") as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def blocks_of(page: str) -> list[tuple[str, str]]:
    """Return language and text of each fenced block."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", text_of(page), flags=re.MULTILINE | re.DOTALL)


def run(command: list[str | Path], script: str, folder: Path) -> str:
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, input=script, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


END = "--- end of block ---"


@pytest.mark.parametrize(
    "page",
    ["docs/start.md", *(f"docs/guides/{page.name}" for page in sorted((ROOT / "docs" / "guides").glob("*.md")))],
)
def test_the_commands_of_a_guide_print_what_it_shows(page: str, folder: Path) -> None:
    helpers = "" if page == "docs/start.md" else blocks_of("docs/start.md")[0][1]
    blocks = [*blocks_of(page), ("end", "")]
    steps = [
        (script, shown if next_language == "text" else "")
        for (language, script), (next_language, shown) in pairwise(blocks)
        if language == "sh"
    ]

    output = run(["sh", "-e"], helpers + "".join(f"{script}\necho; echo '{END}'\n" for script, _ in steps), folder)

    printed = [part.strip() for part in output.split(END)[:-1]]
    for (_, shown), was in zip(steps, printed, strict=True):
        assert re.fullmatch(re.escape(shown.strip()).replace(re.escape("..."), ".*"), was), f"{was!r} is not {shown!r}"


def test_the_shell_lines_of_the_readme_post_a_transaction(folder: Path) -> None:
    (script,) = [text for language, text in blocks_of("README.md") if language == "sh"]

    output = run(["sh", "-e"], script, folder)

    transaction, account = json.loads("[" + output.replace("}\n{", "}, {") + "]")
    assert transaction["status"] == "posted"
    assert account["balances"]["available_balance"]["amount"] == 2500


def test_the_python_lines_of_the_readme_work_with_the_official_client(folder: Path) -> None:
    (script,) = [text for language, text in blocks_of("README.md") if language == "python"]

    assert run([sys.executable, "-"], script, folder) == "50\n"


def test_the_python_of_the_guide_to_in_process_prints_what_it_shows(tmp_path: Path) -> None:
    blocks = blocks_of("docs/guides/in-process.md")
    pairs = [(script, shown) for (language, script), (_, shown) in pairwise(blocks) if language == "python"]

    assert [run([sys.executable, "-"], script, tmp_path) for script, _ in pairs] == [shown for _, shown in pairs]
