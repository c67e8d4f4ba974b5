"""The gateway's page over a real cluster: seen, scaled with the keyboard, followed to Spark's page and logs, ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support import expected_conditions as to_be
from selenium.webdriver.support.ui import WebDriverWait

from occamctl.actions.student import Kernel, Student

from .. import browser as screen
from .conftest import IN_A_BROWSER, STUDENTS, Run

pytestmark = [pytest.mark.sandbox, pytest.mark.browser]

PAGE = "/services/gateway/"
OTHER = STUDENTS[1]


@pytest.fixture
def kernel(url: str, passwords: dict[str, str]) -> Iterator[Kernel]:
    """A kernel of the student's with a cluster `lab` of one worker."""
    student = Student(url, IN_A_BROWSER)
    student.sign_in(passwords[IN_A_BROWSER])
    student.start_server()
    with student.kernel() as made:
        ran = made.run("import occam; spark = occam.spark(workers=1)", seconds=400)
        assert not ran.error, ran.error
        yield made


def come_in(browser: Any, url: str, name: str, password: str) -> None:
    """Sign in by the form, and go to the page by the hub's menu."""
    waiting = WebDriverWait(browser, 60)
    browser.get(f"{url}/hub/home")
    waiting.until(to_be.presence_of_element_located((By.ID, "username_input"))).send_keys(name)
    browser.find_element(By.ID, "password_input").send_keys(password, Keys.ENTER)
    waiting.until(to_be.element_to_be_clickable((By.LINK_TEXT, "Spark clusters"))).click()
    screen.arrived(browser, "Spark clusters – journey")


def main(browser: Any) -> str:
    """The page's words; none while the page loads itself again."""
    try:
        return str(browser.find_element(By.TAG_NAME, "main").text)
    except (StaleElementReferenceException, NoSuchElementException):
        return ""


def clusters(occamctl: Run) -> dict[str, Any]:
    """The student's clusters by name, as the operator sees them."""
    listed = json.loads(occamctl("spark", "list", "-o", "json"))
    return {one["name"]: one for one in listed if one["owner"] == IN_A_BROWSER}


def test_a_student_looks_after_a_cluster_with_the_keyboard(
    browser: Any, kernel: Kernel, url: str, passwords: dict[str, str], occamctl: Run
) -> None:
    waiting = WebDriverWait(browser, 90)
    title = f"lab of {IN_A_BROWSER}"
    come_in(browser, url, IN_A_BROWSER, passwords[IN_A_BROWSER])
    screen.tab_to(browser, "workers")
    screen.press(browser, Keys.UP, Keys.ENTER)
    waiting.until(lambda there: f"{title} gets 2 workers." in main(there))
    waiting.until(lambda there: there.get(url + PAGE) or "2 of 2, each 1 core" in main(there))
    assert clusters(occamctl)["lab"]["wanted"] == 2
    assert "journey-host" in main(browser)
    assert screen.barriers(browser) == []
    screen.look(browser, 1280)
    screen.picture(browser, "clusters")

    screen.tab_to(browser, "Spark’s page")
    screen.press(browser, Keys.ENTER)
    waiting.until(lambda there: "Spark Jobs" in there.title)
    assert "/proxy/" in browser.current_url
    browser.get(url + PAGE)
    screen.tab_to(browser, f"Logs of {title}")
    screen.press(browser, Keys.ENTER)
    screen.arrived(browser, f"Logs of {title} – journey")
    assert "Worker 0 on journey-host" in main(browser)
    assert "registered with driver" in main(browser)

    browser.get(url + PAGE)
    screen.tab_to(browser, f"Stop cluster {title}")
    screen.press(browser, Keys.ENTER)
    screen.arrived(browser, f"Stop {title}? – journey")
    screen.tab_to(browser, f"Stop cluster {title}")
    screen.press(browser, Keys.ENTER)
    waiting.until(lambda there: "You have none." in (there.get(url + PAGE) or main(there)))
    assert clusters(occamctl) == {}


def test_another_sees_nothing_and_an_instructor_sees_and_stops(
    browser: Any, kernel: Kernel, url: str, passwords: dict[str, str], occamctl: Run
) -> None:
    other = Student(url, OTHER)
    other.sign_in(passwords[OTHER])
    page = other.get(PAGE)
    assert (page.status_code, IN_A_BROWSER in page.text) == (200, False)
    hers = f"{PAGE}clusters/{IN_A_BROWSER}/lab"
    assert [other.get(f"{hers}/{what}").status_code for what in ("logs", "stop")] == [403, 403]
    assert other.browser.post(f"{url}{hers}/stop", {"_xsrf": "x"}, timeout=30).status_code == 403
    assert clusters(occamctl)["lab"]["state"] == "running"

    come_in(browser, url, "prof", passwords["prof"])
    said = main(browser)
    for words in (f"lab of {IN_A_BROWSER}", "journey-host3", "Who holds what"):
        assert words in said
    assert screen.barriers(browser) == []
    screen.look(browser, 1280)
    screen.picture(browser, "clusters-of-everybody")
    browser.find_element(By.CSS_SELECTOR, f"a[href='{hers}/stop']").click()
    browser.find_element(By.CSS_SELECTOR, "button.stop").click()
    waiting = WebDriverWait(browser, 90)
    waiting.until(lambda there: "There are none." in (there.get(url + PAGE) or main(there)))
    assert clusters(occamctl) == {}
