"""Nested stacks and applications: their resources are the project's, and values go both ways."""

import json
from pathlib import Path
from typing import Any

import pytest

from tellwire.apigateway.definition import Project
from tellwire.apigateway.template import read_project
from tellwire.errors import ConfigError
from tests.unit.apigateway.template.conftest import Template

TABLE = {
    "Type": "AWS::DynamoDB::Table",
    "Properties": {
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    },
}


def nest(tmp_path: Path, inner: Template, outer: Template, name: str = "ws.json") -> Project:
    (tmp_path / "code").mkdir(exist_ok=True)
    (tmp_path / name).write_text(json.dumps(inner))
    (tmp_path / "template.json").write_text(json.dumps(outer))
    return read_project(tmp_path)


def stack(location: str = "./ws.json", **properties: Any) -> dict[str, Any]:
    return {"Type": "AWS::CloudFormation::Stack", "Properties": {"TemplateURL": location, **properties}}


def test_an_api_of_a_nested_stack_has_the_values_of_the_outer_one(template: Template, tmp_path: Path) -> None:
    template["Parameters"] = {"Table": {"Type": "String"}}
    template["Resources"]["Fn"]["Properties"]["Environment"] = {"Variables": {"TABLE": {"Ref": "Table"}}}
    outer = {"Resources": {"Rows": TABLE, "Ws": stack(Parameters={"Table": {"Ref": "Rows"}})}}
    project = nest(tmp_path, template, outer)
    assert [route.key for route in project.api.routes] == ["$connect"]
    assert project.functions["Fn"].environment == {"TABLE": "Rows"}
    assert [table["TableName"] for table in project.tables] == ["Rows"]
    assert project.notes == ()


def test_outputs_of_a_nested_stack_are_values_of_the_outer_one(template: Template, tmp_path: Path) -> None:
    inner = {"Resources": {"Rows": TABLE}, "Outputs": {"Name": {"Value": {"Ref": "Rows"}}}}
    variables = {"TABLE": {"Fn::GetAtt": ["Db", "Outputs.Name"]}, "NONE": {"Fn::GetAtt": ["Db", "Outputs.None"]}}
    template["Resources"]["Fn"]["Properties"]["Environment"] = {"Variables": variables}
    template["Resources"]["Db"] = stack()
    project = nest(tmp_path, inner, template)
    assert project.functions["Fn"].environment == {"TABLE": "Rows"}
    assert project.notes == (
        "function Fn: environment variable NONE: there is no output 'None'; set it with --env-file",
    )


def test_a_sam_template_of_nested_applications_only_is_read(template: Template, tmp_path: Path) -> None:
    application = {"Type": "AWS::Serverless::Application", "Properties": {"Location": "./ws.json"}}
    outer = {"Transform": "AWS::Serverless-2016-10-31", "Resources": {"Ws": application}}
    assert [route.key for route in nest(tmp_path, template, outer).api.routes] == ["$connect"]


def test_a_nested_stack_of_the_cdk_is_found_by_its_asset(template: Template, tmp_path: Path) -> None:
    nested = {**stack("https://s3.amazonaws.com/x.json"), "Metadata": {"aws:asset:path": "ws.nested.template.json"}}
    project = nest(tmp_path, template, {"Resources": {"Ws": nested}}, "ws.nested.template.json")
    assert [route.key for route in project.api.routes] == ["$connect"]


def test_a_nested_template_that_is_not_here_is_named_where_there_is_no_api(tmp_path: Path) -> None:
    words = r"It may be in one of these, whose template is not on this machine: AWS::CloudFormation::Stack Ws$"
    with pytest.raises(ConfigError, match=words):
        nest(tmp_path, {"Resources": {}}, {"Resources": {"Ws": stack("https://s3.amazonaws.com/x.json")}})


def test_a_template_that_nests_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="got over 10 nested stacks; allowed: 10"):
        nest(tmp_path, {"Resources": {"Ws": stack()}}, {"Resources": {"Ws": stack()}})


def test_a_parameter_that_is_not_known_is_named(template: Template, tmp_path: Path) -> None:
    template["Parameters"] = {"Url": {"Type": "String", "Default": "x"}}
    outer = {"Resources": {"Ws": stack(Parameters={"Url": {"Fn::ImportValue": "url"}})}}
    assert nest(tmp_path, template, outer).notes == (
        "AWS::CloudFormation::Stack Ws: parameter Url: Fn::ImportValue 'url' cannot be resolved locally",
    )


# --- stacks of one app -----------------------------------------------------------------------------------------------


def app(tmp_path: Path, **stacks: Template) -> Project:
    (tmp_path / "code").mkdir()
    for name, template in stacks.items():
        (tmp_path / f"{name}.template.json").write_text(json.dumps(template))
    return read_project(tmp_path)


def exporting(name: str, value: Any, **resources: Any) -> Template:
    return {"Resources": resources, "Outputs": {"Out": {"Value": value, "Export": {"Name": name}}}}


def test_a_stack_imports_values_of_the_stacks_of_its_app(template: Template, tmp_path: Path) -> None:
    variables = {"TABLE": {"Fn::ImportValue": "Data:Rows"}, "NONE": {"Fn::ImportValue": "Data:None"}}
    template["Resources"]["Fn"]["Properties"]["Environment"] = {"Variables": variables}
    data = exporting("Data:Rows", {"Fn::ImportValue": "Base:Name"})
    base = exporting("Base:Name", {"Ref": "Rows"}, Rows=TABLE)
    project = app(tmp_path, Chat=template, Data=data, Base=base, Other={"Resources": {"Else": TABLE}})
    assert project.functions["Fn"].environment == {"TABLE": "Rows"}
    assert [table["TableName"] for table in project.tables] == ["Rows"]
    assert project.notes == (
        "function Fn: environment variable NONE: Fn::ImportValue 'Data:None' cannot be resolved locally; "
        "set it with --env-file",
    )


def test_functions_of_another_stack_are_behind_the_routes(template: Template, tmp_path: Path) -> None:
    functions = exporting("Arn", {"Fn::GetAtt": ["Fn", "Arn"]}, Fn=template["Resources"].pop("Fn"))
    uri = "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/"
    parts = [uri, {"Fn::ImportValue": "Arn"}, "/invocations"]
    template["Resources"]["ConnectIntegration"]["Properties"]["IntegrationUri"] = {"Fn::Join": ["", parts]}
    assert app(tmp_path, Api=template, Functions=functions).functions["Fn"].left_out is None


def test_exports_that_import_each_other_have_no_value(template: Template, tmp_path: Path) -> None:
    template["Resources"]["Fn"]["Properties"]["Environment"] = {"Variables": {"A": {"Fn::ImportValue": "one"}}}
    one, two = exporting("one", {"Fn::ImportValue": "two"}), exporting("two", {"Fn::ImportValue": "one"})
    project = app(tmp_path, Chat=template, One=one, Two=two)
    assert project.functions["Fn"].environment == {}
    assert "refers to itself" in project.notes[0]
