"""Lines of `--print-env`."""

from pathlib import Path

from tellwire.apigateway.definition import Api, Function, Route
from tellwire.apigateway.local import LocalApi
from tellwire.cli.local_env import lines, shared_environment


def test_variables_that_functions_share_are_printed_with_urls_of_this_machine() -> None:
    url = "https://tellwire00.execute-api.us-east-1.amazonaws.com/prod"
    here = Path(__file__).parent
    functions = {
        "One": Function("One", "app.h", here, environment={"TABLE": "rows", "API": url, "ROLE": "one"}),
        "Two": Function("Two", "app.h", here, environment={"TABLE": "rows", "ROLE": "two"}),
    }
    with LocalApi(Api((Route("$default", "One"), Route("two", "Two"))), functions) as running:
        printed = shared_environment(running, functions)
        assert (printed["TABLE"], printed["API"]) == ("rows", f"https://{running.address}/prod")
        assert "ROLE" not in printed
        assert "AWS_LAMBDA_FUNCTION_NAME" not in printed
        assert printed["AWS_ACCESS_KEY_ID"] == "local"


def test_whoever_has_the_table_of_connections_gets_the_address_to_publish_to() -> None:
    function = Function("One", "app.h", Path(__file__).parent)
    with LocalApi(Api((Route("$default", "One"),)), {"One": function}) as running:
        printed = shared_environment(running, {}, {"CONNECTIONS_TABLE_NAME": "connections"})
        assert printed["WEBSOCKET_API_ENDPOINT"] == running.management_url
        assert printed["CONNECTIONS_TABLE_NAME"] == "connections"
        assert "WEBSOCKET_API_ENDPOINT" not in shared_environment(running, {}, {})


def test_lines_are_quoted_for_a_shell() -> None:
    assert lines({"B": "x", "A": "it's"}) == ["A='it'\"'\"'s'", "B=x"]
