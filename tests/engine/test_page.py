"""The gateway's page behind a real hub and proxy, in a browser and by hand; its clusters are on no engine."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support import expected_conditions as to_be
from selenium.webdriver.support.ui import WebDriverWait

from occamctl.actions.student import Student

from .. import browser as screen
from . import hub_stage
from .hub_stage import Stage

pytestmark = pytest.mark.engine

PAGE = "/services/gateway/"
ANNA, BOB, PROF = "Anna.Rossi@unito.it", "bob", "prof"
HOSTILE = "<script>document.title='taken'</script><b>bold</b>"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with hub_stage.on(tmp_path_factory.mktemp("page")) as made:
        made.put(
            *({"username": name, "password": f"pass of {name}", "role": "student"} for name in (ANNA, BOB)),
            {"username": PROF, "password": f"pass of {PROF}", "role": "instructor"},
        )
        yield made


@pytest.fixture
def lab(stage: Stage) -> str:
    """The only cluster, which is Anna's and new: its name."""
    stage.no_clusters()
    name = f"l{secrets.token_hex(3)}"
    stage.cluster(ANNA, name)
    return name


def signed_in(stage: Stage, name: str) -> Student:
    return stage.signed_in(name, f"pass of {name}")


def form(student: Student, address: str, *, token: str | None = None, **fields: str) -> requests.Response:
    """Send a form as the page would; `token` in place of the page's own."""
    if token is None:
        token = ours(student)
    return student.browser.post(student.url + address, {"_xsrf": token, **fields}, timeout=20, allow_redirects=False)


def ours(student: Student) -> str:
    """The token in a form of the student's page."""
    found = re.search(r'name="_xsrf" value="([^"]+)"', student.get(PAGE).text)
    assert found
    return found[1]


def of(owner: str, name: str) -> str:
    return f"{PAGE}clusters/{requests.utils.quote(owner, safe='')}/{name}"


def test_whoever_is_not_signed_in_comes_back_after_the_sign_in(stage: Stage) -> None:
    stranger = Student(stage.url, BOB)
    first = stranger.browser.get(stage.url + PAGE, timeout=20, allow_redirects=False)
    assert first.status_code == 302
    assert first.headers["Location"].startswith("/hub/api/oauth2/authorize?client_id=service-gateway&")
    assert "/hub/login" in stranger.get(PAGE).url
    seen = signed_in(stage, BOB).get(PAGE)
    assert (seen.status_code, seen.url) == (200, stage.url + PAGE)
    assert "<h1>Spark clusters</h1>" in seen.text
    assert stranger.browser.get(f"{stage.url}/services/gateway", timeout=20, allow_redirects=False).status_code == 301


def test_each_sees_their_own_and_an_instructor_all(stage: Stage, lab: str) -> None:
    anna, bob, prof = (signed_in(stage, name).get(PAGE).text for name in (ANNA, BOB, PROF))
    assert [f"/{lab}/stop" in text for text in (anna, bob, prof)] == [True, False, True]
    assert [ANNA in text for text in (anna, bob, prof)] == [True, False, True]
    assert ["The course’s hosts" in text for text in (anna, bob, prof)] == [False, False, True]


def test_forms_do_what_they_say(stage: Stage, lab: str) -> None:
    anna = signed_in(stage, ANNA)
    scaled = form(anna, f"{of(ANNA, lab)}/workers", workers="1")
    assert (scaled.status_code, scaled.headers["Location"]) == (303, PAGE)
    page = anna.get(PAGE).text
    assert f"{lab} of {ANNA} gets 1 worker." in page
    assert "1 of 1, each" in page
    assert "gets 1 worker" not in anna.get(PAGE).text  # said once
    assert form(anna, f"{of(ANNA, lab)}/stop").status_code == 303
    page = anna.get(PAGE).text
    assert f"{lab} of {ANNA} was stopped." in page
    assert f"/{lab}/" not in page


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("5000", "over the quota of 4"),
        ("99999", "is not between 0 and 10000"),
        ("two", "is not a number of workers"),
        ("", "is not a number of workers"),
    ],
)
def test_a_wish_that_cannot_be_is_said_and_changes_nothing(stage: Stage, lab: str, typed: str, said: str) -> None:
    anna = signed_in(stage, ANNA)
    assert form(anna, f"{of(ANNA, lab)}/workers", workers=typed).status_code == 303
    page = anna.get(PAGE).text
    assert "Not done:" in page
    assert said in page
    assert "2 of 2, each" in page
    form(anna, f"{of(ANNA, lab)}/stop")


def test_a_long_end_is_shown_while_it_goes_on(stage: Stage) -> None:
    stage.cluster(ANNA, "slow", kernel="6")
    anna = signed_in(stage, ANNA)
    assert form(anna, f"{of(ANNA, 'slow')}/stop").elapsed.total_seconds() < 5
    page = anna.get(PAGE).text
    assert f"slow of {ANNA} is being stopped." in page
    assert "<dd>stopping</dd>" in page
    assert 'http-equiv="refresh"' in page


