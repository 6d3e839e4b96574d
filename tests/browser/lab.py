"""A JupyterLab of the tests' own, and a page of a real Chromium that shows a notebook of it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat

if TYPE_CHECKING:
    from playwright.sync_api import Page

QUIET = {"fetchNews": "false", "checkForUpdates": False}  # no question in a corner of the page


def chromium() -> str | None:
    """Return the path of a Chromium (``AVNB_CHROMIUM`` names it outright), None where there is none."""
    named = os.environ.get("AVNB_CHROMIUM")
    return named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def notebook_in_lab(
    cells: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> Iterator[tuple["Page", list]]:
    """Run ``cells`` in JupyterLab; yield the page and the list of errors that the browser's console has shown.

    ``folder`` must be empty: it holds the notebook, Lab's settings and its log.
    """
    from playwright.sync_api import sync_playwright

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    (folder / "work").mkdir()
    nbformat.write(notebook, folder / "work" / "scrubber.ipynb")
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(QUIET))
    with _server(folder, environment) as address, sync_playwright() as player:
        browser = player.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(f"{said.text} {said.location}") if said.type == "error" else None)
        page.goto(f"{address}/lab/tree/scrubber.ipynb?reset", wait_until="domcontentloaded")
        page.get_by_text("| Idle").wait_for(timeout=180_000)  # cells that are run before there is a kernel are dropped
        page.locator(".jp-Notebook .cm-content").first.click(timeout=60_000)
        page.keyboard.press("Control+Home")
        for _ in cells:
            page.keyboard.press("Shift+Enter")
        yield page, errors
        browser.close()


@contextmanager
def _server(folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {f"JUPYTER{part}": str(folder / name) for part, name in (
        ("_CONFIG_DIR", "config"), ("_DATA_DIR", "data"), ("_RUNTIME_DIR", "runtime"),
        ("LAB_SETTINGS_DIR", "settings"), ("LAB_WORKSPACES_DIR", "workspaces"),
    )}  # fmt: skip
    said = {
        "ServerApp.port": port, "ServerApp.ip": "127.0.0.1", "ServerApp.root_dir": folder / "work",
        "ServerApp.open_browser": False, "ServerApp.allow_root": True, "IdentityProvider.token": "",
        "ServerApp.port_retries": 0,
    }  # fmt: skip
    command = [sys.executable, "-m", "jupyterlab", *(f"--{name}={value}" for name, value in said.items())]
    with open(folder / "lab.log", "w") as log:
        lab = subprocess.Popen(command, env={**environment, **own}, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(f"{address}/api", lab, folder / "lab.log")
            yield address
        finally:
            lab.terminate()
            lab.wait(30)


def _wait(address: str, lab: subprocess.Popen, log: Path, seconds: int = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and lab.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")
