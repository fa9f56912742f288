"""`tellwire local` and `tellwire clock`, run as commands."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tellwire.auth import mint_token

SECRET = "a-secret-for-tests-of-forty-characters.."
TELLWIRE = str(Path(sys.executable).with_name("tellwire"))
EXAMPLES = Path(__file__).parents[3] / "examples"

APP = """
import os
def echo(event, context):
    return {"statusCode": 200, "body": "one"}
def environment(event, context):
    return {"statusCode": 200, "body": os.environ.get(event["body"], "-")}
"""


@dataclass
class Running:
    process: "subprocess.Popen[str]"
    log: Path
    out: list[str]

    @property
    def address(self) -> str:
        found = re.search(r"ws://([^/\s]+)/", self.out[0])
        assert found is not None, self.log.read_text()
        return found[1]

    @contextmanager
    def connect(self, stage: str = "prod") -> Iterator[ClientConnection]:
        with connect(f"ws://{self.address}/{stage}", proxy=None) as client:
            yield client

    def ask(self, message: str = "hello") -> str:
        with self.connect() as client:
            client.send(message)
            return str(client.recv(45))

    def wait_for(self, words: str) -> None:
        end = time.monotonic() + 45
        while words not in self.log.read_text():
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)


Local = Callable[..., Running]


def clean_environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TELLWIRE_"))} | more


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    directory.mkdir()
    (directory / "app.py").write_text(APP)
    return directory


@pytest.fixture
def local(project: Path, tmp_path: Path) -> Iterator[Local]:
    """Start `tellwire local` in the project; it ends with the test."""
    with ExitStack() as stack:

        def start(*arguments: str, start_new_session: bool = False, **environment: str) -> Running:
            log = tmp_path / "log"
            with log.open("w") as stderr:
                process = stack.enter_context(
                    subprocess.Popen(
                        [TELLWIRE, "local", "--port", "0", *arguments],
                        cwd=project,
                        env=clean_environment(**environment),
                        stdout=subprocess.PIPE,
                        stderr=stderr,
                        text=True,
                        start_new_session=start_new_session,
                    )
                )
            stack.callback(process.terminate)
            assert process.stdout is not None
            return Running(process, log, [process.stdout.readline()])

        yield start


def run(*arguments: str, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [TELLWIRE, *arguments],
        cwd=cwd,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


# --- handlers by name -------------------------------------------------------------------------------------------------


def test_a_saved_file_is_loaded_again(local: Local, project: Path) -> None:
    running = local("--route", "$default=app:echo", "--answer", "$default")
    assert running.ask() == "one"
    (project / "app.py").write_text(APP.replace('"one"', '"two"'))
    running.wait_for("app.py changed")
    end = time.monotonic() + 45
    while running.ask() != "two":
        assert time.monotonic() < end
    (project / "app.py").write_text("def echo(event, context)\n")
    running.wait_for("SyntaxError")
    assert "Internal server error" in running.ask()
    (project / "app.py").write_text(APP.replace('"one"', '"three"'))
    end = time.monotonic() + 45
    while running.ask() != "three":
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_worker_beside_tellwire_s_functions_has_its_variables_from_print_env(project: Path, tmp_path: Path) -> None:
    routes = [f"${name}=tellwire.aws.handlers:{name}" for name in ("connect", "disconnect", "default")]
    options = [option for route in routes for option in ("--route", route)]
    options += ["--table", "connections=userId,connectionId;byConnection=connectionId", "--print-env"]
    environment = clean_environment(TELLWIRE_JWT_SECRET=SECRET)
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            [TELLWIRE, "local", "--port", "0", "--selection", "$request.body.type", *options],
            cwd=project,
            env=environment | {"CONNECTIONS_TABLE_NAME": "connections"},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            lines: list[str] = []
            while not lines or not lines[-1].startswith("WEBSOCKET_API_ENDPOINT="):
                lines.append(process.stdout.readline())
                assert lines[-1], (tmp_path / "log").read_text()
            printed = dict(line.strip().split("=", 1) for line in lines)
            address = printed["WEBSOCKET_API_ENDPOINT"].replace("http", "ws", 1)
            worker = "from tellwire.sync import *; broadcast_to_user('user-1', create_message('refresh', None))"
            with connect(f"{address}?token={mint_token(SECRET, 'user-1')}", proxy=None) as device:
                subprocess.run([sys.executable, "-c", worker], env=environment | printed, check=True, timeout=100)
                assert json.loads(device.recv(100))["type"] == "refresh"
        finally:
            process.terminate()


def test_ctrl_c_ends_it_with_0_after_the_last_disconnects(local: Local, project: Path) -> None:
    (project / "app.py").write_text("import time\ndef gone(e, c):\n    time.sleep(0.5)\n    print('said goodbye')\n")
    running = local("--route", "$disconnect=app:gone")
    with running.connect():
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(45) == 0
    assert "said goodbye" in running.log.read_text()
    assert "Traceback" not in running.log.read_text()


def test_a_handler_that_does_not_end_does_not_keep_it(local: Local, project: Path) -> None:
    (project / "app.py").write_text("import time\ndef slow(e, c):\n    print('begun')\n    time.sleep(60)\n")
    running = local("--route", "$default=app:slow")
    with running.connect() as client:
        client.send("hello")
        running.wait_for("begun")
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(45) == 0


def test_ctrl_c_in_a_terminal_does_not_take_the_workers_last_words(local: Local, template: Path) -> None:
    # A terminal sends it to all processes in the foreground.
    (template.parent / "two" / "app.py").write_text("def handler(e, c):\n    print('said goodbye')\n")
    template.write_text(template.read_text().replace("two: {", "$disconnect: {"))
    running = local("--template", ".", start_new_session=True)
    with running.connect("dev"):
        os.killpg(running.process.pid, signal.SIGINT)
        assert running.process.wait(45) == 0
    assert "said goodbye" in running.log.read_text()
    assert "KeyboardInterrupt" not in running.log.read_text()


def test_handlers_find_the_api_and_use_no_credentials_of_ours(local: Local) -> None:
    running = local("--route", "$default=app:environment", "--answer", "$default")
    assert running.ask("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI") == f"http://{running.address}/prod"
    assert running.ask("AWS_ACCESS_KEY_ID") == "local"
    assert running.ask("AWS_REGION") == "us-east-1"


def test_an_env_file_is_for_the_handlers(local: Local, project: Path) -> None:
    (project / "my.env").write_text("# mine\nCOLOUR='deep blue'\nexport SIZE=$5\nAWS_REGION=eu-west-1\n")
    running = local("--route", "$default=app:environment", "--answer", "$default", "--env-file", "my.env")
    assert [running.ask(name) for name in ("COLOUR", "SIZE", "AWS_REGION")] == ["deep blue", "$5", "eu-west-1"]


def test_modules_come_from_the_python_path_too(local: Local, project: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "pkg"
    elsewhere.mkdir(parents=True)
    (elsewhere / "handlers.py").write_text(APP.replace('"one"', '"elsewhere"'))
    running = local("--route", "$default=pkg.handlers:echo", "--answer", "$default", PYTHONPATH=str(elsewhere.parent))
    assert running.ask() == "elsewhere"


def test_a_clock_by_hand_is_pushed_from_another_terminal(local: Local, project: Path) -> None:
    running = local("--route", "$default=app:echo", "--clock", "manual")
    with running.connect() as client:
        pushed = run("clock", "2h", "--url", f"http://{running.address}", cwd=project)
        assert (pushed.returncode, pushed.stderr) == (0, "")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n", pushed.stdout)
        with pytest.raises(ConnectionClosed) as caught:
            client.recv(45)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1001


def test_a_clock_that_moves_by_itself_cannot_be_pushed(local: Local, project: Path) -> None:
    running = local("--route", "$default=app:echo")
    pushed = run("clock", "2h", "--url", f"http://{running.address}", cwd=project)
    assert pushed.returncode == 2
    assert "--clock manual" in pushed.stderr


def test_with_credentials_signatures_are_verified(local: Local) -> None:
    running = local("--route", "$default=app:echo", TELLWIRE_LOCAL_CREDENTIALS="AKID:the-secret")

    def error_code(key: str, secret: str) -> str:
        client = boto3.client(
            "apigatewaymanagementapi",
            endpoint_url=f"http://{running.address}/prod",
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )
        with pytest.raises(ClientError) as caught:
            client.post_to_connection(ConnectionId="nBUGZLR2Hhyb5qM=", Data=b"x")
        return str(caught.value.response["Error"]["Code"])

    assert error_code("AKID", "the-secret") == "GoneException"
    assert error_code("AKID", "another") == "InvalidSignatureException"
    assert error_code("OTHER", "the-secret") == "UnrecognizedClientException"
    assert "the-secret" not in running.log.read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "say what to run"),
        (["--route", "$default=app:echo", "--template", "."], "not both"),
        (["--route", "$default"], "--route: got '$default'; allowed: NAME=VALUE"),
        (["--route", "$default=app:echo", "--route", "$default=app:echo"], "'$default' twice"),
        (["--route", "$other=app:echo"], "got '$other'; allowed: $connect, $disconnect, $default"),
        (["--route", "$default=app"], "handler: got 'app'"),
        (["--route", "$default=app:nothing"], "app has no nothing(); it has echo, environment"),
        (["--route", "$default=nowhere:echo"], "no module 'nowhere'"),
        (["--route", "$default=broken:echo"], "importing broken failed: ValueError: at import"),
        (["--route", "$default=app:echo", "--answer", "other"], "--answer: got 'other'"),
        (["--route", "$default=app:echo", "--stage", "a/b"], "stage: got 'a/b'"),
        (["--route", "$default=app:echo", "--selection", "$context.x"], "route selection expression"),
        (["--route", "$default=app:echo", "--identity-source", "route.request.header.X"], "goes with --authorizer"),
        (["--route", "$default=app:echo", "--authorizer", "app:echo", "--identity-source", "x"], "identity source"),
        (["--route", "$default=app:echo", "--env-file", "none.env"], "--env-file: none.env cannot be read"),
        (["--route", "$default=app:echo", "--dynamodb", "http://x"], "go with --template"),
        (["--template", "nowhere.yaml"], "nowhere.yaml"),
        (["--template", ".", "--answer", "x"], "go with --route"),
        (["--route", "$default=app:echo", "--host", "192.0.2.1"], "cannot listen on 192.0.2.1"),
    ],
)
def test_what_is_asked_wrongly_is_one_line_and_2(project: Path, arguments: list[str], words: str) -> None:
    (project / "broken.py").write_text("raise ValueError('at import')\n")
    ended = run("local", "--port", "0", *arguments, cwd=project)
    assert ended.returncode == 2
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("tellwire: ")
    assert words in last
    assert ended.stdout == ""


def test_credentials_of_another_form_are_refused_without_being_shown(project: Path) -> None:
    ended = run("local", "--route", "a=app:echo", cwd=project, TELLWIRE_LOCAL_CREDENTIALS="justasecret")
    assert ended.returncode == 2
    assert "TELLWIRE_LOCAL_CREDENTIALS" in ended.stderr
    assert "justasecret" not in ended.stderr


@pytest.mark.parametrize("forward", ["2x", "-1h", "h", ""])
def test_how_far_to_push_a_clock_is_a_duration(project: Path, forward: str) -> None:
    ended = run("clock", "--", forward, cwd=project)
    assert ended.returncode == 2
    assert "allowed: seconds, minutes or hours" in ended.stderr


# --- templates --------------------------------------------------------------------------------------------------------


def test_the_chat_of_the_examples_runs_unmodified(local: Local) -> None:
    running = local("--template", str(EXAMPLES / "aws_chat"))
    with running.connect() as ada, running.connect() as grace:
        ada.send("what is this?")
        usage = json.loads(ada.recv(45))
        assert usage["usage"] == {"action": "sendmessage", "message": "..."}
        ada.send('{"action": "sendmessage", "message": "Hello, Grace"}')
        assert grace.recv(45) == "Hello, Grace"
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(45) == 0
    assert "ERROR" not in running.log.read_text()


SAM = """
Transform: AWS::Serverless-2016-10-31
Globals: {Function: {Runtime: RUNTIME, Handler: app.handler, Environment: {Variables: {TABLE: !Ref Table}}}}
Resources:
  Api:
    Type: AWS::Serverless::WebSocketApi
    Properties:
      StageName: dev
      RouteSelectionExpression: $request.body.action
      Routes:
        $default: {FunctionArn: !GetAtt One.Arn}
        two: {FunctionArn: !GetAtt Two.Arn}
  One:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: one
      Environment:
        Variables:
          ENDPOINT: !Sub https://${Api}.execute-api.${AWS::Region}.amazonaws.com/dev
          IMPORTED: !ImportValue something
  Two: {Type: AWS::Serverless::Function, Properties: {CodeUri: two}}
  Table: {Type: AWS::Serverless::SimpleTable}
