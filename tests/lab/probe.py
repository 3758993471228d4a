"""Asking a lab host from outside: what answers over HTTP, and which ports are open."""

from __future__ import annotations

import http.client

from inventories._merge import Effective

SECONDS = 3.0


def get(address: str, port: int, path: str = "/") -> tuple[int, str] | None:
    """Status and body of an HTTP GET, None when nothing answers."""
    connection = http.client.HTTPConnection(address, port, timeout=SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(4096).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def urls(address: str, policies: Effective | None) -> list[str]:
    """A line for each published TCP port of the host's containers: whether it answers, and what."""
    docker = policies.get("docker") if policies else None
    lines = []
    for container in getattr(docker, "containers", ()):
        for port in container.ports:
            if port.protocol == "tcp":
                answer = get(address, port.host)
                url = f"http://{address}{'' if port.host == 80 else f':{port.host}'}/"
                lines.append(f"{url} answers {answer[0]}: {answer[1]}" if answer else f"{url} does not answer")
    return lines
