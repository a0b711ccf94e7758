//! Tables over the settings: defaults, layers, and every way to be wrong.

use std::{ffi::OsString, fs, time::Duration};

use secrecy::ExposeSecret;
use serde_json::json;
use tempfile::TempDir;

use super::{Config, Files, Sources, load, load_all, load_policy, schema};
use crate::{
    cache::Scope, config::PolicySource, policy::judging, rate_limit::Limits, rebase::RewriteUrls,
    telemetry::Format, upstream::Target,
};

/// A settings file in a folder of its own; its path is shown as `f` in what `Setup` returns.
struct Setup {
    folder: TempDir,
    environment: Vec<(OsString, OsString)>,
    flags: Vec<(&'static str, &'static str, String)>,
}

impl Setup {
    fn new(text: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join("f"), text).expect("written");
        Self {
            folder,
            environment: Vec::new(),
            flags: Vec::new(),
        }
    }

    fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    fn flag(mut self, flag: &'static str, key: &'static str, value: &str) -> Self {
        self.flags.push((flag, key, value.to_owned()));
        self
    }

    fn with(self, file: &str, text: &str) -> Self {
        fs::write(self.folder.path().join(file), text).expect("written");
        self
    }

    fn sources(&self) -> Sources {
        Sources {
            file: Some(self.folder.path().join("f")),
            environment: self.environment.clone(),
            flags: self.flags.clone(),
            ..Sources::default()
        }
    }

    fn load(self) -> Result<Config, Vec<String>> {
        let folder = format!("{}/", self.folder.path().display());
        load(self.sources()).map_err(|error| {
            error
                .problems()
                .map(|problem| problem.to_string().replace(&folder, ""))
                .collect()
        })
    }

    #[track_caller]
    fn refused(self, expected: &[&str]) {
        let problems = self
            .load()
            .map(|config| config.show(true))
            .expect_err("refused");
        assert_eq!(problems, expected);
    }

    #[track_caller]
    fn accepted(self) -> Config {
        self.load()
            .map_err(|problems| problems.join("\n"))
            .expect("accepted")
    }
}

/// A wrong settings file and the one line that says so.
#[track_caller]
fn refused(text: &str, expected: &str) {
    Setup::new(text).refused(&[expected]);
}

fn known_limits(config: &Config) -> Limits {
    *config
        .settings
        .rate_limit
        .known
        .first()
        .expect("one known tenant")
}

/// The settings block of the contract, without the keys of later work.
const BLOCK: &str = r#"
listen: 127.0.0.1:4280
tls: { cert_file: null, key_file: null, client_ca_file: null, client_names: [] }   # the data listener; telemetry.tls likewise
telemetry: { listen: "127.0.0.1:4281" }
admin: { listen: "127.0.0.1:4282", token_file: null }
upstream:
  url: https://api.partner.microsoft.com        # or: simulator
  ca_file: null
  client_cert_file: null                        # with client_key_file
  rewrite_urls: true
  connect_timeout: 5s
  response_timeout: 60s                         # request sent -> head of the answer
  idle_body_timeout: 30s
  pool_idle_timeout: 90s
  max_connections: 1000                         # of both protocols; HTTP/2 ones are opened as streams run out
downstream:                                     # what one caller may ask of us
  header_timeout: 10s
  body_timeout: 30s                             # between two pieces of a body
  min_body_rate: 240                            # bytes a second of a judged body, after 5 s; 0 = off
  idle_timeout: 125s                            # told as Keep-Alive: timeout, a few seconds less
  max_header_bytes: 32KiB
  max_headers: 100
  max_judged_body: 1MiB
  max_connections: 10000
policy: { document: builtin }                   # a file, a folder, or builtin
tenants:
  header: null                                  # used when the token has no tid
  jwks_file: null
  known: { contoso: { id: "<tid>", rate_limit: { writes: { per_minute: 30, burst: 5 } } } }
rate_limit:
  reads: { per_minute: 600, burst: 100 }
  writes: { per_minute: 120, burst: 30 }
  concurrency: 32
  max_tenants: 100000
  cooldown: { default: 30s, max: 5m }
snapshots:
  max_entries: 100000
  max_age: 10m
  scope: principal                              # or: tenant
  unknown_state: fetch                          # fetch | forward | refuse
  unknown_state_failed: refuse                  # refuse | forward
  stale: forward                                # forward | refuse
drain: { min: 0s, max: 25s }
log: { level: info, format: auto }              # auto | text | json
"#;

#[test]
fn the_block_of_the_contract_says_what_holds_without_it() {
    let block = BLOCK.replace(
        r#"contoso: { id: "<tid>", rate_limit: { writes: { per_minute: 30, burst: 5 } } }"#,
        "",
    );
    let (block, none) = (Setup::new(&block).accepted(), Setup::new("").accepted());
    assert_eq!(
        format!("{:?}", block.settings),
        format!("{:?}", none.settings)
    );

    let with_tenant = Setup::new(BLOCK).accepted();
    assert_eq!(with_tenant.settings.tenants.known.len(), 1);
    let limits = known_limits(&with_tenant);
    assert_eq!(
        (limits.writes.per_minute.get(), limits.writes.burst.get()),
        (30, 5)
    );
    assert_eq!(limits.reads, none.settings.rate_limit.default.reads);
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let settings = load(Sources::default())
        .expect("defaults are right")
        .settings;
    let seconds = Duration::from_secs;

    assert_eq!(settings.listen.to_string(), "127.0.0.1:4280");
    assert_eq!(
        settings.admin.telemetry_listen.to_string(),
        "127.0.0.1:4281"
    );
    assert_eq!(settings.admin.listen.to_string(), "127.0.0.1:4282");
    assert!(settings.admin.token.is_none());

    let Target::Service { scheme, authority } = &settings.upstream.target else {
        unreachable!("the default is the service")
    };
    assert_eq!(
        (scheme.as_str(), authority.as_str()),
        ("https", "api.partner.microsoft.com")
    );
    assert!(settings.upstream.authorities.is_empty() && settings.upstream.client.is_none());
    assert!(settings.tls.is_none() && settings.admin.telemetry_tls.is_none());
    assert_eq!(settings.proxy.rewrite_urls, RewriteUrls::ToCaller);
    assert_eq!(settings.upstream.connect_timeout, seconds(5));
    assert_eq!(settings.upstream.response_timeout, seconds(60));
    assert_eq!(settings.upstream.idle_body_timeout, seconds(30));
    assert_eq!(settings.upstream.pool_idle_timeout, seconds(90));
    assert_eq!(settings.upstream.max_connections, 1000);
    assert_eq!(settings.proxy.min_body_rate, 240);

    assert_eq!(settings.server.header_timeout, seconds(10));
    assert_eq!(settings.server.idle_timeout, seconds(125));
    assert_eq!(settings.server.max_header_bytes, 32 * 1024);
    assert_eq!(settings.server.max_headers, 100);
    assert_eq!(settings.server.max_connections, 10_000);
    assert_eq!(settings.proxy.body_timeout, seconds(30));
    assert_eq!(settings.proxy.max_judged_body, 1024 * 1024);
    assert_eq!(
        settings.proxy.judging.unknown_state,
        judging::UnknownState::Fetch
    );
    assert_eq!(
        settings.proxy.judging.unknown_state_failed,
        judging::UnknownStateFailed::Refuse
    );
    assert_eq!(settings.proxy.judging.stale, judging::Stale::Forward);

    assert_eq!(settings.policy, PolicySource::Builtin);
    assert!(settings.tenants.header.is_none() && settings.tenants.key_set.is_none());
    assert!(settings.tenants.known.is_empty());

    let limits = settings.rate_limit.default;
    assert_eq!(
        (limits.reads.per_minute.get(), limits.reads.burst.get()),
        (600, 100)
    );
    assert_eq!(
        (limits.writes.per_minute.get(), limits.writes.burst.get()),
        (120, 30)
    );
    assert_eq!(limits.concurrency.get(), 32);
    assert_eq!(settings.rate_limit.max_tenants.get(), 100_000);
    assert_eq!(settings.rate_limit.cooldown.default, seconds(30));
    assert_eq!(settings.rate_limit.cooldown.max, seconds(300));

    assert_eq!(settings.snapshots.max_entries, 100_000);
    assert_eq!(settings.snapshots.max_age, seconds(600));
    assert_eq!(settings.snapshots.scope, Scope::Principal);
    assert_eq!(
        (settings.drain.min, settings.drain.max),
        (seconds(0), seconds(25))
    );
    assert_eq!(
        (settings.log.level.as_str(), settings.log.format),
        ("info", Format::Auto)
    );
}

