//! The sections of the page.

use std::time::Duration;

use humantime::format_duration;
use maud::{Markup, html};
use serde_json::Value;

use super::{
    rules::rules,
    words::{list, millis, shown, spent, time, word},
};

/// The decisions that stand in the page itself; its script shows all that are kept.
const DECISIONS: usize = 20;

/// All sections.
pub(super) fn all(status: &Value, tenants: &Value, decisions: &[Value]) -> Markup {
    html! {
        div .top {
            div #verdict role="status" { (verdict(status)) }
            p #heard {}
        }
        section .bare aria-label="The program" { div #facts { (facts(status)) } }
        main {
            section aria-labelledby="traffic-title" {
                h2 #traffic-title { "Traffic" }
                div #traffic { (traffic(status)) }
                figure #rates hidden { figcaption { "Answers a second, by who gave them, 15 minutes at most" } div .plot {} }
                figure #times hidden { figcaption { "Milliseconds, 15 minutes at most" } div .plot {} }
            }
            section aria-labelledby="service-title" {
                h2 #service-title { "Microsoft's service" }
                div #service { (service(status)) }
                figure #service-times hidden { figcaption { "Milliseconds until the service answers (99 %), 15 minutes at most" } div .plot {} }
            }
            section aria-labelledby="rules-title" {
                h2 #rules-title { "Rules, since the start" }
                div #rules { (rules(status)) }
            }
            section aria-labelledby="tenants-title" {
                h2 #tenants-title { "Tenants" }
                div #tenants { (self::tenants(tenants)) }
            }
            section .wide aria-labelledby="decisions-title" {
                h2 #decisions-title { "Decisions about writes" }
                div #live hidden {
                    div .row {
                        div {
                            label for="filter" { "Show only lines with" }
                            input #filter type="search" placeholder="a rule, a tenant, a referral, a request id" autocomplete="off" spellcheck="false";
                        }
                        button #pause type="button" aria-pressed="false" { "Pause" }
                        button #copy type="button" { "Copy as text" }
                    }
                    p #live-said role="status" {}
                }
                div .scroll .long tabindex="0" role="region" aria-label="The last decisions" {
                    (self::decisions(decisions))
                }
            }
            section .wide aria-labelledby="explain-title" {
                h2 #explain-title { "Explain a request" }
                p #explain-without { "Needs JavaScript. Without it: " code { "referral-gateway explain --live FILE" } "." }
                (explain())
            }
        }
        footer {
            p {
                "The same as JSON: "
                a href="status" { "status" } ", " a href="history" { "history" } ", "
                a href="tenants" { "tenants" } ", " a href="decisions" { "decisions" } ", "
                a href="policies" { "policies" } ", " a href="config" { "config" }
                ". Times are local; hover for UTC."
            }
        }
    }
}

fn verdict(status: &Value) -> Markup {
    let level = shown(status, "/verdict/level");
    let (icon, name) = match level.as_str() {
        "ok" => ("\u{2714}", "OK"),
        "info" => ("\u{2139}", "Notice"),
        "warning" => ("\u{26a0}", "Warning"),
        _ => ("\u{2716}", "Critical"),
    };
    let class = match level.as_str() {
        "ok" | "info" | "warning" => level.as_str(),
        _ => "critical",
    };
    html! {
        p class={ "verdict " (class) } {
            span aria-hidden="true" { (icon) " " }
            strong { (name) }
            span .said { (shown(status, "/verdict/text")) }
        }
        p .concerns {
            "Whose matter: "
            (match shown(status, "/verdict/concerns").as_str() {
                "gateway" => "the gateway's",
                "policy" => "the policy's, and the client's that sent the writes",
                "limits" => "the limits', and the client's that sends so much",
                "service" => "Microsoft's service's",
                _ => "nobody's",
            })
        }
    }
}

fn facts(status: &Value) -> Markup {
    let at = |pointer: &str| shown(status, pointer);
    let uptime = status.pointer("/uptime_seconds").and_then(Value::as_u64);
    let reload = status
        .pointer("/last_reload")
        .filter(|reload| reload.is_object());
    html! {
        dl .facts {
            div { dt { "state" } dd { (at("/state")) } }
            div { dt { "version" } dd { (at("/version")) } }
            div { dt { "up" } dd { (format_duration(Duration::from_secs(uptime.unwrap_or_default()))) ", since " (time(status, "/started")) } }
            div { dt { "policy" } dd { (at("/policy/name")) ", " (at("/policy/rules")) " rules, " span .mono { (at("/policy/digest")) } } }
            div {
                dt { "last reload" }
                dd {
                    @match reload {
                        None => "none since the start",
                        Some(reload) => {
                            (time(reload, "/at")) ", "
                            @if shown(reload, "/ok") == "true" { "in force" } @else { "failed" }
                        }
                    }
                }
            }
            @for certificate in list(status, "/certificates") {
                div { dt { "certificate " (shown(certificate, "/certificate")) } dd { "expires " (time(certificate, "/expires")) } }
            }
        }
        @if let Some(reload) = reload {
            @for problem in list(reload, "/problems") {
                p .mono { (word(Some(problem))) }
            }
            @for setting in list(reload, "/waiting_for_restart") {
                p { code { (word(Some(setting))) } " waits for a restart." }
            }
        }
    }
}

