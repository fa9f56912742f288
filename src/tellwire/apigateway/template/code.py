"""Directories of the code of functions and layers on this machine.

    CodeUri, ContentUri (SAM), Code, Content (CloudFormation)   a path beside the template
    Metadata "aws:asset:path", or the stack's *.assets.json     a CDK asset
    InlineCode (SAM), Code.ZipFile (CloudFormation)             text in the template, written to a file

Source: CDK cloud assembly schema, "asset manifest"; CloudFormation template reference, "AWS::Lambda::Function Code".
"""

import json
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from tellwire.apigateway.template.resource import Resource
from tellwire.apigateway.template.source import Source
from tellwire.errors import ConfigError

LOCAL_BUCKET: Final = "a-path-on-this-machine"
"""The bucket of a location whose key is a quoted path. The name is ours, there is no such bucket."""

_ASSET_PATH: Final = "aws:asset:path"


class CodeFinder:
    """Finds directories of code. Code from the template itself is written into the directory `workspace`."""

    def __init__(self, source: Source, workspace: Path | None) -> None:
        self._source = source
        self._workspace = workspace

    def directory(self, resource: Resource, property_name: str) -> Path:
        """Return the directory of the code that a property (`Code`, `Content`) names.

        Raises:
            ConfigError: it is not on this machine, or not a directory.
        """
        if (asset := resource.metadata.get(_ASSET_PATH)) is not None:
            return _existing(resource, self._source.beside(str(asset)))
        match resource.value(property_name):
            case {"ZipFile": str(text)}:
                return self._written(resource, text)
            case {"ImageUri": _}:
                raise ConfigError(f"{resource}: its code is a container image; allowed: a directory on this machine")
            case {"S3Bucket": bucket, "S3Key": key}:
                return _existing(resource, self._in_bucket(resource, bucket, str(key)))
            case str(path):
                return _existing(resource, self._source.beside(path))
            case _:
                raise ConfigError(f"{resource}: {property_name} is missing; allowed: a directory on this machine")

    def _in_bucket(self, resource: Resource, bucket: Any, key: str) -> Path:
        if bucket == LOCAL_BUCKET:
            return self._source.beside(unquote(key))
        if (asset := self._assets.get(key)) is not None:
            return self._source.beside(asset)
        raise ConfigError(
            f"{resource}: its code is in S3 (s3://{bucket}/{key}); allowed: a directory on this machine. "
            "Give the template as it was before it was packaged"
        )

    @cached_property
    def _assets(self) -> dict[str, str]:
        """Paths of CDK's assets by S3 key: `cdk synth` also writes them into the template, `python app.py` does not."""
        manifest = self._source.path.with_name(f"{self._source.stack_name}.assets.json")
        try:
            files = json.loads(manifest.read_text(encoding="utf-8"))["files"].values()
            return {
                destination["objectKey"]: file["source"]["path"]
                for file in files
                for destination in file["destinations"].values()
                if "path" in file["source"]
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{manifest.name}: not a manifest of CDK assets") from error

    def _written(self, resource: Resource, text: str) -> Path:
        if self._workspace is None:
            raise ConfigError(f"{resource}: its code is in the template; that needs a workspace directory")
        directory = self._workspace / resource.logical_id
        directory.mkdir(parents=True, exist_ok=True)
        # Lambda always gives this name to the file.
        (directory / "index.py").write_text(text, encoding="utf-8")
        return directory


def _existing(resource: Resource, path: Path) -> Path:
    if path.is_dir():
        return path
    problem = "is a file" if path.exists() else "does not exist"
    raise ConfigError(f"{resource}: its code {str(path)!r} {problem}; allowed: a directory")