#[test]
fn every_setting_of_a_file_arrives() {
    let text = r#"
listen: "[::1]:0"
telemetry: { listen: "0.0.0.0:0" }
admin: { listen: "0.0.0.0:5002", token_file: token }
upstream: { url: "http://LOCALHOST:8080/", connect_timeout: 250ms, response_timeout: 1m30s, idle_body_timeout: 1h, pool_idle_timeout: 1s }
downstream: { header_timeout: 1s, body_timeout: 2s, idle_timeout: 3s, max_header_bytes: 16384, max_headers: 7, max_judged_body: 64MiB, max_connections: 9 }
policy: { document: rules/mine.yaml }
tenants: { header: X-Tenant, jwks_file: keys.json, known: { a-b_1: { id: T1, rate_limit: { concurrency: 3 } } } }
rate_limit: { reads: { per_minute: 1, burst: 2 }, writes: { per_minute: 3, burst: 4 }, concurrency: 5, max_tenants: 6, cooldown: { default: 7s, max: 8s } }
snapshots: { max_entries: 10, max_age: 11s, scope: tenant, unknown_state: refuse, unknown_state_failed: forward, stale: refuse }
drain: { min: 12s, max: 13s }
log: { level: "warn,referral_gateway=debug", format: json }
"#;
    let setup = Setup::new(text)
        .with("token", "  0123456789abcdef\n")
        .with("keys.json", &key_set());
    let folder = setup.folder.path().to_owned();
    let settings = setup.accepted().settings;

    assert_eq!(settings.listen.to_string(), "[::1]:0");
    assert_eq!(settings.admin.telemetry_listen.to_string(), "0.0.0.0:0");
    assert_eq!(settings.admin.listen.to_string(), "0.0.0.0:5002");
    let token = settings.admin.token.expect("a token");
    assert_eq!(token.expose_secret(), "0123456789abcdef");
    assert_eq!(
        format!("{:?}", settings.upstream.target),
        r#"Service { scheme: "http", authority: localhost:8080 }"#
    );
    assert_eq!(
        settings.upstream.connect_timeout,
        Duration::from_millis(250)
    );
    assert_eq!(settings.upstream.response_timeout, Duration::from_secs(90));
    assert_eq!(
        settings.upstream.idle_body_timeout,
        Duration::from_secs(3600)
    );
    assert_eq!(settings.upstream.pool_idle_timeout, Duration::from_secs(1));
    assert_eq!(settings.server.header_timeout, Duration::from_secs(1));
    assert_eq!(settings.proxy.body_timeout, Duration::from_secs(2));
    assert_eq!(settings.server.idle_timeout, Duration::from_secs(3));
    assert_eq!(settings.server.max_header_bytes, 16384);
    assert_eq!(
        (settings.server.max_headers, settings.server.max_connections),
        (7, 9)
    );
    assert_eq!(settings.proxy.max_judged_body, 64 << 20);
    assert_eq!(
        settings.policy,
        PolicySource::Path(folder.join("rules/mine.yaml"))
    );
    assert_eq!(settings.tenants.header.expect("a header"), "x-tenant");
    assert!(settings.tenants.key_set.is_some());
    let known = settings.tenants.known.first().expect("a tenant");
    assert_eq!((known.alias.as_str(), known.id.as_str()), ("a-b_1", "T1"));
    let limits = settings.rate_limit.default;
    assert_eq!(
        (limits.reads.per_minute.get(), limits.reads.burst.get()),
        (1, 2)
    );
    assert_eq!(
        (limits.writes.per_minute.get(), limits.writes.burst.get()),
        (3, 4)
    );
    assert_eq!(
        (
            limits.concurrency.get(),
            settings.rate_limit.max_tenants.get()
        ),
        (5, 6)
    );
    let own = settings.rate_limit.known.first().expect("limits");
    assert_eq!(
        (own.concurrency.get(), own.reads, own.writes),
        (3, limits.reads, limits.writes)
    );
    assert_eq!(settings.rate_limit.cooldown.default, Duration::from_secs(7));
    assert_eq!(settings.rate_limit.cooldown.max, Duration::from_secs(8));
    assert_eq!(settings.snapshots.max_entries, 10);
    assert_eq!(
        (settings.snapshots.max_age, settings.snapshots.scope),
        (Duration::from_secs(11), Scope::Tenant)
    );
    assert_eq!(
        settings.proxy.judging.unknown_state,
        judging::UnknownState::Refuse
    );
    assert_eq!(
        settings.proxy.judging.unknown_state_failed,
        judging::UnknownStateFailed::Forward
    );
    assert_eq!(settings.proxy.judging.stale, judging::Stale::Refuse);
    assert_eq!(
        (settings.drain.min, settings.drain.max),
        (Duration::from_secs(12), Duration::from_secs(13))
    );
    assert_eq!(settings.log.level, "warn,referral_gateway=debug");
    assert_eq!(settings.log.format, Format::Json);
}

