"""What deploy/ holds is what its own consumers take: systemd, Kubernetes' schemas, Prometheus, HAProxy, and the program."""

import json
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it has none
import pytest
import yaml

from authproxy.model.errors import REFUSALS
from tests.cli.program import run, succeed
from tests.end_to_end.nginx import need

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
RUNBOOKS = (ROOT / "docs/runbooks.md").read_text()
EXPOSED_MOST = 2.0  # of 10: systemd's own measure; below 2 it says "OK"


def tool(*args: str | Path, folder: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    """What a program says."""
    return subprocess.run(
        [str(arg) for arg in args], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )  # fmt: skip


def manifests() -> list[dict[str, Any]]:
    """Every object of deploy/kubernetes but the kustomization."""
    files = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    found = [one for file in files for one in yaml.safe_load_all(file.read_text())]
    return [one for one in found if one.get("kind", "Kustomization") != "Kustomization"]


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """`systemd-analyze verify` finds nothing but what a systemd before 253 cannot know, and calls the unit hardened."""
    analyze = need("systemd-analyze")
    for name in ("authproxy.service", "authproxy.socket"):
        text = (DEPLOY / "systemd" / name).read_text()
        # What is verified is the unit; the program need not be installed for that.
        (tmp_path / name).write_text(text.replace("/usr/lib/authproxy/bin/authproxy", "/bin/true"))
    told = tool(analyze, "verify", "--man=no", tmp_path / "authproxy.service", tmp_path / "authproxy.socket")  # fmt: skip
    lines = [one for one in told.stderr.splitlines() if str(tmp_path) in one]
    assert [one for one in lines if "notify-reload" not in one] == []
    judged = tool(analyze, "security", "--offline=true", tmp_path / "authproxy.service").stdout
    exposed = re.search(r"exposure level for authproxy.service: ([0-9.]+)", judged)
    assert exposed is not None, judged
    assert float(exposed[1]) < EXPOSED_MOST


def test_systemd_finds_what_is_wrong(tmp_path: Path) -> None:
    """The check above can fail: a word that is none is told."""
    text = (DEPLOY / "systemd/authproxy.socket").read_text()
    (tmp_path / "wrong.socket").write_text(text.replace("ListenStream=443", "ListenStream=nowhere"))
    told = tool(need("systemd-analyze"), "verify", "--man=no", tmp_path / "wrong.socket")
    assert "nowhere" in told.stderr


def test_kubernetes_takes_the_manifests() -> None:
    """Each object is valid by Kubernetes' own schema, also for properties that it does not know."""
    for one in manifests():
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)
    assert {one["kind"] for one in manifests()} == {
        "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"
    }  # fmt: skip
    broken = {**manifests()[0], "spec": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, kubernetes_validate.latest_version(), strict=True)


def test_a_pod_has_no_more_than_it_needs() -> None:
    """Not root, nothing to write but its state, no capability; probes ask what they are for, and the drain fits the grace."""
    (pod,) = (one["spec"]["template"]["spec"] for one in manifests() if one["kind"] == "Deployment")
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
    }  # fmt: skip
    paths = {
        name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("readiness", "liveness")
    }
    assert paths == {"readiness": "/readyz", "liveness": "/healthz"}
    settings = yaml.safe_load((DEPLOY / "kubernetes/authproxy.yaml").read_text())["bounds"]
    waits = sum(int(settings[name][:-1]) for name in ("drain", "drain_delay"))
    assert pod["terminationGracePeriodSeconds"] > waits
    assert all("subPath" not in mount for mount in container["volumeMounts"])


