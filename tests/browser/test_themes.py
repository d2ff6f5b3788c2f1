"""The screen is light or dark as the page around it, in pages made like those of its hosts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

import vene_widgets as vw

pytestmark = pytest.mark.browser

AXE = Path(__file__).parents[2] / "js" / "node_modules" / "axe-core" / "axe.min.js"
CONTRAST = """async (root) => {
    const rules = {runOnly: ["color-contrast"], resultTypes: ["violations"]};
    const found = await axe.run(root, rules);
    return found.violations.flatMap(({nodes}) => nodes.map((node) => node.failureSummary));
}"""
LUMINANCE = """root => {
    const [r, g, b] = getComputedStyle(root).backgroundColor.match(/\\d+/g).map(Number);
    return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
}"""

# A webview of VS Code paints no background of its own: the editor's is seen through it.
VSCODE = """<!doctype html>
<html style="--vscode-editor-background: {back}; --vscode-editor-foreground: {ink}">
<style>
body {{ background-color: transparent; color: var(--vscode-editor-foreground); }}
.output {{ background-color: {output}; }}
</style>
<body class="{kind}"><div class="output">{body}</div></body></html>"""
PAINTED = "var(--vscode-editor-background)"
CONTRAST_LIGHT = "vscode-high-contrast vscode-high-contrast-light"
FURO = """<!doctype html><style>
body {{ --color-background-primary: #fff; --color-foreground-primary: #000;
  background: var(--color-background-primary); color: var(--color-foreground-primary); }}