#[test]
fn a_wrong_setting_is_named_with_place_value_and_remedy() {
    for (text, expected) in [
        (
            "listn: x",
            "f:1:1: unknown key `listn`; did you mean `listen`?",
        ),
        (
            "upstream:\n  ulr: x",
            "f:2:3: unknown key `upstream.ulr`; did you mean `url`?",
        ),
        (
            "upstream:\n  shape: true",
            "f:2:3: unknown key `upstream.shape`; known keys here: url, ca_file, client_cert_file, client_key_file, rewrite_urls, connect_timeout, response_timeout, idle_body_timeout, pool_idle_timeout, max_connections",
        ),
        (
            "rate_limit: { queue: {} }",
            "f:1:15: unknown key `rate_limit.queue`; known keys here: reads, writes, concurrency, max_tenants, cooldown",
        ),
        (
            "listen: 1.2.3.4:5\nlisten: 1.2.3.4:6",
            "f:2:1: the key `listen` is given twice; keep one of them",
        ),
        (
            "listen: localhost:80",
            "f:1:9: `listen` is `localhost:80`: not an IP address with a port; write both, such as 127.0.0.1:4280 or [::1]:4280 (port 0 takes any free one)",
        ),
        (
            "listen: 4280",
            "f:1:9: `listen` is `4280`: not an IP address with a port; write both, such as 127.0.0.1:4280 or [::1]:4280 (port 0 takes any free one)",
        ),
        (
            "telemetry:\n  listen: 127.0.0.1:4280",
            "f:2:11: `telemetry.listen` is `127.0.0.1:4280`: taken by `listen` already; give each listener a port of its own, or port 0",
        ),
        (
            "listen: 0.0.0.0:4282",
            "f:1:9: `listen` is `0.0.0.0:4282`: taken by `admin.listen` already; give each listener a port of its own, or port 0",
        ),
        (
            "admin: { listen: '0.0.0.0:1' }",
            "f:1:18: `admin.listen` is `0.0.0.0:1`: not loopback, and no token protects it; write a loopback address such as 127.0.0.1:4282, or set admin.token_file",
        ),
        (
            "drain: { min: 30s }",
            "f:1:15: `drain.min` is `30s`: more than `drain.max`, which is `25s`; let `drain.min` be at most `drain.max`",
        ),
        (
            "drain: { max: 0s }",
            "f:1:15: `drain.max` is `0s`: zero; write a duration over 0, such as 5s",
        ),
        (
            "rate_limit:\n  cooldown: { max: 10s }",
            "f:2:20: `rate_limit.cooldown.max` is `10s`: less than `rate_limit.cooldown.default`, which is `30s`; let `rate_limit.cooldown.default` be at most `rate_limit.cooldown.max`",
        ),
        (
            "upstream: { connect_timeout: 5 }",
            "f:1:30: `upstream.connect_timeout` is `5`: not a duration; write a number with its unit, such as 250ms, 5s or 1m30s",
        ),
        (
            "upstream: { connect_timeout: 25h }",
            "f:1:30: `upstream.connect_timeout` is `25h`: more than a day; write at most 24h",
        ),
        (
            "upstream: { response_timeout: 0ms }",
            "f:1:31: `upstream.response_timeout` is `0ms`: zero; write a duration over 0, such as 5s",
        ),
        (
            "downstream: { max_header_bytes: 4KiB }",
            "f:1:33: `downstream.max_header_bytes` is `4KiB`: not between 8KiB and 1MiB; write a size from 8KiB to 1MiB",
        ),
        (
            "downstream: { max_header_bytes: 32KB }",
            "f:1:33: `downstream.max_header_bytes` is `32KB`: not a size; write bytes, such as 65536, or a number with KiB or MiB, such as 64KiB",
        ),
        (
            "downstream: { max_judged_body: 65MiB }",
            "f:1:32: `downstream.max_judged_body` is `65MiB`: not between 1 byte and 64MiB; write a size from 1 byte to 64MiB",
        ),
        (
            "downstream: { max_judged_body: 99999999999999999999GiB }",
            "f:1:32: `downstream.max_judged_body` is `99999999999999999999GiB`: not a size; write bytes, such as 65536, or a number with KiB or MiB, such as 64KiB",
        ),
        (
            "downstream: { max_headers: 0 }",
            "f:1:28: `downstream.max_headers` is `0`: not between 1 and 1000; write a whole number from 1 to 1000",
        ),
        (
            "downstream: { max_headers: many }",
            "f:1:28: `downstream.max_headers` is `many`: not a whole number; write digits only, such as 100",
        ),
        (
            "rate_limit: { writes: { burst: 0 } }",
            "f:1:32: `rate_limit.writes.burst` is `0`: not between 1 and 4294967295; write a whole number from 1 to 4294967295",
        ),
        (
            "rate_limit: { max_tenants: 0 }",
            "f:1:28: `rate_limit.max_tenants` is `0`: not between 1 and 10000000; write a whole number from 1 to 10000000",
        ),
        (
            "snapshots: { scope: user }",
            "f:1:21: `snapshots.scope` is `user`: not one of principal, tenant; write one of these",
        ),
        (
            "snapshots: { unknown_state: fetsh }",
            "f:1:29: `snapshots.unknown_state` is `fetsh`: not one of fetch, forward, refuse; did you mean `fetch`?",
        ),
        (
            "tenants: { header: 'a b' }",
            "f:1:20: `tenants.header` is `a b`: not the name of a header; write the name of a header of your own, such as x-tenant-id",
        ),
        (
            "tenants: { header: Authorization }",
            "f:1:20: `tenants.header` is `Authorization`: a header that has another meaning; write the name of a header of your own, such as x-tenant-id",
        ),
        (
            "tenants: { header: content-language }",
            "f:1:20: `tenants.header` is `content-language`: a header that has another meaning; write the name of a header of your own, such as x-tenant-id",
        ),
        (
            "tenants: { known: { Contoso: { id: a } } }",
            "f:1:30: `tenants.known.Contoso` is not an alias of a tenant; write 1 to 40 of the characters a-z, 0-9, _ and -",
        ),
        (
            "tenants: { known: { a.b: { id: a } } }",
            "f:1:26: `tenants.known.a.b` is not an alias of a tenant; write 1 to 40 of the characters a-z, 0-9, _ and -",
        ),
        (
            "tenants: { known: { _other: { id: a } } }",
            "f:1:29: `tenants.known._other` is a reserved alias; write another name, not one that begins with _",
        ),
        (
            "tenants: { known: { anonymous: { id: a } } }",
            "f:1:32: `tenants.known.anonymous` is a reserved alias; write another name, not one that begins with _",
        ),
        (
            "tenants: { known: { contoso: {} } }",
            "f:1:30: `tenants.known.contoso` has no `id`; add `id: <tid of the tenant>`",
        ),
        (
            "tenants: { known: { contoso: } }",
            "f:1:28: `tenants.known.contoso` has no `id`; add `id: <tid of the tenant>`",
        ),
        (
            "tenants: { known: { contoso: { id: '' } } }",
            "f:1:36: `tenants.known.contoso.id` is ``: not the id of a tenant; write the `tid` of the tenant's tokens, at most 256 visible characters",
        ),
        (
            "tenants: { known: { a: { id: X }, b: { id: x } } }",
            "f:1:44: `tenants.known.b.id` is `x`: also the id of `tenants.known.a`; give each tenant one alias",
        ),
        (
            "tenants: { known: { a: { id: x }, a: { id: y } } }",
            "f:1:35: the key `tenants.known.a` is given twice; keep one of them",
        ),
        (
            "tenants: { known: { a: { id: x, rate_limit: { reads: { burst: 0 } } } } }",
            "f:1:63: `tenants.known.a.rate_limit.reads.burst` is `0`: not between 1 and 4294967295; write a whole number from 1 to 4294967295",
        ),
        (
            "rate_limit: { concurrency: 0 }\ntenants: { known: { a: { id: x } } }",
            "f:1:28: `rate_limit.concurrency` is `0`: not between 1 and 4294967295; write a whole number from 1 to 4294967295",
        ),
        (
            "policy: { document: '' }",
            "f:1:21: `policy.document` is ``: not a path; write the path of a file, or leave the setting out",
        ),
        (
            "log: { format: xml }",
            "f:1:16: `log.format` is `xml`: not one of auto, text, json; write one of these",
        ),
        (
            "log: { level: inof }",
            "f:1:15: `log.level` is `inof`: \"inof\" is not a level; write off, error, warn, info, debug or trace, or a filter such as info,referral_gateway::access=off",
        ),
        (
            "log: { level: '' }",
            "f:1:15: `log.level` is ``: \"\" is not a level; write off, error, warn, info, debug or trace, or a filter such as info,referral_gateway::access=off",
        ),
        (
            "log: { level: 'referral_gateway::acces=off' }",
            "f:1:15: `log.level` is `referral_gateway::acces=off`: \"referral_gateway::acces\" is no target (did you mean referral_gateway::access?); write off, error, warn, info, debug or trace, or a filter such as info,referral_gateway::access=off",
        ),
        (
            "downstream: { min_body_rate: 1073741825 }",
            "f:1:30: `downstream.min_body_rate` is `1073741825`: not between 0 and 1073741824; write a whole number from 0 to 1073741824",
        ),
        (
            "log: { level: 'a=b=c' }",
            "f:1:15: `log.level` is `a=b=c`: \"c\" is not a level; write off, error, warn, info, debug or trace, or a filter such as info,referral_gateway::access=off",
        ),
    ] {
        refused(text, expected);
    }
}