fn traffic(status: &Value) -> Markup {
    let window = shown(status, "/traffic/window_seconds");
    let rate = |source: &str| shown(status, &format!("/traffic/answers_per_second/{source}"));
    html! {
        div .scroll tabindex="0" role="region" aria-label="Answers by source" {
            table {
                thead { tr { th scope="col" { "Answers by" } th .number scope="col" { "a second, last " (window) " s" } } }
                tbody {
                    @for (source, name) in SOURCES {
                        tr { th scope="row" { (name) } td .number { (rate(source)) } }
                    }
                }
            }
        }
        p {
            "In flight: " (shown(status, "/traffic/in_flight")) ". Half within "
            (millis(status, "/traffic/p50_ms")) ", 99 % within " (millis(status, "/traffic/p99_ms"))
            ". Of these the gateway's own, 99 %: " (millis(status, "/traffic/own_p99_ms")) "."
        }
    }
}

/// Who gives answers.
const SOURCES: [(&str, &str); 5] = [
    ("upstream", "the service"),
    ("policy", "the policy (refused)"),
    ("ratelimit", "limits (429)"),
    ("cooldown", "cooldowns (429)"),
    ("gateway", "the gateway (other errors)"),
];

fn service(status: &Value) -> Markup {
    let pairs = |pointer: &str| {
        let pairs = status.pointer(pointer).and_then(Value::as_object);
        pairs
            .into_iter()
            .flatten()
            .map(|(name, count)| (word(Some(&name.as_str().into())), word(Some(count))))
    };
    html! {
        p { span .mono { (shown(status, "/upstream/url")) } }
        p { "Last answer: " (time(status, "/upstream/last_success")) }
        p {
            "Last failure: "
            @match status.pointer("/upstream/last_failure").filter(|failure| failure.is_object()) {
                None => "never",
                Some(failure) => {
                    (time(failure, "/at")) ", " (shown(failure, "/kind")) ": " (shown(failure, "/cause"))
                }
            }
        }
        div .scroll tabindex="0" role="region" aria-label="Answers of the service" {
            table {
                thead { tr { th scope="col" { "Since the start" } th .number scope="col" { "count" } } }
                tbody {
                    @for (code, count) in pairs("/upstream/codes") {
                        tr { th scope="row" { "status " (code) } td .number { (count) } }
                    }
                    @for (kind, count) in pairs("/upstream/errors") {
                        tr { th scope="row" { "no usable answer: " (kind) } td .number { (count) } }
                    }
                    tr { th scope="row" { "asked to wait" } td .number { (shown(status, "/upstream/throttled")) } }
                }
            }
        }
        p { "Now, 99 % within " (millis(status, "/upstream/p99_ms")) "." }
    }
}

fn tenants(answer: &Value) -> Markup {
    let mut rows = list(answer, "/tenants").peekable();
    html! {
        p {
            (shown(answer, "/tracked")) " of " (shown(answer, "/max")) " tracked, "
            (shown(answer, "/cooldowns")) " waiting because the service asked for it."
        }
        @if rows.peek().is_none() {
            p { "Nobody uses its limits now." }
        } @else {
            div .scroll .long tabindex="0" role="region" aria-label="Tenants by use" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Tenant" }
                            th .number scope="col" { "in flight" }
                            th .number scope="col" { "reads spent" }
                            th .number scope="col" { "writes spent" }
                            th scope="col" { "waits" }
                        }
                    }
                    tbody {
                        @for tenant in rows {
                            tr {
                                th .mono scope="row" { (shown(tenant, "/tenant")) }
                                td .number { (shown(tenant, "/in_flight")) " of " (shown(tenant, "/concurrency")) }
                                @for class in ["reads", "writes"] {
                                    td .number { (spent(tenant, class)) }
                                }
                                td {
                                    @for class in ["reads", "writes"] {
                                        @if let Some(left) = tenant.pointer(&format!("/{class}/cooldown_seconds")).and_then(Value::as_u64) {
                                            (class) " " (left) " s "
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn decisions(records: &[Value]) -> Markup {
    html! {
        table #decisions {
            thead {
                tr {
                    th scope="col" { "Time" }
                    th scope="col" { "Verdict" }
                    th scope="col" { "Write" }
                    th scope="col" { "From, to" }
                    th scope="col" { "Findings" }
                    th scope="col" { "Tenant" }
                    th scope="col" { "Request" }
                }
            }
            tbody {
                @for record in records.iter().take(DECISIONS) {
                    tr {
                        td { (time(record, "/timestamp")) }
                        td { (shown(record, "/verdict")) }
                        td { (shown(record, "/method")) " " span .mono { (shown(record, "/referral")) } }
                        td { (shown(record, "/from")) " \u{2192} " (shown(record, "/to")) }
                        td { (shown(record, "/findings")) }
                        td .mono { (shown(record, "/tenant")) }
                        td .mono { (shown(record, "/request_id")) }
                    }
                }
                @if records.is_empty() {
                    tr { td colspan="7" { "No write was judged since the start." } }
                }
            }
        }
    }
}

fn explain() -> Markup {
    html! {
        form #explain hidden {
            label for="explain-request" { "The request: raw HTTP, a .http file, a HAR or a curl command. Nothing is sent." }
            textarea #explain-request spellcheck="false" required {}
            div .row {
                div { label for="explain-status" { "Status of the referral, if known" } input #explain-status autocomplete="off"; }
                div { label for="explain-substatus" { "Substatus" } input #explain-substatus autocomplete="off"; }
                div { label for="explain-etag" { "Entity tag, with quotes" } input #explain-etag autocomplete="off"; }
                div { label for="explain-tenant" { "Tenant (alias)" } input #explain-tenant autocomplete="off"; }
                button { "Explain" }
            }
            pre #explain-said role="status" tabindex="0" hidden {}
        }
    }
}
