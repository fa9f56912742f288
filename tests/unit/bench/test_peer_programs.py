import json
from pathlib import Path

import pytest

from bench.peers import installing
from bench.peers.catalogue import PEERS
from bench.peers.own_programs import NodePeer, Program, PythonPeer
from bench.peers.peer import Place

PLACE = Place([1], [2], 0, Path("installed"), Path("run"))


def test_each_peer_has_another_name() -> None:
    names = [peer.name for peer in PEERS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("peer", [each for each in PEERS if isinstance(each, NodePeer)], ids=lambda peer: peer.name)
def test_the_label_of_a_node_peer_has_the_version_that_its_lock_file_installs(peer: NodePeer) -> None:
    lock = json.loads((installing.PROGRAMS / peer.program / "package-lock.json").read_text())
    assert peer.label().endswith(f" {lock['packages'][f'node_modules/{peer.package}']['version']}")


@pytest.mark.parametrize("peer", [each for each in PEERS if isinstance(each, PythonPeer)], ids=lambda peer: peer.name)
def test_the_label_of_a_python_peer_has_the_version_that_its_requirements_install(peer: PythonPeer) -> None:
    requirements = (installing.PROGRAMS / peer.program / "requirements.txt").read_text().splitlines()
    assert f"{peer.package}=={peer.label().split()[-1]}" in requirements


def test_a_batch_has_a_line_for_each_message_in_order() -> None:
    request = Program(PLACE).publish_batch([("user-1", b'{"n":1}'), ("user-2", b'{"n":2}')])
    head, _, body = request.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")
    assert [json.loads(line) for line in body.split(b"\n")] == [
        {"user": "user-1", "message": {"n": 1}},
        {"user": "user-2", "message": {"n": 2}},
    ]


class Programs:
    """A folder of programs with one, whose installation only writes a line."""

    def __init__(self, folder: Path) -> None:
        self.server = folder / "programs" / "one" / "server.js"
        self.installed = folder / "installed"
        self.server.parent.mkdir(parents=True)
        self.server.write_text("first")

    def install(self, *, command: str = "echo done >> runs", runtime: str = "Node 1") -> str | None:
        return installing.install_program("one", self.installed, runtime, [["sh", "-c", command]])

    def runs(self) -> int:
        return len((self.installed / "runs").read_text().splitlines())


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    monkeypatch.setattr(installing, "PROGRAMS", tmp_path / "programs")
    return Programs(tmp_path)


def test_a_program_is_installed_once(programs: Programs) -> None:
    assert [programs.install(), programs.install()] == [None, None]
    assert programs.runs() == 1


def test_a_program_is_installed_again_when_it_or_its_runtime_has_changed(programs: Programs) -> None:
    programs.install()
    programs.server.write_text("second")
    programs.install()
    programs.install(runtime="Node 2")
    assert programs.runs() == 3
    assert (programs.installed / "server.js").read_text() == "second"


def test_a_failed_installation_names_its_error_and_is_tried_again(programs: Programs) -> None:
    assert programs.install(command="echo begun; echo error: no such package; exit 1") == "error: no such package"
    assert programs.install() is None
