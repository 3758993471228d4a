"""The benchmark's proxy: what it counts of a scripted exchange, and that it delays."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bench.proxy import Counts, Proxy

RTT = 0.1


def receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data


def serve_one(listener: socket.socket, exchange: Callable[[socket.socket], None]) -> threading.Thread:
    def work() -> None:
        connection, _ = listener.accept()
        with connection:
            exchange(connection)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy()
    yield made
    made.close()


def connect(proxy: Proxy, listener: socket.socket) -> socket.socket:
    port = proxy.listen({"host": listener.getsockname()})["host"]
    return socket.create_connection(("127.0.0.1", port), 10)


def echo_hundred(connection: socket.socket) -> None:
    while len(data := receive(connection, 100)) == 100:
        connection.sendall(data + data)


@pytest.mark.parametrize("rtt", [0.0, RTT])
def test_every_question_is_one_round_trip_and_so_is_the_connection(proxy, listener, rtt: float) -> None:
    proxy.reset(rtt)
    serve_one(listener, echo_hundred)
    with connect(proxy, listener) as client:
        for _ in range(3):
            client.sendall(b"x" * 100)
            assert receive(client, 200) == b"x" * 200
    # The first question answers nothing: it could have been sent with the connection's last packet.
    assert proxy.counts() == Counts(connections=1, round_trips=1 + 2, bytes_up=300, bytes_down=600)


def test_a_server_that_speaks_first_is_answered_in_a_round_trip_of_its_own(proxy, listener) -> None:
    proxy.reset(0.0)

    def greet(connection: socket.socket) -> None:
        connection.sendall(b"hello")
        receive(connection, 2)
        connection.sendall(b"bye")

    serve_one(listener, greet)
    with connect(proxy, listener) as client:
        assert receive(client, 5) == b"hello"
        client.sendall(b"ok")
        assert receive(client, 3) == b"bye"
    assert proxy.counts() == Counts(connections=1, round_trips=2, bytes_up=2, bytes_down=8)


def test_what_is_sent_before_an_answer_arrives_is_no_new_round_trip(proxy, listener) -> None:
    proxy.reset(RTT)
    serve_one(listener, echo_hundred)
    with connect(proxy, listener) as client:
        for _ in range(4):
            client.sendall(b"x" * 100)
            time.sleep(RTT / 20)
        assert len(receive(client, 800)) == 800
    assert proxy.counts() == Counts(connections=1, round_trips=1, bytes_up=400, bytes_down=800)


def test_reset_forgets(proxy, listener) -> None:
    serve_one(listener, echo_hundred)
    with connect(proxy, listener) as client:
        client.sendall(b"x" * 100)
        receive(client, 200)
    proxy.reset(0.0)
    assert proxy.counts() == Counts()


def test_a_connection_and_a_question_take_two_round_trips_at_least(proxy, listener) -> None:
    proxy.reset(RTT)
    serve_one(listener, echo_hundred)
    started = time.monotonic()
    with connect(proxy, listener) as client:
        client.sendall(b"x" * 100)
        receive(client, 200)
        first = time.monotonic() - started
        client.sendall(b"x" * 100)
        receive(client, 200)
        second = time.monotonic() - started - first
    assert first >= 2 * RTT * 0.98
    assert second >= RTT * 0.98


def test_large_answers_arrive_whole_and_in_order_and_the_end_arrives_last(proxy, listener) -> None:
    proxy.reset(RTT / 10)
    sent = b"".join(number.to_bytes(4, "big") for number in range(1_000_000))

    def send_all(connection: socket.socket) -> None:
        assert receive(connection, 3) == b"go!"
        connection.sendall(sent)

    thread = serve_one(listener, send_all)
    with connect(proxy, listener) as client:
        client.sendall(b"go!")
        client.shutdown(socket.SHUT_WR)
        received = receive(client, len(sent))
        assert received == sent
        assert client.recv(1) == b""
    thread.join(10)
    assert proxy.counts().bytes_down == len(sent)


@pytest.mark.parametrize("leave_early", [True, False])
def test_a_connection_that_has_ended_is_forgotten(proxy, listener, leave_early) -> None:
    descriptors = Path(f"/proc/{proxy.pid}/fd")
    proxy.reset(RTT / 10)
    port = proxy.listen({"host": listener.getsockname()})["host"]
    before = len(list(descriptors.iterdir()))
    for _ in range(5):
        thread = serve_one(listener, echo_hundred)
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            client.sendall(b"x" * 100)
            if not leave_early:
                receive(client, 200)
        thread.join(10)
    deadline = time.monotonic() + 10
    while len(list(descriptors.iterdir())) > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(list(descriptors.iterdir())) == before


def test_a_host_that_refuses_is_a_connection_that_ends(proxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        place = gone.getsockname()
    port = proxy.listen({"host": place})["host"]
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        assert client.recv(1) == b""
