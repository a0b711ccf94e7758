//! The text of a test file: cases with what is given, what is asked, and what is expected.

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::{Location, Spanned};

use super::table::{self, Row};
use crate::{
    capture::{self, Captured},
    policy::repair::Repair,
    yaml,
};

/// A test file as it is written.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "referral-gateway policy tests")]
struct FileText {
    /// The policy document under test: a path from this file, or `builtin`.
    policy: Text,
    /// What holds for each case that does not say otherwise.
    #[serde(default)]
    defaults: Defaults,
    /// The cases.
    #[schemars(with = "Vec<CaseText>", length(min = 1))]
    cases: Spanned<Vec<CaseText>>,
}

#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Defaults {
    /// What is given.
    given: GivenText,
    /// The request.
    request: RequestText,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct CaseText {
    /// The sentence that must be true. No two cases of a file have the same.
    name: Text,
    /// A table: the case holds for each row, in which `${name}` stands for the value of that name, `${name.member}` for
    /// a part of it, and `$${` for `${`. Texts only: `verdict`, `status` and `repaired` are the same for all rows.
    #[schemars(with = "Option<Vec<BTreeMap<String, Value>>>", length(min = 1))]
    each: Option<Spanned<Vec<BTreeMap<String, Value>>>>,
    /// The same for each combination of these values.
    #[schemars(with = "Option<BTreeMap<String, Vec<Value>>>")]
    matrix: Option<Spanned<BTreeMap<String, Vec<Value>>>>,
    /// What is given.
    #[serde(default)]
    given: GivenText,
    /// The request.
    #[serde(default)]
    request: RequestText,
    /// What must come of it.
    expect: ExpectText,
}

#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct GivenText {
    /// The alias of the tenant whose request it is, as the settings would name it. Default: a tenant without one.
    tenant: Option<Text>,
    /// The id of the tenant that the token names, for one without an alias. Default: none.
    tenant_id: Option<Text>,
    /// The application that the token names. Default: none.
    application: Option<Text>,
    /// Where referrals stand, at which entity tag.
    snapshots: Option<Vec<SnapshotText>>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct SnapshotText {
    /// The referral's id.
    id: Text,
    /// The entity tag, with its quotes: '"1"'.
    etag: Text,
    /// `New`, `Active`, `Closed`.
    status: Text,
    /// `Pending`, `Accepted`, `Won`, ... Default: not known.
    substatus: Option<Text>,
}

#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct RequestText {
    /// The method.
    method: Option<Text>,
    /// Path and query.
    path: Option<Text>,
    /// Header fields by name: a text, a list of texts for as many lines, or null to take a default away.
    #[schemars(with = "BTreeMap<String, Value>")]
    headers: BTreeMap<String, Spanned<Value>>,
    /// The body, a JSON value.
    #[schemars(with = "Option<Value>")]
    body: Option<Spanned<Value>>,
    /// The body, byte for byte.
    raw: Option<Text>,
    /// In place of all that: a file that holds the request (raw HTTP, .http, HAR, curl), as a path from this file.
    http: Option<Text>,
    /// Which of several requests of that file: its name, or its number.
    which: Option<Text>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExpectText {
    /// What becomes of the request.
    #[schemars(with = "Outcome")]
    verdict: Spanned<Outcome>,
    /// The status of the refusal.
    #[schemars(with = "Option<u16>")]
    status: Option<Spanned<u16>>,
    /// The code of the refusal.
    code: Option<Text>,
    /// The ids of the rules that find something: these and no others. Default: none.
    #[serde(default)]
    rules: Vec<Text>,
    /// The codes of the findings: these and no others, in any order. Default: any.
    findings: Option<Vec<Text>>,
    /// The codes of the findings that the answer names in a `Warning`: these and no others. Default: any.
    warnings: Option<Vec<Text>>,
    /// The repairs that are used, in the order of use: these and no others. Default: none.
    #[serde(default)]
    #[schemars(with = "Vec<Repair>")]
    repaired: Vec<Spanned<Repair>>,
    /// What is sent to the service.
    #[schemars(with = "Option<ForwardedText>")]
    forwarded: Option<Spanned<ForwardedText>>,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// It is sent to the service.
    Pass,
    /// It is answered by the gateway, and nothing is sent.
    Refuse,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct ForwardedText {
    /// Header fields by name: a text, a list of texts for as many lines, or null for none.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Value>")]
    headers: BTreeMap<String, Spanned<Value>>,
    /// `unchanged`: the bytes that came.
    body: Option<Unchanged>,
    /// The body, byte for byte.
    raw: Option<Text>,
    /// A file that holds the body, as a path from this file.
    file: Option<Text>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Unchanged {
    Unchanged,
}

/// A text with its place, in which `${name}` may stand for a value of the case's table.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
struct Text(#[schemars(with = "String")] Spanned<String>);

/// Whom a request that is written out is sent to.
const HOST: &str = "gateway.test";

/// The JSON Schema of a test file, for editors.
pub fn schema() -> Value {
    schemars::schema_for!(FileText).to_value()
}

/// A test file whose YAML is right; what its cases say is found out when they are asked for.
#[derive(Debug)]
pub(super) struct TestFile {
    path: PathBuf,
    text: FileText,
}

/// One case, values of its table filled in.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    /// Where it begins in the file.
    pub(super) place: yaml::Place,
    pub(super) given: Given,
    pub(super) request: Captured,
    pub(super) expect: Expect,
}

/// What a case takes as given.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) tenant: Option<String>,
    pub(super) tenant_id: Option<String>,
    pub(super) application: Option<String>,
    pub(super) snapshots: Vec<Snapshot>,
}

/// Where a referral stands.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) id: String,
    pub(super) etag: String,
    pub(super) status: String,
    pub(super) substatus: Option<String>,
}