#[test]
fn an_empty_file_is_warned_of() {
    for text in ["", " \n", "# later\n", "\u{feff}# later\n"] {
        let warnings = Setup::new(text).accepted().warnings();
        assert!(
            matches!(warnings.as_slice(), [one] if one.to_string().ends_with("f: the file sets nothing; `config show` prints one to begin with")),
            "{text:?}: {warnings:?}"
        );
    }
    for text in ["{}", "# later\nlog: { level: info }\n"] {
        let said = Setup::new(text).accepted().warnings();
        assert!(said.is_empty(), "{text:?}: {said:?}");
    }
}

#[test]
fn a_file_that_must_not_become_empty_is_refused_with_all_other_faults() {
    for (text, listen) in [("# later\n", "127.0.0.1:9"), ("", "nowhere")] {
        let setup = Setup::new(text).flag("--listen", "listen", listen);
        let sources = Sources {
            refuses_blank: true,
            ..setup.sources()
        };
        let refused = load(sources).expect_err("refused").to_string();
        let told = "f: the file sets nothing, but it did before; restore its settings, or write `{}` to return to the defaults";
        assert!(refused.contains(told), "{refused}");
        assert_eq!(
            refused.contains("nowhere"),
            listen == "nowhere",
            "{refused}"
        );
    }
}

#[test]
fn an_id_that_no_token_can_name_is_warned_of() {
    let guid = "11111111-2222-4333-8444-555555555555";
    for (header, id, warned) in [
        ("", "notaguid", true),
        ("", guid, false),
        ("header: x-tenant-id, ", "notaguid", false),
    ] {
        let text = format!("tenants: {{ {header}known: {{ x: {{ id: {id} }} }} }}");
        let warnings = Setup::new(&text).accepted().warnings();
        assert_eq!(warnings.len(), usize::from(warned), "{warnings:?}");
        for warning in warnings {
            assert!(
                warning
                    .to_string()
                    .contains("f:1:30: `tenants.known.x.id` is `notaguid`: not a GUID"),
                "{warning}"
            );
        }
    }
}

