//! Turns the text of a case into a case: fills in defaults and values of a table, reads files.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::Path,
};

use serde_json::Value;
use serde_saphyr::{Location, Spanned};

use super::{
    TestFile,
    text::{ExpectText, ForwardedText, GivenText, RequestText, Text, Unchanged},
};
use crate::{
    capture::{self, Captured},
    policy_test::{
        case::{Expect, Given, Outcome, Snapshot},
        table::Row,
    },
    yaml,
};

/// The `Host` of a request that the case itself writes.
const HOST: &str = "gateway.test";

/// Fills the values of a row into the texts of a case.
pub(super) struct Filler<'a> {
    pub(super) file: &'a TestFile,
    pub(super) row: &'a Row<'a>,
}

impl Filler<'_> {
    pub(super) fn text(&self, text: &Text) -> Result<String, yaml::Error> {
        let filled = self.row.text(&text.0.value);
        filled.map_err(|(what, remedy)| self.file.error(text.0.referenced, what, remedy))
    }

    fn maybe(&self, text: Option<&Text>) -> Result<Option<String>, yaml::Error> {
        text.map(|text| self.text(text)).transpose()
    }

    fn sorted(&self, texts: &[Text]) -> Result<Vec<String>, yaml::Error> {
        let mut texts: Vec<_> = texts
            .iter()
            .map(|text| self.text(text))
            .collect::<Result<_, _>>()?;
        texts.sort();
        Ok(texts)
    }

    pub(super) fn given(
        &self,
        defaults: &GivenText,
        case: &GivenText,
    ) -> Result<Given, yaml::Error> {
        let snapshots = case.snapshots.as_ref().or(defaults.snapshots.as_ref());
        let tenant_id = case.tenant_id.as_ref().or(defaults.tenant_id.as_ref());
        let tenant = case.tenant.as_ref().or(defaults.tenant.as_ref());
        if let (Some(id), Some(_)) = (tenant_id, tenant) {
            let what = "the case has both `tenant` and `tenant_id`";
            let remedy = "keep one of them: the settings map an alias to its id";
            return Err(self.file.error(id.0.referenced, what, remedy));
        }
        Ok(Given {
            tenant: self.maybe(tenant)?,
            tenant_id: self.maybe(tenant_id)?,
            application: self.maybe(case.application.as_ref().or(defaults.application.as_ref()))?,
            snapshots: snapshots
                .into_iter()
                .flatten()
                .map(|snapshot| {
                    Ok(Snapshot {
                        id: self.text(&snapshot.id)?,
                        etag: self.text(&snapshot.etag)?,
                        status: self.text(&snapshot.status)?,
                        substatus: self.maybe(snapshot.substatus.as_ref())?,
                    })
                })
                .collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn request(
        &self,
        defaults: &RequestText,
        case: &RequestText,
        name: Location,
    ) -> Result<Captured, yaml::Error> {
        let inline = case.method.is_some()
            || case.path.is_some()
            || !case.headers.is_empty()
            || case.body.is_some()
            || case.raw.is_some();
        match (&case.http, &case.which) {
            (Some(http), _) if inline => {
                let what = "the case has both `http` and a request of its own";
                return Err(self.file.error(http.0.referenced, what, "keep one of them"));
            }
            (Some(http), which) => return self.captured(http, which.as_ref()),
            (None, Some(which)) => {
                let what = "`which` selects a request of a file, but the case has no `http`";
                let remedy = "add `http`, or remove `which`";
                return Err(self.file.error(which.0.referenced, what, remedy));
            }
            (None, None) if !inline => {
                if let Some(http) = &defaults.http {
                    return self.captured(http, defaults.which.as_ref());
                }
            }
            (None, None) => {}
        }
        let lacking = |key: &str| {
            let what = format!("the request of this case has no `{key}`");
            let remedy = format!("write `{key}` under `request`, or under `defaults.request`");
            self.file.error(name, what, remedy)
        };
        let method = case.method.as_ref().or(defaults.method.as_ref());
        let path = case.path.as_ref().or(defaults.path.as_ref());
        let path = path.ok_or_else(|| lacking("path"))?;
        let target = self.text(path)?;
        if !target.starts_with('/') {
            let what = format!("path: {} does not begin with /", yaml::quoted(&target));
            let remedy = "write path and query, such as /v1.0/engagements/referrals/r1";
            return Err(self.file.error(path.0.referenced, what, remedy));
        }
        let mut headers = self.headers(&defaults.headers)?;
        for (name, lines) in self.headers(&case.headers)? {
            headers.retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
            headers.push((name, lines));
        }
        let has_body = case.body.is_some() || case.raw.is_some();
        Ok(Captured {
            method: self.text(method.ok_or_else(|| lacking("method"))?)?,
            target,
            // Clients add `Host` by themselves.
            authority: Some(HOST.to_owned()),
            is_absolute: false,
            headers: headers
                .into_iter()
                .flat_map(|(name, lines)| {
                    lines
                        .into_iter()
                        .map(move |line| (name.clone(), line.into_bytes()))
                })
                .collect(),
            body: self.body(if has_body { case } else { defaults })?,
            notice: None,
        })
    }

    fn body(&self, request: &RequestText) -> Result<Vec<u8>, yaml::Error> {
        match (&request.body, &request.raw) {
            (None, None) => Ok(Vec::new()),
            (None, Some(raw)) => Ok(self.text(raw)?.into_bytes()),
            (Some(body), None) => {
                let filled = self.row.value(&body.value);
                let filled = filled
                    .map_err(|(what, remedy)| self.file.error(body.referenced, what, remedy))?;
                Ok(filled.to_string().into_bytes())
            }
            (Some(_), Some(raw)) => {
                let what = "the request has both `body` and `raw`";
                Err(self.file.error(raw.0.referenced, what, "keep one of them"))
            }
        }
    }

    fn captured(&self, http: &Text, which: Option<&Text>) -> Result<Captured, yaml::Error> {
        let name = self.text(http)?;
        let path = self.file.beside(&name);
        let wrong = |what: String, remedy| self.file.error(http.0.referenced, what, remedy);
        let bytes = bytes_of(&path).map_err(|error| {
            let (what, _) = yaml::unreadable(&error);
            let what = format!("http: {}: {what}", yaml::quoted(&name));
            wrong(what, "write the path of a file, relative to this one")
        })?;
        let which = self.maybe(which)?;
        let captured = capture::read(&bytes, Some(&path), which.as_deref())
            .map_err(|error| wrong(format!("http: {name}: {error}"), "fix that file"))?;
        if let Some(notice) = captured.notice {
            let what = format!("http: {name}: {notice}");
            return Err(wrong(what, "select one with `which`"));
        }
        Ok(captured)
    }

    /// Fields by name, each with its lines.
    fn headers(
        &self,
        headers: &BTreeMap<String, Spanned<Value>>,
    ) -> Result<Vec<(String, Vec<String>)>, yaml::Error> {
        let text = |value: Value| match value {
            Value::String(text) => Ok(text),
            _ => Err((
                "the value of a header field is not a text".to_owned(),
                "put it in quotes; a list of texts makes several lines".to_owned(),
            )),
        };
        let lines = |value: &Spanned<Value>| {
            let lines = self
                .row
                .value(&value.value)
                .and_then(|filled| match filled {
                    Value::Null => Ok(Vec::new()),
                    Value::Array(list) => list.into_iter().map(text).collect(),
                    one => text(one).map(|line| vec![line]),
                });
            lines.map_err(|(what, remedy)| self.file.error(value.referenced, what, remedy))
        };
        headers
            .iter()
            .map(|(name, value)| Ok((name.clone(), lines(value)?)))
            .collect()
    }

    pub(super) fn expect(
        &self,
        expect: &ExpectText,
        request: &Captured,
    ) -> Result<Expect, yaml::Error> {
        let verdict = expect.verdict.value;
        let place = expect.verdict.referenced;
        let useless = |place: Location, key: &str, why: &str| {
            let remedy = format!("remove `{key}`, or expect another verdict");
            Err(self.file.error(place, format!("{key}: {why}"), remedy))
        };
        let forwarded = expect.forwarded.as_ref();
        match verdict {
            Outcome::Pass => {
                let why = "the gateway does not answer a request that passes";
                if let Some(status) = &expect.status {
                    return useless(status.referenced, "status", why);
                }
                if let Some(code) = &expect.code {
                    return useless(code.0.referenced, "code", why);
                }
            }
            Outcome::Refuse => {
                let why = "the gateway sends nothing for a refused request";
                if let Some(forwarded) = forwarded {
                    return useless(forwarded.referenced, "forwarded", why);
                }
                if expect.rules.is_empty() && expect.code.is_none() {
                    let what = "the case does not name what refuses the request";
                    let remedy = "add `rules`, or `code` if no rule refuses it";
                    return Err(self.file.error(place, what, remedy));
                }
            }
        }
        let sorted =
            |texts: &Option<Vec<Text>>| texts.as_ref().map(|texts| self.sorted(texts)).transpose();
        let forwarded = forwarded.map(|forwarded| &forwarded.value);
        let headers = match forwarded {
            Some(forwarded) => self.headers(&forwarded.headers)?,
            None => Vec::new(),
        };
        Ok(Expect {
            verdict,
            status: expect.status.as_ref().map(|status| status.value),
            code: self.maybe(expect.code.as_ref())?,
            rules: self.sorted(&expect.rules)?,
            findings: sorted(&expect.findings)?,
            warnings: sorted(&expect.warnings)?,
            repaired: expect.repaired.iter().map(|repair| repair.value).collect(),
            headers: headers
                .into_iter()
                .map(|(name, lines)| (name.to_ascii_lowercase(), lines))
                .collect(),
            body: match forwarded {
                Some(forwarded) => self.forwarded_body(forwarded, request)?,
                None => None,
            },
        })
    }

    fn forwarded_body(
        &self,
        forwarded: &ForwardedText,
        request: &Captured,
    ) -> Result<Option<Vec<u8>>, yaml::Error> {
        match (&forwarded.body, &forwarded.raw, &forwarded.file) {
            (None, None, None) => Ok(None),
            (Some(Unchanged::Unchanged), None, None) => Ok(Some(request.body.clone())),
            (None, Some(raw), None) => Ok(Some(self.text(raw)?.into_bytes())),
            (None, None, Some(file)) => {
                let name = self.text(file)?;
                let bytes = bytes_of(&self.file.beside(&name)).map_err(|error| {
                    let (what, _) = yaml::unreadable(&error);
                    let what = format!("file: {}: {what}", yaml::quoted(&name));
                    let remedy = "write the path of a file, relative to this one";
                    self.file.error(file.0.referenced, what, remedy)
                })?;
                Ok(Some(bytes))
            }
            (_, Some(text), _) | (_, None, Some(text)) => {
                let what = "`forwarded` has more than one of `body`, `raw` and `file`";
                Err(self.file.error(text.0.referenced, what, "keep one of them"))
            }
        }
    }
}

/// A file that a test names, up to one byte over the limit, so that a longer one is noticed.
fn bytes_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(capture::MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
