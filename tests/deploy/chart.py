"""The Helm chart: rendered with many values, held against the schemas of Kubernetes and the program itself."""

import subprocess
import tempfile
import tomllib
from pathlib import Path

from world import DEPLOY, faults, missing, run, unlike

CHART = DEPLOY / "helm" / "fingerpost"
VERSIONS = ("1.30", "1.37")
IMAGE = {"image": {"repository": "registry.example/fingerpost"}}
ACCOUNTS = {"anonymous_permissions": ["@read"], "plaintext_logins": True}
# Every kind of value that the configuration has.
CONFIG = {
    "server": {"stop_seconds": 3, "trusted_proxies": ["10.0.0.0/8"]},
    "accounts": ACCOUNTS,
    "hashequiv": {"lookup_cache_mib": 1048, "namespaces": {"old-1": {"fallback": "default"}}},
    "hg": {"repositories": {"tools/build": "/srv/hg/build"}, "rules": {"tools/build": {"read": ["alice", "b<ob>"]}}},
    "upstream": {"address": "hashes.example:8686", "username": "mirror"},
    "oidc": [
        {
            "issuer": "https://ci.example",
            "audiences": ["https://hashes.example"],
            "algorithms": ["RS256"],
            "rules": [{"match": {"ref": "refs/heads/main"}, "permissions": ["@read"], "user": "ci"}],
        }
    ],
}
PASSWORD = {"setting": "upstream.password_file", "secretName": "upstream", "secretKey": "token"}

# Values that must do, each with a name.
GOOD = {
    "the defaults": {},
    "a whole configuration": {"config": CONFIG, "secretFiles": [PASSWORD]},
    "TLS, an administrator, an ingress and a monitor": {
        "tls": {"secretName": "tls", "clientCaSecretName": "ca"},
        "config": {"tls": {"client_certificates": "optional"}},
        "admin": {"secretName": "admin"},
        "ingress": {"enabled": True, "className": "nginx", "hosts": ["a.example"], "tls": [{"secretName": "web"}]},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "podDisruptionBudget": {"minAvailable": 1},
    },
    "a volume that is there already": {
        "persistence": {"existingClaim": "old"},
        "service": {"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/8"]},
        "extraVolumes": [{"name": "hg", "persistentVolumeClaim": {"claimName": "hg", "readOnly": True}}],
        "extraVolumeMounts": [{"name": "hg", "mountPath": "/srv/hg", "readOnly": True}],
        "image": {"digest": "sha256:" + "a" * 64},
        "nodeSelector": {"disk": "fast"},
        "topologySpreadConstraints": [],
    },
    "three pods on PostgreSQL": {
        "replicaCount": 3,
        "postgresql": {"secretName": "farm-db"},
        "config": {"postgresql": {"statement_cache": False, "connections": 20}},
        "podDisruptionBudget": {"minAvailable": 2},
    },
    "pods that share snapshots": {
        "replicaCount": 2,
        "postgresql": {"secretName": "farm-db"},
        "snapshots": {"existingClaim": "shared"},
        "config": {"snapshots": {"every_hours": 24}},
    },
    "nothing kept, nothing running": {"persistence": {"enabled": False}, "replicaCount": 0},
}
# Values that must be refused, each with a word of why.
BAD = {
    "/replicaCount": {"replicaCount": 2},
    "/persistence/existingClaim": {"postgresql": {"secretName": "db"}, "persistence": {"existingClaim": "old"}},
    "/config/postgresql/url": {"config": {"postgresql": {"url": "postgresql://db/farm"}}},
    "/postgresql/secretName": {"postgresql": {"secretName": "postgresql://db/farm"}},
    "/image/repository": {"image": {"repository": ""}},
    "replicas": {"replicas": 1},
    "/config/server/bind": {"config": {"server": {"bind": [":1"]}}},
    "/config/database/path": {"config": {"database": {"path": "/mnt/x.db"}}},
    "/tls/secretName": {"tls": {"clientCaSecretName": "ca"}},
    "/secretFiles/0/setting": {"secretFiles": [{**PASSWORD, "setting": "upstream.password"}]},
    "/ingress/hosts": {"ingress": {"enabled": True}},
    "graceSeconds": {"termination": {"pauseSeconds": 60}},
    "snapshots.existingClaim": {
        "postgresql": {"secretName": "db"},
        "config": {"snapshots": {"directory": "/var/lib/fingerpost/snapshots"}},
    },
}


def merged(*layers):
    result = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merged(result[key], value) if both else value
    return result


def render(values, directory):
    """What helm makes of values: the objects, or what it has to say."""
    import yaml

    file = Path(directory) / "values.yaml"
    file.write_text(yaml.safe_dump(merged(IMAGE, values)))
    # Otherwise it asks the home directory of whoever runs the tests.
    home = {"HELM_CONFIG_HOME": directory, "HELM_CACHE_HOME": directory, "HELM_DATA_HOME": directory}
    command = ["helm", "template", "farm", CHART, "--namespace", "builds", "--kube-version", "1.30.0", "--values", file]
    code, output = run(*command, environment=home)
    if code:
        return None, output.splitlines()
    return [one for one in yaml.safe_load_all(output) if one], []


