"""Every module of the core has its tests where one looks for them, or a line here that says where they are."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
CORE = ROOT / "src" / "tellwire"
# Products of their own, with folders of their own below tests/.
NOT_CORE = ("apigateway", "cli", "infra")

ELSEWHERE = {
    # Figures, and what every test goes by.
    "decode_errors.py": "unit/test_messages.py",
    "limits.py": "contract/test_history.py",
    "ports.py": "contract/test_carrier.py",
    # Ports, each with one contract for all that keep it.
    "broker.py": "integration/gateway/test_recovery.py",
    "conversation.py": "integration/gateway/test_recovery.py",
    "engine.py": "unit/gateway/test_node.py",
    "publication.py": "contract/test_history.py",
    "lease_expiry.py": "unit/engines/test_leases.py",
    "message_handlers.py": "integration/aws/test_handlers.py",
    "carriers/http.py": "contract/test_carrier.py",
    "engines/one_process.py": "unit/engines/test_leases.py",
    "engines/aws/engine.py": "integration/aws/test_workers.py",
    "engines/memory/engine.py": "unit/gateway/test_node.py",
    "engines/sqlite/engine.py": "integration/gateway/test_uploads.py",
    "engines/aws/carrier.py": "contract/test_carrier.py",
    "engines/aws/connections.py": "integration/aws/test_dynamodb_local.py",
    "engines/aws/history.py": "contract/test_history.py",
    "engines/aws/history_items.py": "contract/test_history.py",
    "engines/aws/history_table.py": "integration/aws/test_history_faults.py",
    "engines/memory/history.py": "contract/test_history.py",
    "engines/memory/row_errors.py": "contract/test_row_errors.py",
    "engines/registry.py": "unit/gateway/test_node.py",
    "engines/sqlite/database.py": "integration/engines/test_sqlite.py",
    "engines/sqlite/history.py": "contract/test_history.py",
    "engines/sqlite/row_errors.py": "contract/test_row_errors.py",
    # Producers.
    "producer.py": "integration/aws/test_workers.py",
    "progress_sender.py": "unit/test_progress.py",
    "progress_state.py": "unit/test_progress.py",
    "auth/development.py": "integration/test_cli.py",
    "auth/factory.py": "unit/auth/test_jwt.py",
    "auth/mint.py": "unit/auth/test_jwt.py",
    # With real sockets.
    "gateway/application.py": "integration/gateway/test_socket.py",
    "gateway/http.py": "integration/gateway/test_routes.py",
    "gateway/peer.py": "integration/gateway/test_socket.py",
    "gateway/http_api.py": "integration/gateway/test_http_api.py",
    "gateway/openapi.py": "integration/gateway/test_http_api.py",
    "gateway/row_errors.py": "integration/gateway/test_row_errors.py",
    "server/http_protocol.py": "integration/gateway/test_handshake.py",
    "server/server.py": "integration/test_cli.py",
    "server/tls.py": "integration/apigateway/test_tls.py",
    # On AWS's parts, run here.
    "aws/deployment.py": "integration/aws/test_handlers.py",
    "aws/handlers.py": "integration/aws/test_handlers.py",
    "aws/peer.py": "integration/aws/test_handlers.py",
    # The client, whole.
    "client/actions.py": "unit/client/test_machine.py",
    "client/backoff.py": "unit/client/test_traces.py",
    "client/encode.py": "unit/client/test_traces.py",
    "client/link.py": "unit/client/test_machine.py",
    "client/socket.py": "unit/client/test_client.py",
    "client/state.py": "unit/client/test_machine.py",
    "client/token_source.py": "unit/client/test_client.py",
    # What people test with.
    "testing/api_gateway.py": "integration/apigateway/test_fixture.py",
    "testing/carrier.py": "unit/test_broadcast.py",
    "testing/pytest_plugin.py": "integration/apigateway/test_fixture.py",
}


def modules() -> set[str]:
    """Return the core's modules that do something."""
    found = (path.relative_to(CORE) for path in CORE.rglob("*.py") if path.stem not in ("__init__", "_version"))
    return {str(path) for path in found if path.parts[0] not in NOT_CORE}


def has_mirror(module: str) -> bool:
    path = Path(module)
    return (ROOT / "tests" / "unit" / path.with_name(f"test_{path.name}")).is_file()


def test_each_module_has_its_mirror_or_a_line_that_says_where_it_is_tested() -> None:
    assert {each for each in modules() if not has_mirror(each)} - ELSEWHERE.keys() == set()


def test_each_line_is_of_a_module_that_has_no_mirror_and_names_tests_that_are_there() -> None:
    assert {each for each in ELSEWHERE if each not in modules() or has_mirror(each)} == set()
    assert {each for each in ELSEWHERE.values() if not (ROOT / "tests" / each).is_file()} == set()
