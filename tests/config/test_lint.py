"""Warnings about the configuration: what nobody uses, and files that others can read."""

from pathlib import Path

from authproxy.config.lint import lint_config
from authproxy.config.load import load
from tests.config.reading import CONFIG, POLICY, read


def warnings(folder: Path, config: str = CONFIG, policy: str = POLICY) -> list[tuple[str, str]]:
    """The code and the text of each warning."""
    return [(p.code, p.text) for p in lint_config(read(folder, config, p=policy))]


def test_what_a_route_uses_is_no_warning(tmp_path: Path) -> None:
    """The whole example is in use, and its key files are not there to be looked at."""
    assert warnings(tmp_path) == []


def test_what_no_route_uses_is_a_warning(tmp_path: Path) -> None:
    """Upstreams and authenticators, each by its name."""
    found = warnings(tmp_path, policy="routes: []")
    assert [code for code, _ in found] == ["unused-upstream"] * 2 + ["unused-authenticator"] * 2


def test_a_key_file_that_others_can_read_is_a_warning(tmp_path: Path) -> None:
    """With its mode, and what to do; one that only we can read is none."""
    for name, mode in (("a.key", 0o644), ("signing.pem", 0o600)):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(mode)
    ((code, text),) = warnings(tmp_path)
    assert code == "key-file-mode"
    assert "a.key" in text
    assert "644" in text


def test_the_key_of_the_assertion_is_a_key_file(tmp_path: Path) -> None:
    """Whoever reads it can be anybody towards the backends."""
    key = "assertion: {issuer: i, key: {file: assertion.pem}}"
    (tmp_path / "assertion.pem").write_text("")
    (tmp_path / "assertion.pem").chmod(0o640)
    ((code, text),) = warnings(tmp_path, CONFIG.replace("profile: remote", f"profile: remote, {key}"))  # fmt: skip
    assert (code, "assertion.pem" in text) == ("key-file-mode", True)


def test_the_secret_of_introspection_is_one(tmp_path: Path) -> None:
    """What we are known by to an issuer is for our eyes."""
    (tmp_path / "secret").write_text("s")
    (tmp_path / "secret").chmod(0o644)
    asks = "  opaque: {type: introspection, url: 'https://i.test', client_id: c, client_secret: {file: secret}}\n"
    config = CONFIG.replace("authenticators:\n", "authenticators:\n" + asks)
    assert [code for code, _ in warnings(tmp_path, config)] == [
        "unused-authenticator",
        "key-file-mode",
    ]


def test_the_secrets_of_a_client_are_key_files(tmp_path: Path) -> None:
    """Whoever reads them can be us towards the provider."""
    sso = "  sso: {type: oidc, issuer: 'https://id.test', client_id: c, client_secret: {file: s}}\n"
    key = "  two: {type: oidc, issuer: 'https://id.test', client_id: c, private_key: {file: k}}\n"
    config = CONFIG.replace("session:", f"{sso}{key}portal: {{url: https://l.test}}\nsession:", 1)
    for name in ("s", "k"):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o644)
    found = [text for code, text in warnings(tmp_path, config) if code == "key-file-mode"]
    assert sorted(found) == ["others can read k (mode 644)", "others can read s (mode 644)"]


def test_secrets_of_every_section_are_key_files(tmp_path: Path) -> None:
    """The password of a Redis, of its sentinels, and the key that we show it: whoever reads them can count for us."""
    state = "state: {url: 'rediss://r.test:6379/0', password: {file: s}, tls: {certificate: c, private_key: k}}"
    config = CONFIG.replace('state: {url: "lmdb:state", on_failure: refuse}', state)
    assert config != CONFIG
    for name in ("s", "k", "c"):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o644)
    found = [text for code, text in warnings(tmp_path, config) if code == "key-file-mode"]
    assert sorted(found) == ["others can read k (mode 644)", "others can read s (mode 644)"]


def test_a_policy_file_that_everybody_can_change_is_a_warning(tmp_path: Path) -> None:
    """Whoever writes it decides; that others may read it is no matter."""
    assert warnings(tmp_path) == []
    (tmp_path / "policies/p.yaml").chmod(0o646)
    loaded = load(tmp_path / "authproxy.yaml")
    assert [(p.code, Path(p.file).name) for p in lint_config(loaded)] == [("writable-file", "p.yaml")]  # fmt: skip


def test_a_configuration_that_cannot_be_read_has_no_warnings(tmp_path: Path) -> None:
    """Its errors come first."""
    assert warnings(tmp_path, "[]") == []


def with_certificates(*authorities: str) -> str:
    """The configuration whose `machines` take certificates, and a listener for each of these authorities' files."""
    config = CONFIG.replace("  machines:\n    type: jwt\n    issuer: https://machines.test\n    audiences: [api]\n    algorithms: [HS256]\n    keys: {secret: {env: HMAC}}\n", "  machines: {type: certificate, subject: cn}\n")  # fmt: skip
    assert config != CONFIG
    more = "".join(
        f"  - address: 127.0.0.1:900{at}\n    tls:\n      certificates: [{{certificate: a.crt, private_key: b.key}}]\n"
        f"      client_certificates: {{authorities: {file}}}\n"
        for at, file in enumerate(authorities)
    )
    return config.replace("admin:", f"{more}admin:")


def test_tokens_bound_to_certificates_that_nobody_asks_for_are_a_warning(tmp_path: Path) -> None:
    """Nobody could use them; where one listener asks it is none."""
    bound = CONFIG.replace(
        "    leeway: 10s\n", "    leeway: 10s\n    certificate_bound: optional\n"
    )
    assert bound != CONFIG
    (tmp_path / "never").mkdir()
    ((code, text),) = warnings(tmp_path / "never", bound)
    assert (code, "`tokens`" in text) == ("certificate-never-asked", True)
    asks = "certificates: [{certificate: a.crt, private_key: a.key}]"
    asking = bound.replace(asks, f"{asks}\n      client_certificates: {{authorities: ca.crt}}")
    (tmp_path / "asked").mkdir()
    assert warnings(tmp_path / "asked", asking) == []


def test_certificates_that_nobody_asks_for_are_a_warning(tmp_path: Path) -> None:
    """An authenticator for certificates serves nobody where no listener asks for one."""
    ((code, text),) = warnings(tmp_path / "never", with_certificates())
    assert code == "certificate-never-asked"
    assert "`machines`" in text
    assert warnings(tmp_path / "asked", with_certificates("ca.pem", "ca.pem")) == []


def test_authorities_that_differ_are_a_warning(tmp_path: Path) -> None:
    """One authenticator takes what either of them signs: whoever runs the one could name subjects of the other."""
    ((code, text),) = warnings(tmp_path, with_certificates("ca.pem", "other.pem", "ca.pem"))
    assert code == "authorities-differ"
    assert "other.pem" in text