body[data-theme="dark"] {{
  --color-background-primary: #131416; --color-foreground-primary: #cfd0d0; }}
</style><body data-theme="{theme}"><main>{body}</main></body>"""
LAB = """<!doctype html><style>
[data-jp-theme-light="true"] {{ --jp-layout-color0: #fff; --jp-layout-color1: #fff;
  --jp-border-color1: #bdbdbd; --jp-border-color2: #e0e0e0; }}
[data-jp-theme-light="false"] {{ --jp-layout-color0: #111; --jp-layout-color1: #212121;
  --jp-border-color1: #616161; --jp-border-color2: #424242; }}
.jp-Notebook {{ background: var(--jp-layout-color0); }}
</style><body data-jp-theme-light="{light}"><div class="jp-Notebook">{body}</div></body>"""
LAB_CONTRAST = """<!doctype html><style>
body { --jp-layout-color0: #111; --jp-layout-color1: #111; --jp-border-color1: white;
  --jp-border-color2: #e0e0e0; }
.jp-Notebook { background: var(--jp-layout-color0); color: white; }
</style><body data-jp-theme-light="false" data-jp-theme-name="JupyterLab Dark High Contrast">
<div class="jp-Notebook">{body}</div></body>"""
WIDE = """<!doctype html>
<style>body { background: oklch(0.2 0.02 264); color: oklch(0.9 0 0); }</style>
<body>{body}</body>"""
WHITE = "<!doctype html><body>{body}</body>"


def vscode(kind: str, back: str, ink: str, output: str = "transparent") -> str:
    return VSCODE.format(kind=kind, back=back, ink=ink, output=output, body="{body}")


HOSTS = {
    "vscode-light": ("light", vscode("vscode-light", "#ffffff", "#3b3b3b")),
    "vscode-dark": ("dark", vscode("vscode-dark", "#1f1f1f", "#cccccc")),
    "vscode-dark-painted": ("dark", vscode("vscode-dark", "#1f1f1f", "#cccccc", PAINTED)),
    "vscode-contrast-dark": ("dark", vscode("vscode-high-contrast", "#000000", "#ffffff")),
    "vscode-contrast-light": ("light", vscode(CONTRAST_LIGHT, "#ffffff", "#292929", PAINTED)),
    "vscode-contrast-light-unpainted": ("light", vscode(CONTRAST_LIGHT, "#ffffff", "#292929")),
    "furo-light": ("light", FURO.format(theme="light", body="{body}")),
    "furo-dark": ("dark", FURO.format(theme="dark", body="{body}")),
    "lab-light": ("light", LAB.format(light="true", body="{body}")),
    "lab-dark": ("dark", LAB.format(light="false", body="{body}")),
    "lab-contrast-dark": ("dark", LAB_CONTRAST),
    "wide-gamut-dark": ("dark", WIDE),
}
CONTRASTS = [name for name in HOSTS if "contrast" in name]

# Contrast ratios of what is no text, each with the surface around it.
EDGES = """root => {
    const context = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
    const luminance = (colour) => {
        for (const paint of [getComputedStyle(root).backgroundColor, colour]) {
            context.fillStyle = paint;
            context.fillRect(0, 0, 1, 1);
        }
        const [r, g, b] = context.getImageData(0, 0, 1, 1).data;
        const [R, G, B] = [r, g, b].map((part) => {
            const s = part / 255;
            return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * R + 0.7152 * G + 0.0722 * B;
    };
    const surface = luminance(getComputedStyle(root).backgroundColor);
    const colourIn = (text) => text.match(/(rgba?|color)\\([^)]*\\)/g)?.at(-1) ?? "transparent";
    const ratio = (colour) => {
        const [low, high] = [surface, luminance(colour)].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
    };
    const of = (selector, part) =>
        ratio(colourIn(getComputedStyle(root.querySelector(selector))[part]));
    return {
        "the frame": ratio(getComputedStyle(root).borderTopColor),
        "a tile": of(".vene-tile[aria-selected=false]:not(.vene-tile-idle)", "boxShadow"),
        "an idle tile": of(".vene-tile-idle.vene-fold", "boxShadow"),
        "hatching": of(".vene-tile-idle.vene-fold", "backgroundImage"),
        "a token": of(".vene-prompt .vene-chip", "boxShadow"),
        "a button": of(".vene-panel-slots .vene-button:enabled", "borderTopColor"),
        "a menu": of(".vene-select", "borderTopColor"),
        "the axis": of(".vene-axis", "borderLeftColor"),
        "a past experiment": of(".vene-past", "borderTopColor"),
    };
}"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved page of an explorer with one slot."""
    explorer = vw.explore(
        "The capital of Spain is", "The capital of Italy is", slots=[vw.Slot(layer=0, position=3)]
    )
    path = explorer.to_html(tmp_path_factory.mktemp("themes") / "saved.html")
    explorer.close()
    return path


@pytest.fixture(scope="module")
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1000, "height": 900})
    yield context.new_page()
    context.close()


def hosted(saved: Path, host: str, name: str) -> str:
    """Put the saved page's style, body and script into a host's page; return its address."""
    found = re.search(r"(<style>.*?</style>).*<body>(.*)</body>", saved.read_text(), re.DOTALL)
    assert found is not None
    # The host's page decides how it looks.
    style = re.sub(r":root \{ color-scheme[^}]*\}", "", found.group(1))
    path = saved.with_name(f"{name}.html")
    path.write_text(host.replace("{body}", style + found.group(2)), encoding="utf-8")
    return path.as_uri()


def check(page: Page, theme: str) -> None:
    """The screen's own colours are of this theme, and its text can be read on them."""
    root = page.locator(".vene-root")
    expect(page.locator(".vene-host")).to_have_attribute("data-theme", theme)
    luminance = root.evaluate(LUMINANCE)
    assert luminance > 0.9 if theme == "light" else luminance < 0.1
    page.add_script_tag(path=AXE)
    assert root.evaluate(CONTRAST) == []


@pytest.mark.parametrize("name", HOSTS)
def test_it_is_as_the_page_of_its_host(page: Page, saved: Path, name: str) -> None:
    theme, host = HOSTS[name]
    page.emulate_media(color_scheme="dark" if theme == "light" else "light")
    page.goto(hosted(saved, host, name))
    check(page, theme)


@pytest.mark.parametrize("name", CONTRASTS)
def test_high_contrast_draws_every_edge(page: Page, saved: Path, name: str) -> None:
    page.goto(hosted(saved, HOSTS[name][1], name))
    edges = page.locator(".vene-root").evaluate(EDGES)
    assert {what: round(ratio, 2) for what, ratio in edges.items() if not ratio >= 3} == {}


def test_other_themes_draw_no_more_edges(page: Page, saved: Path) -> None:
    page.goto(hosted(saved, HOSTS["vscode-light"][1], "no-edges"))
    edges = page.locator(".vene-root").evaluate(EDGES)
    assert not edges["a tile"] >= 1.1
    assert not edges["a button"] >= 1.1


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_forced_colours_leave_no_state_unseen(chromium: Browser, saved: Path, theme: Any) -> None:
    context = chromium.new_context(forced_colors="active", color_scheme=theme, bypass_csp=True)
    page = context.new_page()
    page.goto(saved.as_uri())
    root = page.locator(".vene-root")
    root.wait_for()
    edges = root.evaluate(EDGES)
    assert {what: round(ratio, 2) for what, ratio in edges.items() if not ratio >= 3} == {}
    page.locator("[data-opens=code]").click()
    page.get_by_role("button", name="Pin layer 4").click()
    page.locator("[data-layer='4'].vene-map-head").blur()
    page.mouse.move(0, 0)
    for on, off, part in (
        # What is chosen, what is not, and what tells them apart.
        (".vene-map-head[data-layer='4']", ".vene-map-head[data-layer='3']", "backgroundColor"),
        (".vene-tab[aria-selected=true]", ".vene-tab[aria-selected=false]", "borderBottomColor"),
        (".vene-dot[data-role=now]", ".vene-dot[data-role=base]", "backgroundColor"),
        (".vene-tile-chosen", ".vene-tile:not(.vene-tile-chosen)", "boxShadow"),
        (".vene-status-mark", ".vene-root", "backgroundColor"),
        (".vene-bar", ".vene-root", "backgroundColor"),
    ):
        colours = [
            page.locator(one).first.evaluate("(one, part) => getComputedStyle(one)[part]", part)
            for one in (on, off)
        ]
        assert colours[0] != colours[1], on
    # Menus have an arrow although gradients are not drawn.
    menu = page.locator(".vene-select").first
    assert menu.evaluate("one => getComputedStyle(one).appearance") != "none"
    page.add_script_tag(path=AXE)
    assert root.evaluate(CONTRAST) == []

    root.focus()
    page.keyboard.press("f")
    page.locator(".vene-curtain").wait_for()
    page.keyboard.press("Space")
    bar = page.locator(".vene-three-bar > i").first
    bar.wait_for()
    fills = [one.evaluate("one => getComputedStyle(one).backgroundColor") for one in (bar, root)]
    assert fills[0] != fills[1]
    context.close()


def test_a_saved_page_follows_the_system(page: Page, saved: Path) -> None:
    page.emulate_media(color_scheme="dark")
    # Its content security policy would refuse axe.
    text = re.sub(r"<meta http-equiv[^>]*>", "", saved.read_text())
    path = saved.with_name("open.html")
    path.write_text(text, encoding="utf-8")
    page.goto(path.as_uri())
    check(page, "dark")
    page.emulate_media(color_scheme="light")
    check(page, "light")


def test_it_follows_its_host(page: Page, saved: Path) -> None:
    page.emulate_media(color_scheme="light")
    page.goto(hosted(saved, HOSTS["vscode-light"][1], "switched"))
    check(page, "light")
    page.evaluate(
        """() => {
            document.documentElement.style.setProperty("--vscode-editor-foreground", "#ccc");
            document.body.className = "vscode-dark";
        }"""
    )
    check(page, "dark")


def test_a_white_page_stays_white_on_a_dark_system(page: Page, saved: Path) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(hosted(saved, WHITE, "white"))
    check(page, "light")
