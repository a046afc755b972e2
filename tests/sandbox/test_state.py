from __future__ import annotations

import json
import stat

import pytest

from kapso_inbox.sandbox import state
from kapso_inbox.sandbox.engine import Sandbox

HANDOFF = "workflow.execution.handoff"
SETTINGS = {"name": "Desk", "scope_type": "project"}


def restarted(path):
    sandbox = Sandbox(state_file=path)
    return sandbox, sandbox.add_project("key")


def test_embeds_survive_a_restart(tmp_path):
    path = tmp_path / "state.json"
    sandbox, project = restarted(path)
    first, second = project.create(SETTINGS), project.create(SETTINGS)
    project.revoke(first["id"])
    project.update(second["id"], {"name": "Renamed"})
    sandbox.open_inbox(second["token"], {})

    sandbox, again = restarted(path)
    assert list(again.embeds.items()) == list(project.embeds.items())
    assert again.find(second["id"])["last_used_at"]
    assert sandbox.open_inbox(second["token"], {}).status == 200

    sandbox.reset()
    assert restarted(path)[1].embeds == {}


def test_the_embeds_of_a_project_that_is_not_added_this_time_are_kept(tmp_path):
    path = tmp_path / "state.json"
    _, project = restarted(path)
    embed = project.create(SETTINGS)
    Sandbox(state_file=path).add_project("other").create(SETTINGS)
    assert list(restarted(path)[1].embeds) == [embed["id"]]


def test_only_the_owner_can_read_the_file_and_it_contains_no_key(tmp_path):
    path = tmp_path / "state.json"
    sandbox = Sandbox(state_file=path)
    sandbox.add_project("very-secret-key").create(SETTINGS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "very-secret-key" not in path.read_text()
    assert [one.name for one in tmp_path.iterdir()] == ["state.json"]


def test_webhooks_survive_a_restart(tmp_path):
    path = tmp_path / "state.json"
    sandbox, project = restarted(path)
    settings = {"url": "http://127.0.0.1/hook/", "secret_key": "s", "events": [HANDOFF]}
    kept, gone = project.webhooks.create(settings), project.webhooks.create(settings)
    project.webhooks.update(kept["id"], {"active": False})
    project.webhooks.delete(gone["id"])

    sandbox, again = restarted(path)
    assert again.webhooks.listed(None) == [kept]
    sandbox.reset()
    assert restarted(path)[1].webhooks.listed(None) == []


def test_a_file_of_a_sandbox_without_webhooks_is_read(tmp_path):
    path = tmp_path / "state.json"
    _, project = restarted(path)
    embed = project.create(SETTINGS)
    content = json.loads(path.read_text())
    del content["webhooks"]
    path.write_text(json.dumps(content))
    assert list(restarted(path)[1].embeds) == [embed["id"]]


@pytest.mark.parametrize("content", ["{", "[]", '{"users": []}', '{"kapso_sandbox": 1}'])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    path = tmp_path / "notes.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="is not the state of a sandbox"):
        Sandbox(state_file=path)
    assert path.read_text() == content


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "state.json"
    state.write_state(path, state.SavedState({"a": {}}, {}))
    with pytest.raises(TypeError):
        state.write_state(path, state.SavedState({"a": {"b": {"c": object()}}}, {}))
    assert json.loads(path.read_text()) == {"kapso_sandbox": {"a": {}}, "webhooks": {}}
    assert [one.name for one in tmp_path.iterdir()] == ["state.json"]