def against_kubernetes(objects):
    import kubernetes_validate

    for one in objects:
        # The operator's own; Kubernetes has no schema of it.
        if one["kind"] == "ServiceMonitor":
            continue
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(one, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{one['kind']} {version}: {error.message} at {list(error.path)}"


def of(objects, kind):
    return [one for one in objects if one["kind"] == kind]


def workload(objects):
    """The one object that makes pods."""
    (one,) = of(objects, "StatefulSet") + of(objects, "Deployment")
    return one


def hangs_together(objects):
    """What no schema knows: that the objects find each other, and what a pod may."""
    made = workload(objects)
    pod = made["spec"]["template"]
    labels, spec = pod["metadata"]["labels"], pod["spec"]
    (container,) = spec["containers"]
    ports = {port["name"] for port in container["ports"]}
    selectors = [(made["kind"], made["spec"]["selector"]["matchLabels"])]
    for budget in of(objects, "PodDisruptionBudget"):
        selectors.append(("PodDisruptionBudget", budget["spec"]["selector"]["matchLabels"]))
    for service in of(objects, "Service"):
        selectors.append((service["metadata"]["name"], service["spec"]["selector"]))
        yield from (f"no port {it['targetPort']}" for it in service["spec"]["ports"] if it["targetPort"] not in ports)
    for name, selector in selectors:
        if not selector.items() <= labels.items():
            yield f"{name} selects other pods: {selector}"
    services = {one["metadata"]["name"]: one for one in of(objects, "Service")}
    for monitor in of(objects, "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        found = [name for name, one in services.items() if wanted <= one["metadata"]["labels"].items()]
        yield from unlike(monitored=(found, ["farm-fingerpost-metrics"]))
    for ingress in of(objects, "Ingress"):
        backends = [path["backend"]["service"] for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
        yield from (f"no service {it['name']}" for it in backends if it["name"] not in services)
    claims = [one["metadata"]["name"] for one in made["spec"].get("volumeClaimTemplates", [])]
    on_postgresql = any(it["name"] == "FINGERPOST_POSTGRESQL__URL_FILE" for it in container.get("env", []))
    yield from unlike(kind=(made["kind"], "Deployment" if on_postgresql else "StatefulSet"))
    if on_postgresql:
        own = [one for one in spec["volumes"] if one["name"] != "snapshots"]
        kept = claims + [one for one in own if "persistentVolumeClaim" in one]
        yield from unlike(kept=(kept, []), absent=(made["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 0))
    volumes = sorted([one["name"] for one in spec["volumes"]] + claims)
    yield from unlike(volumes=(volumes, sorted(one["name"] for one in container["volumeMounts"])))
    probes = {container[kind]["httpGet"]["port"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")}
    yield from unlike(probes=(probes, {"metrics"}))
    yield from restricted(spec, container)


def restricted(spec, container):
    """The rules of Kubernetes' pod security standard `restricted`, and some more."""
    pod, own = spec["securityContext"], container["securityContext"]
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    return unlike(
        root=(pod["runAsNonRoot"], True),
        seccomp=(pod["seccompProfile"]["type"], "RuntimeDefault"),
        escalation=(own["allowPrivilegeEscalation"], False),
        capabilities=(own["capabilities"], {"drop": ["ALL"]}),
        written=(own["readOnlyRootFilesystem"], True),
        token=(spec["automountServiceAccountToken"], False),
        memory=("memory" in container["resources"]["limits"], True),
        time=(spec["terminationGracePeriodSeconds"] > pause + 5, True),
    )


def certificate(directory):
    """Files in the places where the secrets would be mounted."""
    files = Path(directory) / "etc" / "tls"
    files.mkdir(parents=True)
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    words += ["-subj", "/CN=farm", "-out", str(files / "tls.crt"), "-keyout", str(files / "tls.key")]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    authorities = files.parent / "client-ca"
    authorities.mkdir()
    (authorities / "ca.crt").write_bytes((files / "tls.crt").read_bytes())
    return files.parent


def read_by_the_program(objects, values, binary, directory, etc):
    """The program accepts what the chart makes of the configuration, and finds in it what was meant."""
    (config,) = of(objects, "ConfigMap")
    text = config["data"]["fingerpost.toml"]
    file = Path(directory) / "fingerpost.toml"
    file.write_text(text.replace("/etc/fingerpost/", f"{etc}/"))
    (container,) = workload(objects)["spec"]["template"]["spec"]["containers"]
    environment = {}
    for variable in container.get("env", []):
        secret = Path(directory) / Path(variable["value"]).name
        is_url = secret.name == "postgresql.url_file"
        secret.write_text("postgresql://me:hidden@db/farm\n" if is_url else "a-token-that-is-long-enough\n")
        environment[variable["name"]] = str(secret)
    wrong = faults(binary, "check-config", "--config", file, environment=environment)
    meant = merged({"metrics": {"everywhere": False}}, values.get("config", {}))
    found = tomllib.loads(text)
    return wrong + [f"{name} is {found.get(name)}" for name in meant if not holds(found.get(name), meant[name])]


def holds(found, meant):
    if isinstance(meant, dict):
        return isinstance(found, dict) and all(holds(found.get(key), value) for key, value in meant.items())
    return found == meant and type(found) is type(meant)


def refused(word, values, directory):
    objects, said = render(values, directory)
    return [] if objects is None and any(word in line for line in said) else ["it is accepted", *said]


def cases(options):
    absent = missing("helm", "openssl")
    if absent:
        yield "the chart", absent
        return
    with tempfile.TemporaryDirectory(prefix="chart-") as directory:
        etc = certificate(directory)
        yield "helm finds no fault", faults("helm", "lint", "--strict", "--set", "image.repository=x", CHART)
        for name, values in GOOD.items():
            objects, said = render(values, directory)
            yield f"{name}: it is rendered", said
            if objects is None:
                continue
            yield f"{name}: Kubernetes knows the objects", list(against_kubernetes(objects))
            yield f"{name}: the objects fit together", list(hangs_together(objects))
            yield f"{name}: the program reads it", read_by_the_program(objects, values, options.binary, directory, etc)
        for word, values in BAD.items():
            yield f"{word}: it is refused", refused(word, values, directory)
