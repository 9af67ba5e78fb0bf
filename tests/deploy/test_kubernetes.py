"""What deploy/kubernetes describes is what Kubernetes takes, hangs together, fits the job it runs, and is confined.

Nothing of it has been applied to a cluster. Its overlays are put together by ``kustomize.py``; where there is a kubectl
as well, that has to come to the same.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from streamrnn.broker.kafka_settings import reading_bytes
from streamrnn.job.config import Config
from streamrnn.job.job_file import parse
from streamrnn.learner.lowering import copying_bytes, most_bytes
from streamrnn.version import __version__
from tests.deploy import prometheus_rule
from tests.deploy.kustomize import MERGED_BY, Resource, build, of_kind

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
OVERLAYS = {path.name: build(path) for path in sorted((FOLDER / "overlays").iterdir())}
PRODUCTION = OVERLAYS["production"]
SCHEMAS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "tests" / "data" / "schemas").glob("*.json")}
VERSIONS = ("1.30.0", "1.37.0")
SECRET_KEYS = {"kafka-username", "kafka-password", "metrics-token", "ca.crt"}
"""What the production overlay's own instructions put into the Secret."""
KAFKA_METADATA = {
    "bootstrapServers", "consumerGroup", "topic", "partitionLimitation", "lagThreshold", "activationLagThreshold",
    "offsetResetPolicy", "allowIdleConsumers", "excludePersistentLag", "scaleToZeroOnInvalidOffset",
    "limitToPartitionsWithLag", "ensureEvenDistributionOfPartitions", "version", "tls", "unsafeSsl", "sasl",
    "saslTokenProvider", "awsRegion",
}  # fmt: skip
"""What KEDA 2.21's scaler for Kafka reads: pkg/scalers/kafka_scaler.go."""

PROCESS_BYTES = 300 << 20
"""What a worker takes beside streams and records under way: Python, the kernels, River."""

overlay = pytest.mark.parametrize("name", OVERLAYS)


def pod(name: str) -> dict[str, Any]:
    found: dict[str, Any] = of_kind(OVERLAYS[name], "StatefulSet")["spec"]["template"]["spec"]
    return found


def containers(name: str) -> list[dict[str, Any]]:
    return [*pod(name)["containers"], *pod(name).get("initContainers", ())]


def job(name: str) -> Config:
    text: str = of_kind(OVERLAYS[name], "ConfigMap", "streamrnn-job")["data"]["job.yaml"]
    (container,) = pod(name)["containers"]
    return parse(text, env={variable["name"]: f"the-{variable['name']}" for variable in container["env"]})


def inside(value: Any, key: str) -> Iterator[Any]:
    """All that stands under a name, at any depth."""
    if isinstance(value, dict):
        for name, one in value.items():
            if name == key:
                yield one
            yield from inside(one, key)
    elif isinstance(value, list):
        for one in value:
            yield from inside(one, key)


# ---- what Kubernetes takes


@overlay
@pytest.mark.parametrize("version", VERSIONS)
def test_every_resource_is_what_its_schema_allows_and_has_no_field_beside(name: str, version: str) -> None:
    for resource in OVERLAYS[name]:
        if (schema := SCHEMAS.get(resource["kind"])) is None:
            kubernetes_validate.validate(resource, version, strict=True)
        else:
            jsonschema.Draft202012Validator(schema).validate(resource)


