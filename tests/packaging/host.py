"""A new Django project in its own virtual environment, set up with the README's code blocks."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from urllib.parse import urljoin

import pytest
import requests

from .distribution import ROOT

README = (ROOT / "README.md").read_text()
QUICKSTART = README[README.index("## Add it to your project") : README.index("## What it does")]

#: What pip prints if it reaches no package registry.
_NO_REGISTRY = re.compile(r"No matching distribution found for|connection broken|Max retries")
_PATIENCE = 60


def unavailable(what: str) -> None:
    """Skip a test that cannot run on this machine, or fail if CI is set: there every test must."""
    if "CI" in os.environ:
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


def block(language: str, mark: str) -> str:
    """Return the only code block of the quickstart in that language that contains the mark."""
    found = [one for one in blocks(language) if mark in one]
    assert len(found) == 1, f"The README has not one {language} block with {mark!r}, but {found}."
    return found[0]


def blocks(language: str, text: str = QUICKSTART) -> list[str]:
    """Return the code blocks of a text in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


class Environment:
    """A virtual environment without pip, filled by the pip of the environment that runs the tests.

    Args:
        folder: where to create it.
        below: an environment whose packages can also be imported here, and do not change.
        python: another Python than that of the tests. `packages` is then not known.
    """

    def __init__(
        self, folder: Path, below: Environment | None = None, python: str | None = None
    ) -> None:
        if python is None:
            venv.create(folder, with_pip=False, symlinks=True)
        else:
            subprocess.run([python, "-m", "venv", "--without-pip", str(folder)], check=True)
        paths = {"base": str(folder), "platbase": str(folder)}
        # Python 3.10 has no scheme "venv".
        scheme = "venv" if "venv" in sysconfig.get_scheme_names() else "posix_prefix"
        self.folder = folder
        self.scripts = Path(sysconfig.get_path("scripts", scheme, paths))
        self.packages = Path(sysconfig.get_path("purelib", scheme, paths))
        if below is not None:
            (self.packages / "below.pth").write_text(f"{below.packages}\n")

    def install(self, *requirements: str) -> None:
        """Install packages; skip the test if no package registry can be reached."""
        python = self.scripts / "python"
        pip = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python),
            "install",
            "--quiet",
            "--no-compile",
        ]
        done = subprocess.run([*pip, *requirements], capture_output=True, text=True)
        if done.returncode and _NO_REGISTRY.search(done.stderr):
            unavailable(f"pip reaches no package registry: {done.stderr.strip()[-300:]}")
        assert done.returncode == 0, done.stderr


@dataclass
class Host:
    """A project that `django-admin startproject` created, and its owner's environment variables."""

    environment: Environment
    folder: Path
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> Path:
        return self.folder / "crm" / "settings.py"

    @property
    def urls(self) -> Path:
        return self.folder / "crm" / "urls.py"

    def append(self, path: Path, text: str) -> None:
        """Append text to a file, as the README tells the reader to."""
        path.write_text(f"{path.read_text()}\n{text}")

    def run(self, *command: str, status: int = 0) -> str:
        """Run a command in the project's folder; return its output and errors."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.variables(), capture_output=True, text=True
        )
        assert done.returncode == status, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def shell(self, code: str) -> str:
        """Run Python code in the project; return its output and errors."""
        return self.run("python", "manage.py", "shell", "--command", code)

    def copy(self, environment: Environment, folder: Path) -> Host:
        """Return a copy of the project that runs in another environment."""
        shutil.copytree(self.folder, folder)
        return Host(environment, folder, self.secrets)

    @contextmanager
    def running(self, *command: str, until: str) -> Iterator[None]:
        """Start a command, wait until its address answers, and stop it at the end of the block."""
        log = self.folder / f"{command[2]}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.variables(), stdout=output, stderr=output
            )
            try:
                end = time.monotonic() + _PATIENCE
                while not _answers(until):
                    said = f"{command} does not answer at {until}:\n{log.read_text()}"
                    assert process.poll() is None, said
                    assert time.monotonic() < end, said
                    time.sleep(0.1)
                yield
            finally:
                process.terminate()
                process.wait(_PATIENCE)

    @contextmanager
    def serving(self) -> Iterator[Browser]:
        """Serve the site; yield a browser for it."""
        site = f"http://127.0.0.1:{free_port()}"
        command = (*shlex.split(block("sh", "runserver")), "--noreload", site.rpartition("/")[2])
        # The README's origins are those of the default port.
        self.append(self.settings, f'KAPSO_INBOX["ALLOWED_ORIGINS"] = ["{site}"]\n')
        with self.running(*command, until=f"{site}/admin/login/"):
            yield Browser(site)

    def variables(self) -> dict[str, str]:
        """Return the environment variables, without the checkout's settings and Python path."""
        own = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "PYTEST", "DJANGO", "KAPSO", "DATABASE", "COV_"))
        }
        path = f"{self.environment.scripts}{os.pathsep}{own['PATH']}"
        return {**own, **self.secrets, "PATH": path, "PYTHONWARNINGS": "error"}