def test_forged_requests_are_refused(stage: Stage, lab: str) -> None:
    """Each with its twin: the same request as it should be, at the end."""
    anna, bob = signed_in(stage, ANNA), signed_in(stage, BOB)
    stage.cluster(BOB, lab)
    mine, hers = ours(bob), of(ANNA, lab)
    ours(anna)
    for address in (f"{hers}/workers", f"{hers}/stop"):
        for token in ("", "x", mine):  # hers, from a page that is not ours
            refused = form(anna, address, token=token, workers="1")
            assert refused.status_code == 403, address
            assert "this form is too old, or not ours" in refused.text
        assert form(bob, address, workers="1").status_code == 403  # another's, with a token of one's own
        assert form(Student(stage.url, BOB), address, token=mine, workers="1").status_code == 403
    for address in (f"{hers}/logs", f"{hers}/stop"):
        assert bob.get(address).status_code == 403
        assert anna.get(address).status_code == 200
    assert form(anna, f"{hers}/stop?app_id=app-before").headers.get("Location") is None
    assert "2 of 2, each" in anna.get(PAGE).text
    for owner, student in ((ANNA, anna), (BOB, bob)):
        assert form(student, f"{of(owner, lab)}/workers", workers="1").status_code == 303
        assert form(student, f"{of(owner, lab)}/stop").status_code == 303


def test_a_script_of_another_page_reads_nothing(stage: Stage, lab: str) -> None:
    """Notebooks are at the same origin: what a script there asks for has the cookie, but no token of ours."""
    anna = signed_in(stage, ANNA)
    token = ours(anna)
    script = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}
    asked = anna.browser.get(stage.url + PAGE, headers=script, timeout=20, allow_redirects=False)
    assert (asked.status_code, lab in asked.text) == (302, False)
    with_token = anna.browser.get(stage.url + PAGE, headers=script | {"X-XSRFToken": token}, timeout=20)
    assert lab in with_token.text


def test_an_instructor_scales_and_stops_everybodys(stage: Stage, lab: str) -> None:
    prof = signed_in(stage, PROF)
    assert prof.get(f"{of(ANNA, lab)}/logs").status_code == 200
    assert form(prof, f"{of(ANNA, lab)}/workers", workers="3").status_code == 303
    assert f"{lab} of {ANNA} gets 3 workers." in prof.get(PAGE).text
    form(prof, f"{of(ANNA, lab)}/workers", workers="5")
    assert "over the quota of 4" in prof.get(PAGE).text  # the owner's quota, not the instructor's
    assert form(prof, f"{of(ANNA, lab)}/stop").status_code == 303
    assert prof.get(f"{of(ANNA, lab)}/stop").status_code == 404


def test_the_browser_may_run_nothing(stage: Stage) -> None:
    anna = signed_in(stage, ANNA)
    for address, status in ((PAGE, 200), (f"{of(ANNA, 'nothing')}/stop", 404), (f"{of(BOB, 'x')}/logs", 403)):
        answer = anna.get(address)
        assert answer.status_code == status
        policy = answer.headers["Content-Security-Policy"]
        for rule in ("default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"):
            assert rule in policy
        assert "script-src" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Cache-Control"] == "no-store"
    for cookie in anna.browser.cookies:
        if cookie.path == PAGE:
            assert cookie.has_nonstandard_attr("HttpOnly"), cookie.name
            assert cookie.get_nonstandard_attr("SameSite") == "Lax", cookie.name


def test_sign_out_ends_it_at_once(stage: Stage) -> None:
    anna = signed_in(stage, ANNA)
    assert anna.get(PAGE).status_code == 200
    kept = {one.name: one.value for one in anna.browser.cookies if one.path in (PAGE, "/")}
    replay = {"cookies": kept, "timeout": 20, "allow_redirects": False}
    assert requests.get(stage.url + PAGE, **replay).status_code == 200
    anna.get("/hub/logout")
    assert "/hub/login" in anna.get(PAGE).url
    del replay["cookies"]["jupyterhub-session-id"]  # type: ignore[attr-defined]
    assert requests.get(stage.url + PAGE, **replay).status_code == 302  # a copy of the old cookies opens nothing


