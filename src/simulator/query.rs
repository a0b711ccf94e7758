//! The options of a list, and the page they ask for.

use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{answer::Refusal, filter::Filter, representation, resource, store::Referral};

/// Items on one page.
const PAGE: usize = 100;

/// The beginning of each continuation. The documents show its slash as a lower-case `%2f`.
const TOKEN_MARK: &str = "k1/";

/// What a list is asked for.
#[derive(Debug, Default)]
pub(super) struct Query {
    filter: Option<Filter>,
    order: Vec<(By, Direction)>,
    top: Option<usize>,
    skip: usize,
    count: bool,
    select: Option<Vec<String>>,
    /// The options as sent, for the continuation.
    text: String,
    /// The number of items on earlier pages.
    shown: usize,
}

#[derive(Debug, Clone, Copy)]
enum By {
    Created,
    Updated,
}

#[derive(Debug, Clone, Copy)]
enum Direction {
    Ascending,
    Descending,
}

impl Query {
    /// Reads the query of a URL.
    pub(super) fn parse(query: &str) -> Result<Self, Refusal> {
        let options = options(query)?;
        let Some((_, token)) = options.iter().find(|(name, _)| name == "$skiptoken") else {
            return Self::of(query.to_owned(), options, 0);
        };
        let (shown, query) = opened(token)
            .ok_or_else(|| Refusal::invalid("$skiptoken", "$skiptoken is not valid"))?;
        let options = self::options(&query)?;
        Self::of(query, options, shown)
    }

    fn of(text: String, options: Vec<(String, String)>, shown: usize) -> Result<Self, Refusal> {
        let mut query = Self {
            text,
            shown,
            ..Self::default()
        };
        let mut seen = Vec::new();
        for (name, value) in options {
            if name.starts_with('$') && seen.contains(&name) {
                return Err(invalid(format!("{name} is given twice")));
            }
            match name.as_str() {
                "$filter" => query.filter = Some(Filter::parse(&value)?),
                "$orderby" => {
                    query.order = value.split(',').map(order).collect::<Result<_, _>>()?;
                }
                "$top" => query.top = Some(number(&name, &value)?),
                "$skip" => query.skip = number(&name, &value)?,
                "$count" => query.count = truth(&name, &value)?,
                "$select" => {
                    query.select = Some(value.split(',').map(selected).collect::<Result<_, _>>()?);
                }
                "$expand" => {}
                name if name.starts_with('$') => {
                    return Err(invalid(format!("{name} is not supported")));
                }
                // OData leaves options without a dollar sign to the service.
                _ => {}
            }
            seen.push(name);
        }
        if query.order.len() > 2 {
            return Err(invalid("$orderby: at most two names are supported"));
        }
        Ok(query)
    }

    /// The requested page of these referrals.
    pub(super) fn page(&self, referrals: &[Referral]) -> Value {
        let asked_for = |referral: &&Referral| {
            let filter = self.filter.as_ref();
            filter.is_none_or(|filter| filter.holds(referral))
        };
        let mut matching: Vec<&Referral> = referrals.iter().filter(asked_for).collect();
        for (by, direction) in self.order.iter().rev() {
            let time = |referral: &Referral| match by {
                By::Created => referral.created,
                By::Updated => referral.updated,
            };
            matching.sort_by(|one, other| match direction {
                Direction::Ascending => time(one).cmp(&time(other)),
                Direction::Descending => time(other).cmp(&time(one)),
            });
        }

        let top = self.top.unwrap_or(usize::MAX);
        let items: Vec<Value> = matching
            .iter()
            .skip(self.skip.saturating_add(self.shown))
            .take(top.saturating_sub(self.shown).min(PAGE))
            .map(|referral| match &self.select {
                Some(names) => Value::Object(representation::selected(referral, names)),
                None => Value::Object(representation::in_list(referral)),
            })
            .collect();
        let shown = self.shown.saturating_add(items.len());
        let is_last = matching.len() <= self.skip.saturating_add(shown) || shown >= top;

        let mut page = json!({
            "@odata.context": "http://api.partner.microsoft.com/v1.0/$metadata#Referrals",
            "@odata.count": if self.count { matching.len() } else { items.len() },
            "value": items,
        });
        if !is_last && let Value::Object(page) = &mut page {
            let token = token(shown, &self.text);
            let next =
                format!("http://api.partner.microsoft.com/v1.0/referrals?$skiptoken={token}");
            page.insert("@odata.nextLink".to_owned(), json!(next));
        }
        page
    }
}

/// The decoded options of a query, names in lower case.
fn options(query: &str) -> Result<Vec<(String, String)>, Refusal> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Ok((decoded(name)?.to_ascii_lowercase(), decoded(value)?))
        })
        .collect()
}

fn decoded(text: &str) -> Result<String, Refusal> {
    let text = text.replace('+', " ");
    let decoded = percent_decode_str(&text).decode_utf8();
    match decoded {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(invalid("the query is not UTF-8")),
    }
}

fn order(text: &str) -> Result<(By, Direction), Refusal> {
    let mut words = text.split_whitespace();
    let by = match words.next() {
        Some("createdDateTime") => By::Created,
        Some("updatedDateTime") => By::Updated,
        _ => return Err(invalid(format!("$orderby: cannot order by {text}"))),
    };
    let direction = match (words.next(), words.next()) {
        (None | Some("asc"), None) => Direction::Ascending,
        (Some("desc"), None) => Direction::Descending,
        _ => return Err(invalid(format!("$orderby: {text} is neither asc nor desc"))),
    };
    Ok((by, direction))
}

fn selected(name: &str) -> Result<String, Refusal> {
    let name = name.trim();
    if resource::is_member(name) {
        Ok(name.to_owned())
    } else {
        Err(invalid(format!("$select: a referral has no {name}")))
    }
}

fn number(name: &str, value: &str) -> Result<usize, Refusal> {
    value
        .parse()
        .map_err(|_| invalid(format!("{name}: {value} is not a count")))
}

fn truth(name: &str, value: &str) -> Result<bool, Refusal> {
    value
        .parse()
        .map_err(|_| invalid(format!("{name}: {value} is neither true nor false")))
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::invalid("query", message)
}

/// The continuation holds everything: the simulator keeps nothing between two pages.
fn token(shown: usize, query: &str) -> String {
    let text = STANDARD.encode(format!("{shown} {query}"));
    format!("{TOKEN_MARK}{text}")
        .replace('/', "%2f")
        .replace('+', "%2b")
        .replace('=', "%3d")
}

fn opened(token: &str) -> Option<(usize, String)> {
    // A plus sign that was not escaped has become a blank.
    let text = token.strip_prefix(TOKEN_MARK)?.replace(' ', "+");
    let text = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
    let (shown, query) = text.split_once(' ')?;
    Some((shown.parse().ok()?, query.to_owned()))
}