PASSWORD = "a password of the tests"

#: The page of the CRM into which the reader of the README puts the tag.
_OWN_PAGE = """
from django.contrib.auth.decorators import login_required
from django.views.generic import TemplateView

page = TemplateView.as_view(template_name="contact.html")
urlpatterns += [path("contact/", login_required(page))]
"""


@contextmanager
def quickstart(environment: Environment, folder: Path, *install: str) -> Iterator[Host]:
    """Begin a project and follow the README up to the first inbox, with a sandbox as Kapso.

    What a reader brings is done as well: the project, and a page with a template.

    Args:
        environment: an empty environment.
        folder: where to begin the project.
        install: what to install in place of the README's path to a checkout.

    Yields:
        The project, while its sandbox runs. `secrets` has the address of inboxes as `INBOX`.
    """
    command, verb, *_ = shlex.split(block("sh", "pip install"))
    assert (command, verb) == ("pip", "install")
    environment.install(*install)
    host = Host(environment, folder)
    host.folder.mkdir()
    host.run("django-admin", "startproject", "crm", ".")

    api, inbox = free_port(), free_port()
    sandbox = block("python", "BASE_URL").replace("8801", str(api)).replace("8802", str(inbox))
    host.append(host.settings, block("python", "ENCRYPTION_KEYS"))
    host.append(host.settings, block("python", "LOGIN_URL"))
    host.append(host.settings, sandbox)
    host.run("python", "manage.py", "makemigrations", "--check")  # without secrets
    key = host.run(*shlex.split(block("sh", "kapso_generate_key\n"))).strip()
    names = re.findall(r'^export (\w+)="[^"]+"$', block("sh", "export"), re.MULTILINE)
    host.secrets = dict(zip(names, ["sandbox-key", key], strict=True))
    host.append(host.urls, block("python", "urlpatterns"))
    host.secrets["DJANGO_SUPERUSER_PASSWORD"] = PASSWORD
    for line in block("sh", "migrate").splitlines():
        words = shlex.split(line)
        if "createsuperuser" in words:  # which asks
            words += ["--noinput", "--username=mona", "--email=mona@example.com"]
        said = host.run(*words)
        if "check" in words:
            assert "no issues" in said

    templates = host.folder / "templates"
    templates.mkdir()
    (templates / "contact.html").write_text(block("django", "kapso_inbox"))
    host.append(host.settings, 'TEMPLATES[0]["DIRS"] = [BASE_DIR / "templates"]\n')
    host.append(host.urls, _OWN_PAGE)

    command = shlex.split(block("sh", "kapso_sandbox"))
    command += [f"--port={api}", f"--inbox-port={inbox}"]
    with host.running(*command, until=f"http://127.0.0.1:{api}/"):
        host.secrets["INBOX"] = f"http://127.0.0.1:{inbox}/embed/"
        yield host


class Browser:
    """A browser that sends requests to one site, and can sign in."""

    def __init__(self, site: str) -> None:
        self.site = site
        self._session = requests.Session()
        self._session.trust_env = False

    def sign_in(self, username: str, password: str) -> None:
        """Sign in with the login form of Django's admin."""
        address = self.address("/admin/login/?next=/admin/")
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.get(address).text)
        assert token is not None
        form = {"username": username, "password": password, "csrfmiddlewaretoken": token[1]}
        answer = self._session.post(address, form, headers={"Referer": address})
        assert answer.url == self.address("/admin/"), answer.text

    def get(self, path: str, **headers: str) -> requests.Response:
        """Request a page of the site without following redirects."""
        address = self.address(path)
        return self._session.get(address, headers=headers, allow_redirects=False, timeout=_PATIENCE)

    def enter(self, page: str, frame: str) -> requests.Response:
        """Load the frame of a page, with the headers that a browser sends."""
        own = {"Sec-Fetch-Dest": "iframe", "Sec-Fetch-Site": "same-origin"}
        return self.get(frame, Referer=self.address(page), **own)

    def address(self, path: str) -> str:
        return urljoin(self.site, path)


def frame_in(html: str) -> str:
    """Return the `src` of the page's only iframe."""
    (source,) = re.findall(r'<iframe[^>]* src="([^"]+)"', html)
    return unescape(source)


def free_port() -> int:
    """Return a free port on the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(address: str) -> bool:
    try:
        requests.get(address, timeout=5)
    except requests.ConnectionError:
        return False
    return True