def test_the_pages_token_tells_who_it_is_and_nothing_more(stage: Stage) -> None:
    anna = signed_in(stage, ANNA)
    anna.get(PAGE)
    (cookie,) = [one.value for one in anna.browser.cookies if one.name == "service-gateway"]
    token = base64.b64decode((cookie or "").strip('"').split("|")[4].partition(":")[2]).decode()
    me = stage.api(token, "GET", "/user").json()
    assert (me["name"], me["groups"]) == (ANNA, ["student"])
    mine = [f"read:users:{what}!user={ANNA}" for what in ("groups", "name")]
    assert me["scopes"] == ["access:services!service=gateway", *mine]
    for method, path in [
        ("GET", "/users"),
        ("GET", f"/users/{BOB}"),
        ("POST", f"/users/{ANNA}/server"),
        ("GET", "/groups"),
    ]:
        assert stage.api(token, method, path).status_code in (403, 404), path


def test_no_session_is_in_the_gateways_log(stage: Stage) -> None:
    anna = signed_in(stage, ANNA)
    anna.get(PAGE)
    said = stage.gateway.logs().decode()
    for one in anna.browser.cookies:
        if one.name in ("jupyterhub-session-id", "service-gateway", "_xsrf"):
            assert (one.value or "").strip('"').split("|")[-1] not in said, one.name
    assert "Traceback" not in said


def come_in(browser: Any, stage: Stage, name: str) -> None:
    """Sign in by the form, and go to the page by the hub's menu."""
    waiting = WebDriverWait(browser, 30)
    browser.get(f"{stage.url}/hub/home")
    waiting.until(to_be.presence_of_element_located((By.ID, "username_input"))).send_keys(name)
    browser.find_element(By.ID, "password_input").send_keys(f"pass of {name}", Keys.ENTER)
    waiting.until(to_be.element_to_be_clickable((By.LINK_TEXT, "Spark clusters"))).click()
    screen.arrived(browser, "Spark clusters – t")


@pytest.mark.browser
def test_with_the_keyboard_alone(browser: Any, stage: Stage, lab: str) -> None:
    come_in(browser, stage, ANNA)
    screen.tab_to(browser, "Skip to the content", 1)
    screen.press(browser, Keys.ENTER)
    screen.tab_to(browser, "workers")
    screen.press(browser, Keys.UP, Keys.ENTER)
    said = (By.CSS_SELECTOR, "[role=status]")
    WebDriverWait(browser, 20).until(to_be.text_to_be_present_in_element(said, f"{lab} of {ANNA} gets 3 workers."))
    screen.tab_to(browser, f"Logs of {lab}")
    screen.press(browser, Keys.ENTER)
    screen.arrived(browser, f"Logs of {lab} of {ANNA} – t")
    assert "<b>hello</b>" in browser.find_element(By.TAG_NAME, "pre").text
    screen.tab_to(browser, "All clusters")
    screen.press(browser, Keys.ENTER)
    screen.arrived(browser, "Spark clusters – t")
    screen.tab_to(browser, f"Stop cluster {lab}")
    screen.press(browser, Keys.ENTER)
    screen.arrived(browser, f"Stop {lab} of {ANNA}? – t")
    screen.tab_to(browser, f"Stop cluster {lab}")
    screen.press(browser, Keys.SPACE)
    WebDriverWait(browser, 20).until(to_be.text_to_be_present_in_element(said, f"{lab} of {ANNA} was stopped."))


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [320, 375, 640, 1280])
def test_nothing_keeps_anybody_out(browser: Any, stage: Stage, lab: str, width: int, dark: bool) -> None:
    """axe-core finds nothing, and no page is wider than the screen. 640 is 1280 at 200 %."""
    stage.cluster(BOB, f"b{lab}", message=HOSTILE, state="failed")
    come_in(browser, stage, PROF)
    screen.look(browser, width, dark=dark)
    hers = of(ANNA, lab)
    pages = {"overview": PAGE, "stop": f"{hers}/stop", "logs": f"{hers}/logs", "trouble": f"{of(ANNA, 'no')}/stop"}
    for name, address in pages.items():
        browser.get(stage.url + address)
        assert screen.barriers(browser) == []
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= width, name
    browser.get(stage.url + PAGE)
    assert browser.title == "Spark clusters – t"
    assert HOSTILE in browser.find_element(By.TAG_NAME, "main").text
    assert [one["message"] for one in browser.get_log("browser") if "Content Security Policy" in one["message"]] == []


@pytest.mark.browser
def test_a_page_that_loads_itself_again_can_be_kept_still(browser: Any, stage: Stage, lab: str) -> None:
    stage.cluster(ANNA, f"s{lab}", state="starting")
    come_in(browser, stage, ANNA)
    assert browser.find_elements(By.CSS_SELECTOR, "meta[http-equiv=refresh]")
    browser.find_element(By.LINK_TEXT, "keep it still").click()
    WebDriverWait(browser, 20).until(lambda there: "still" in there.current_url)
    assert not browser.find_elements(By.CSS_SELECTOR, "meta[http-equiv=refresh]")
    assert screen.barriers(browser) == []
    assert "Load this page again" in browser.find_element(By.TAG_NAME, "main").text
