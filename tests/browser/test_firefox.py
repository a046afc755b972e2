"""Back and Forward in Firefox. Collected only if `FIREFOX` names it: see contributing.md."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlencode

import pytest

from .conftest import ROOT, running_demo

pytestmark = pytest.mark.browser

SCRIPT = Path(__file__).with_name("firefox_back.mjs")


@pytest.mark.parametrize("pages_kept", [8, 0], ids=["bfcache", "no-bfcache"])
def test_back_and_forward_ask_the_launch(tmp_path: Path, pages_kept: int) -> None:
    firefox = shutil.which(os.environ["FIREFOX"])
    assert firefox, "FIREFOX must name a program"
    with running_demo(tmp_path, DJANGO_SETTINGS_MODULE="tests.browser.host_settings") as crm:
        body = '<h1>Page</h1>{% kapso_inbox "sales" views=1 %}'
        page = f"{crm.url}/host/?{urlencode({'body': body})}"
        command = ["node", str(SCRIPT), firefox, f"{crm.url}/", page, str(pages_kept)]
        run = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False
        )
    assert run.returncode == 0, run.stderr
    seen = json.loads(run.stdout)
    states = {moment: report["state"] for moment, report in seen.items()}
    assert states == {
        "first": "ready",
        "view": "ready",
        "back": "ready",
        "otherUser": "not_available",
        "forward": "not_available",
    }
    assert seen["view"]["length"] == seen["first"]["length"]
    assert seen["back"]["kept"] is bool(pages_kept)
