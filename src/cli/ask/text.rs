//! Answers of the admin listener as text for people.

use std::fmt::{Display, Write as _};

use serde_json::Value;

use crate::plain::plain;

/// `/status`.
pub(super) fn status(answer: &Value) -> String {
    let mut lines = Lines::default();
    let at = |pointer: &str| shown(answer, pointer);
    lines.add(
        "verdict",
        format!("{}: {}", at("/verdict/code"), at("/verdict/text")),
    );
    lines.add(
        "state",
        format!(
            "{}, version {}, up {} since {}",
            at("/state"),
            at("/version"),
            lasting(answer, "/uptime_seconds"),
            at("/started")
        ),
    );
    lines.add(
        "policy",
        format!(
            "{}, {} rules, {}",
            at("/policy/name"),
            at("/policy/rules"),
            at("/policy/digest")
        ),
    );
    lines.add("reload", reloaded(answer.pointer("/last_reload")));
    lines.add(
        "traffic",
        format!(
            "{} in flight; a second: {} (last {} s)",
            at("/traffic/in_flight"),
            counts(answer.pointer("/traffic/answers_per_second"), false),
            at("/traffic/window_seconds"),
        ),
    );
    lines.add(
        "times",
        format!(
            "half within {}, 99 % within {}; of these the gateway's own {}, the service's {}",
            millis(answer, "/traffic/p50_ms"),
            millis(answer, "/traffic/p99_ms"),
            millis(answer, "/traffic/own_p99_ms"),
            millis(answer, "/upstream/p99_ms"),
        ),
    );
    for rule in list(answer, "/rules") {
        let made = counts(rule.pointer("/verdicts"), true);
        if !made.is_empty() {
            lines.add(
                "rule",
                format!(
                    "{} ({}): {made}",
                    shown(rule, "/rule"),
                    shown(rule, "/mode")
                ),
            );
        }
    }
    for transition in list(answer, "/transitions") {
        lines.add(
            "transition",
            format!(
                "{} to {}: {} {}",
                shown(transition, "/from"),
                shown(transition, "/to"),
                shown(transition, "/verdict"),
                shown(transition, "/count")
            ),
        );
    }
    lines.add(
        "service",
        format!(
            "{}; last answer {}; last failure {}",
            at("/upstream/url"),
            at("/upstream/last_success"),
            match answer.pointer("/upstream/last_failure") {
                Some(Value::Object(_)) => format!(
                    "{} {}: {}",
                    at("/upstream/last_failure/at"),
                    at("/upstream/last_failure/kind"),
                    at("/upstream/last_failure/cause")
                ),
                _ => "never".to_owned(),
            }
        ),
    );
    lines.add(
        "answers",
        format!(
            "{}; errors: {}; asked to wait {} times",
            or_none(counts(answer.pointer("/upstream/codes"), true)),
            or_none(counts(answer.pointer("/upstream/errors"), true)),
            at("/upstream/throttled")
        ),
    );
    lines.add(
        "tenants",
        format!(
            "{} of {}; {} cooldowns; held back {} by limits, {} by cooldowns",
            at("/tenants/tracked"),
            at("/tenants/max"),
            at("/tenants/cooldowns"),
            at("/tenants/limited"),
            at("/tenants/cooled_down")
        ),
    );
    lines.add("snapshots", format!("{} referrals", at("/snapshots")));
    for certificate in list(answer, "/certificates") {
        lines.add(
            "certificate",
            format!(
                "{}, expires {}",
                shown(certificate, "/certificate"),
                shown(certificate, "/expires")
            ),
        );
    }
    lines.text
}

/// `/policies`.
pub(super) fn policies(answer: &Value) -> String {
    let mut text = String::new();
    for policy in answer.as_array().into_iter().flatten() {
        let _ = writeln!(
            text,
            "{} {}",
            shown(policy, "/name"),
            shown(policy, "/digest")
        );
        let mut table = Table::new(["RULE", "MODE", "CHECK", "METHODS", "TENANTS"]);
        for rule in list(policy, "/rules") {
            let modes = rule.pointer("/modes").and_then(Value::as_object);
            let modes = modes.into_iter().flatten();
            let modes = modes.map(|(alias, mode)| format!("{}: {}", plain(alias), word(mode)));
            let methods = list(rule, "/methods").map(word).collect::<Vec<_>>();
            table.add([
                shown(rule, "/id"),
                shown(rule, "/mode"),
                shown(rule, "/check"),
                methods.join(","),
                modes.collect::<Vec<_>>().join(", "),
            ]);
        }
        text += &table.text();
    }
    text
}

