"""Models of a template: references from routes, and invalid models."""

import json
from typing import Any

import pytest

from tellwire.errors import ConfigError
from tests.unit.apigateway.template.conftest import Read, Template

SCHEMA = {"type": "object", "required": ["text"]}


def model(template: Template, logical_id: str = "Said", **properties: Any) -> Template:
    """Add a model; a property that is None is left out."""
    written = {"ApiId": {"Ref": "Chat"}, "Name": "SaidModel", "ContentType": "application/json", "Schema": SCHEMA}
    given = {name: value for name, value in (written | properties).items() if value is not None}
    template["Resources"][logical_id] = {"Type": "AWS::ApiGatewayV2::Model", "Properties": given}
    return template


def route(template: Template, **properties: Any) -> Template:
    template["Resources"]["Connect"]["Properties"] |= {"RouteKey": "say", **properties}
    return template


def refusal(read: Read, template: Template) -> str:
    with pytest.raises(ConfigError) as caught:
        read(template)
    return str(caught.value)


@pytest.mark.parametrize("name", ["SaidModel", "Said", {"Ref": "Said"}, {"Fn::GetAtt": ["Said", "ModelId"]}])
def test_a_route_names_a_model_by_its_name_or_its_logical_id(template: Template, read: Read, name: Any) -> None:
    [said] = read(route(model(template), RequestModels={"$default": name})).api.routes
    assert said.models == {"$default": SCHEMA}
    assert said.model_selection_expression == "$default"


def test_a_schema_may_be_text(template: Template, read: Read) -> None:
    [said] = read(route(model(template, Schema=json.dumps(SCHEMA)), RequestModels={"$default": "Said"})).api.routes
    assert said.models == {"$default": SCHEMA}


def test_a_schema_may_hold_what_the_template_knows(template: Template, read: Read) -> None:
    schema = {"properties": {"region": {"enum": [{"Ref": "AWS::Region"}]}}}
    [said] = read(route(model(template, Schema=schema), RequestModels={"$default": "Said"})).api.routes
    assert said.models == {"$default": {"properties": {"region": {"enum": ["us-east-1"]}}}}


def test_a_route_has_its_models_by_their_keys_and_the_expression(template: Template, read: Read) -> None:
    model(model(template), "Asked", Name="AskedModel", Schema={})
    route(
        template,
        RequestModels={"said": "SaidModel", "asked": "Asked"},
        ModelSelectionExpression="$request.body.kind",
    )
    [said] = read(template).api.routes
    assert said.models == {"said": SCHEMA, "asked": {}}
    assert said.model_selection_expression == "$request.body.kind"


def test_a_model_without_a_name_known_here_goes_by_its_logical_id(template: Template, read: Read) -> None:
    unknown = {"Fn::ImportValue": "name"}
    [said] = read(route(model(template, Name=unknown), RequestModels={"$default": "Said"})).api.routes
    assert said.models == {"$default": SCHEMA}


@pytest.mark.parametrize("wanted", [None, {}])
def test_models_that_no_route_names_do_no_harm(template: Template, read: Read, wanted: Any) -> None:
    broken = model(template, ApiId={"Fn::ImportValue": "api"}, Name=None, Schema="{")
    project = read(route(broken, **({} if wanted is None else {"RequestModels": wanted})))
    assert project.api.routes[0].models == {}
    assert project.notes == ()


@pytest.mark.parametrize("name", ["Other", ["Said"], {"said": "Said"}, 5])
def test_a_model_that_is_not_there_is_refused_and_those_there_are_named(
    template: Template, read: Read, name: Any
) -> None:
    words = f"route say: RequestModels: got {name!r}; allowed: Said, SaidModel"
    assert refusal(read, route(model(template), RequestModels={"$default": name})) == words


def test_a_model_of_another_api_is_none_of_this_one(template: Template, read: Read) -> None:
    words = "route say: RequestModels: got 'Said'; allowed: none"
    assert refusal(read, route(model(template, ApiId="other"), RequestModels={"$default": "Said"})) == words


def test_request_models_that_are_no_mapping_are_refused(template: Template, read: Read) -> None:
    words = "route say: RequestModels: got ['Said']; allowed: model keys and names of models"
    assert refusal(read, route(model(template), RequestModels=["Said"])) == words


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("{", "Schema: not JSON: Input data was truncated"),
        ("5", "Schema: got 5; allowed: a JSON Schema"),
        ([SCHEMA], "allowed: a JSON Schema"),
        (None, "Schema: got None; allowed: a JSON Schema"),
    ],
)
def test_a_schema_that_is_none_is_refused_with_its_route(
    template: Template, read: Read, schema: Any, words: str
) -> None:
    refused = refusal(read, route(model(template, Schema=schema), RequestModels={"$default": "Said"}))
    assert refused.startswith("route say: AWS::ApiGatewayV2::Model Said: ")
    assert refused.endswith(words)


def test_a_schema_that_is_not_known_here_leaves_out_its_route(template: Template, read: Read) -> None:
    unknown = {"Fn::ImportValue": "schema"}
    words = "AWS::ApiGatewayV2::Model Said: Schema: Fn::ImportValue 'schema' cannot be resolved locally"
    project = read(route(model(template, Schema=unknown), RequestModels={"$default": "Said"}))
    [found] = [each.left_out for each in project.functions.values() if each.left_out is not None]
    assert found == words
