"""Functions, their code and layers, and tables, one at a time."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tellwire.apigateway.template import read_project
from tellwire.apigateway.template.sam import translate
from tellwire.errors import ConfigError
from tests.unit.apigateway.template.conftest import Read, Template

TEMPLATES = Path(__file__).parents[3] / "data" / "templates"
KEYS = {
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
}


def function(template: Template, **properties: Any) -> Template:
    template["Resources"]["Fn"]["Properties"].update(properties)
    return template


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("missing", "does not exist; allowed: a directory, or a zip"),
        ("template.json", "is a file; allowed: a directory, or a zip"),
        (None, "Code is missing; allowed: a directory on this machine"),
        (
            {"S3Bucket": "b", "S3Key": "k.zip"},
            "AWS::Lambda::Function Fn: its code is in S3 (s3://b/k.zip); allowed: a directory",
        ),
        ({"ImageUri": "x"}, "AWS::Lambda::Function Fn: its code is a container image; allowed: a directory"),
    ],
)
def test_a_function_whose_code_is_not_on_this_machine_is_left_out(
    template: Template, read: Read, code: Any, words: str
) -> None:
    reason = str(read(function(template, Code=code, Timeout=9)).functions["Fn"].left_out)
    assert words in reason
    assert reason.startswith("AWS::Lambda::Function Fn: ")


def test_code_in_the_template_needs_a_place(template: Template, read: Read) -> None:
    with pytest.raises(ConfigError, match="its code is in the template or a zip; that needs a workspace directory"):
        read(function(template, Code={"ZipFile": "x = 1"}))


def zipped(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o755 if name == "bootstrap" else 0o644) << 16
            archive.writestr(info, text)
    return path


def test_zipped_code_is_unpacked_with_its_modes(template: Template, read: Read, tmp_path: Path) -> None:
    zipped(tmp_path / "code.zip", bootstrap="#!/bin/sh", **{"app/x.py": "x = 1"})
    found = read(function(template, Code="code.zip"), workspace=tmp_path / "workspace").functions["Fn"]
    assert found.left_out is None
    assert (found.code_dir / "app" / "x.py").read_text() == "x = 1"
    assert os.access(found.code_dir / "bootstrap", os.X_OK)
    assert not os.access(found.code_dir / "app" / "x.py", os.X_OK)


def test_a_zip_cannot_write_beside_its_directory(template: Template, read: Read, tmp_path: Path) -> None:
    zipped(tmp_path / "code.zip", **{"../../../outside.py": "x = 1", "/tmp/outside-tellwire.py": "x = 1"})
    found = read(function(template, Code="code.zip"), workspace=tmp_path / "workspace").functions["Fn"]
    assert [path.name for path in tmp_path.rglob("outside.py")] == ["outside.py"]
    assert (found.code_dir / "outside.py").is_file()
    assert not Path("/tmp/outside-tellwire.py").exists()


def test_a_zip_that_lambda_would_not_take_is_refused(
    template: Template, read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellwire.apigateway.template.code.MAX_UNZIPPED_BYTES", 9)
    zipped(tmp_path / "code.zip", app="1234567890")
    with pytest.raises(ConfigError, match=r"code\.zip has 10 bytes unzipped; allowed: 9"):
        read(function(template, Code="code.zip"), workspace=tmp_path / "workspace")


def test_a_zip_that_is_damaged_leaves_out_its_function(template: Template, read: Read, tmp_path: Path) -> None:
    path = zipped(tmp_path / "code.zip", app="1234567890" * 100)
    path.write_bytes(path.read_bytes().replace(b"1234567890", b"1234567899", 1))
    found = read(function(template, Code="code.zip"), workspace=tmp_path / "workspace").functions["Fn"]
    assert "its code 'code.zip' cannot be unzipped: Bad CRC-32" in str(found.left_out)


def test_a_zipped_layer_is_a_layer(template: Template, read: Read, tmp_path: Path) -> None:
    zipped(tmp_path / "layer.zip", **{"python/shared.py": "x = 1"})
    template["Resources"]["Shared"] = {"Type": "AWS::Lambda::LayerVersion", "Properties": {"Content": "layer.zip"}}
    project = read(function(template, Layers=[{"Ref": "Shared"}]), workspace=tmp_path / "workspace")
    [layer] = project.functions["Fn"].layers
    assert (layer / "shared.py").is_file()


def test_the_asset_that_cdk_names_is_the_code_wherever_it_will_be_uploaded(template: Template, read: Read) -> None:
    template["Resources"]["Fn"]["Metadata"] = {"aws:asset:path": "./code", "aws:asset:property": "Code"}
    in_s3 = {"S3Bucket": {"Fn::ImportValue": "assets"}, "S3Key": "k.zip"}
    assert read(function(template, Code=in_s3)).functions["Fn"].code_dir.name == "code"


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"Handler": None}, "AWS::Lambda::Function Fn: Handler is missing"),
        ({"Timeout": 901}, "Timeout: got '901'; allowed: 1 to 900"),
        ({"MemorySize": 64}, "MemorySize: got '64'; allowed: 128 to 10240"),
    ],
)
def test_a_function_that_aws_would_not_make_is_refused(
    template: Template, read: Read, properties: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(function(template, **properties))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"PackageType": "Image"}, "its code is a container image"),
        ({"Handler": {"Fn::ImportValue": "h"}}, "Fn: Handler: Fn::ImportValue 'h' cannot be resolved locally"),
    ],
)
def test_a_function_that_cannot_run_here_is_left_out_with_its_variables(
    template: Template, read: Read, properties: dict[str, Any], words: str
) -> None:
    found = read(function(template, **properties, Environment={"Variables": {"A": "1"}})).functions["Fn"]
    assert words in str(found.left_out)
    assert found.environment == {"A": "1"}


def test_a_runtime_is_kept_as_it_is_given(template: Template, read: Read) -> None:
    assert read(function(template, Runtime="nodejs20.x")).functions["Fn"].runtime == "nodejs20.x"
    # An early one had its version in full.
    assert read(function(template, Runtime="nodejs8.10")).functions["Fn"].left_out is None


def test_a_name_that_is_not_known_is_replaced_by_the_logical_id(template: Template, read: Read) -> None:
    project = read(function(template, FunctionName={"Fn::ImportValue": "n"}))
    assert (project.api.routes[0].function, project.functions["Fn"].name) == ("Fn", "Fn")
    assert project.notes == (
        "AWS::Lambda::Function Fn: its name is not known: Fn::ImportValue 'n' cannot be resolved locally; "
        "its logical id is used instead",
    )


def test_values_of_the_environment_are_text(template: Template, read: Read) -> None:
    variables = {"A": 1, "B": True, "C": "x", "D": {"Ref": "AWS::NoValue"}}
    project = read(function(template, Environment={"Variables": variables}))
    assert project.functions["Fn"].environment == {"A": "1", "B": "true", "C": "x"}


@pytest.mark.parametrize(
    ("environment", "note"),
    [
        (
            {"Variables": {"A": {"Fn::ImportValue": "a"}}},
            "environment variable A: Fn::ImportValue 'a' cannot be resolved locally",
        ),
        ({"Variables": {"A": ["x"]}}, "environment variable A: got ['x'], where text must be"),
        ({"Fn::If": ["Unheard", {}, {}]}, "Environment: there is no condition 'Unheard'"),
    ],
)
def test_what_is_not_known_of_the_environment_is_left_out_and_named(
    template: Template, read: Read, environment: Any, note: str
) -> None:
    project = read(function(template, Environment=environment))
    assert project.functions["Fn"].environment == {}
    [said] = project.notes
    assert said.startswith(f"function Fn: {note}; set it")
    assert said.endswith("with --env-file")


def test_a_layer_is_where_python_looks_for_it(template: Template, read: Read, tmp_path: Path) -> None:
    packages = tmp_path / "shared" / "python" / "lib" / "python3.12" / "site-packages"
    packages.mkdir(parents=True)
    template["Resources"]["Shared"] = {"Type": "AWS::Lambda::LayerVersion", "Properties": {"Content": "shared"}}
    project = read(function(template, Layers=[{"Ref": "Shared"}, {"Ref": "AWS::NoValue"}]))
    assert project.functions["Fn"].layers == (tmp_path / "shared" / "python", packages)


def test_a_layer_of_javascript_is_where_node_looks_for_it(template: Template, read: Read, tmp_path: Path) -> None:
    versioned, packages = (tmp_path / "shared" / "nodejs" / each for each in ("node22/node_modules", "node_modules"))
    for directory in (versioned, packages):
        directory.mkdir(parents=True)
    template["Resources"]["Shared"] = {"Type": "AWS::Lambda::LayerVersion", "Properties": {"Content": "shared"}}
    layers = [{"Ref": "Shared"}]
    assert read(function(template, Runtime="nodejs22.x", Layers=layers)).functions["Fn"].layers == (versioned, packages)
    assert read(function(template, Runtime="nodejs20.x", Layers=layers)).functions["Fn"].layers == (packages,)


def test_options_of_esbuild_are_those_in_the_metadata(template: Template, read: Read) -> None:
    assert read(template).functions["Fn"].build is None
    options = {"EntryPoints": ["app.ts"], "Minify": True}
    template["Resources"]["Fn"]["Metadata"] = {"BuildMethod": "esbuild", "BuildProperties": options}
    assert read(template).functions["Fn"].build == options
    template["Resources"]["Fn"]["Metadata"] = {"BuildMethod": "makefile"}
    assert read(template).functions["Fn"].build is None


@pytest.mark.parametrize("content", ["empty", "missing", {"S3Bucket": "b", "S3Key": "k"}])
def test_a_layer_that_is_not_here_is_noted(template: Template, read: Read, tmp_path: Path, content: Any) -> None:
    (tmp_path / "empty").mkdir()
    template["Resources"]["Shared"] = {"Type": "AWS::Lambda::LayerVersion", "Properties": {"Content": content}}
    project = read(function(template, Layers=[{"Ref": "Shared"}]))
    assert project.functions["Fn"].layers == ()
    [note] = project.notes
    assert note.startswith(
        "a layer is left out, install its packages on this machine: AWS::Lambda::LayerVersion Shared"
    )


def other_function(template: Template) -> Template:
    template["Resources"]["Other"] = {**template["Resources"]["Fn"]}
    return template


def test_a_function_that_no_route_needs_is_loaded_when_it_is_invoked(template: Template, read: Read) -> None:
    project = read(other_function(template))
    assert (list(project.functions), project.on_demand) == (["Fn", "Other"], frozenset({"Other"}))
    asked = read(other_function(template), functions=["Other"])
    assert (list(asked.functions), asked.on_demand) == (["Fn", "Other"], frozenset())


def test_a_function_that_is_asked_for_and_not_there_is_an_error(template: Template, read: Read) -> None:
    with pytest.raises(ConfigError, match=r"^function: got 'Another'; allowed: Fn, Other$"):
        read(other_function(template), functions=["Another"])


def test_a_layer_of_several_functions_is_noted_once(template: Template, read: Read) -> None:
    template["Resources"]["Shared"] = {"Type": "AWS::Lambda::LayerVersion", "Properties": {"Content": "missing"}}
    function(template, Layers=[{"Ref": "Shared"}])
    assert len(read(other_function(template), functions=["Other"]).notes) == 1


def serverless(**functions: dict[str, Any]) -> Template:
    """Return a SAM template with a route to each of these functions."""
    routes = {name.lower(): {"FunctionArn": {"Fn::GetAtt": [name, "Arn"]}} for name in functions}
    chat = {"RouteSelectionExpression": "$request.body.action", "Routes": routes}
    own = {"Handler": "app.handler", "Runtime": "python3.12"}
    return {
        "Transform": ["AWS::Serverless-2016-10-31"],
        "Parameters": {"Where": {"Type": "String", "Default": "chosen"}, "Unset": {"Type": "String"}},
        "Resources": {
            "Chat": {"Type": "AWS::Serverless::WebSocketApi", "Properties": chat},
            **{
                name: {"Type": "AWS::Serverless::Function", "Properties": {**own, **properties}}
                for name, properties in functions.items()
            },
        },
    }


@pytest.mark.parametrize(
    ("properties", "directory"),
    [
        ({}, "."),
        ({"CodeUri": "code/"}, "code"),
        ({"CodeUri": "./code"}, "code"),
        ({"CodeUri": {"Ref": "Where"}}, "chosen"),
        ({"CodeUri": "a b?c#d%20"}, "a b?c#d%20"),
    ],
)
def test_sam_finds_code_wherever_it_is(read: Read, tmp_path: Path, properties: dict[str, Any], directory: str) -> None:
    (tmp_path / directory).mkdir(exist_ok=True)
    project = read(serverless(Fn=properties))
    assert project.functions["Fn"].code_dir == tmp_path / directory
    assert project.api.stage == "default"


def test_sam_finds_code_that_globals_tell_of(read: Read, tmp_path: Path) -> None:
    template = serverless(Fn={}, Own={"CodeUri": "."})
    template["Globals"] = {"Function": {"CodeUri": str(tmp_path / "code")}}
    project = read(template)
    assert project.functions["Fn"].code_dir == tmp_path / "code"
    assert project.functions["Own"].code_dir == tmp_path


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"CodeUri": "s3://bucket/key"}, "AWS::Lambda::Function Fn: its code is in S3 (s3://bucket/key)"),
        ({"PackageType": "Image", "Handler": None, "Runtime": None}, "Fn: its code is a container image"),
        ({"CodeUri": "nowhere"}, "nowhere' does not exist; allowed: a directory, or a zip"),
    ],
)
def test_a_sam_function_whose_code_is_not_here_is_left_out(read: Read, properties: dict[str, Any], words: str) -> None:
    assert words in str(read(serverless(Fn=properties)).functions["Fn"].left_out)


def test_a_sam_location_that_is_not_known_is_refused(read: Read) -> None:
    with pytest.raises(ConfigError, match="AWS::Serverless::Function Fn: CodeUri: parameter Unset has no value"):
        read(serverless(Fn={"CodeUri": {"Ref": "Unset"}}))


def test_a_nested_sam_application_is_not_fetched_but_noted(read: Read) -> None:
    location = {"ApplicationId": "arn:aws:serverlessrepo:us-east-1:1:applications/a", "SemanticVersion": "1.0.0"}
    template = serverless(Fn={})
    template["Resources"]["Nested"] = {"Type": "AWS::Serverless::Application", "Properties": {"Location": location}}
    assert read(template).notes[-1] == "AWS::Serverless::Application Nested: not emulated locally"


def test_the_translator_leaves_the_template_as_it_was() -> None:
    template, same = serverless(Fn={}), serverless(Fn={})
    assert "Transform" not in translate(template, lambda value: value, {}, "us-east-1")
    assert template == same


def test_what_the_translator_stumbles_over_is_refused_in_words(read: Read) -> None:
    template = serverless(Fn={})
    template["Resources"]["Chat"]["Properties"]["Routes"] = {"$connect": 7}
    with pytest.raises(ConfigError, match="the SAM template is not valid: AttributeError"):
        read(template)


# --- tables ----------------------------------------------------------------------------------------------------------


def test_a_table_without_name_is_called_by_its_logical_id(template: Template, read: Read) -> None:
    ttl = {"TimeToLiveSpecification": {"AttributeName": "gone", "Enabled": False}}
    template["Resources"]["Rows"] = {"Type": "AWS::DynamoDB::Table", "Properties": {**KEYS, **ttl}}
    project = read(template)
    assert project.tables == ({"TableName": "Rows", "BillingMode": "PAY_PER_REQUEST", **KEYS},)
    assert project.ttl_attributes == {}


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"KeySchema": None}, "KeySchema is missing"),
        ({"AttributeDefinitions": {"Fn::ImportValue": "a"}}, "Fn::ImportValue 'a' cannot be resolved locally"),
        ({"GlobalSecondaryIndexes": "x"}, "GlobalSecondaryIndexes: got 'x'; allowed: a list of indexes"),
        ({"StreamSpecification": "x"}, "StreamSpecification: got 'x'; allowed: a StreamViewType"),
    ],
)
def test_a_table_that_cannot_be_made_is_left_out_and_named(
    template: Template, read: Read, properties: dict[str, Any], words: str
) -> None:
    template["Resources"]["Rows"] = {"Type": "AWS::DynamoDB::Table", "Properties": {**KEYS, **properties}}
    project = read(template)
    assert project.tables == ()
    [note] = project.notes
    assert note.startswith("AWS::DynamoDB::Table Rows: ")
    assert note.endswith(f"{words}; the table is left out")


# --- invalid values anywhere in a template ---------------------------------------------------------------------------

CDK_TEMPLATE = json.loads((TEMPLATES / "cdk.out" / "Chat.template.json").read_text())
ODDITIES: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, -1, "", "x", [], ["x"], [[]], {}, {"Ref": "x"}, {"Fn::If": []}, {"x": {}}]
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values in a template."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    below = [place for key, item in items for place in places(item, (*path, key))]
    return [path, *below] if path else below


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(places(CDK_TEMPLATE)), oddity=ODDITIES)
def test_a_template_with_something_odd_in_it_is_read_or_refused_in_words(
    tmp_path: Path, place: tuple[Any, ...], oddity: Any
) -> None:
    template = json.loads(json.dumps(CDK_TEMPLATE))
    *path, last = place
    target = template
    for key in path:
        target = target[key]
    target[last] = oddity
    # Beside its assets, if they are found by the template alone.
    (tmp_path / "Chat.template.json").write_text(json.dumps(template))
    for name in ("asset.cccccccc1", "asset.eeeeeeee3", "asset.ffffffff4"):
        (tmp_path / name).mkdir(exist_ok=True)
    (tmp_path / "Chat.assets.json").write_text((TEMPLATES / "cdk.out" / "Chat.assets.json").read_text())
    (tmp_path / "asset.aaaaaaaa2").mkdir(exist_ok=True)
    try:
        said = read_project(tmp_path / "Chat.template.json").notes
    except ConfigError as error:
        said = (str(error),)
    assert not [line for line in said if "\n" in line]
