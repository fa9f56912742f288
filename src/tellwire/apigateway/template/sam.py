"""Translation of SAM to plain CloudFormation, by AWS's own translator: the code that runs when a template is deployed.

The translator needs code in S3, a region, and the names of AWS's managed policies. Here code is on this machine, so a
path is passed through as the key of a placeholder bucket; the region is a parameter; and policies are not used here, so
their names stay as they are. No network, no credentials, no AWS configuration.

Source: AWS Serverless Application Model specification; aws-sam-translator.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from samtranslator.metrics.metrics import DummyMetricsPublisher, Metrics
from samtranslator.model.exceptions import ExceptionWithMessage, InvalidDocumentException
from samtranslator.parser.parser import Parser
from samtranslator.translator.arn_generator import ArnGenerator
from samtranslator.translator.translator import Translator

from tellwire.apigateway.template.code import LOCAL_BUCKET
from tellwire.apigateway.template.intrinsics import Unresolved
from tellwire.errors import ConfigError, shown

_SERVERLESS: Final = "AWS::Serverless::"
_APPLICATION: Final = "AWS::Serverless::Application"
_FUNCTION: Final = "AWS::Serverless::Function"
_LOCATIONS: Final = ("CodeUri", "ContentUri", "DefinitionUri")
"""Properties that the translator takes only as S3 locations."""

Resolve = Callable[[Any], Any]


def translate(
    template: Mapping[str, Any], resolve: Resolve, parameters: Mapping[str, str], region: str
) -> dict[str, Any]:
    """Translate a SAM template into a CloudFormation template.

    Raises:
        ConfigError: the template is not valid; the text has all messages of the translator.
    """
    prepared = copy.deepcopy(dict(template))
    # The translator would fetch them from AWS. They are added again afterwards, to be noted as not emulated.
    applications = _take_applications(prepared["Resources"])
    if not prepared["Resources"]:
        # The translator refuses a template without resources.
        return {**prepared, "Resources": applications}
    _replace_paths(prepared, resolve)
    with _translator(region) as translator:
        try:
            translated: dict[str, Any] = translator.translate(prepared, dict(parameters))
        except ExceptionWithMessage as error:
            causes = error.causes if isinstance(error, InvalidDocumentException) else [error]
            messages = "; ".join(" ".join(cause.message.split()) for cause in causes)
            raise ConfigError(f"the SAM template is not valid: {messages}") from error
        except Exception as error:
            # The translator does not check everything: unexpected values raise errors of any type.
            raise ConfigError(f"the SAM template is not valid: {type(error).__name__} {shown(str(error))}") from error
    translated["Resources"].update(applications)
    return translated


@dataclass(frozen=True, slots=True)
class _Region:
    """The part of a boto3 session that the translator uses."""

    region_name: str


@contextmanager
def _translator(region: str) -> Iterator[Any]:
    metrics = Metrics("tellwire", DummyMetricsPublisher())
    region_before = ArnGenerator.BOTO_SESSION_REGION_NAME
    try:
        # Only the region of the session is used; a real session would read the AWS configuration.
        yield Translator({}, Parser(), boto_session=_Region(region), metrics=metrics)
    finally:
        # The translator keeps the region in a class attribute, where a later translation would find it.
        ArnGenerator.BOTO_SESSION_REGION_NAME = region_before
        # It logs a warning if its metrics are not published.
        metrics.publish()


def _take_applications(resources: dict[str, Any]) -> dict[str, Any]:
    found = [logical_id for logical_id, resource in resources.items() if resource.get("Type") == _APPLICATION]
    return {logical_id: resources.pop(logical_id) for logical_id in found}


def _replace_paths(template: dict[str, Any], resolve: Resolve) -> None:
    global_sections = template.get("Globals")
    global_sections = global_sections if isinstance(global_sections, dict) else {}
    for name, section in global_sections.items():
        _replace_locations(f"Globals {name}", section, resolve)
    inherited = global_sections.get("Function")
    for logical_id, resource in template["Resources"].items():
        if str(resource.get("Type")).startswith(_SERVERLESS):
            properties = resource.setdefault("Properties", {})
            _replace_locations(f"{resource['Type']} {logical_id}", properties, resolve)
            if resource["Type"] == _FUNCTION and isinstance(properties, dict):
                _add_default_location(properties, inherited if isinstance(inherited, dict) else {})


def _replace_locations(about: str, section: Any, resolve: Resolve) -> None:
    for name in _LOCATIONS:
        if not isinstance(section, dict) or section.get(name) is None:
            continue
        try:
            location = resolve(section[name])
        except Unresolved as unresolved:
            raise ConfigError(f"{about}: {name}: {unresolved}") from unresolved
        is_path = isinstance(location, str) and not location.startswith("s3://")
        section[name] = f"s3://{LOCAL_BUCKET}/{quote(location, safe='')}" if is_path else location


def _add_default_location(properties: dict[str, Any], inherited: Mapping[str, Any]) -> None:
    merged = {**inherited, **properties}
    if merged.get("PackageType") == "Image":
        # An image that `sam build` has not built yet has no URI.
        properties.setdefault("ImageUri", "not-built")
    elif not {"CodeUri", "InlineCode"} & merged.keys():
        # As in `sam local`: a function without either has its code beside the template.
        properties["CodeUri"] = f"s3://{LOCAL_BUCKET}/."
