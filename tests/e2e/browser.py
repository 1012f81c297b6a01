"""Debian's Chromium on Prefect's UI: open a page, read what it says, take its picture."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService

CHROMIUM = shutil.which("chromium") or ""
DRIVER = shutil.which("chromedriver") or ""
WIDTH, HEIGHT = 1280, 900
LIMIT_S = 45.0
DIALOG = "[role=dialog]"

Theme = Literal["light", "dark"]

needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="apt install chromium chromium-driver"
)


class Browser:
    """One window."""

    def __init__(self, driver: Chrome, ui_url: str) -> None:
        self.driver = driver
        self._ui = f"{ui_url}/v2"

    def theme(self, theme: Theme) -> None:
        """Let the browser prefer a theme, as the desktop of whoever looks does."""
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def open(self, path: str, *says: str) -> str:
        """Open a page of the UI; return its text once it says all of this."""
        self.driver.get(f"{self._ui}{path}")
        return self.reads(*says)

    def reads(self, *says: str) -> str:
        """Return the page's text once it says all of this."""
        text = ""

        def is_said() -> bool:
            nonlocal text
            text = str(self.driver.execute_script("return document.body.innerText"))
            return all(word in text for word in says)

        try:
            self.until(is_said, "text")
        except AssertionError as error:
            missing = [word for word in says if word not in text]
            raise AssertionError(f"{self.driver.current_url}: no {missing} in {text}") from error
        return text

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait for something of the page."""
        deadline = time.monotonic() + LIMIT_S
        while not is_so():
            assert time.monotonic() < deadline, f"{self.driver.current_url}: no {what}"
            time.sleep(0.3)

    def rows(self) -> list[list[str]]:
        """Return the cells of every row of every table on the page."""
        script = (
            "return [...document.querySelectorAll('tr')]"
            ".map(row => [...row.cells].map(cell => cell.innerText.trim()))"
        )
        found: list[list[str]] = self.driver.execute_script(script)
        return found

    def images(self) -> list[tuple[int, int]]:
        """Return the natural sizes of the page's images that are drawn."""
        script = (
            "return [...document.images].filter(each => each.complete)"
            ".map(each => [each.naturalWidth, each.naturalHeight])"
        )
        return [(wide, high) for wide, high in self.driver.execute_script(script)]

    def widths(self, selector: str) -> tuple[int, int]:
        """Return how wide an element is, and how wide what it lies in."""
        script = (
            f"const e = document.querySelector('{selector}');"
            "return [e.scrollWidth, e.parentElement.clientWidth]"
        )
        wide, room = self.driver.execute_script(script)
        return wide, room

    def background(self) -> int:
        """Return how light the page's background is, 0 to 255."""
        script = (
            "const c = document.createElement('canvas').getContext('2d');"
            "c.fillStyle = getComputedStyle(document.body).backgroundColor; c.fillRect(0, 0, 1, 1);"
            "return [...c.getImageData(0, 0, 1, 1).data].slice(0, 3)"
        )
        return int(sum(self.driver.execute_script(script)) / 3)

    def press(self, name: str, within: str = "body") -> None:
        """Press the last button or menu entry of this name, once it is there."""
        script = (
            f"return [...document.querySelectorAll('{within} button, {within} [role=menuitem]')]"
            ".filter(each => each.innerText.trim() == arguments[0]).pop()"
        )
        self.until(lambda: self.driver.execute_script(script, name), f"button {name}")
        found = self.driver.execute_script(script, name)
        # A menu of this UI opens on a pointer that really comes, not on a click by script.
        ActionChains(self.driver).move_to_element(found).click().perform()

    def type(self, *texts: str) -> None:
        """Type into the fields of the dialog, one text each."""
        fields = self.driver.find_elements("css selector", f"{DIALOG} textarea, {DIALOG} input")
        for field, text in zip(fields, texts, strict=True):
            field.send_keys(text)

    def settle(self) -> None:
        """Wait until nothing moves: fades are over, the axis of a graph is drawn.

        The graph of a run is drawn on a canvas of its own time: no text of the page tells when.
        """
        shots: list[bytes] = []

        def is_still() -> bool:
            shots.append(self.driver.get_screenshot_as_png())
            time.sleep(0.7)  # with the 0.3 s between two looks: longer than any of its animations
            return len(shots) > 2 and shots[-1] == shots[-2] == shots[-3]

        self.until(is_still, "the page to stand still")

    def picture(self, path: Path, *, height: int = HEIGHT) -> None:
        """Save what the window shows, with few colours: small enough for the documentation."""
        shape = {"width": WIDTH, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)
        self.settle()
        path.parent.mkdir(parents=True, exist_ok=True)
        assert self.driver.save_screenshot(str(path))


@contextmanager
def browser(ui_url: str, place: Path) -> Iterator[Browser]:
    """Start a browser with a home of its own; it talks to the UI only."""
    options = ChromeOptions()
    options.binary_location = CHROMIUM
    words = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    words += ["--no-sandbox", f"--window-size={WIDTH},{HEIGHT}", f"--user-data-dir={place}"]
    words += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--lang=en"]
    for word in words:
        options.add_argument(word)
    driver = Chrome(options=options, service=ChromeService(DRIVER))
    driver.set_page_load_timeout(LIMIT_S)
    try:
        yield Browser(driver, ui_url)
    finally:
        driver.quit()
