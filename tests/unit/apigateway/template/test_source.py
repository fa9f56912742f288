"""The search for a template, and its errors."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tellwire.apigateway.template import read_project
from tellwire.apigateway.template.source import read_source
from tellwire.apigateway.template.yaml_text import parse
from tellwire.errors import ConfigError

TEMPLATES = Path(__file__).parents[3] / "data" / "templates"


@pytest.mark.parametrize("name", ["template.yaml", "template.yml", "template.json"])
def test_a_directory_stands_for_the_template_in_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"Resources": {}}')
    assert read_source(tmp_path).path == tmp_path / name


def test_a_directory_stands_for_the_cdk_app_in_it(tmp_path: Path) -> None:
    shutil.copytree(TEMPLATES / "cdk.out", tmp_path / "cdk.out")
    assert read_source(tmp_path).path == tmp_path / "cdk.out" / "Chat.template.json"
    assert read_source(tmp_path / "cdk.out" / "Chat.template.json").stack_name == "Chat"


def test_the_stack_of_a_cdk_stage_is_found_in_its_own_assembly(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "assembly-Dev").mkdir()
    shutil.copy(TEMPLATES / "cdk.out" / "Storage.template.json", tmp_path)
    shutil.copy(TEMPLATES / "cdk.out" / "Chat.template.json", tmp_path / "assembly-Dev")
    assert read_source(tmp_path).path.name == "Chat.template.json"


def test_a_nested_cdk_stack_is_read_with_its_outer_one(tmp_path: Path) -> None:
    shutil.copy(TEMPLATES / "cdk.out" / "Storage.template.json", tmp_path)
    shutil.copy(TEMPLATES / "cdk.out" / "Chat.template.json", tmp_path / "AppChat1.nested.template.json")
    metadata = {"aws:asset:path": "AppChat1.nested.template.json"}
    outer = {"Resources": {"Ws": {"Type": "AWS::CloudFormation::Stack", "Metadata": metadata}}}
    (tmp_path / "App.template.json").write_text(json.dumps(outer))
    assert read_source(tmp_path).path.name == "App.template.json"


def test_several_cdk_stacks_with_an_api_are_named(tmp_path: Path) -> None:
    for name in ("Dev", "Prod"):
        shutil.copy(TEMPLATES / "cdk.out" / "Chat.template.json", tmp_path / f"{name}.template.json")
    with pytest.raises(ConfigError, match=r"several stacks have .*: Dev\.template\.json, Prod\.template\.json$"):
        read_source(tmp_path)


def test_several_cdk_stacks_without_an_api_are_named(tmp_path: Path) -> None:
    for name in ("A", "B"):
        shutil.copy(TEMPLATES / "cdk.out" / "Storage.template.json", tmp_path / f"{name}.template.json")
    with pytest.raises(ConfigError, match=r"no stack has a WebSocket API; .*: A\.template\.json, B\.template\.json$"):
        read_source(tmp_path)


def test_a_path_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file or directory"):
        read_source(tmp_path / "nothing")
    with pytest.raises(
        ConfigError,
        match=r"allowed: one with template\.yaml, template\.yml, template\.json, sam\.json, serverless\.yml",
    ):
        read_source(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", '{"Resources":\n {,}}', "template a.json, line 2: not JSON: "),
        ("a.yaml", "Resources:\n  A: {Type: b\n", "template a.yaml, line 3: not YAML: expected ',' or '}'"),
        ("a.yaml", "Resources: \x00", "template a.yaml: not YAML: unacceptable character"),
        ("a.yaml", "- a list", "template a.yaml: got ['a list']; allowed: a SAM or CloudFormation template"),
        ("a.yaml", "", "template a.yaml: got None; allowed: a SAM or CloudFormation template"),
        ("a.yaml", "Resources:\n  A: text", "resource A: got 'text'; allowed: Type and Properties"),
    ],
)
def test_a_file_that_is_no_template_is_refused_with_its_place(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_source(tmp_path / name)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("!Ref A", {"Ref": "A"}),
        ("!GetAtt A.B.C", {"Fn::GetAtt": ["A", "B.C"]}),
        ("!GetAtt [A, B]", {"Fn::GetAtt": ["A", "B"]}),
        ("!Sub '${A}'", {"Fn::Sub": "${A}"}),
        ("!Sub ['${A}', {A: !Ref B}]", {"Fn::Sub": ["${A}", {"A": {"Ref": "B"}}]}),
        ("!If [C, !Ref A, !Ref B]", {"Fn::If": ["C", {"Ref": "A"}, {"Ref": "B"}]}),
        ("!Not [!Condition C]", {"Fn::Not": [{"Condition": "C"}]}),
        ("!Base64 text", {"Fn::Base64": "text"}),
        ("!Transform {Name: AWS::Include}", {"Fn::Transform": {"Name": "AWS::Include"}}),
        ("2012-10-17", "2012-10-17"),
    ],
)
def test_short_tags_are_their_long_forms(written: str, read: Any) -> None:
    assert parse(f"value: {written}", "template.yaml") == {"value": read}


def test_a_name_that_stands_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    file = tmp_path / "template.yaml"
    file.write_text("Resources:\n  One: {Type: A}\n  Two: {Type: B}\n  One: {Type: C}\n")
    with pytest.raises(ConfigError, match=r"template\.yaml, line 4: .*'One' is already defined in line 2"):
        read_project(file)


def test_merged_yaml_is_not_a_name_that_stands_twice(tmp_path: Path) -> None:
    assert parse("a: &x {k: 1}\nb: {<<: *x, k: 2}\n", "t") == {"a": {"k": 1}, "b": {"k": 2}}


def test_yaml_tags_can_make_no_objects() -> None:
    with pytest.raises(ConfigError, match="line 1: not YAML: could not determine a constructor"):
        parse("!!python/object/apply:os.system ['true']", "template.yaml")


def test_yaml_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    monkeypatch.delitem(sys.modules, "tellwire.apigateway.template.yaml_text")
    (tmp_path / "template.yaml").write_text("Resources: {}")
    with pytest.raises(ConfigError, match=r"pip install 'tellwire\[template\]'"):
        read_source(tmp_path)


def test_sam_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "samtranslator.translator.translator", None)
    monkeypatch.delitem(sys.modules, "tellwire.apigateway.template.sam", raising=False)
    (tmp_path / "template.json").write_text(json.dumps({"Transform": "AWS::Serverless-2016-10-31", "Resources": {}}))
    with pytest.raises(ConfigError, match=r"pip install 'tellwire\[template\]'"):
        read_project(tmp_path)


def test_what_sam_build_has_written_comes_first_in_a_directory_only(tmp_path: Path) -> None:
    built = tmp_path / ".aws-sam" / "build"
    built.mkdir(parents=True)
    for path in (tmp_path / "template.yaml", built / "template.yaml"):
        path.write_text("Resources: {}")
    assert read_source(tmp_path).path == built / "template.yaml"
    assert read_source(tmp_path / "template.yaml").path == tmp_path / "template.yaml"


def test_the_package_of_chalice_is_found_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "sam.json").write_text(json.dumps({"Resources": {}}))
    assert read_source(tmp_path).path.name == "sam.json"