/// What must come of a case; `None` is not looked at.
#[derive(Debug)]
pub(super) struct Expect {
    pub(super) verdict: Outcome,
    pub(super) status: Option<u16>,
    pub(super) code: Option<String>,
    /// Sorted.
    pub(super) rules: Vec<String>,
    /// Sorted.
    pub(super) findings: Option<Vec<String>>,
    /// Sorted.
    pub(super) warnings: Option<Vec<String>>,
    pub(super) repaired: Vec<Repair>,
    /// By name, in lower case; the lines of each.
    pub(super) headers: Vec<(String, Vec<String>)>,
    pub(super) body: Option<Vec<u8>>,
}

impl TestFile {
    /// Reads a test file.
    pub(super) fn read(path: &Path) -> Result<Self, yaml::Error> {
        let name = path.display().to_string();
        let text: FileText = yaml::read(&yaml::text(path, yaml::bytes_of(path))?, &name)?;
        let file = Self {
            path: path.to_owned(),
            text,
        };
        if file.text.cases.value.is_empty() {
            let place = file.text.cases.referenced;
            return Err(file.error(place, "`cases` is empty", "write at least one case"));
        }
        Ok(file)
    }

    /// The policy document that it is about: a path, or `None` for the one compiled in.
    pub(super) fn policy(&self) -> Option<PathBuf> {
        match &*self.text.policy.0.value {
            "builtin" => None,
            path => Some(self.beside(path)),
        }
    }

    /// An error where the file names its policy.
    pub(super) fn policy_error(&self, what: impl Into<String>) -> yaml::Error {
        let remedy = "name a policy document, from the folder of this file, or builtin";
        self.error(self.text.policy.0.referenced, what, remedy)
    }

    /// The cases in their order, one for each row where a case has a table. Each is made when it is asked for.
    pub(super) fn cases(&self) -> impl Iterator<Item = Result<Case, yaml::Error>> {
        let mut names = HashSet::new();
        let rows = self.text.cases.value.iter().flat_map(|case| {
            let rows: Vec<_> = match self.rows(case) {
                Ok(rows) => rows.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            };
            rows.into_iter().map(move |row| (case, row))
        });
        rows.take(table::MAX_ROWS + 1)
            .enumerate()
            .map(move |(number, (text, row))| {
                if number == table::MAX_ROWS {
                    let what = format!("there are more than {} cases", table::MAX_ROWS);
                    let remedy = "shorten a table, or write a second file";
                    return Err(self.error(text.name.0.referenced, what, remedy));
                }
                let case = self.case(text, &row?)?;
                if !names.insert(case.name.clone()) {
                    let what = format!("{} names two cases", yaml::quoted(&case.name));
                    let remedy = if text.each.is_some() || text.matrix.is_some() {
                        "put values of the table into the name, as `${...}`"
                    } else {
                        "give each a name of its own"
                    };
                    return Err(self.error(text.name.0.referenced, what, remedy));
                }
                Ok(case)
            })
    }