#[test]
fn a_wrong_upstream_is_refused_and_a_right_one_is_not() {
    const WRITE: &str =
        "write scheme and host alone, such as https://api.partner.microsoft.com, or simulator";
    for (url, wrong) in [
        ("api.partner.microsoft.com", "not an absolute URL"),
        ("simulater", "not an absolute URL"),
        ("/path", "not an absolute URL"),
        ("", "not a URL"),
        ("https://", "not a URL"),
        ("https://exa mple", "not a URL"),
        ("https://h/v1.0", "a URL with a path"),
        ("https://h?x", "a URL with a query"),
        ("https://h#x", "a URL with a fragment"),
        ("https://h:0", "a URL without a usable host and port"),
        ("https://h:99999", "a URL without a usable host and port"),
        ("https://h:", "a URL without a usable host and port"),
        ("https://:80", "a URL without a usable host and port"),
        ("ftp://h", "neither http nor https"),
    ] {
        let text = format!("upstream: {{ url: '{url}' }}");
        refused(
            &text,
            // A query may hold a key.
            &format!(
                "f:1:18: `upstream.url` is `{}`: {wrong}; {WRITE}",
                url.replace("?x", "?***")
            ),
        );
    }
    for url in [
        "http://example.com",
        "http://10.0.0.1:80",
        "http://localhost.example",
        "http://[fe80::1]:80",
        "http://0.0.0.0:80",
    ] {
        let text = format!("upstream: {{ url: '{url}' }}");
        let remedy =
            "write https://..., since plain http would show the callers' tokens to the network";
        refused(
            &text,
            &format!(
                "f:1:18: `upstream.url` is `{url}`: plain http to a host that is not loopback; {remedy}"
            ),
        );
    }
    for url in [
        "http://localhost:4280",
        "http://127.0.0.1:4280",
        "https://127.0.0.1:4280",
        "http://127.0.0.1:4281",
        "http://localhost:4282",
    ] {
        let text = format!("upstream: {{ url: '{url}' }}");
        let listener = match url.chars().last() {
            Some('0') => "listen",
            Some('1') => "telemetry.listen",
            _ => "admin.listen",
        };
        refused(
            &text,
            &format!(
                "f:1:18: `upstream.url` is `{url}`: the gateway's own `{listener}`; write the address of the service"
            ),
        );
    }
    for (url, authority) in [
        ("https://Example.com/", "example.com"),
        ("HTTPS://example.com:8443", "example.com:8443"),
        ("http://127.8.9.1:1", "127.8.9.1:1"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("http://localhost", "localhost"),
    ] {
        let config = Setup::new(&format!("upstream: {{ url: '{url}' }}")).accepted();
        let Target::Service {
            authority: read, ..
        } = config.settings.upstream.target
        else {
            unreachable!("{url} is a service")
        };
        assert_eq!(read.as_str(), authority);
    }
    let config = Setup::new("upstream: { url: simulator }").accepted();
    assert_eq!(config.settings.upstream.target, Target::Simulator);
}

#[test]
fn a_password_in_a_url_is_refused_without_being_shown() {
    refused(
        "upstream: { url: 'https://me:s3cret@h' }",
        "f:1:18: `upstream.url` is `https://***@h`: a URL with a user name or a password; remove it: the gateway passes the callers' own credentials on",
    );
}

#[test]
fn no_part_of_a_password_is_shown_whatever_letters_it_has() {
    for url in [
        "https://user:s3?cret@h",
        "https://user:s3@cret@h?s3",
        "https://h?sig=s3",
    ] {
        let problems = Setup::new(&format!("upstream: {{ url: '{url}' }}"))
            .load()
            .map(|config| config.show(true))
            .expect_err("refused");
        let text = problems.join("\n");
        assert!(!text.contains("s3") && !text.contains("user:"), "{text}");
    }
}

#[test]
fn a_token_is_never_shown() {
    let setup = Setup::new("admin: { token_file: t }").with("t", "short-token\n");
    let remedy = "write at least 16 letters, digits or signs, and nothing else, for example from `openssl rand -hex 32`";
    setup.refused(&[&format!(
        "f:1:22: `admin.token_file` is `t`: a file without a usable token; {remedy}"
    )]);

    Setup::new("admin: { token_file: t }").refused(&[
        "f:1:22: `admin.token_file` is `t`: no such file; give the path of an existing file",
    ]);

    let config = Setup::new("admin: { token_file: t }")
        .with("t", "0123456789abcdef")
        .accepted();
    for shown in [
        config.show(true),
        config.to_json().to_string(),
        format!("{config:?}"),
    ] {
        assert!(!shown.contains("0123456789abcdef"), "{shown}");
    }
}

#[test]
fn a_certificate_file_is_looked_at() {
    let remedy = "give a PEM file with at least one certificate, readable by this user";
    Setup::new("upstream: { ca_file: ca }")
        .with("ca", "nothing here\n")
        .refused(&[&format!(
            "f:1:22: `upstream.ca_file` is `ca`: no certificate in that file; {remedy}"
        )]);
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let config = Setup::new("upstream: { ca_file: ca }")
        .with("ca", &key.cert.pem())
        .accepted();
    let authorities = config.settings.upstream.authorities;
    assert_eq!(authorities, [key.cert.der().clone()]);
}

/// A key set with one key. Nothing is signed by it, so any odd number of 2048 bits will do.
fn key_set() -> String {
    let modulus = "_".repeat(341) + "w";
    json!({ "keys": [{ "kty": "RSA", "use": "sig", "kid": "k", "e": "AQAB", "n": modulus }] })
        .to_string()
}

#[test]
fn a_file_of_keys_is_read_at_once() {
    let wrong = |what: &str| {
        let remedy = "save in it what the `jwks_uri` of the tokens' issuer answers";
        format!("f:1:23: `tenants.jwks_file` is `k`: {what}; {remedy}")
    };
    let large = key_set() + &" ".repeat(1024 * 1024);
    for (text, what) in [
        ("", "not a JSON Web Key Set (line 1, column 0)"),
        ("\u{feff}{}", "not a JSON Web Key Set (line 1, column 1)"),
        (
            "{\n\"keys\": 7}",
            "not a JSON Web Key Set (line 2, column 9)",
        ),
        (
            r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#,
            "no RSA key of 2048 to 8192 bits for RS256 signatures is in the set",
        ),
        (&large, "more than 1048576 bytes"),
    ] {
        let setup = Setup::new("tenants: { jwks_file: k }").with("k", text);
        setup.refused(&[&wrong(what)]);
    }
    refused(
        "tenants: { jwks_file: k }",
        "f:1:23: `tenants.jwks_file` is `k`: no such file; give the path of an existing file",
    );
    let config = Setup::new("tenants: { jwks_file: k }")
        .with("k", &key_set())
        .accepted();
    assert_eq!(
        format!("{:?}", config.settings.tenants.key_set),
        "Some(KeySet(1 keys))"
    );
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let setup = Setup::new("listen: x\ndrain: { max: 0s }\n")
        .environment("REFERRAL_GATEWAY_LOG__LEVEL", "loud")
        .environment("REFERRAL_GATEWAY_UPSTREAM__ULR", "x")
        .flag("--upstream", "upstream.url", "x");
    let problems = setup
        .load()
        .map(|config| config.show(true))
        .expect_err("refused");
    assert_eq!(problems.len(), 5, "{problems:#?}");
}

#[test]
fn no_fault_of_a_file_hides_another() {
    let setup = Setup::new(
        "upstreem: { url: x }
upstream: { url: 'ftp://x', conect_timeout: 1 }
log: { level: loud, format: xml }
policy: mine.yaml
rate_limit:
  reads: { per_minute: -1, burst: 1.5 }
  writes: 30
snapshots: { stale: maybe, max_entries: many }
tenants:
  contoso: { id: a }
  known:
    fabrikam: { idd: b }
    contoso: { rate_limit: { concurrency: 3 } }
",
    );
    let problems = setup
        .load()
        .map(|config| config.show(true))
        .expect_err("refused");
    let places = [
        ("f:1:1: ", "did you mean `upstream`?"),
        ("f:2:18: ", "neither http nor https"),
        ("f:2:29: ", "did you mean `connect_timeout`?"),
        ("f:3:15: ", "not a level"),
        ("f:3:29: ", "not one of auto, text, json"),
        ("f:4:9: ", "not a mapping"),
        ("f:6:24: ", "not a whole number"),
        ("f:6:35: ", "not a whole number"),
        ("f:7:11: ", "not a mapping"),
        ("f:8:21: ", "not one of forward, refuse"),
        ("f:8:41: ", "not a whole number"),
        ("f:10:3: ", "known keys here: header, jwks_file, known"),
        ("f:12:17: ", "did you mean `id`?"),
        ("f:13:14: ", "has no `id`"),
    ];
    assert_eq!(problems.len(), places.len(), "{problems:#?}");
    for (problem, (place, piece)) in problems.iter().zip(places) {
        assert!(problem.contains(place), "not at {place}{problem}");
        assert!(problem.contains(piece), "{piece}: {problem}");
    }
}

#[test]
fn the_highest_source_wins_setting_by_setting() {
    let setup = Setup::new(
        "listen: 127.0.0.1:1\nlog:\n  level: warn\nrate_limit: { reads: { burst: 7 } }\n",
    )
    .environment("REFERRAL_GATEWAY_LOG__LEVEL", "debug")
    .environment("REFERRAL_GATEWAY_LISTEN", "127.0.0.1:2")
    .environment("REFERRAL_GATEWAY_RATE_LIMIT__READS__PER_MINUTE", "9")
    .environment("REFERRAL_GATEWAY_TENANTS__KNOWN__CONTOSO__ID", "t")
    .environment("PATH", "/bin")
    .flag("--listen", "listen", "127.0.0.1:3");
    let folder = setup.folder.path().display().to_string();
    let config = setup.accepted();

    let json = config.to_json();
    for (key, origin) in [
        ("listen", "flag --listen"),
        ("log.level", "environment REFERRAL_GATEWAY_LOG__LEVEL"),
        ("log.format", "default"),
        ("rate_limit.reads.burst", &format!("{folder}/f:4:31")),
        (
            "rate_limit.reads.per_minute",
            "environment REFERRAL_GATEWAY_RATE_LIMIT__READS__PER_MINUTE",
        ),
        (
            "tenants.known.contoso.id",
            "environment REFERRAL_GATEWAY_TENANTS__KNOWN__CONTOSO__ID",
        ),
        (
            "tenants.known.contoso.rate_limit.reads.burst",
            &format!("{folder}/f:4:31"),
        ),
    ] {
        assert_eq!(json.pointer(&format!("/origins/{key}")).expect(key), origin);
    }
    assert_eq!(
        json.pointer("/settings/listen").expect("listen"),
        "127.0.0.1:3"
    );
    assert_eq!(
        json.pointer("/settings/rate_limit/reads"),
        Some(&json!({ "per_minute": 9, "burst": 7 }))
    );
    assert_eq!(config.settings.log.level, "debug");
    let limits = known_limits(&config);
    assert_eq!(
        (limits.reads.per_minute.get(), limits.reads.burst.get()),
        (9, 7)
    );
}

#[test]
fn a_wrong_variable_is_named_with_what_was_meant() {
    for (name, value, expected) in [
        (
            "REFERRAL_GATEWAY_UPSTREAM__ULR",
            "x",
            "environment REFERRAL_GATEWAY_UPSTREAM__ULR: unknown setting; did you mean REFERRAL_GATEWAY_UPSTREAM__URL?",
        ),
        (
            "REFERRAL_GATEWAY_UPSTREAM_URL",
            "x",
            "environment REFERRAL_GATEWAY_UPSTREAM_URL: unknown setting; did you mean REFERRAL_GATEWAY_UPSTREAM__URL?",
        ),
        (
            "REFERRAL_GATEWAY_UPSTREAM",
            "x",
            "environment REFERRAL_GATEWAY_UPSTREAM: unknown setting; a setting is named REFERRAL_GATEWAY_<SECTION>__<KEY>, for example REFERRAL_GATEWAY_UPSTREAM__URL",
        ),
        (
            "REFERRAL_GATEWAY_TENANTS__KNOWN__A__TID",
            "x",
            "environment REFERRAL_GATEWAY_TENANTS__KNOWN__A__TID: unknown setting; a setting is named REFERRAL_GATEWAY_<SECTION>__<KEY>, for example REFERRAL_GATEWAY_UPSTREAM__URL",
        ),
        (
            "REFERRAL_GATEWAY_X",
            "x",
            "environment REFERRAL_GATEWAY_X: unknown setting; a setting is named REFERRAL_GATEWAY_<SECTION>__<KEY>, for example REFERRAL_GATEWAY_UPSTREAM__URL",
        ),
        (
            "REFERRAL_GATEWAY_LISTEN",
            "x",
            "environment REFERRAL_GATEWAY_LISTEN: `listen` is `x`: not an IP address with a port; write both, such as 127.0.0.1:4280 or [::1]:4280 (port 0 takes any free one)",
        ),
        (
            "REFERRAL_GATEWAY_DOWNSTREAM__MAX_HEADERS",
            "lots",
            "environment REFERRAL_GATEWAY_DOWNSTREAM__MAX_HEADERS: `downstream.max_headers` is `lots`: not a whole number; write digits only, such as 100",
        ),
        (
            "REFERRAL_GATEWAY_SNAPSHOTS__SCOPE",
            "Tenant",
            "environment REFERRAL_GATEWAY_SNAPSHOTS__SCOPE: `snapshots.scope` is `Tenant`: not one of principal, tenant; did you mean `tenant`?",
        ),
    ] {
        Setup::new("").environment(name, value).refused(&[expected]);
    }
    Setup::new("")
        .flag("--upstream", "upstream.url", "ftp://h")
        .refused(&["flag --upstream: `upstream.url` is `ftp://h`: neither http nor https; write scheme and host alone, such as https://api.partner.microsoft.com, or simulator"]);
}

#[test]
fn variables_that_are_not_ours_change_nothing() {
    let setup = [
        ("REFERRAL_GATEWAY_PORT", "tcp://10.0.0.1:4280"),
        ("REFERRAL_GATEWAY_PORT_4280_TCP", "tcp://10.0.0.1:4280"),
        ("REFERRAL_GATEWAY_PORT_4280_TCP_ADDR", "10.0.0.1"),
        ("REFERRAL_GATEWAY_SERVICE_HOST", "10.0.0.1"),
        ("REFERRAL_GATEWAY_SERVICE_PORT", "4280"),
        ("REFERRAL_GATEWAY_SERVICE_PORT_HTTP", "4280"),
        ("REFERRAL_GATEWAY_METRICS_SERVICE_HOST", "10.0.0.1"),
        ("REFERRAL_GATEWAY_METRICS_PORT_4281_TCP_PROTO", "tcp"),
        // A template that leaves a variable empty means that it is not set.
        ("REFERRAL_GATEWAY_UPSTREAM__URL", ""),
        ("OTHER_LISTEN", "x"),
    ]
    .into_iter()
    .fold(Setup::new(""), |setup, (name, value)| {
        setup.environment(name, value)
    });
    let config = setup.accepted();
    assert_eq!(
        format!("{:?}", config.settings),
        format!("{:?}", Setup::new("").accepted().settings)
    );
}

#[test]
fn the_environment_may_name_the_settings_file() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("settings.yaml");
    fs::write(&file, "listen: 127.0.0.1:9\n").expect("written");
    let sources = Sources {
        environment: vec![("REFERRAL_GATEWAY_CONFIG".into(), file.into())],
        ..Sources::default()
    };
    assert_eq!(load(sources).expect("read").settings.listen.port(), 9);
}

