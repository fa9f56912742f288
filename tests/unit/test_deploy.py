"""Docker and Kubernetes files of deploy/: schemas, times that fit together, settings that exist, no secrets."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tellwire import limits
from tellwire.config import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
COMPOSE = yaml.safe_load((DEPLOY / "docker" / "compose.yml").read_text())
SETTINGS = {f"TELLWIRE_{name.upper()}": name for name in Settings.__struct_fields__}
SECRETS = {"TELLWIRE_JWT_SECRET", "TELLWIRE_API_KEY", "TELLWIRE_WEBHOOK_SECRET"}
KUBERNETES = "1.32"


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def workloads() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in MANIFESTS:
        for each in documents(path):
            if each["kind"] in ("Deployment", "StatefulSet"):
                yield path.name, each["spec"]["template"]


def environments() -> dict[str, dict[str, str]]:
    """Return the settings that each file gives a gateway."""
    found = {
        name: {each["name"]: each["value"] for each in pod["spec"]["containers"][0]["env"]} for name, pod in workloads()
    }
    return found | {"compose.yml": COMPOSE["services"]["gateway"]["environment"]}


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_kubernetes_knows_every_field(path: Path) -> None:
    for each in documents(path):
        kubernetes_validate.validate(each, KUBERNETES, strict=True)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_what_selects_pods_selects_these(path: Path) -> None:
    found = documents(path)
    (workload,) = (each for each in found if each["kind"] in ("Deployment", "StatefulSet"))
    labels = workload["spec"]["template"]["metadata"]["labels"]
    ports = {each["name"] for each in workload["spec"]["template"]["spec"]["containers"][0]["ports"]}
    services = {each["metadata"]["name"]: each for each in found if each["kind"] == "Service"}
    for each in found:
        spec = each["spec"]
        for selector in (spec.get("selector"), spec.get("podSelector")):
            assert selector is None or selector.get("matchLabels", selector).items() <= labels.items()
    for service in services.values():
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for ingress in (each for each in found if each["kind"] == "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for route in rule["http"]["paths"]:
                to = route["backend"]["service"]
                assert to["port"]["name"] in {port["name"] for port in services[to["name"]]["spec"]["ports"]}


@pytest.mark.parametrize(("name", "pod"), list(workloads()))
def test_a_pod_has_the_time_to_drain_and_no_variables_of_services(name: str, pod: dict[str, Any]) -> None:
    spec = pod["spec"]
    (container,) = spec["containers"]
    waits = int(container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])[1])
    drain = float(environments()[name]["TELLWIRE_DRAIN_SECONDS"])
    margin = limits.WORKER_MARGIN_SECONDS + limits.WORKER_END_SECONDS
    assert spec["terminationGracePeriodSeconds"] >= waits + drain + margin
    # A service `tellwire` would set TELLWIRE_PORT to tcp://….
    assert spec["enableServiceLinks"] is False
    assert {each["secret"]["secretName"] for each in spec["volumes"] if "secret" in each} == {"tellwire"}
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"


@pytest.mark.parametrize("name", list(environments()))
def test_settings_of_the_files_exist_fit_together_and_hold_no_secret(name: str) -> None:
    found = environments()[name]
    assert found.keys() <= SETTINGS.keys()
    assert not found.keys() & SECRETS
    drain, spread = (float(found.get(f"TELLWIRE_DRAIN{each}_SECONDS", 0)) for each in ("", "_SPREAD"))
    assert drain > spread


def instructions(path: Path) -> list[tuple[str, str]]:
    """Return the lines of a Dockerfile, joined where they go on."""
    text = re.sub(r"\\\n\s*", "", path.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def test_the_image_is_one_of_a_user_without_rights_and_names_no_secret() -> None:
    found = instructions(DEPLOY / "docker" / "Dockerfile")
    last = max(at for at, (name, _) in enumerate(found) if name == "FROM")
    final = dict(found[last:])
    assert final["USER"] == "10001:10001"
    assert final["STOPSIGNAL"] == "SIGTERM"
    assert "/healthz" in final["HEALTHCHECK"]
    assert (final["ENTRYPOINT"], final["CMD"]) == ('["tellwire"]', '["serve"]')
    variables = {word.split("=")[0] for name, text in found if name in ("ENV", "ARG") for word in text.split()}
    assert not variables & (SECRETS | {f"{each}_FILE" for each in SECRETS})
    # Only what stages name is sent to the builder.
    ignored = (DEPLOY / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    sent = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        word for name, text in found if name == "COPY" and not text.startswith("--from") for word in text.split()[:-1]
    }
    assert ignored[1] == "*"
    assert copied == sent
    assert all((DEPLOY.parent / each).exists() for each in copied)


def test_the_services_of_compose_stop_in_time_with_few_rights_and_files_that_are_there() -> None:
    services = COMPOSE["services"]
    gateway = services["gateway"]
    drain = float(gateway["environment"]["TELLWIRE_DRAIN_SECONDS"])
    assert float(gateway["stop_grace_period"].removesuffix("s")) > drain + limits.WORKER_MARGIN_SECONDS
    assert gateway["read_only"]
    assert gateway["cap_drop"] == ["ALL"]
    assert set(gateway["secrets"]) == COMPOSE["secrets"].keys()
    folder = DEPLOY / "docker"
    assert (folder / gateway["build"]["context"] / gateway["build"]["dockerfile"]).is_file()
    nginx = services["nginx"]
    configuration = folder / nginx["volumes"][0].split(":")[0]
    # The line that is changed when nginx starts.
    assert "server 127.0.0.1:8787;" in configuration.read_text()
    assert "server 127.0.0.1:8787;" in nginx["command"][2]
    subnet = COMPOSE["networks"]["front"]["ipam"]["config"][0]["subnet"]
    assert gateway["environment"]["TELLWIRE_TRUSTED_PROXIES"] == subnet
    for service in services.values():
        assert set(service["networks"]) <= COMPOSE["networks"].keys()
        assert service.get("depends_on", {}).keys() <= services.keys()
