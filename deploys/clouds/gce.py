"""Google's Compute Engine: its plain JSON API, with the credentials and the session of google-auth.

Every change has an id of its own (`requestId`), so that asking again after a lost answer changes nothing twice.
Source of the formats: Compute Engine API v1, `instances`, `disks.resize` and `zoneOperations.wait`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import google.auth
import requests
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession
from google.oauth2.service_account import Credentials
from typing_extensions import override

from deploys.clouds.machine import (
    GONE,
    PENDING,
    RUNNING,
    STOPPED,
    STOPPING,
    Cloud,
    CloudError,
    Instance,
    Order,
    Volume,
)
from deploys.policies.clouds import Gce

API = "https://compute.googleapis.com/compute/v1"
SCOPE = "https://www.googleapis.com/auth/compute"
MARK, MADE = "photon-fleet-id", "photon-fleet-instance"
"""Keys of the metadata: a label could not hold what ours says."""
_STATES = {"PROVISIONING": PENDING, "STAGING": PENDING, "RUNNING": RUNNING, "PENDING_STOP": STOPPING,
           "STOPPING": STOPPING, "TERMINATED": STOPPED}  # fmt: skip
_TRIES = 5
_SECONDS = 150
"""Of one call: a wait for an operation is answered after two minutes at the latest."""
_OPERATION_SECONDS = 900
_AGAIN = (429, 500, 502, 503, 504)


class GceCloud(Cloud):
    """A zone of Compute Engine; `session` is for tests."""

    def __init__(self, settings: Gce, session: Any = None) -> None:  # noqa: ANN401 - requests has no types
        self.place = settings.place
        self._zone = f"{API}/projects/{settings.project}/zones/{settings.zone}"
        self._settings = settings
        self._session = session or self._authorised()
        self._found: dict[str, dict[str, Any]] = {}

    def _authorised(self) -> Any:  # noqa: ANN401 - google-auth has no types
        file = self._settings.credentials_file
        try:
            if file is not None:
                credentials = Credentials.from_service_account_file(str(file), scopes=[SCOPE])
            else:
                credentials, _ = google.auth.default(scopes=[SCOPE])
        except (GoogleAuthError, OSError, ValueError) as error:
            message = f"{self.place}: no credentials: {str(error).splitlines()[0]}"
            raise CloudError(message) from error
        return AuthorizedSession(credentials)

    @override
    def all(self) -> list[Instance]:
        items: list[dict[str, Any]] = []
        page: str | None = ""
        while page is not None:
            answer = self._call("GET", "/instances", "the list of machines", maxResults=500, pageToken=page or None)
            items += answer.get("items", ())
            page = answer.get("nextPageToken")
        self._found = {str(item["id"]): item for item in items}
        return [instance(item, self.place, self._settings.zone) for item in items]

    @override
    def ours(self, ids: Sequence[str] = ()) -> list[Instance]:
        found = self.all()
        # Once its operation is over a machine is listed, until it is removed.
        gone = set(ids) - {each.id for each in found}
        return [
            *(each for each in found if each.mark or each.id in ids),
            *(Instance(id=each, name="", place=self.place, zone=self._settings.zone, state=GONE) for each in gone),
        ]

    @override
    def make(self, order: Order) -> str:
        body = request(order, self._settings.zone)
        what = f"to make {order.name}"
        return str(self._change("POST", "/instances", what, body, str(uuid.UUID(order.token)))["targetId"])

    @override
    def tag(self, machine: str, tags: Mapping[str, str]) -> None:
        found = self._fresh(machine)
        body = {"labels": {**found.get("labels", {}), **tags}, "labelFingerprint": found["labelFingerprint"]}
        self._change("POST", f"/instances/{found['name']}/setLabels", f"the labels of {found['name']}", body)

    @override
    def regroup(self, machine: str, groups: Sequence[str]) -> None:
        found = self._fresh(machine)
        body = {"items": list(groups), "fingerprint": found["tags"]["fingerprint"]}
        self._change("POST", f"/instances/{found['name']}/setTags", f"the network tags of {found['name']}", body)

    @override
    def resize(self, machine: str, size: str) -> None:
        name = self._name(machine)
        body = {"machineType": _kind(self._settings.zone, "machineTypes", size)}
        self._change("POST", f"/instances/{name}/setMachineType", f"the size {size} of {name}", body)

    @override
    def grow(self, volume: Volume, gib: int) -> None:
        self._change("POST", f"/disks/{volume.id}/resize", f"{gib} GiB of {volume.id}", {"sizeGb": str(gib)})

    @override
    def start(self, machine: str) -> None:
        name = self._name(machine)
        self._change("POST", f"/instances/{name}/start", f"to start {name}")

    @override
    def stop(self, machine: str) -> None:
        name = self._name(machine)
        self._change("POST", f"/instances/{name}/stop", f"to stop {name}")

    @override
    def terminate(self, machine: str) -> None:
        name = self._name(machine)
        self._change("DELETE", f"/instances/{name}", f"to remove {name}")

    @override
    def console(self, machine: str) -> str:
        name = self._name(machine)
        answer = self._call("GET", f"/instances/{name}/serialPort", f"the console of {name}", port=1, start=0)
        return str(answer.get("contents", ""))

    def _name(self, machine: str) -> str:
        if machine not in self._found:
            self.all()
        if machine not in self._found:
            message = f"{self.place}: there is no machine {machine} any more"
            raise CloudError(message)
        return str(self._found[machine]["name"])

    def _fresh(self, machine: str) -> dict[str, Any]:
        """As it is just now: what is written as a whole must be what was read last."""
        name = self._name(machine)
        found: dict[str, Any] = self._call("GET", f"/instances/{name}", f"the description of {name}")
        return found

    def _change(
        self, method: str, path: str, what: str, body: Mapping[str, Any] | None = None, request_id: str = ""
    ) -> dict[str, Any]:
        """Carry out a change to its end; gives its operation."""
        done: dict[str, Any] = self._call(method, path, what, body, requestId=request_id or str(uuid.uuid4()))
        end = time.monotonic() + _OPERATION_SECONDS
        while done.get("status") != "DONE":
            if time.monotonic() >= end:
                message = f"{self.place}: {what}: it is not done after {_OPERATION_SECONDS} s"
                raise CloudError(message)
            done = self._call("POST", f"/operations/{done['name']}/wait", what)
        errors = done.get("error", {}).get("errors", ())
        if errors:
            message = f"{self.place} refuses {what}: {'; '.join(_words(each) for each in errors)}"
            raise CloudError(message)
        return done

    def _call(self, method: str, path: str, what: str, body: Mapping[str, Any] | None = None, **query: Any) -> Any:  # noqa: ANN401
        query = {key: value for key, value in query.items() if value is not None}
        why = ""
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(2.0 ** (attempt - 1))
            try:
                answer = self._session.request(method, self._zone + path, params=query, json=body, timeout=_SECONDS)
            except requests.RequestException as error:
                why = type(error).__name__
                continue
            except GoogleAuthError as error:
                message = f"{self.place}: {what}: our credentials are refused: {str(error).splitlines()[0]}"
                raise CloudError(message) from error
            if answer.status_code in _AGAIN:
                why = f"HTTP {answer.status_code}"
                continue
            if answer.status_code >= requests.codes.bad_request:
                message = f"{self.place} refuses {what}: {_said(answer)}"
                raise CloudError(message)
            return answer.json()
        message = f"{self.place} does not answer {what}: {why}, {_TRIES} times"
        raise CloudError(message)


def _said(answer: Any) -> str:  # noqa: ANN401 - requests has no types
    try:
        return _words(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"


def _words(error: Mapping[str, Any]) -> str:
    return f"{str(error.get('message', 'no words')).rstrip('.')} ({error.get('code', 'no code')})"


def _kind(zone: str, what: str, name: str) -> str:
    return f"zones/{zone}/{what}/{name}"


def request(order: Order, zone: str) -> dict[str, Any]:
    """The body of instances.insert."""
    root = {"sourceImage": order.image, **({"diskSizeGb": str(order.root_gib)} if order.root_gib is not None else {})}
    disks: list[dict[str, Any]] = [{"boot": True, "autoDelete": True, "initializeParams": root}]
    for disk in order.disks:
        kind = {"diskType": _kind(zone, "diskTypes", disk.kind)} if disk.kind else {}
        made = {"diskSizeGb": str(disk.gib), **kind}
        disks.append({"autoDelete": True, "deviceName": disk.device, "initializeParams": made})
    card: dict[str, Any] = {"subnetwork": order.subnet} if order.subnet else {"network": "global/networks/default"}
    if order.public_address:
        card["accessConfigs"] = [{"type": "ONE_TO_ONE_NAT", "name": "External NAT"}]
    metadata = {
        MARK: order.mark, MADE: order.token, "user-data": order.user_data,
        # Who may log in is the policies' business alone.
        "block-project-ssh-keys": "true",
    }  # fmt: skip
    return {
        "name": order.name, "machineType": _kind(zone, "machineTypes", order.size), "disks": disks,
        "networkInterfaces": [card], "labels": dict(order.tags), "tags": {"items": list(order.groups)},
        "metadata": {"items": [{"key": key, "value": value} for key, value in metadata.items()]},
    }  # fmt: skip


def instance(found: Mapping[str, Any], place: str, zone: str) -> Instance:
    """A machine, as instances.list tells it."""
    metadata = {item["key"]: item.get("value", "") for item in found.get("metadata", {}).get("items", ())}
    cards = found.get("networkInterfaces", ())
    private = [card[key] for card in cards for key in ("networkIP", "ipv6Address") if card.get(key)]
    public = [each["natIP"] for card in cards for each in card.get("accessConfigs", ()) if each.get("natIP")]
    public += [each["externalIpv6"] for card in cards for each in card.get("ipv6AccessConfigs", ())
               if each.get("externalIpv6")]  # fmt: skip
    state = found.get("status", "")
    return Instance(
        id=str(found["id"]), name=found["name"], place=place, zone=zone, state=_STATES.get(state, state),
        mark=metadata.get(MARK, ""), made=metadata.get(MADE, ""), size=_last(found.get("machineType", "")),
        subnet=_last(next((card.get("subnetwork", "") for card in cards), "")),
        groups=tuple(found.get("tags", {}).get("items", ())), private=tuple(private), public=tuple(public),
        tags=dict(found.get("labels", {})), volumes=tuple(_volumes(found.get("disks", ()))),
    )  # fmt: skip


def _volumes(disks: Iterable[Mapping[str, Any]]) -> Iterable[Volume]:
    for disk in disks:
        if disk.get("source"):
            yield Volume(disk.get("deviceName", ""), _last(disk["source"]), int(disk.get("diskSizeGb", 0)))


def _last(url: str) -> str:
    """The name at the end of the address of a resource."""
    return url.rpartition("/")[2]
