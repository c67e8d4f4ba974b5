"""A student's browser: sign in, open the lab in JupyterLab, run a cell, follow the link to Spark's page."""

from __future__ import annotations

import json

import pytest
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support import expected_conditions as to_be
from selenium.webdriver.support.ui import WebDriverWait

from ..browser import picture
from .conftest import IN_A_BROWSER

pytestmark = [pytest.mark.sandbox, pytest.mark.browser]

CELL = "import occam; spark = occam.spark(workers=2); spark"


def run_cell(browser, code: str) -> None:
    """Open a notebook from the launcher and run one cell, as often as it takes until JupyterLab listens.

    Its page takes clicks and keys before everything behind it is there; a person would click again.
    """
    cell = (By.CSS_SELECTOR, ".jp-Notebook .jp-CodeCell .cm-content")
    for _ in range(6):
        browser.find_element(By.CSS_SELECTOR, ".jp-LauncherCard[data-category='Notebook']").click()
        try:
            WebDriverWait(browser, 20).until(to_be.element_to_be_clickable(cell))
            break
        except TimeoutException:
            continue
    idle = (By.CSS_SELECTOR, ".jp-Notebook-ExecutionIndicator[data-status='idle']")
    WebDriverWait(browser, 120).until(to_be.presence_of_element_located(idle))
    browser.find_element(*cell).click()
    ActionChains(browser).send_keys(code).perform()
    WebDriverWait(browser, 20).until(lambda there: code in there.find_element(*cell).text)
    number = (By.CSS_SELECTOR, ".jp-Notebook .jp-CodeCell .jp-InputPrompt")
    for _ in range(6):
        browser.find_element(*cell).click()
        ActionChains(browser).key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()
        try:  # [ ] stays where the kernel was not yet listening
            WebDriverWait(browser, 10).until(lambda there: there.find_element(*number).text.strip() not in ("", "[ ]:"))
            return
        except TimeoutException:
            continue
    raise AssertionError("the cell was never run")


def test_a_student_in_the_browser(browser, url, passwords, occamctl):
    username, password = IN_A_BROWSER, passwords[IN_A_BROWSER]
    waiting = WebDriverWait(browser, 240)
    browser.get(url)
    waiting.until(to_be.presence_of_element_located((By.ID, "username_input"))).send_keys(username)
    picture(browser, "sign-in")
    browser.find_element(By.ID, "password_input").send_keys(password, Keys.ENTER)
    waiting.until(to_be.presence_of_element_located((By.CSS_SELECTOR, ".jp-LauncherCard, .jp-Launcher")))
    assert "/user/" in browser.current_url
    picture(browser, "jupyterlab")

    run_cell(browser, CELL)
    link = waiting.until(
        to_be.presence_of_element_located((By.CSS_SELECTOR, ".jp-OutputArea-output a[href*='/proxy/']"))
    )
    picture(browser, "spark-session")
    target = link.get_attribute("href")
    browser.switch_to.new_window("tab")
    browser.get(target)
    waiting.until(lambda there: "Spark Jobs" in there.title or "Spark Jobs" in there.page_source)
    picture(browser, "spark-ui")
    browser.find_element(By.LINK_TEXT, "Executors").click()
    waiting.until(lambda there: "Executors" in there.title)
    assert "/user/" in browser.current_url, "a link inside Spark's page must stay behind the hub"
    occamctl("notebook", "stop", username)
    assert not [one for one in json.loads(occamctl("spark", "list", "-o", "json")) if one["owner"] == username]
