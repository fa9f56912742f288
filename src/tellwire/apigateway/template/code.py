"""Directories of the code of functions and layers on this machine.

    CodeUri, ContentUri (SAM), Code, Content (CloudFormation)   a path beside the template: a directory, or a zip
    Metadata "aws:asset:path", or the stack's *.assets.json     a CDK asset
    InlineCode (SAM), Code.ZipFile (CloudFormation)             text in the template, written to a file

Source: CDK cloud assembly schema, "asset manifest"; CloudFormation template reference, "AWS::Lambda::Function Code".
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from tellwire.apigateway.template.resource import LeftOut, Resource
from tellwire.apigateway.template.source import Source
from tellwire.errors import ConfigError

LOCAL_BUCKET: Final = "a-path-on-this-machine"
"""The bucket of a location whose key is a quoted path. The name is ours, there is no such bucket."""

MAX_UNZIPPED_BYTES: Final = 250 * 1024 * 1024
"""Largest deployment package of a function, unzipped (Lambda developer guide, "Lambda quotas")."""

ASSET_PATH: Final = "aws:asset:path"
"""The name in a resource's Metadata under which the CDK writes the path of its asset."""


class CodeFinder:
    """Finds directories of code. Code of the template itself, and of zips, is written into the directory `workspace`.

    `sources` are the templates, by the names of their stacks.
    """

    def __init__(self, sources: Mapping[str, Source], workspace: Path | None) -> None:
        self._sources = sources
        self._workspace = workspace
        self._assets: dict[str, dict[str, str]] = {}

    def directory(self, resource: Resource, property_name: str) -> Path:
        """Return the directory of the code that a property (`Code`, `Content`) names.

        Raises:
            LeftOut: it is not on this machine, or neither a directory nor a zip.
        """
        source = self._sources[resource.stack]
        if (asset := resource.metadata.get(ASSET_PATH)) is not None:
            return self._existing(resource, source.beside(str(asset)))
        match resource.value(property_name):
            case {"ZipFile": str(text)}:
                return self._written(resource, text)
            case {"ImageUri": _}:
                raise LeftOut(f"{resource}: its code is a container image; allowed: a directory on this machine")
            case {"S3Bucket": bucket, "S3Key": key}:
                return self._existing(resource, self._in_bucket(source, resource, bucket, str(key)))
            case str(path):
                return self._existing(resource, source.beside(path))
            case _:
                raise LeftOut(f"{resource}: {property_name} is missing; allowed: a directory on this machine")

    def _in_bucket(self, source: Source, resource: Resource, bucket: Any, key: str) -> Path:
        if bucket == LOCAL_BUCKET:
            return source.beside(unquote(key))
        if (asset := self._assets_of(source).get(key)) is not None:
            return source.beside(asset)
        raise LeftOut(
            f"{resource}: its code is in S3 (s3://{bucket}/{key}); allowed: a directory on this machine. "
            "Give the template as it was before it was packaged"
        )

    def _assets_of(self, source: Source) -> dict[str, str]:
        """Paths of CDK's assets by S3 key: `cdk synth` also writes them into the template, `python app.py` does not."""
        if source.stack_name not in self._assets:
            self._assets[source.stack_name] = _read_assets(source.path.with_name(f"{source.stack_name}.assets.json"))
        return self._assets[source.stack_name]

    def _existing(self, resource: Resource, path: Path) -> Path:
        if path.is_dir():
            return path
        if zipfile.is_zipfile(path):
            return self._unpacked(resource, path)
        problem = "is a file" if path.exists() else "does not exist"
        raise LeftOut(f"{resource}: its code {str(path)!r} {problem}; allowed: a directory, or a zip")

    def _unpacked(self, resource: Resource, path: Path) -> Path:
        directory = self._directory(resource)
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
                if (size := sum(member.file_size for member in members)) > MAX_UNZIPPED_BYTES:
                    raise ConfigError(
                        f"{resource}: {path.name} has {size:,} bytes unzipped; allowed: {MAX_UNZIPPED_BYTES:,}"
                    )
                for member in members:
                    written = Path(archive.extract(member, directory))
                    # zipfile drops the modes, and a `bootstrap` must stay executable.
                    if (mode := member.external_attr >> 16 & 0o777) and not member.is_dir():
                        written.chmod(mode | 0o600)
        except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise LeftOut(f"{resource}: its code {path.name!r} cannot be unzipped: {error}") from error
        return directory

    def _written(self, resource: Resource, text: str) -> Path:
        directory = self._directory(resource)
        # Lambda always gives this name to the file; its runtimes of Node read another.
        name = "index.js" if str(resource.properties.get("Runtime")).startswith("nodejs") else "index.py"
        (directory / name).write_text(text, encoding="utf-8")
        return directory

    def _directory(self, resource: Resource) -> Path:
        if self._workspace is None:
            raise ConfigError(f"{resource}: its code is in the template or a zip; that needs a workspace directory")
        directory = self._workspace / resource.stack / resource.logical_id
        directory.mkdir(parents=True, exist_ok=True)
        return directory


def _read_assets(manifest: Path) -> dict[str, str]:
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
