"""The wheel and the README on a package index: what is in them, and what is not."""

from __future__ import annotations

import re
import zipfile
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from email.message import Message

ROOT = Path(__file__).parents[1]
RELATIVE_LINK = re.compile(r"\]\((?!https?://|#)[^)]*\)")
# Every file of the wheel that is not Python.
DATA = [
    r"vene_widgets/labconfig/page_config\.json",
    r"vene_widgets/models/capitals/(README\.md|countries\.csv|model\.safetensors|.*\.json)",
    r"vene_widgets/notebooks/\d\d_\w+\.ipynb",
    r"vene_widgets/py\.typed",
    r"vene_widgets/static/(explorer\.js|explorer\.css|page\.js|THIRD_PARTY_LICENSES\.txt)",
    r"vene_widgets-[\d.]+\.dist-info/(METADATA|WHEEL|RECORD|entry_points\.txt|licenses/LICENSE)",
]
MOST_BYTES = 6_500_000  # 5.4 MB of them are the built-in model


def build(folder: Path) -> Path:
    from hatchling.builders.wheel import WheelBuilder

    [built] = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    return Path(built)


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_bytes(archive.read(name))


def description(shown: Message) -> str:
    content = shown.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content.decode("utf-8")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("VENE_REPOSITORY", raising=False)
        return build(tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    package = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("vene_widgets/**/*.py")}
    assert {name for name in names if name.endswith(".py")} == package
    data = [name for name in names if not name.endswith(".py")]
    assert [name for name in data if not any(re.fullmatch(rule, name) for rule in DATA)] == []
    for rule in DATA:
        assert any(re.fullmatch(rule, name) for name in data), rule
    assert wheel.stat().st_size < MOST_BYTES


def test_an_index_shows_no_link_that_leads_nowhere(wheel: Path) -> None:
    text = description(metadata(wheel))
    assert text.startswith("# vene_widgets")
    assert "[" not in re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    assert "Concepts lists all components" in " ".join(text.split())
    assert metadata(wheel)["Project-URL"] is None


def test_a_public_address_makes_links_and_the_picture_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VENE_REPOSITORY", "https://example.org/owner/vene_widgets/")
    shown = metadata(build(tmp_path))
    text = description(shown)
    here = "https://example.org/owner/vene_widgets"
    tag = f"v{shown['Version']}"
    assert f"]({here}/raw/{tag}/docs/explorer.png)" in text
    assert f"]({here}/blob/{tag}/docs/concepts.md#components)" in text
    assert RELATIVE_LINK.findall(text) == []
    # Nothing but the links is another.
    assert text.replace(f"{here}/raw/{tag}/", "").replace(f"{here}/blob/{tag}/", "").strip() == (
        (ROOT / "README.md").read_text("utf-8").strip()
    )
    assert f"Source, {here}" in shown.get_all("Project-URL", [])


def test_every_link_of_the_readme_is_a_file() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    links = [link[2:-1].partition("#")[0] for link in RELATIVE_LINK.findall(text)]
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_changelog_has_this_version_first() -> None:
    import vene_widgets

    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    [first, *_] = re.findall(r"^## ([\d.]+)", text, re.MULTILINE)
    assert first == vene_widgets.__version__
    assert f'version = "{first}"' in (ROOT / "pyproject.toml").read_text("utf-8")