#[test]
fn what_is_shown_is_a_settings_file_with_the_same_meaning() {
    let config = Setup::new(BLOCK)
        .environment("REFERRAL_GATEWAY_LISTEN", "[::1]:7")
        .accepted();
    for origins in [false, true] {
        let shown = config.show(origins);
        let again = Setup::new(&shown).accepted();
        assert_eq!(
            format!("{:?}", again.settings),
            format!("{:?}", config.settings),
            "{shown}"
        );
    }
    assert!(
        config
            .show(true)
            .contains("listen: \"[::1]:7\"  # environment REFERRAL_GATEWAY_LISTEN\n"),
        "{}",
        config.show(true)
    );
    assert!(
        config.show(true).contains("  connect_timeout: 5s  # "),
        "{}",
        config.show(true)
    );
    assert!(!config.show(false).contains('#'));
}

#[test]
fn every_setting_is_read() {
    let config = Setup::new(BLOCK).accepted();
    for (key, leaf) in &config.layers.leaves {
        assert!(leaf.change.is_some(), "no part reads {key}");
    }
}

#[test]
fn the_schema_names_every_setting() {
    let schema = schema().to_string();
    let config = load(Sources::default()).expect("defaults are right");
    for key in config.layers.leaves.keys().flat_map(|key| key.split('.')) {
        assert!(
            schema.contains(&format!("\"{key}\":")),
            "{key} is not in {schema}"
        );
    }
    assert!(schema.contains(r#""additionalProperties":false"#));
}

#[test]
fn many_known_tenants_are_read_quickly() {
    let tenants: String = (0..20_000)
        .map(|n| format!("    t{n}: {{ id: id-{n} }}\n"))
        .collect();
    let config = Setup::new(&format!("tenants:\n  known:\n{tenants}")).accepted();
    assert_eq!(config.settings.tenants.known.len(), 20_000);
    assert_eq!(config.settings.rate_limit.known.len(), 20_000);
}

#[track_caller]
fn policy_refused(source: &PolicySource, expected: &str) {
    let error = load_policy(source).expect_err("refused").to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_policy_that_is_not_there_is_named_by_its_setting() {
    let missing = "no such file; give the path of an existing file";
    let wrong = "`policy.document` is `none.yaml`";
    let refused = |setup: Setup, expected: &str| {
        let folder = format!("{}/", setup.folder.path().display());
        let error = load_all(setup.sources()).expect_err("refused");
        let [problem] = error.of_policy() else {
            unreachable!("one problem: {error}")
        };
        assert_eq!(problem.to_string().replace(&folder, ""), expected);
        (problem.line, problem.column, problem.origin.clone())
    };
    let in_file = refused(
        Setup::new("policy:\n  document: none.yaml\n"),
        &format!("f:2:13: {wrong}: {missing}"),
    );
    assert_eq!(in_file, (Some(2), Some(13), None));
    let variable = "environment REFERRAL_GATEWAY_POLICY__DOCUMENT";
    let in_environment = refused(
        Setup::new("").environment("REFERRAL_GATEWAY_POLICY__DOCUMENT", "none.yaml"),
        &format!("{variable}: {wrong}: {missing}"),
    );
    assert_eq!(in_environment, (None, None, Some(variable.to_owned())));
    let by_flag = refused(
        Setup::new("").flag("--policy", "policy.document", "none.yaml"),
        &format!("flag --policy: {wrong}: {missing}"),
    );
    assert_eq!(by_flag.2.as_deref(), Some("flag --policy"));

    let folder = Setup::new("policy: { document: . }");
    refused(
        folder,
        "f:1:21: `policy.document` is `.`: no *.yaml in this folder; name the document itself, or keep exactly one *.yaml in the folder",
    );
    let text = "name: x\nrulez: []\nstates: { New: { next: [New], substatus: [Pending] } }\n";
    let document = Setup::new("policy: { document: d.yaml }").with("d.yaml", text);
    refused(
        document,
        "d.yaml:2:1: unknown key `rulez`; did you mean `rules`?",
    );
}

#[test]
fn a_policy_is_a_file_or_the_only_document_of_a_folder() {
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| PolicySource::Path(folder.path().join(name));
    policy_refused(&path("none.yaml"), "none.yaml: no such file");
    policy_refused(
        &path(""),
        ": no *.yaml in this folder; name the document itself",
    );

    fs::write(folder.path().join("one.yaml"), super::policy::BUILTIN).expect("written");
    fs::create_dir(folder.path().join("tests")).expect("a folder");
    fs::write(folder.path().join("tests/case.yaml"), "x").expect("written");
    fs::write(folder.path().join("notes.txt"), "x").expect("written");
    let read = |source| load_policy(&source);
    read(path("")).expect("the only document");
    read(path("one.yaml")).expect("a document");

    fs::write(folder.path().join("two.yaml"), "x").expect("written");
    policy_refused(&path(""), "2 documents in this folder (one.yaml, two.yaml)");
    read(PolicySource::Builtin).expect("the document compiled in");
}

#[test]
fn a_changed_setting_comes_into_force_or_waits_for_a_restart() {
    let running = Setup::new("").accepted();
    let mut keys: Vec<String> = running.layers.leaves.keys().cloned().collect();
    let authority =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    for (key, value, waits) in [
        ("listen", "127.0.0.1:1", true),
        ("telemetry.listen", "127.0.0.1:1", true),
        ("admin.listen", "127.0.0.1:1", true),
        ("admin.token_file", "token", true),
        ("upstream.url", "https://other.example", true),
        ("upstream.ca_file", "authority", false),
        ("upstream.rewrite_urls", "false", false),
        ("upstream.connect_timeout", "1s", true),
        ("upstream.response_timeout", "1s", true),
        ("upstream.idle_body_timeout", "1s", true),
        ("upstream.pool_idle_timeout", "1s", true),
        ("upstream.max_connections", "7", true),
        ("downstream.header_timeout", "1s", true),
        ("downstream.body_timeout", "1s", false),
        ("downstream.min_body_rate", "0", false),
        ("downstream.idle_timeout", "1s", true),
        ("downstream.max_header_bytes", "8KiB", true),
        ("downstream.max_headers", "7", true),
        ("downstream.max_judged_body", "7", false),
        ("downstream.max_connections", "7", true),
        ("policy.document", "other.yaml", false),
        ("tenants.header", "x-tenant", false),
        ("tenants.jwks_file", "keys", false),
        ("rate_limit.reads.per_minute", "7", false),
        ("rate_limit.reads.burst", "7", false),
        ("rate_limit.writes.per_minute", "7", false),
        ("rate_limit.writes.burst", "7", false),
        ("rate_limit.concurrency", "7", false),
        ("rate_limit.max_tenants", "7", false),
        ("rate_limit.cooldown.default", "1s", false),
        ("rate_limit.cooldown.max", "10m", false),
        ("snapshots.max_entries", "7", true),
        ("snapshots.max_age", "1s", true),
        ("snapshots.scope", "tenant", true),
        ("snapshots.unknown_state", "refuse", false),
        ("snapshots.unknown_state_failed", "forward", false),
        ("snapshots.stale", "refuse", false),
        ("drain.min", "1s", true),
        ("drain.max", "1s", true),
        ("log.level", "warn", false),
        ("log.format", "json", true),
        ("tenants.known.contoso.id", "tid", false),
    ] {
        keys.retain(|other| other != key);
        let text = key.rsplit('.').fold(format!("'{value}'"), |inner, name| {
            format!("{{ {name}: {inner} }}")
        });
        let new = || {
            Setup::new(&text)
                .with("token", "0123456789abcdef")
                .with("authority", &authority.cert.pem())
                .with("keys", &key_set())
                .accepted()
        };
        let renewed = running.renewed(new());
        let is_same = format!("{:?}", renewed.settings) == format!("{:?}", running.settings);
        let value = |config: &Config| Some(config.layers.leaves.get(key)?.value.clone());
        let is_shown = value(&renewed) == value(&new());
        let is_told = renewed.waiting() == [key];
        assert_eq!(
            (is_same, is_shown, is_told),
            (waits, !waits, waits),
            "{key}"
        );
        let json = renewed.to_json();
        assert_eq!(json.get("waiting_for_restart").is_some(), waits, "{json}");

        // It waits until it is as it was, or the program is started anew.
        let again = renewed.renewed(new());
        assert_eq!(again.waiting(), renewed.waiting(), "{key}");
        let back = renewed.renewed(Setup::new("").accepted());
        assert!(back.waiting().is_empty(), "{key}");
    }
    // Settings that need others: `tls_waits_for_a_restart_and_its_contents_do_not`.
    keys.retain(|key| !key.starts_with("tls.") && !key.starts_with("telemetry.tls."));
    keys.retain(|key| !key.starts_with("upstream.client_"));
    assert!(keys.is_empty(), "not in the table: {keys:?}");
}

/// A certificate for this name and its key, as PEM.
fn identity(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn tls_waits_for_a_restart_and_its_contents_do_not() {
    let (one, other) = (identity("one.example"), identity("other.example"));
    let with = |text: &str, (certificate, key): &(String, String)| {
        let setup = Setup::new(text).with("c", certificate).with("k", key);
        setup.with("c2", certificate).with("k2", key).accepted()
    };
    let shown = |config: &Config, section: &str| {
        let settings = match section {
            "tls" => config.settings.tls.clone(),
            _ => config.settings.admin.telemetry_tls.clone(),
        };
        settings.map(|tls| {
            let names: Vec<_> = tls.client_names.iter().map(ToString::to_string).collect();
            (tls.identity, tls.client_authorities.len(), names)
        })
    };
    for (section, around) in [("tls", "@"), ("telemetry.tls", "telemetry: { @ }")] {
        let text = |inner: &str| around.replace('@', &format!("tls: {{ {inner} }}"));
        let on = text("cert_file: c, key_file: k");
        let off = Setup::new("").accepted();
        let running = with(&on, &one);

        // Neither on nor off without a restart.
        let renewed = off.renewed(with(&on, &one));
        assert_eq!(renewed.waiting().len(), 2, "{section}");
        assert!(shown(&renewed, section).is_none());
        let renewed = running.renewed(Setup::new("").accepted());
        assert_eq!(renewed.waiting().len(), 2, "{section}");
        assert_eq!(shown(&renewed, section), shown(&running, section));

        // Other files wait, with all that belongs to them.
        let renewed = running.renewed(with(&text("cert_file: c2, key_file: k2"), &other));
        assert_eq!(renewed.waiting().len(), 2, "{section}");
        assert_eq!(shown(&renewed, section), shown(&running, section));
        let asking = text("cert_file: c, key_file: k, client_ca_file: c2");
        let renewed = running.renewed(with(&asking, &other));
        assert_eq!(renewed.waiting(), [format!("{section}.client_ca_file")]);
        assert_eq!(shown(&renewed, section), shown(&running, section));

        // Other contents and other names do not.
        let renewed = running.renewed(with(&on, &other));
        assert!(renewed.waiting().is_empty());
        assert_eq!(shown(&renewed, section), shown(&with(&on, &other), section));
        let asking = |name: &str| {
            let inner = "cert_file: c, key_file: k, client_ca_file: c";
            with(&text(&format!("{inner}, client_names: [{name}]")), &one)
        };
        let renewed = asking("one.example").renewed(asking("other.example"));
        assert!(renewed.waiting().is_empty());
        let names = shown(&renewed, section).map(|(_, authorities, names)| (authorities, names));
        assert_eq!(names, Some((1, vec!["other.example".to_owned()])));
    }
}

#[test]
fn the_certificate_for_the_upstream_comes_into_force() {
    let (one, other) = (identity("one.example"), identity("other.example"));
    let with = |text: &str, (certificate, key): &(String, String)| {
        Setup::new(text)
            .with("c", certificate)
            .with("k", key)
            .accepted()
    };
    let on = "upstream: { client_cert_file: c, client_key_file: k }";
    let running = with(on, &one);

    for new in [with(on, &other), with("", &one)] {
        let expected = new.settings.upstream.client.clone();
        let renewed = running.renewed(new);
        assert!(renewed.waiting().is_empty());
        assert_eq!(renewed.settings.upstream.client, expected);
        assert_ne!(
            renewed.settings.upstream.client,
            running.settings.upstream.client
        );
    }
}

#[test]
fn an_origin_has_scheme_host_and_port_and_nothing_else() {
    let read = |text: &str| {
        let text = format!("upstream: {{ rewrite_urls: {text} }}");
        Setup::new(&text).accepted().settings.proxy.rewrite_urls
    };
    let to = |origin: &str| RewriteUrls::To(origin.into());
    for (text, expected) in [
        ("true", RewriteUrls::ToCaller),
        ("on", RewriteUrls::ToCaller),
        ("false", RewriteUrls::Off),
        ("off", RewriteUrls::Off),
        ("https://gateway.example", to("https://gateway.example")),
        ("https://gateway.example/", to("https://gateway.example")),
        ("'http://[::1]:8080'", to("http://[::1]:8080")),
    ] {
        assert_eq!(read(text), expected, "{text}");
    }
    for (text, what) in [
        ("yes", "neither true nor false, nor a URL"),
        ("gateway.example", "neither true nor false, nor a URL"),
        ("ftp://gateway.example", "neither http nor https"),
        (
            "https://gateway.example/x",
            "a URL with more than scheme, host and port",
        ),
        (
            "https://gateway.example?x",
            "a URL with more than scheme, host and port",
        ),
        (
            "https://gateway.example#x",
            "a URL with more than scheme, host and port",
        ),
        (
            "https://gateway.example:x",
            "a URL without a usable host and port",
        ),
        (
            "https://gateway.example:0",
            "a URL without a usable host and port",
        ),
        (
            "https://u:p@gateway.example",
            "a URL without a usable host and port",
        ),
    ] {
        let setup = Setup::new(&format!("upstream: {{ rewrite_urls: '{text}' }}"));
        let problems = setup.load().map(drop).expect_err(text);
        assert!(
            problems.len() == 1 && problems.iter().all(|problem| problem.contains(what)),
            "{problems:?}"
        );
    }
}

#[test]
fn the_admin_listener_keeps_a_token_that_is_taken_away_and_takes_a_new_one() {
    let with = |text: &str, token: &str| Setup::new(text).with("t", token).accepted();
    let guarded = "admin: { listen: '0.0.0.0:4282', token_file: t }";
    let running = with(guarded, "0123456789abcdef");
    let token = |config: &Config| {
        let token = config.settings.admin.token.clone().expect("a token");
        token.expose_secret().to_owned()
    };
    let open = running.renewed(Setup::new("").accepted());
    assert_eq!(open.waiting(), ["admin.listen", "admin.token_file"]);
    assert_eq!(token(&open), "0123456789abcdef");
    let other = running.renewed(with(guarded, "fedcba9876543210"));
    assert!(other.waiting().is_empty());
    assert_eq!(token(&other), "fedcba9876543210");
}

#[test]
fn a_change_of_a_file_is_seen_by_its_content() {
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, text: &str| fs::write(path(name), text).expect("written");
    let mut files = Files::default();
    write("one", "1");
    write("documents.yaml", "1");
    files.text_of(&path("one")).expect("text");
    files.text_of(&path("missing")).expect_err("missing");
    files.documents_in(folder.path()).expect("a folder");
    assert_eq!(files.look(), files);

    write("one", "1");
    write("notes", "of no account");
    assert_eq!(files.look(), files, "the same words again");
    write("one", "2");
    assert_ne!(files.look(), files);
    assert!(files.look().contradict(&files));
    write("one", "1");
    assert_eq!(files.look(), files);
    write("missing", "");
    assert_ne!(files.look(), files);
    fs::remove_file(path("missing")).expect("removed");
    write("other.yaml", "1");
    assert_ne!(files.look(), files);
    fs::remove_file(path("other.yaml")).expect("removed");
    fs::rename(path("one"), path("two")).expect("renamed");
    std::os::unix::fs::symlink("two", path("one")).expect("linked");
    assert_eq!(files.look(), files);
    write("three", "3");
    std::os::unix::fs::symlink("three", path("new")).expect("linked");
    fs::rename(path("new"), path("one")).expect("renamed");
    assert_ne!(files.look(), files);
    assert_eq!(files.stream(), None);
}

#[test]
fn what_can_be_read_once_is_not_looked_at_again() {
    let mut files = Files::default();
    let path = std::path::Path::new("/dev/null");
    files.text_of(path).expect("text");
    assert_eq!(files.stream(), Some(path));
    assert_eq!(files.look(), files);
}