"""

FUNCTION = """
import os, boto3
def handler(event, context):
    request = event["requestContext"]
    client = boto3.client("apigatewaymanagementapi", endpoint_url=os.environ.get("ENDPOINT"))
    tables = boto3.client("dynamodb").list_tables()["TableNames"]
    text = f"{__file__.split('/')[-2]} {os.environ['TABLE'] in tables}"
    client.post_to_connection(ConnectionId=request["connectionId"], Data=text.encode())
    return {"statusCode": 200}
"""


@pytest.fixture
def template(project: Path) -> Path:
    for name in ("one", "two"):
        (project / name).mkdir()
        (project / name / "app.py").write_text(FUNCTION)
    file = project / "template.yaml"
    file.write_text(SAM.replace("RUNTIME", "python3.12"))
    return file


def test_functions_of_a_template_have_their_own_code_environment_and_table(local: Local, template: Path) -> None:
    running = local("--template", "template.yaml")
    with running.connect("dev") as client:
        client.send("hello")
        assert client.recv(45) == "one True"
        client.send('{"action": "two"}')
        assert client.recv(45) == "two True"
    assert "IMPORTED" in running.log.read_text()


def test_a_function_of_a_template_is_loaded_again(local: Local, template: Path) -> None:
    running = local("--template", ".")
    with running.connect("dev"):
        pass  # It has begun to watch before it lets anybody in.
    code = template.parent / "one" / "app.py"
    code.write_text(FUNCTION.replace('f"{__file__', 'f"again {__file__'))
    running.wait_for("app.py changed")
    with running.connect("dev") as client:
        end = time.monotonic() + 45
        heard = ""
        while not heard.startswith("again"):
            assert time.monotonic() < end
            client.send("hello")
            heard = str(client.recv(45))


def test_workers_end_with_the_command_even_if_it_is_killed(local: Local, template: Path) -> None:
    running = local("--template", ".")
    with running.connect("dev") as client:
        client.send("hello")
        client.recv(45)
    children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children")
    if not children.exists():
        pytest.skip("this system does not list a process's children")
    workers = [int(pid) for pid in children.read_text().split()]
    # Two functions, and the shell that ends them.
    assert len(workers) == 3
    running.process.kill()
    running.process.wait(45)
    end = time.monotonic() + 45
    while any(_lives(pid) for pid in workers):
        assert time.monotonic() < end
        time.sleep(0.05)


def _lives(pid: int) -> bool:
    try:
        return "Z (zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def left_out(text: str) -> str:
    """Return the template with a `$connect`, and a runtime of function Two that does not run here."""
    inline = "InlineCode: \"def handler(e, c): return {'statusCode': 200}\", Handler: index.handler"
    return (
        text.replace("CodeUri: two", "CodeUri: two, Runtime: java21")
        .replace("$default: {", "$connect: {FunctionArn: !GetAtt In.Arn}\n        $default: {")
        .replace("  Two: {", f"  In: {{Type: AWS::Serverless::Function, Properties: {{{inline}}}}}\n  Two: {{")
    )


def test_a_function_that_cannot_run_is_left_out_with_one_line(local: Local, template: Path) -> None:
    template.write_text(left_out(SAM.replace("RUNTIME", "python3.12")))
    running = local("--template", ".")
    with running.connect("dev") as client:
        client.send("hello")
        assert client.recv(45) == "one True"
        client.send('{"action": "two"}')
        answer = json.loads(client.recv(45))
        assert answer["message"] == "Internal server error"
        assert set(answer) == {"message", "connectionId", "requestId"}
    [line] = [line for line in running.log.read_text().splitlines() if "is left out" in line and "Two" in line]
    assert "java21" in line
    assert line.endswith("--replace 'Two=module:handler'")


def test_a_handler_stands_in_for_a_function_with_its_variables(local: Local, template: Path) -> None:
    template.write_text(left_out(SAM.replace("RUNTIME", "python3.12")))
    (template.parent / "stand_in.py").write_text(
        "import os\n"
        "from app import echo\n"
        "def two(event, context):\n"
        "    assert echo and event['requestContext']['routeKey'] == 'two' and os.environ['TABLE'] == 'Table'\n"
        "    import boto3\n"
        "    to = boto3.client('apigatewaymanagementapi')\n"
        "    to.post_to_connection(ConnectionId=event['requestContext']['connectionId'], Data=b'stood in')\n"
        "    return {'statusCode': 200}\n"
        "def let_in(event, context):\n"
        "    allow = {'Effect': 'Allow', 'Action': 'execute-api:Invoke', 'Resource': event['methodArn']}\n"
        "    return {'principalId': 'ada', 'policyDocument': {'Version': '2012-10-17', 'Statement': [allow]}}\n"
    )
    source = "route.request.querystring.token"
    replace = ("--replace", "Two=stand_in:two", "--authorizer", "stand_in:let_in", "--identity-source", source)
    running = local("--template", ".", *replace)
    assert "is left out" not in running.log.read_text()
    with pytest.raises(InvalidStatus) as refused, running.connect("dev"):
        pass
    assert refused.value.response.status_code == 401
    with connect(f"ws://{running.address}/dev?token=t", proxy=None) as client:
        client.send('{"action": "two"}')
        assert client.recv(45) == "stood in"


def test_several_apis_of_a_template_are_served_and_one_can_be_chosen(local: Local, template: Path) -> None:
    more = SAM.replace("RUNTIME", "python3.12")
    api = more[more.index("  Api:\n") : more.index("  One:\n")].replace("  Api:", "  News:")
    template.write_text(more.replace("  One:\n", f"{api}  One:\n"))
    running = local("--template", ".")
    for name in ("Api", "News"):
        with connect(f"ws://{running.address}/{name}/dev", proxy=None) as client:
            # The function posts to the API that its first variable names, and on to that of its event.
            client.send('{"action": "two"}')
            assert client.recv(45) == "two True" if name == "Api" else client.recv(45)
    alone = run("local", "--template", ".", "--api", "Web", "--port", "0", cwd=template.parent)
    assert "api: got 'Web'; allowed: Api, News" in alone.stderr


def test_a_stand_in_for_nothing_is_refused(template: Path) -> None:
    ended = run("local", "--template", ".", "--replace", "Three=app:echo", "--port", "0", cwd=template.parent)
    assert ended.returncode == 2
    assert "--replace: got 'Three'; allowed: One, Two" in ended.stderr


def test_a_handler_in_another_runtime_is_named(template: Path) -> None:
    template.write_text(SAM.replace("RUNTIME", "java21"))
    ended = run("local", "--template", ".", "--port", "0", cwd=template.parent)
    assert ended.returncode == 2
    assert "java21" in ended.stderr.splitlines()[-1]
    assert re.search(r"function (One|Two)", ended.stderr.splitlines()[-1])
