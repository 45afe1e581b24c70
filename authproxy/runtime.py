"""From a configuration to engines: one frozen bundle that serves every request which begins with it.

All that can fail about files, keys and names fails here, as problems with their places. A reload builds a new bundle
and swaps it whole; nothing is invalidated in place.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from authproxy.assertions import assertions
from authproxy.authenticators import Serving, compile_authenticators
from authproxy.authn.assertion import Assert, Assertions
from authproxy.authn.authentication import Authentication
from authproxy.authn.authenticator import Authenticator
from authproxy.authn.cache import IdentityCache
from authproxy.authn.logins import LoginAuthenticator
from authproxy.authn.passwords import PasswordChecks
from authproxy.authn.revocation import Revocations
from authproxy.authn.sessions import Sessions
from authproxy.config.load import Loaded
from authproxy.config.named_files import read_named
from authproxy.config.schema import Config
from authproxy.engines import Engines, RouteEngine
from authproxy.logs import open_access_log, open_decision_log
from authproxy.model.address import Networks
from authproxy.model.errors import ConfigError, Problem
from authproxy.model.exchange import Exchange
from authproxy.model.headers import HeaderRules, IdentityProfile
from authproxy.model.identity import Identity
from authproxy.model.rate import parse_rate
from authproxy.model.source import Path as SourcePath
from authproxy.model.source import Source
from authproxy.policies import backend_host
from authproxy.policy.outbound import Outbound
from authproxy.policy.record import Recorder, reads_of
from authproxy.policy.table import Route, RouteLimit, Table
from authproxy.rate_limits.limiter import Limiter
from authproxy.rate_limits.step import FAILED, Step
from authproxy.state.memory import MemoryStore
from authproxy.state.opening import open_records, open_store
from authproxy.state.records import Records
from authproxy.state.redis_access import RedisAccess, redis_access
from authproxy.state.store import EmbeddedStore, Store
from authproxy.telemetry.decision_log import DecisionLog
from authproxy.telemetry.line_log import LineLog
from authproxy.telemetry.tracing import Traces, compile_traces
from authproxy.telemetry.trail import Trail
from authproxy.trails import compile_trail
from authproxy.upstream.connection import Timeouts
from authproxy.upstream.dial import tls_context
from authproxy.upstream.pool import Pool, Server


@dataclass(frozen=True, slots=True, eq=False)
class Runtime:
    """Everything that requests are served with. Frozen; pools, store and records are opened by the worker that uses it."""

    config: Config
    table: Table
    engines: Mapping[Route, RouteEngine]
    header_rules: HeaderRules
    profile: IdentityProfile
    trusted: Networks
    global_step: Step
    failures: Step
    limiter: Limiter
    store: Store
    records: Records
    revocations: Revocations
    access_log: LineLog
    upstreams: Mapping[str, "UpstreamSettings"]
    authenticators: Mapping[str, Authenticator]
    sessions: Sessions
    checks: PasswordChecks
    own_cookies: frozenset[bytes] = frozenset()
    assertions: Assertions | None = None
    traces: Traces | None = None
    decisions: DecisionLog | None = None
    trail: Trail | None = None
    pools: dict[str, Pool] = field(default_factory=dict)
    cache: IdentityCache = field(default_factory=IdentityCache)

    @property
    def logins(self) -> dict[str, LoginAuthenticator]:
        """The authenticators that people log in to."""
        found = self.authenticators.items()
        return {name: one for name, one in found if isinstance(one, LoginAuthenticator)}

    @property
    def logs(self) -> tuple[LineLog, ...]:
        """The files that lines are written to."""
        return (
            (self.access_log,)
            if self.decisions is None
            else (self.access_log, self.decisions.lines)
        )

    def idle_timeout(self, exchange: Exchange) -> float:
        """How long a body of this exchange may be silent, in seconds."""
        return self.upstreams[exchange.route.upstream].timeouts.idle

    def open_pools(self, previous: "Runtime | None" = None) -> list[Pool]:
        """Make the upstreams' pools, or take over those of equal upstreams; they belong to the running loop.

        Returns the pools of `previous` that nobody needs any more.
        """
        before = dict(previous.pools) if previous is not None else {}
        for name, settings in self.upstreams.items():
            same = previous is not None and previous.upstreams.get(name)
            if same and same.fingerprint == settings.fingerprint:
                self.pools[name] = before.pop(name)
            else:
                self.pools[name] = Pool(
                    settings.servers, settings.timeouts, settings.tls, settings.server_name
                )
        return list(before.values())


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """An upstream with its files read."""

    servers: tuple[Server, ...]
    timeouts: Timeouts
    tls: ssl.SSLContext | None
    server_name: str | None
    fingerprint: bytes = (
        b""  # of all that it was made from, its files among it: equal ones are taken over
    )


@dataclass(slots=True)
class Verification:
    """What decides without a server: the table, and who verifies credentials. `explain` and `token` use only this."""

    config: Config
    table: Table
    authenticators: dict[str, Authenticator]
    header_rules: HeaderRules
    profile: IdentityProfile
    cache: IdentityCache
    revocations: Revocations
    records: Records
    sessions: Sessions
    checks: PasswordChecks
    places: Mapping[str, tuple[Source, SourcePath]]  # where each route stands

    @property
    def logins(self) -> frozenset[str]:
        """The names of the authenticators that people log in to."""
        found = self.authenticators.items()
        return frozenset(name for name, one in found if isinstance(one, LoginAuthenticator))

    async def close(self) -> None:
        """Let go of what was opened for a verdict, outside of a server; the next verdict opens it again."""
        for one in self.authenticators.values():
            await one.close()
        self.records.close()

    def authentication(self, route: Route) -> Authentication | None:
        """Who the route asks for an identity; None where it asks nobody."""
        if not route.authenticators:
            return None
        return Authentication(
            [self.authenticators[name] for name in route.authenticators],
            self.cache,
            self.revocations,
        )

    def rendered(self, identity: Identity) -> Identity:
        """The identity with its headers for the backend."""
        return replace(identity, header_block=self.profile.render(identity))

    def outbound(self, route: Route, assertion: Assert | None = None) -> Outbound:
        """What makes the heads of this route; `assertion` proves the identity in them."""
        settings = self.config.upstreams[route.upstream]
        authentication = self.authentication(route)
        return Outbound(
            route,
            host=backend_host(settings),
            own_cookies=self.config.session.own_cookies,
            credential_headers=[h.decode() for h in authentication.credential_headers]
            if authentication
            else (),
            credential_cookies=authentication.credential_cookies if authentication else (),
            assertion=assertion,
        )


def verification(
    loaded: Loaded,
    environ: Mapping[str, str],
    previous: Runtime | None = None,
    store: Store | None = None,
) -> Verification:
    """Read the keys and compile what decides; the records are those of `previous`, or are opened when first used.

    Remote key sets whose section is the same are taken over from `previous` as they are.
    Nothing is revoked as far as it knows: whoever has a list puts it there. Without a `store` what may be used once counts
    here alone.

    Raises:
        ConfigError: the configuration has errors, or a key file cannot be used.
    """
    config = loaded.usable()
    profile = IdentityProfile(config.identity.profile)
    records = previous.records if previous else state_records(loaded, environ)
    sessions = Sessions(records, config.session.idle_timeout, config.session.absolute_timeout)
    checks = previous.checks if previous else PasswordChecks()
    running = previous.authenticators if previous else {}
    serves = Serving(store or MemoryStore(), records, sessions, checks, running)
    return Verification(
        config,
        loaded.policies.table,
        compile_authenticators(loaded, environ, profile.render, serves),
        HeaderRules(config.identity.strip),
        profile,
        IdentityCache(),
        Revocations(),
        records,
        sessions,
        checks,
        loaded.policies.places,
    )


def upstream_settings(loaded: Loaded) -> dict[str, UpstreamSettings]:
    """The upstreams with their certificates read.

    Raises:
        ConfigError: a file cannot be used.
    """
    found: dict[str, UpstreamSettings] = {}
    problems: list[Problem] = []
    for name, settings in loaded.usable().upstreams.items():
        servers = tuple(map(Server.parse, settings.servers))
        tls = settings.tls
        try:
            needs_tls = any(server.scheme == "https" for server in servers)
            files = [tls.ca, tls.certificate, tls.private_key] if tls else [None, None, None]
            ca, certificate, key = (loaded.folder / f if f else None for f in files)
            context = tls_context(ca, certificate, key) if needs_tls else None
            read = [read_named(path) for path in (ca, certificate, key) if path is not None]
        except (OSError, ssl.SSLError, ValueError) as error:
            text = f"`{name}`: its TLS files cannot be used: {error}"
            problems.append(loaded.source.problem(("upstreams", name, "tls"), "bad-tls", text, "check the paths and that key and certificate belong together"))  # fmt: skip
            continue
        times = settings.timeouts
        timeouts = Timeouts(times.connect, times.response, times.idle)
        fingerprint = sha256(repr((settings, read)).encode()).digest()
        server_name = tls.server_name if tls else None
        found[name] = UpstreamSettings(servers, timeouts, context, server_name, fingerprint)
    if problems:
        raise ConfigError(problems)
    return found


def state_url(config: Config, environ: Mapping[str, str]) -> str:
    """Where the state lives: as configured, else LMDB in `$STATE_DIRECTORY`, else in `state/` beside the file."""
    return config.state.url or f"lmdb:{(environ.get('STATE_DIRECTORY') or 'state').split(':')[0]}"


def state_store(loaded: Loaded, environ: Mapping[str, str]) -> Store:
    """The counters of the configuration, not yet open.

    Raises:
        ConfigError: a secret or a certificate of its Redis cannot be used.
    """
    return open_store(*_state(loaded, environ))


def state_records(loaded: Loaded, environ: Mapping[str, str]) -> Records:
    """The durable records of the configuration, not yet open.

    Raises:
        ConfigError: as above.
    """
    return open_records(*_state(loaded, environ))


def _state(loaded: Loaded, environ: Mapping[str, str]) -> tuple[str, Path, RedisAccess | None]:
    config = loaded.usable()
    access = redis_access(config.state, loaded.source, loaded.folder, environ)
    return state_url(config, environ), loaded.folder, access


def compile_runtime(
    loaded: Loaded, environ: Mapping[str, str], previous: Runtime | None = None
) -> Runtime:
    """Everything that requests are served with. What has not changed since `previous` is taken over from it: the state,
    verified identities, and the log, the pools and the remote key sets whose own section is equal.

    Raises:
        ConfigError: something of the configuration, or a file that it names, cannot be used.
    """
    store = previous.store if previous else state_store(loaded, environ)
    decides = verification(loaded, environ, previous, store)
    decides.revocations = previous.revocations if previous else Revocations(decides.records)
    config = decides.config
    upstreams = upstream_settings(loaded)
    signing = assertions(loaded)
    if previous is not None:
        before = previous.assertions
        if signing and before and signing.fingerprint == before.fingerprint:
            signing = before  # with what it has signed
        decides.cache = (
            previous.cache
        )  # its keys name the authenticator, its configuration and its keys
    limiter = previous.limiter if previous else _limiter(store, config)
    recorder = _recorder(loaded, decides)
    engines = _engines(decides, signing)
    return Runtime(
        config=config,
        table=decides.table,
        engines=engines,
        header_rules=decides.header_rules,
        profile=decides.profile,
        trusted=Networks(config.trusted_networks),
        global_step=Step(global_limits(config), ""),
        failures=_failures_step(config),
        limiter=limiter,
        store=store,
        access_log=previous.access_log
        if previous is not None and previous.config.logging.access == config.logging.access
        else open_access_log(loaded),
        upstreams=upstreams,
        authenticators=decides.authenticators,
        records=decides.records,
        revocations=decides.revocations,
        sessions=decides.sessions,
        checks=decides.checks,
        assertions=signing,
        own_cookies=frozenset(name.encode() for name in config.session.own_cookies),
        traces=compile_traces(loaded, environ, previous.traces if previous is not None else None),
        decisions=open_decision_log(loaded, recorder, previous.decisions if previous else None),
        trail=compile_trail(config, recorder, previous.trail if previous else None),
        cache=decides.cache,
    )


def _limiter(store: Store, config: Config) -> Limiter:
    allow = config.state.on_failure == "allow_limits"
    if isinstance(store, EmbeddedStore):
        return Limiter(store, allow=allow)
    from authproxy.rate_limits.redis_limiter import redis_limiter  # as in state/opening.py

    return redis_limiter(store, allow=allow, leases=config.state.leases)


def _engines(decides: Verification, signing: Assertions | None) -> dict[Route, RouteEngine]:
    def outbound(route: Route) -> Outbound:
        return decides.outbound(route, signing.towards(route.upstream) if signing else None)

    engines = Engines(decides.authentication, outbound, decides.logins)
    return {route: engines.engine(route) for route in decides.table.routes}


def global_limits(config: Config) -> list[RouteLimit]:
    """The limits of every request."""
    names: list[str] = []
    limits = []
    for limit in config.rate_limits:
        name = limit.name or next(
            n for n in ("address", *(f"address-{i}" for i in range(2, 99))) if n not in names
        )
        names.append(name)
        limits.append(
            RouteLimit(
                name, limit.rate, "address", "", limit.strategy, limit.cost, limit.mode == "shadow"
            )
        )
    return limits


def _failures_step(config: Config) -> Step:
    rate = parse_rate(config.failed_authentications)
    return Step([RouteLimit("failed-authentications", rate, "address")], FAILED)


def _recorder(loaded: Loaded, decides: Verification) -> Recorder:
    slots = [slot.name for one in decides.authenticators.values() for slot in one.slots]
    return Recorder(reads_of(decides.table), loaded.policy_digest, slots, decides.header_rules)