/// `/tenants`.
pub(super) fn tenants(answer: &Value) -> String {
    let mut table = Table::new([
        "TENANT",
        "IN FLIGHT",
        "READS SPENT",
        "WRITES SPENT",
        "WAITS",
    ]);
    for tenant in list(answer, "/tenants") {
        let spent = |class: &str| {
            let part = tenant.pointer(&format!("/{class}/spent"));
            let part = part.and_then(Value::as_f64).unwrap_or_default();
            let burst = shown(tenant, &format!("/{class}/burst"));
            format!("{:.0} % of {burst}", part * 100.0)
        };
        let waits = ["reads", "writes"].map(|class| {
            let left = tenant.pointer(&format!("/{class}/cooldown_seconds"));
            let left = left.and_then(Value::as_u64);
            left.map(|left| format!("{class} {left} s"))
        });
        table.add([
            shown(tenant, "/tenant"),
            format!(
                "{} of {}",
                shown(tenant, "/in_flight"),
                shown(tenant, "/concurrency")
            ),
            spent("reads"),
            spent("writes"),
            waits.into_iter().flatten().collect::<Vec<_>>().join(", "),
        ]);
    }
    format!(
        "{} of {} tenants, {} cooldowns\n{}",
        shown(answer, "/tracked"),
        shown(answer, "/max"),
        shown(answer, "/cooldowns"),
        table.text()
    )
}

/// `/reload`.
pub(super) fn reload(answer: &Value) -> String {
    format!("{}\n", reloaded(Some(answer)))
}

/// `/drain`.
pub(super) fn drain(answer: &Value) -> String {
    format!(
        "The gateway drains; {} requests are in flight.\n",
        shown(answer, "/in_flight")
    )
}

/// One decision record, on one line.
pub(super) fn decision(record: &Value) -> String {
    let at = |name: &str| shown(record, name);
    let mut line = format!("{} {:<6}", at("/timestamp"), at("/verdict"));
    let mut add = |text: &str, value: String| {
        if !value.is_empty() {
            let _ = write!(line, " {text}{value}");
        }
    };
    add("", at("/method"));
    add("", at("/referral"));
    add(
        "",
        match (at("/from"), at("/to")) {
            (from, to) if from.is_empty() && to.is_empty() => String::new(),
            (from, to) if from.is_empty() => format!("to {to}"),
            (from, to) => format!("{from} to {to}"),
        },
    );
    add("", at("/findings"));
    add("repaired ", at("/repaired"));
    add("unjudged ", at("/unjudged"));
    add("tenant ", at("/tenant"));
    add("request ", at("/request_id"));
    line.push('\n');
    line
}

fn reloaded(reload: Option<&Value>) -> String {
    let Some(reload @ Value::Object(_)) = reload else {
        return "none since the start".to_owned();
    };
    let mut text = format!(
        "{} by {}: {}",
        shown(reload, "/at"),
        shown(reload, "/cause"),
        match shown(reload, "/ok").as_str() {
            "true" => format!(
                "settings {}, policy {}",
                shown(reload, "/settings"),
                shown(reload, "/policy")
            ),
            _ => "failed; settings and policy from before are in force".to_owned(),
        }
    );
    for problem in list(reload, "/problems") {
        let _ = write!(text, "\n  {}", word(problem));
    }
    for setting in list(reload, "/waiting_for_restart") {
        let _ = write!(text, "\n  {} waits for a restart", word(setting));
    }
    text
}

/// What stands at a place of an answer; `-` for nothing.
fn shown(answer: &Value, pointer: &str) -> String {
    answer.pointer(pointer).map_or_else(|| "-".to_owned(), word)
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => plain(text),
        Value::Null => "never".to_owned(),
        other => plain(&other.to_string()),
    }
}

fn list<'a>(answer: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    let items = answer.pointer(pointer).and_then(Value::as_array);
    items.into_iter().flatten()
}

/// Names with their counts; `only_some` leaves out zeros.
fn counts(value: Option<&Value>, only_some: bool) -> String {
    let members = value.and_then(Value::as_object).into_iter().flatten();
    let counted =
        members.filter(|(_, count)| !only_some || count.as_f64().is_some_and(|count| count > 0.0));
    let pairs = counted.map(|(name, count)| format!("{} {}", plain(name), word(count)));
    pairs.collect::<Vec<_>>().join(", ")
}

fn or_none(text: String) -> String {
    if text.is_empty() {
        "none".to_owned()
    } else {
        text
    }
}

fn millis(answer: &Value, pointer: &str) -> String {
    match answer.pointer(pointer) {
        Some(Value::Number(number)) => format!("{number} ms"),
        _ => "no requests".to_owned(),
    }
}

fn lasting(answer: &Value, pointer: &str) -> String {
    let seconds = answer.pointer(pointer).and_then(Value::as_u64);
    let time = std::time::Duration::from_secs(seconds.unwrap_or_default());
    humantime::format_duration(time).to_string()
}

/// Lines with a word in front.
#[derive(Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn add(&mut self, word: &str, said: impl Display) {
        let _ = writeln!(self.text, "{word:<12}{said}");
    }
}

/// Columns as wide as what stands in them.
struct Table<const N: usize>(Vec<[String; N]>);

impl<const N: usize> Table<N> {
    fn new(heads: [&str; N]) -> Self {
        Self(vec![heads.map(str::to_owned)])
    }

    fn add(&mut self, row: [String; N]) {
        self.0.push(row);
    }

    fn text(&self) -> String {
        let mut widths = [0; N];
        for row in &self.0 {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut text = String::new();
        for row in &self.0 {
            let mut line = String::new();
            for (width, cell) in widths.iter().zip(row) {
                let _ = write!(line, "{cell:<width$}  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}
