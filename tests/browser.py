"""Debian's Chromium without a screen, and what tests ask of a page in it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from selenium_axe_python import Axe

PICTURES = Path(__file__).parents[1] / "docs" / "images"
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,900",
    "--no-proxy-server",
)


def chromium(folder: Path) -> webdriver.Chrome:
    """A new browser that keeps everything in `folder`."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*_FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


def picture(browser: webdriver.Chrome, name: str) -> None:
    """Keep a screenshot for the docs, when asked to (OCCAM_PICTURES=1)."""
    if os.environ.get("OCCAM_PICTURES"):
        PICTURES.mkdir(parents=True, exist_ok=True)
        browser.save_screenshot(str(PICTURES / f"{name}.png"))


def look(browser: webdriver.Chrome, width: int, *, dark: bool = False) -> None:
    """Show the page as on a screen `width` pixels wide, in light or dark colours."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def barriers(browser: webdriver.Chrome) -> list[str]:
    """What axe-core finds on the page that keeps people out, by its rules for WCAG 2.2 A and AA and good practice."""
    axe = Axe(browser)
    axe.inject()
    found: dict[str, Any] = axe.run()
    return [f"{one['id']}: {one['help']}: {node['html'][:200]}" for one in found["violations"] for node in one["nodes"]]


def arrived(browser: webdriver.Chrome, title: str) -> None:
    """Wait until the page with this title is there whole: keys that are pressed while it loads are lost."""
    whole = "return document.readyState === 'complete'"
    WebDriverWait(browser, 30).until(lambda there: there.title == title and there.execute_script(whole))


def focused(browser: webdriver.Chrome) -> str:
    """The words of the element that has the focus, or the name of its field; "" while the page is being replaced."""
    try:
        here = browser.switch_to.active_element
        return " ".join((here.text or "").split()) or here.get_attribute("name") or here.tag_name
    except WebDriverException:
        return ""


def tab_to(browser: webdriver.Chrome, words: str, most: int = 60) -> None:
    """Press Tab until the focus is on what has these words."""
    passed = []
    for _ in range(most):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        passed.append(focused(browser))
        if words in passed[-1]:
            return
    raise AssertionError(f"no way to {words!r} with the Tab key: {passed}")


def press(browser: webdriver.Chrome, *keys: str) -> None:
    ActionChains(browser).send_keys(*keys).perform()