def test_prometheus_takes_the_alerts() -> None:
    """The rules are rules, and fire when their tests say; each names a runbook that exists."""
    promtool, folder = need("promtool"), DEPLOY / "prometheus"
    told = tool(promtool, "test", "rules", "authproxy.rules.test.yaml", folder=folder)
    assert told.returncode == 0, told.stdout + told.stderr
    groups = yaml.safe_load((folder / "authproxy.rules.yaml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    headings = {
        re.sub(r"[^\w-]", "", one.lower().replace(" ", "-"))
        for one in re.findall(r"^## (.+)$", RUNBOOKS, re.MULTILINE)
    }
    assert {rule["annotations"]["runbook"].partition("#")[2] for rule in rules} <= headings


def test_alerts_ask_for_metrics_that_exist() -> None:
    """Every metric in the rules is one that docs/operations.md has, and that page is compared with the program elsewhere."""
    text = (DEPLOY / "prometheus/authproxy.rules.yaml").read_text()
    described = set(re.findall(r"`(authproxy_\w+)`", (ROOT / "docs/operations.md").read_text()))
    asked = set(re.findall(r"authproxy_\w+", text))
    assert len(asked) > 5
    assert asked <= described


def test_every_code_has_its_runbook() -> None:
    """And there is none for a code that nobody gets."""
    found = {one for one in re.findall(r"^## (.+)$", RUNBOOKS, re.MULTILINE) if one[0].islower()}
    assert found == set(REFUSALS)


def test_haproxy_takes_its_configuration(tmp_path: Path) -> None:
    """`haproxy -c` has no word against it, once its servers have addresses."""
    text = (DEPLOY / "docker/haproxy.cfg").read_text()
    file = tmp_path / "haproxy.cfg"
    file.write_text(re.sub(r"(server (proxy-\d)) proxy-\d:", r"\1 127.0.0.1:", text))
    told = tool(need("haproxy"), "-c", "-f", file)
    assert (told.returncode, "[WARNING]" in told.stderr) == (0, False), told.stderr


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_the_program_takes_its_configurations(kind: str, tmp_path: Path) -> None:
    """`check --strict` finds nothing once the secrets are there, and the policies pass their own tests."""
    folder = tmp_path / kind
    shutil.copytree(DEPLOY / kind, folder)
    succeed("init", folder)
    (folder / "redis-password").write_text("swordfish\n")
    if kind == "kubernetes":
        (
            folder / "policies/routes.yaml"
        ).unlink()  # what `init` made; the folder has policies of its own
        shutil.copytree(folder / "certs", folder / "secrets")
        (folder / "redis-password").rename(folder / "secrets/redis-password")
    else:
        text = (folder / "authproxy.yaml").read_text()
        file = folder / "authproxy.yaml"
        file.write_text(text.replace("/run/secrets/redis-password", "redis-password"))
    for one in folder.rglob("*"):
        one.chmod(0o700 if one.is_dir() else 0o600)
    result = run("check", "--strict", "--config", folder / "authproxy.yaml")
    assert result.exit_code == 0, result.output
    succeed("policy", "test", "--config", folder / "authproxy.yaml")


def test_the_image_is_built_for_nobody_in_particular() -> None:
    """It ends as a numbered user, stops by the signal that drains, asks our own command for health, and copies files that exist."""
    lines = re.sub(r"\\\n", " ", (DEPLOY / "docker/Dockerfile").read_text()).splitlines()
    words = [one.split(maxsplit=1) for one in lines if one and not one.startswith("#")]
    last = dict(one for one in words if len(one) == 2)
    assert last["USER"] == "10001:10001"
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(last["HEALTHCHECK"].partition("CMD ")[2]) == ["authproxy", "health"]
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    for rest in [rest for name, rest in words if name == "COPY" and "--from" not in rest]:
        for source in rest.split()[:-1]:
            assert (ROOT / source).exists()
            assert f"!{source}" in allowed


def test_compose_names_files_that_exist() -> None:
    """What services mount and build from is in the repository, or made by the commands that the file names first."""
    folder = DEPLOY / "docker"
    text = (folder / "compose.yaml").read_text()
    services = yaml.safe_load(text)["services"]
    assert set(services) == {"proxy-1", "proxy-2", "front", "redis", "app"}
    for one in services.values():
        assert one["read_only"] is True
        if build := one.get("build"):
            assert (folder / build["context"] / build["dockerfile"]).exists()
        for mount in one.get("volumes", []):
            source = mount.partition(":")[0]
            assert not source.startswith(".") or (folder / source).exists()
    ports = [port for one in services.values() for port in one.get("ports", [])]
    assert ports == ["127.0.0.1:8443:8443"]  # only the front is reached from outside
    assert socket.inet_aton(ports[0].partition(":")[0])
