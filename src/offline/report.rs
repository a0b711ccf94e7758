//! What is told of a judged request: everything but secrets; of bodies only what repairs cut out.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Cut, End, Outcome, Ruled, Sent, Tenant};
use crate::{
    capture::{Captured, masked_header_value, masked_target},
    policy::{
        Check, Finding, Policy,
        judging::{Standing, Unjudged},
    },
    referral::{ReferralId, State},
};

/// The most characters of a cut that are shown.
const MAX_SHOWN: usize = 200;

/// One request and its outcome.
pub struct Report<'a> {
    captured: &'a Captured,
    policy: &'a Policy,
    outcome: &'a Outcome,
}

impl<'a> Report<'a> {
    /// The report of an outcome.
    pub fn new(captured: &'a Captured, policy: &'a Policy, outcome: &'a Outcome) -> Self {
        Self {
            captured,
            policy,
            outcome,
        }
    }

    fn verdict(&self) -> &'static str {
        match (&self.outcome.end, &self.outcome.standing) {
            (End::Refused(_), _) => "refuse",
            (End::Sent(_), Standing::Unjudged(Unjudged::NotGiven)) => "unjudged",
            (End::Sent(_) | End::Answered(_), _) => "pass",
        }
    }

    /// The form for programs. docs/cli.md lists its members.
    pub fn to_json(&self) -> Value {
        let outcome = self.outcome;
        let (state, unjudged) = match &outcome.standing {
            Standing::NotAsked => (None, None),
            Standing::At { state, bound, .. } => (Some((state, *bound)), None),
            Standing::Unjudged(why) => (None, Some(why.as_str())),
        };
        let (sent, answer) = match &outcome.end {
            End::Sent(sent) => (Some(self.sent(sent)), None),
            End::Refused(refusal) => {
                let body: Value = serde_json::from_slice(refusal.answer.body()).unwrap_or_default();
                let answer = json!({
                    "status": refusal.status().as_u16(),
                    "code": refusal.code,
                    "headers": fields(refusal.answer.headers()),
                    "body": body,
                });
                (None, Some(answer))
            }
            End::Answered(answer) => {
                let answer = json!({
                    "status": answer.status().as_u16(),
                    "headers": fields(answer.headers()),
                });
                (None, Some(answer))
            }
        };
        json!({
            "verdict": self.verdict(),
            "request": {
                "method": self.method(),
                "target": masked_target(&self.captured.target),
                "body_bytes": self.captured.body.len(),
            },
            "route": outcome.route.as_ref().map(|route| route.as_str()),
            "referral": self.referral(),
            "tenant": { "alias": outcome.tenant.alias(), "told_by": told_by(&outcome.tenant) },
            "policy": { "name": self.policy.name, "digest": self.policy.digest },
            "state": state.map(|(state, bound)| json!({
                "status": state.status,
                "substatus": state.substatus,
                "bound": bound,
            })),
            "unjudged": unjudged,
            "to": outcome.to,
            "rules": outcome.rules.iter().map(rule).collect::<Vec<_>>(),
            "repairs": self.repairs(),
            "annotations": fields(&outcome.annotations),
            "answer": answer,
            "sent": sent,
            "notices": outcome.notices,
        })
    }

    /// The method as written, which may be none.
    fn method(&self) -> String {
        masked_header_value("method", self.captured.method.as_bytes())
    }

    fn referral(&self) -> Option<&str> {
        let route = self.outcome.route.as_ref()?;
        route.id().map(ReferralId::as_str)
    }

    fn repairs(&self) -> Vec<Value> {
        let Some(mending) = &self.outcome.mending else {
            return Vec::new();
        };
        let repairs = mending.repairs.iter().map(|(rule, repair)| {
            let cuts: Vec<Value> = mending
                .cuts
                .iter()
                .filter(|cut| cut.repair == *repair)
                .map(|cut| {
                    json!({
                        "at": cut.at,
                        "length": cut.bytes.len(),
                        "before": shown(&cut.before),
                        "cut": shown(&cut.bytes),
                        "after": shown(&cut.after),
                    })
                })
                .collect();
            let if_match = mending
                .if_match
                .as_ref()
                .filter(|_| repair.serves() == Check::IfMatch);
            json!({
                "repair": repair.as_str(),
                "rule": &**rule,
                "cuts": cuts,
                "if_match": if_match.map(|(came, goes)| json!({
                    "came": came.as_ref().map(|came| value_of("if-match", came)),
                    "goes": value_of("if-match", goes),
                })),
            })
        });
        repairs.collect()
    }

    fn sent(&self, sent: &Sent) -> Value {
        json!({
            "method": sent.method.as_str(),
            "target": masked_target(&sent.target),
            "headers": fields(&sent.headers),
            "body_bytes": sent.body.len(),
            "body_sha256": hex(&Sha256::digest(&sent.body)),
            "body_is_unchanged": sent.body == self.captured.body,
        })
    }

    /// The form for people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a text cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let outcome = self.outcome;
        let target = masked_target(&self.captured.target);
        writeln!(out, "request   {} {target}", self.method())?;
        let route = outcome
            .route
            .as_ref()
            .map_or("none", |route| route.as_str());
        match self.referral() {
            Some(id) => writeln!(out, "route     {route} {id}")?,
            None => writeln!(out, "route     {route}")?,
        }
        let tenant = match &outcome.tenant {
            Tenant::Anonymous => "anonymous".to_owned(),
            Tenant::Given(alias) => format!("{alias}, from --tenant"),
            Tenant::Token(alias) => format!("{alias}, from its token"),
            Tenant::Header(alias) => format!("{alias}, from a header, which selects no modes"),
            Tenant::Unknown => "no alias".to_owned(),
        };
        writeln!(out, "tenant    {tenant}")?;
        writeln!(
            out,
            "policy    {}, {}",
            self.policy.name, self.policy.digest
        )?;
        match &outcome.standing {
            Standing::NotAsked => {}
            Standing::At { state, bound, .. } => {
                let version = match bound {
                    true => "at the version that If-Match names",
                    false => "now; the request names no version",
                };
                writeln!(out, "state     {}, {version}", state_name(state))?;
            }
            Standing::Unjudged(why) => writeln!(out, "state     {}", unjudged(*why))?,
        }
        if let Some(to) = &outcome.to {
            writeln!(out, "becomes   {to}")?;
        }
        if !outcome.rules.is_empty() {
            writeln!(out, "\nrules")?;
        }
        for ruled in &outcome.rules {
            let word = ruled.as_str();
            writeln!(out, "  {word:<10}  {} ({})", ruled.rule, ruled.mode)?;
            for finding in ruled.findings() {
                let done = if word == "repaired" { "repaired: " } else { "" };
                let Finding { code, message, .. } = finding;
                writeln!(out, "              {done}{code}: {message}")?;
                if word != "repaired" {
                    writeln!(out, "              fix: {}", finding.fix)?;
                }
            }
        }
        self.write_repairs(out)?;
        match &outcome.end {
            End::Refused(refusal) => {
                writeln!(
                    out,
                    "\nverdict   refused: {} {}",
                    refusal.status().as_u16(),
                    refusal.code
                )?;
                // What rules found stands above.
                let body: Value = serde_json::from_slice(refusal.answer.body()).unwrap_or_default();
                if let (true, Some(detail)) = (
                    outcome.findings.is_empty(),
                    body.get("detail").and_then(Value::as_str),
                ) {
                    writeln!(out, "          {detail}")?;
                }
                writeln!(out, "\nNothing is sent upstream.")?;
            }
            End::Answered(answer) => {
                let status = answer.status().as_u16();
                writeln!(out, "\nverdict   answered by the gateway: {status}")?;
                writeln!(out, "\nNothing is sent upstream.")?;
            }
            End::Sent(sent) => {
                match self.verdict() {
                    "unjudged" => writeln!(out, "\nverdict   passes as far as it could be judged")?,
                    _ => writeln!(out, "\nverdict   passes")?,
                }
                self.write_sent(sent, out)?;
            }
        }
        for notice in &outcome.notices {
            writeln!(out, "\n{notice}")?;
        }
        Ok(())
    }

    fn write_repairs(&self, out: &mut String) -> std::fmt::Result {
        let Some(mending) = &self.outcome.mending else {
            return Ok(());
        };
        writeln!(out, "\nrepairs")?;
        for (rule, repair) in &mending.repairs {
            writeln!(out, "  {repair} ({rule})")?;
            for cut in mending.cuts.iter().filter(|cut| cut.repair == *repair) {
                write_cut(cut, out)?;
            }
        }
        if let Some((came, goes)) = &mending.if_match {
            if let Some(came) = came {
                writeln!(out, "  - If-Match: {}", value_of("if-match", came))?;
            }
            writeln!(out, "  + If-Match: {}", value_of("if-match", goes))?;
        }
        Ok(())
    }

    fn write_sent(&self, sent: &Sent, out: &mut String) -> std::fmt::Result {
        if !self.outcome.annotations.is_empty() {
            writeln!(out, "\nadded to the answer")?;
        }
        for (name, value) in &self.outcome.annotations {
            writeln!(out, "  {name}: {}", value_of(name.as_str(), value))?;
        }
        writeln!(out, "\nsent upstream")?;
        writeln!(
            out,
            "  {} {} HTTP/1.1",
            sent.method,
            masked_target(&sent.target)
        )?;
        for (name, value) in &sent.headers {
            writeln!(out, "  {name}: {}", value_of(name.as_str(), value))?;
        }
        let (came, goes) = (self.captured.body.len(), sent.body.len());
        match sent.body == self.captured.body {
            true => writeln!(out, "\n  {goes} bytes of body, unchanged"),
            false => writeln!(out, "\n  {goes} bytes of body, instead of {came}"),
        }
    }
}