    /// An error at a place of the file.
    pub(super) fn error_at(
        &self,
        place: yaml::Place,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> yaml::Error {
        yaml::Error {
            file: self.path.display().to_string(),
            place: Some(place),
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    fn error(
        &self,
        place: Location,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> yaml::Error {
        self.error_at((place.line(), place.column()), what, remedy)
    }

    fn beside(&self, path: &str) -> PathBuf {
        self.path.with_file_name(path)
    }

    fn rows<'a>(&'a self, case: &'a CaseText) -> Result<Vec<Row<'a>>, yaml::Error> {
        let (place, rows) = match (&case.each, &case.matrix) {
            (None, None) => return Ok(vec![Row::none()]),
            (Some(each), None) => (each.referenced, table::each(&each.value)),
            (None, Some(matrix)) => (matrix.referenced, table::matrix(&matrix.value)),
            (Some(_), Some(matrix)) => {
                let what = "`matrix` stands beside `each`";
                return Err(self.error(matrix.referenced, what, "keep one of them"));
            }
        };
        rows.map_err(|(what, remedy)| self.error(place, what, remedy))
    }

    fn case(&self, text: &CaseText, row: &Row<'_>) -> Result<Case, yaml::Error> {
        let fill = Filler { file: self, row };
        let name = fill.text(&text.name)?;
        let place = text.name.0.referenced;
        let request = fill.request(&self.text.defaults.request, &text.request, place)?;
        Ok(Case {
            name,
            place: (place.line(), place.column()),
            given: fill.given(&self.text.defaults.given, &text.given)?,
            expect: fill.expect(&text.expect, &request)?,
            request,
        })
    }
}

/// Fills the values of a row into the texts of a case.
struct Filler<'a> {
    file: &'a TestFile,
    row: &'a Row<'a>,
}

impl Filler<'_> {
    fn text(&self, text: &Text) -> Result<String, yaml::Error> {
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

    fn given(&self, defaults: &GivenText, case: &GivenText) -> Result<Given, yaml::Error> {
        let snapshots = case.snapshots.as_ref().or(defaults.snapshots.as_ref());
        let tenant_id = case.tenant_id.as_ref().or(defaults.tenant_id.as_ref());
        let tenant = case.tenant.as_ref().or(defaults.tenant.as_ref());
        if let (Some(id), Some(_)) = (tenant_id, tenant) {
            let what = "`tenant_id` stands beside `tenant`";
            let remedy = "keep one of them: the settings tie an alias to its id";
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

    fn request(
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
                let what = "`http` stands beside a request that is written out";
                return Err(self.file.error(http.0.referenced, what, "keep one of them"));
            }
            (Some(http), which) => return self.captured(http, which.as_ref()),
            (None, Some(which)) => {
                let what = "`which` chooses among the requests of a file, but there is no `http`";
                let remedy = "name the file by `http`, or remove it";
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
                let what = "`raw` stands beside `body`";
                Err(self.file.error(raw.0.referenced, what, "keep one of them"))
            }
        }
    }

    fn captured(&self, http: &Text, which: Option<&Text>) -> Result<Captured, yaml::Error> {
        let name = self.text(http)?;
        let path = self.file.beside(&name);
        let wrong = |what: String, remedy| self.file.error(http.0.referenced, what, remedy);
        let bytes = bytes_of(&path).map_err(|error| {
            let what = format!("http: {} cannot be read: {error}", yaml::quoted(&name));
            wrong(what, "give the path of a file, from the folder of this one")
        })?;
        let which = self.maybe(which)?;
        let captured = capture::read(&bytes, Some(&path), which.as_deref())
            .map_err(|error| wrong(format!("http: {name}: {error}"), "correct that file"))?;
        if let Some(notice) = captured.notice {
            let what = format!("http: {name}: {notice}");
            return Err(wrong(what, "say by `which` which one is meant"));
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
                "write it in quotes; a list of texts makes several lines".to_owned(),
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

    fn expect(&self, expect: &ExpectText, request: &Captured) -> Result<Expect, yaml::Error> {
        let verdict = expect.verdict.value;
        let place = expect.verdict.referenced;
        let useless = |place: Location, key: &str, why: &str| {
            let remedy = format!("remove `{key}`, or expect another verdict");
            Err(self.file.error(place, format!("{key}: {why}"), remedy))
        };
        let forwarded = expect.forwarded.as_ref();
        match verdict {
            Outcome::Pass => {
                let why = "a request that passes gets no answer from the gateway";
                if let Some(status) = &expect.status {
                    return useless(status.referenced, "status", why);
                }
                if let Some(code) = &expect.code {
                    return useless(code.0.referenced, "code", why);
                }
            }
            Outcome::Refuse => {
                let why = "of a request that is refused nothing is sent";
                if let Some(forwarded) = forwarded {
                    return useless(forwarded.referenced, "forwarded", why);
                }
                if expect.rules.is_empty() && expect.code.is_none() {
                    let what = "the case does not say what refuses the request";
                    let remedy = "name it by `rules`, or by `code` if it is no rule";
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
                    let what = format!("file: {} cannot be read: {error}", yaml::quoted(&name));
                    let remedy = "give the path of a file, from the folder of this one";
                    self.file.error(file.0.referenced, what, remedy)
                })?;
                Ok(Some(bytes))
            }
            (_, Some(text), _) | (_, None, Some(text)) => {
                let what = "more than one of `body`, `raw` and `file` say what is sent";
                Err(self.file.error(text.0.referenced, what, "keep one of them"))
            }
        }
    }
}

/// A file that a test names. One byte more than a capture may have, so that one that is too long is seen as such.
fn bytes_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(capture::MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
