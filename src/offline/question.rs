//! A captured request and what its asker says about it, read into what can be judged.

use std::path::Path;

use serde::de::IgnoredAny;

use super::{Gateway, Given, Outcome};
use crate::{
    capture::{self, Captured},
    nearest::nearest,
    policy::{
        Policy,
        judging::{Standing, Unjudged},
    },
    referral::{EntityTag, Sighting, State},
    yaml,
};

/// A captured request, and what its asker says about it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Question<'q> {
    /// What stands before the names of the members below in messages: `--` for flags.
    pub prefix: &'q str,
    /// The captured request.
    pub request: Named<'q>,
    /// The file that it was read from, whose ending may tell its form.
    pub path: Option<&'q Path>,
    /// Which of several requests: a number from 1, or a name in a `.http` file.
    pub which: Option<&'q str>,
    /// The body, for a capture that refers to a file.
    pub body: Option<&'q [u8]>,
    /// The service's answer to a GET of the referral.
    pub snapshot: Option<Named<'q>>,
    /// The status of the referral, in place of a snapshot.
    pub status: Option<&'q str>,
    /// Its substatus.
    pub substatus: Option<&'q str>,
    /// The entity tag at that status; without it, the one in `If-Match`.
    pub etag: Option<&'q str>,
    /// The alias of the tenant whose modes are used, in place of the token's.
    pub tenant: Option<&'q str>,
}

/// Bytes with the name that messages have for them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Named<'q> {
    /// Such as the path of a file.
    pub name: &'q str,
    /// The bytes.
    pub bytes: &'q [u8],
}

impl Gateway {
    /// Judges the request of a question.
    ///
    /// # Errors
    ///
    /// When the request or what is said about it cannot be read, with place and remedy, a line each.
    pub fn explain(&self, question: &Question<'_>) -> Result<(Captured, Outcome), String> {
        question.check_tenant(self.known.iter().map(|known| &*known.alias))?;
        let sighting = question.sighting(&self.policy)?;
        let captured = question.captured()?;
        let mut notices = question.placeholders(&captured)?;
        let given = Given {
            sightings: sighting.as_slice(),
            tenant: question.tenant,
        };
        let mut outcome = self.judge(&captured, given);
        notices.extend(captured.notice.clone());
        outcome.notices.splice(0..0, notices);
        if outcome.standing == Standing::Unjudged(Unjudged::NotGiven) {
            let prefix = question.prefix;
            outcome.notices.push(match &sighting {
                None => format!(
                    "The referral's state is not given. To judge the rules that need it, give {prefix}status or {prefix}snapshot."
                ),
                Some(_) => "The snapshot is of another referral than the request.".to_owned(),
            });
        }
        Ok((captured, outcome))
    }
}

impl<'q> Question<'q> {
    fn captured(&self) -> Result<Captured, String> {
        let Named { name, bytes } = self.request;
        capture::read_with_body(bytes, self.path, self.which, self.body)
            .map_err(|error| format!("{name}: {error}"))
    }

    /// Notices of what stands in the place of values. Those by which the request is judged must be there.
    fn placeholders(&self, captured: &Captured) -> Result<Vec<String>, String> {
        let found = capture::placeholders(captured);
        if found.judged.is_empty() {
            return Ok(found.other);
        }
        let name = self.request.name;
        let lines = found.judged.iter().map(|what| format!("{name}: {what}"));
        Err(lines.collect::<Vec<_>>().join("\n"))
    }

    fn check_tenant<'k>(&self, known: impl Iterator<Item = &'k str> + Clone) -> Result<(), String> {
        match self.tenant {
            Some(alias) if known.clone().all(|other| other != alias) => Err(format!(
                "{}tenant {}: the settings have no such tenant; {}",
                self.prefix,
                yaml::quoted(alias),
                nearest(alias, known).map_or_else(
                    || match self.prefix {
                        "--" => "give the settings file with --config".to_owned(),
                        _ => "name one of tenants.known".to_owned(),
                    },
                    |nearest| format!("did you mean `{nearest}`?")
                ),
            )),
            _ => Ok(()),
        }
    }

    /// The referral's state, as it is told or from an answer of the service.
    fn sighting(&self, policy: &Policy) -> Result<Option<Sighting>, String> {
        if let Some(snapshot) = self.snapshot {
            return read_snapshot(snapshot).map(Some);
        }
        let Some(status) = self.status else {
            return Ok(None);
        };
        let prefix = self.prefix;
        let state = State {
            status: status.into(),
            substatus: self.substatus.map(Into::into),
        };
        let statuses = || policy.states.rows.iter().map(|row| row.status.as_str());
        if statuses().all(|known| known != status) {
            let known: Vec<_> = statuses().collect();
            return Err(format!(
                "{prefix}status {}: not in the policy's table; write one of {}",
                yaml::quoted(status),
                known.join(", ")
            ));
        }
        if !policy.states.knows(&state) {
            return Err(format!(
                "with {prefix}status {status}, also give {prefix}substatus"
            ));
        }
        let tag = self.etag.map(|tag| {
            EntityTag::parse(tag.as_bytes())
                .map(|tag| tag.as_bytes().into())
                .ok_or_else(|| {
                    let example = match prefix {
                        "--" => "--etag '\"...\"'",
                        _ => r#""etag": "\"...\"""#,
                    };
                    format!(
                        "{prefix}etag {}: not an entity tag; write it with its double quotes, as in {example}",
                        yaml::quoted(tag)
                    )
                })
        });
        Ok(Some(Sighting {
            id: None,
            tag: tag.transpose()?,
            state: Some(state),
        }))
    }
}

/// The service's answer to a GET, as it was saved.
fn read_snapshot(Named { name, bytes }: Named<'_>) -> Result<Sighting, String> {
    let sighting = Sighting::of_one(bytes).filter(|sighting| sighting.state.is_some());
    sighting.ok_or_else(|| {
        let (line, why) = match serde_json::from_slice::<IgnoredAny>(bytes) {
            Err(error) => (error.line().max(1), "not JSON"),
            Ok(_) => (1, "no referral with a status"),
        };
        format!("{name}: line {line}: {why}; save the body of the service's answer to a GET of the referral")
    })
}
