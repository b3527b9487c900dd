"""What is taken out of a state when a host is dead, and what is not."""

from __future__ import annotations

from typing import Any

from ops import abandon

URN = "urn:pulumi:prod::flaskhost::"
TEARDOWN = f"{URN}flaskhost:teardown:Teardown$command:remote:Command::shop-teardown"


def state(*resources: dict[str, Any]) -> dict[str, Any]:
    """Return an exported state with these resources beside others."""
    stack = {"urn": f"{URN}pulumi:pulumi:Stack::flaskhost-prod", "type": "pulumi:pulumi:Stack"}
    left = {"urn": f"{URN}flaskhost:site:Site$command:remote:Command::shop-site", "delete": True}
    component = {"urn": f"{URN}flaskhost:teardown:Teardown::shop", "type": "flaskhost:teardown:Teardown"}
    return {"version": 3, "deployment": {"resources": [stack, left, component, *resources]}}


def test_only_the_removal_from_hosts_that_were_left_is_forgotten() -> None:
    """Promise: the claim to the host where the stack serves stays, and so does every other resource."""
    now, before = {"urn": TEARDOWN, "id": "now"}, {"urn": TEARDOWN, "id": "before", "delete": True}
    changed = state(now, before)
    assert abandon.without(changed, current=False) == ["shop-teardown of a host that was left"]
    assert changed["deployment"]["resources"] == state(now)["deployment"]["resources"]


def test_the_current_host_is_forgotten_when_that_is_said() -> None:
    """Promise: then `destroy` has nobody left to ask."""
    changed = state({"urn": TEARDOWN}, {"urn": TEARDOWN, "delete": True})
    assert abandon.without(changed, current=True) == ["shop-teardown", "shop-teardown of a host that was left"]
    assert changed["deployment"]["resources"] == state()["deployment"]["resources"]


def test_one_of_several_hosts_is_forgotten_by_its_address() -> None:
    """Promise: the claims of those that live stay; Pulumi would make them anew, but nobody has to rely on that."""
    urns = [TEARDOWN.replace("shop-", f"shop-{address}-") for address in ("203.0.113.1", "203.0.113.11")]
    changed = state(*({"urn": urn} for urn in urns))
    assert abandon.without(changed, current=False, host="203.0.113.1") == ["shop-203.0.113.1-teardown"]
    assert changed["deployment"]["resources"] == state({"urn": urns[1]})["deployment"]["resources"]


def test_what_a_killed_removal_has_left_goes_with_it() -> None:
    """Promise: Pulumi does not ask about an operation on something that is forgotten."""
    changed = state({"urn": TEARDOWN, "delete": True})
    other = {"resource": {"urn": f"{URN}other"}, "type": "updating"}
    changed["deployment"]["pending_operations"] = [{"resource": {"urn": TEARDOWN}, "type": "deleting"}, other]
    abandon.without(changed, current=False)
    assert changed["deployment"]["pending_operations"] == [other]


def test_a_state_without_anything_is_left_as_it_is() -> None:
    """Promise: a stack that was never deployed, or is destroyed, is no error."""
    assert abandon.without({"deployment": {}}, current=True) == []