def test_a_misspelled_field_is_found() -> None:
    wrong = json.loads(json.dumps(PRODUCTION))
    of_kind(wrong, "StatefulSet")["spec"]["template"]["spec"]["terminationGracePeriod"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(of_kind(wrong, "StatefulSet"), VERSIONS[0], strict=True)
    for kind, path in (("ServiceMonitor", "endpoints"), ("ScaledObject", "triggers")):
        of_kind(wrong, kind)["spec"][path][0]["intervall"] = "15s"
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(SCHEMAS[kind]).validate(of_kind(wrong, kind))


def test_production_has_what_it_should_have() -> None:
    kinds = sorted(resource["kind"] for resource in PRODUCTION)
    assert kinds == sorted([
        "Namespace", "ServiceAccount", "PersistentVolumeClaim", "StatefulSet", "Service", "PodDisruptionBudget",
        "NetworkPolicy", "ConfigMap", "ConfigMap", "ServiceMonitor", "PrometheusRule", "ScaledObject",
        "TriggerAuthentication",
    ])  # fmt: skip


def as_compared(resources: list[Resource]) -> dict[tuple[str, str], Any]:
    """By kind and name; without digests in names, and lists of named things in the order of their names."""

    def plain(value: Any, under: str = "") -> Any:
        if isinstance(value, dict):
            return {name: plain(one, name) for name, one in value.items()}
        if isinstance(value, list):
            listed = [plain(one) for one in value]
            return sorted(listed, key=lambda one: str(one[MERGED_BY[under]])) if under in MERGED_BY else listed
        return re.sub(r"^(streamrnn-job)-[a-z0-9]{10}$", r"\1", value) if isinstance(value, str) else value

    made = [plain(resource) for resource in resources]
    return {(resource["kind"], resource["metadata"]["name"]): resource for resource in made}


@overlay
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl to compare with")
def test_kubectl_puts_the_same_together(name: str) -> None:
    made = subprocess.check_output(["kubectl", "kustomize", FOLDER / "overlays" / name], text=True)
    assert as_compared(list(yaml.safe_load_all(made))) == as_compared(OVERLAYS[name])


def test_every_file_belongs_to_a_kustomization() -> None:
    for path in FOLDER.rglob("*.yaml"):
        if path.name != "kustomization.yaml":
            given = (path.parent / "kustomization.yaml").read_text()
            assert re.search(rf"(^ *- (path: )?|\[){re.escape(path.name)}\]?$", given, re.MULTILINE), path


# ---- what belongs together


@overlay
def test_what_is_referred_to_is_there(name: str) -> None:
    resources, found = OVERLAYS[name], pod(name)
    names = {(resource["kind"], resource["metadata"]["name"]) for resource in resources}
    assert ("ServiceAccount", found["serviceAccountName"]) in names
    assert ("Service", of_kind(resources, "StatefulSet")["spec"]["serviceName"]) in names
    volumes = {volume["name"]: volume for volume in found["volumes"]}
    for volume in volumes.values():
        if "configMap" in volume:
            assert ("ConfigMap", volume["configMap"]["name"]) in names
        if "persistentVolumeClaim" in volume:
            assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in names
    mounted = {mount["name"] for container in containers(name) for mount in container["volumeMounts"]}
    assert mounted == volumes.keys()
    ports = {port["name"] for container in containers(name) for port in container.get("ports", ())}
    (container,) = found["containers"]
    probes = [container[kind]["httpGet"]["port"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")]
    service = of_kind(resources, "Service")
    assert {*probes, *(port["targetPort"] for port in service["spec"]["ports"])} == ports == {"http"}


@overlay
def test_everything_that_selects_pods_selects_these(name: str) -> None:
    resources = OVERLAYS[name]
    labels = of_kind(resources, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    for kind, path in (
        ("StatefulSet", "selector"), ("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector"),
    ):  # fmt: skip
        assert of_kind(resources, kind)["spec"][path]["matchLabels"] == labels
    assert of_kind(resources, "Service")["spec"]["selector"] == labels
    (spread,) = pod(name)["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == labels
    assert {resource["metadata"]["namespace"] for resource in resources if resource["kind"] != "Namespace"} == {
        of_kind(resources, "Namespace")["metadata"]["name"]
    }


@overlay
def test_secrets_are_referred_to_and_never_written_down(name: str) -> None:
    resources = OVERLAYS[name]
    assert not [resource for resource in resources if resource["kind"] == "Secret"]
    asked = [*inside(resources, "secretKeyRef"), *inside(resources, "credentials")]
    asked += [one for listed in inside(resources, "secretTargetRef") for one in listed]
    asked += [
        {"name": one["secretName"], "key": item["key"]} for one in inside(resources, "secret") for item in one["items"]
    ]
    assert {one["name"] for one in asked} <= {"streamrnn"}
    assert {one["key"] for one in asked} == (SECRET_KEYS if name == "production" else set())
    if name == "production":
        instructions = (FOLDER / "overlays" / name / "kustomization.yaml").read_text()
        assert set(re.findall(r"--from-(?:literal|file)=([\w.-]+)=", instructions)) == SECRET_KEYS


# ---- what fits the job


@overlay
def test_the_job_has_all_its_variables_from_the_pod_and_is_named_after_it(name: str) -> None:
    config = job(name)
    assert config.kafka is not None and config.kafka.group_instance_id == "the-POD_NAME"
    (container,) = pod(name)["containers"]
    given = {variable["name"] for variable in container["env"]}
    text = of_kind(OVERLAYS[name], "ConfigMap", "streamrnn-job")["data"]["job.yaml"]
    assert set(re.findall(r"\$\{(\w+)", text)) == given
    (own,) = [variable for variable in container["env"] if variable["name"] == "POD_NAME"]
    assert own["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}


@overlay
def test_ports_paths_and_times_are_the_job_s(name: str) -> None:
    config = job(name)
    (container,) = pod(name)["containers"]
    assert config.http is not None and config.http.host == "0.0.0.0"
    assert container["ports"] == [{"name": "http", "containerPort": config.http.port}]
    assert pod(name)["terminationGracePeriodSeconds"] >= config.shutdown_timeout_s + 10
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert str(Path(config.checkpoint.directory).parent) in mounts
    assert container["args"] == ["run", "--config", "/etc/streamrnn/job.yaml"]
    assert mounts["/etc/streamrnn"]["readOnly"]
    assert container["startupProbe"]["httpGet"]["path"] == container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    covered = container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"]
    # At a tenth of what one core reads, a replay of four partitions' most is over by then.
    assert covered >= 4 * config.checkpoint.max_replay_records / 2_500 > 0


@overlay
def test_a_worker_holds_all_partitions_full_of_streams_within_its_limit_of_memory(name: str) -> None:
    """As the last one left does."""
    config, spec = job(name), job(name).learner_spec()
    if name == "development":
        ((*_, partitions),) = [container["args"] for container in pod(name)["initContainers"]]
    else:
        partitions = of_kind(PRODUCTION, "ScaledObject")["spec"]["maxReplicaCount"]
    streams = int(partitions) * most_bytes(spec, config.input.max_key_bytes)
    streams += copying_bytes(spec)
    (container,) = pod(name)["containers"]
    limit = int(container["resources"]["limits"]["memory"].removesuffix("Gi")) << 30
    assert streams + reading_bytes(config.input.max_record_bytes) + PROCESS_BYTES < limit


@overlay
def test_every_image_has_a_version_and_runs_on_nodes_it_was_compiled_for(name: str) -> None:
    """Without one it would be `latest`, which a node asks a registry for, whatever was loaded onto it."""
    images = {container["image"] for container in containers(name)}
    (image,) = images
    repository = {"development": "streamrnn", "production": "registry.example/streamrnn"}[name]
    assert image == f"{repository}:{__version__}"
    assert pod(name)["nodeSelector"] == {"kubernetes.io/arch": "amd64"}


def test_the_heading_of_development_builds_and_loads_the_image_it_runs() -> None:
    heading = (FOLDER / "overlays" / "development" / "kustomization.yaml").read_text().partition("apiVersion")[0]
    (image,) = {container["image"] for container in containers("development")}
    for command in ("docker build -f docker/Dockerfile -t", "kind load docker-image", "minikube image load"):
        assert f"{command} {image}" in heading


def test_the_certificate_is_where_the_job_looks_for_it() -> None:
    kafka = job("production").kafka
    assert kafka is not None
    (container,) = pod("production")["containers"]
    (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "kafka"]
    (volume,) = [volume for volume in pod("production")["volumes"] if volume["name"] == "kafka"]
    (item,) = volume["secret"]["items"]
    assert kafka.security.ssl_cafile == f"{mount['mountPath']}/{item['path']}"


@overlay
def test_nobody_is_let_in_but_prometheus_and_nothing_out_but_names_and_the_broker(name: str) -> None:
    policy = of_kind(OVERLAYS[name], "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    (scraping,) = policy["ingress"]
    assert scraping["ports"] == [{"protocol": "TCP", "port": "http"}]
    dns, broker = policy["egress"]
    assert {port["port"] for port in dns["ports"]} == {53}
    kafka = job(name).kafka
    assert kafka is not None
    for server in kafka.servers:
        host, _, port = server.partition(":")
        (peer,) = broker["to"]
        assert host.split(".")[1] == peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        assert int(port) in {one["port"] for one in broker["ports"]}


def test_keda_asks_for_the_lag_of_the_job_with_the_job_s_credentials() -> None:
    scaled = of_kind(PRODUCTION, "ScaledObject")["spec"]
    config = job("production")
    assert config.kafka is not None
    lag, cpu = scaled["triggers"]
    asked = lag["metadata"]
    assert asked.keys() <= KAFKA_METADATA
    assert (asked["bootstrapServers"], asked["consumerGroup"], asked["topic"]) == (
        ",".join(config.kafka.servers), config.group_id, config.input.topic,
    )  # fmt: skip
    assert asked["offsetResetPolicy"] == config.input.start
    assert asked["sasl"].replace("_", "-").upper() == "SCRAM-SHA512" and asked["tls"] == "enable"
    assert config.kafka.security.sasl_mechanism == "SCRAM-SHA-512" and config.kafka.security.protocol == "SASL_SSL"
    assert lag["authenticationRef"]["name"] == of_kind(PRODUCTION, "TriggerAuthentication")["metadata"]["name"]
    assert cpu["type"] == "cpu" and int(cpu["metadata"]["value"]) < 100
    target = of_kind(PRODUCTION, "StatefulSet")
    assert scaled["scaleTargetRef"] == {
        "apiVersion": target["apiVersion"], "kind": target["kind"], "name": target["metadata"]["name"],
    }  # fmt: skip
    assert "replicas" not in target["spec"], "KEDA's number would be set back at every apply"
    assert scaled["minReplicaCount"] >= 2 and scaled["fallback"]["replicas"] <= scaled["maxReplicaCount"]
    assert config.kafka.leave_on_stop, "a worker that is taken away would leave its partitions silent for a session"


def test_one_volume_serves_all_workers() -> None:
    claims = {name: of_kind(resources, "PersistentVolumeClaim")["spec"] for name, resources in OVERLAYS.items()}
    assert claims["production"]["accessModes"] == ["ReadWriteMany"]
    assert claims["development"]["accessModes"] == ["ReadWriteOnce"]
    assert of_kind(OVERLAYS["development"], "StatefulSet")["spec"]["replicas"] == 1
    for resources in OVERLAYS.values():
        assert "volumeClaimTemplates" not in of_kind(resources, "StatefulSet")["spec"]


def test_prometheus_scrapes_the_service_with_the_job_s_token() -> None:
    monitor, service = of_kind(PRODUCTION, "ServiceMonitor")["spec"], of_kind(PRODUCTION, "Service")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert service["metadata"]["name"].startswith("streamrnn"), "rules choose by that beginning of the label job"
    found = [of_kind(PRODUCTION, kind)["metadata"]["labels"] for kind in ("ServiceMonitor", "PrometheusRule")]
    assert found[0] == found[1] and "release" in found[0], "an operator selects both by them"
    (variable,) = [one for one in pod("production")["containers"][0]["env"] if one["name"] == "METRICS_TOKEN"]
    assert endpoint["authorization"]["credentials"] == variable["valueFrom"]["secretKeyRef"]


def labelled(namespace: str, service: str, pod_name: str) -> dict[str, str]:
    """The labels that scraping gives to a worker's series: the operator's own, and then the ServiceMonitor's."""
    found = {
        "__meta_kubernetes_namespace": namespace, "__meta_kubernetes_service_name": service,
        "__meta_kubernetes_pod_name": pod_name, "job": service, "instance": "10.0.0.1:9308",
    }  # fmt: skip
    (endpoint,) = of_kind(PRODUCTION, "ServiceMonitor")["spec"]["endpoints"]
    for rule in endpoint["relabelings"]:
        assert rule.keys() <= {"sourceLabels", "separator", "targetLabel"}
        found[rule["targetLabel"]] = rule.get("separator", ";").join(found[label] for label in rule["sourceLabels"])
    return {name: value for name, value in found.items() if not name.startswith("__")}


def test_jobs_of_two_namespaces_are_two_to_rules_and_dashboards() -> None:
    service, namespace = of_kind(PRODUCTION, "Service")["metadata"]["name"], "staging"
    first, second = labelled("streamrnn", service, "streamrnn-0"), labelled(namespace, service, "streamrnn-0")
    assert first == {"job": "streamrnn/streamrnn", "instance": "streamrnn-0"}
    assert second == {"job": "streamrnn/staging", "instance": "streamrnn-0"}
    chosen = set(re.findall(r'job=~"(.*?)"', prometheus_rule.RULE_FILES[1].read_text()))
    assert chosen and all(re.fullmatch(one, labels["job"]) for one in chosen for labels in (first, second))


def test_the_dashboards_are_those_of_the_grafana_folder_and_fit_into_one_map() -> None:
    found = of_kind(PRODUCTION, "ConfigMap", "streamrnn-dashboards")
    files = {path.name: path.read_text() for path in (ROOT / "deploy" / "grafana" / "dashboards").glob("*.json")}
    assert found["data"] == files
    assert sum(map(len, files.values())) < 1 << 20
    assert found["metadata"]["labels"] == {"grafana_dashboard": "1"}
    given = yaml.safe_load((ROOT / "deploy" / "grafana" / "dashboards" / "kustomization.yaml").read_text())
    (made,) = given["configMapGenerator"]
    assert made["options"]["disableNameSuffixHash"] is True, "an upgrade would leave the old map beside the new"


def test_the_rules_are_those_of_the_prometheus_folder() -> None:
    assert of_kind(PRODUCTION, "PrometheusRule")["spec"] == prometheus_rule.resource()["spec"]
    assert prometheus_rule.WRITTEN.read_text() == prometheus_rule.text()


# ---- how it is confined


@overlay
def test_every_container_is_confined_and_has_its_resources(name: str) -> None:
    found = pod(name)
    assert found["automountServiceAccountToken"] is False
    assert of_kind(OVERLAYS[name], "ServiceAccount")["automountServiceAccountToken"] is False
    assert found["securityContext"]["runAsNonRoot"] is True
    assert f"USER {found['securityContext']['runAsUser']}\n" in (ROOT / "docker" / "Dockerfile").read_text()
    assert found["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(name):
        assert container["securityContext"] == {
            "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert container["resources"]["limits"].keys() == {"memory"}
    enforced = of_kind(OVERLAYS[name], "Namespace")["metadata"]["labels"]
    assert enforced == {"pod-security.kubernetes.io/enforce": "restricted"}