/// What was cut, between what stays.
fn write_cut(cut: &Cut, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "    {} bytes from byte {} of the body",
        cut.bytes.len(),
        cut.at
    )?;
    writeln!(out, "      {}", shown(&cut.before))?;
    writeln!(out, "    - {}", shown(&cut.bytes))?;
    writeln!(out, "      {}", shown(&cut.after))
}

fn rule(ruled: &Ruled) -> Value {
    let finding = |finding: &Finding| {
        json!({
            "code": finding.code,
            "target": finding.target,
            "message": finding.message,
            "fix": finding.fix,
        })
    };
    json!({
        "rule": &*ruled.rule,
        "mode": ruled.mode.as_str(),
        "verdict": ruled.as_str(),
        "findings": ruled.findings().iter().map(finding).collect::<Vec<_>>(),
    })
}

fn told_by(tenant: &Tenant) -> &'static str {
    match tenant {
        Tenant::Anonymous => "nothing",
        Tenant::Given(_) => "flag",
        Tenant::Token(_) => "token",
        Tenant::Header(_) => "header",
        Tenant::Unknown => "request",
    }
}

/// Why the referral's state is not known.
fn unjudged(why: Unjudged) -> String {
    match why {
        Unjudged::NotGiven => "not given".to_owned(),
        Unjudged::Refused => "not needed, as the request is refused anyway".to_owned(),
        Unjudged::MovedOn => {
            "no longer at the version that If-Match names, so the service answers 412".to_owned()
        }
        Unjudged::UnknownState => "not asked for: the settings say so".to_owned(),
        Unjudged::FetchFailed
        | Unjudged::FetchRefused
        | Unjudged::StateUnknown
        | Unjudged::StaleEtag => format!("unknown ({})", why.as_str()),
    }
}

fn state_name(state: &State) -> String {
    match &state.substatus {
        Some(substatus) => format!("{} and {substatus}", state.status),
        None => state.status.to_string(),
    }
}

/// A header section as pairs, since names may repeat.
fn fields(headers: &HeaderMap) -> Vec<[String; 2]> {
    let pair = |(name, value): (&HeaderName, &HeaderValue)| {
        [name.to_string(), value_of(name.as_str(), value)]
    };
    headers.iter().map(pair).collect()
}

fn value_of(name: &str, value: &HeaderValue) -> String {
    masked_header_value(name, value.as_bytes())
}

/// A piece of a body: nothing that moves a terminal, no secret, not too long.
fn shown(bytes: &[u8]) -> String {
    let text = masked_header_value("body", bytes);
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or(&text)),
        None => text,
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
