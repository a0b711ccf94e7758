//! `$filter`: which referrals a list shows.

use std::{cmp::Ordering, time::SystemTime};

use super::{answer::Refusal, store::Referral};

/// Parentheses within parentheses.
const MAX_DEPTH: usize = 32;

/// An expression that holds for a referral, or not.
#[derive(Debug)]
pub(super) enum Filter {
    All(Vec<Self>),
    Any(Vec<Self>),
    Text(&'static str, Operator, String),
    Created(Operator, SystemTime),
    Updated(Operator, SystemTime),
    Team(Operator, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
}

impl Operator {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Eq => ordering.is_eq(),
            Self::Ne => ordering.is_ne(),
            Self::Gt => ordering.is_gt(),
            Self::Ge => ordering.is_ge(),
            Self::Lt => ordering.is_lt(),
            Self::Le => ordering.is_le(),
        }
    }

    /// Ids are GUIDs, and GUIDs and addresses are the same in either case.
    fn holds_for(self, seen: &str, wanted: &str, ignoring_case: bool) -> bool {
        let same = seen == wanted || (ignoring_case && seen.eq_ignore_ascii_case(wanted));
        same == (self == Self::Eq)
    }
}

impl Filter {
    /// Reads the decoded text of the option.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let mut tokens = Tokens::of(text)?;
        let filter = tokens.either(0)?;
        match tokens.next() {
            None => Ok(filter),
            token => Err(unexpected(token)),
        }
    }

    /// Whether the referral is one of those asked for.
    pub(super) fn holds(&self, referral: &Referral) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(referral)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(referral)),
            Self::Text(pointer, operator, wanted) => {
                let seen = referral.text(pointer).unwrap_or_default();
                operator.holds_for(seen, wanted, is_id(pointer))
            }
            Self::Created(operator, wanted) => operator.holds(referral.created.cmp(wanted)),
            Self::Updated(operator, wanted) => operator.holds(referral.updated.cmp(wanted)),
            Self::Team(operator, wanted) => {
                let team = referral.value("/team").and_then(|team| team.as_array());
                team.into_iter().flatten().any(|member| {
                    let email = member.get("email").and_then(|email| email.as_str());
                    operator.holds_for(email.unwrap_or_default(), wanted, true)
                })
            }
        }
    }
}

fn is_id(pointer: &str) -> bool {
    matches!(pointer, "/id" | "/engagementId")
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Word(String),
    Text(String),
}

struct Tokens(std::iter::Peekable<std::vec::IntoIter<Token>>);

impl Tokens {
    fn of(text: &str) -> Result<Self, Refusal> {
        let mut tokens = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(char) = chars.next() {
            match char {
                '(' => tokens.push(Token::Open),
                ')' => tokens.push(Token::Close),
                '\'' => {
                    let mut text = String::new();
                    loop {
                        match chars.next() {
                            // A quote within a text is written twice.
                            Some('\'') if chars.next_if_eq(&'\'').is_some() => text.push('\''),
                            Some('\'') => break,
                            Some(char) => text.push(char),
                            None => return Err(invalid("a text has no closing quote")),
                        }
                    }
                    tokens.push(Token::Text(text));
                }
                char if char.is_whitespace() => {}
                char => {
                    let mut word = String::from(char);
                    while let Some(char) =
                        chars.next_if(|char| !matches!(char, '(' | ')' | '\'' | ' ' | '\t'))
                    {
                        word.push(char);
                    }
                    tokens.push(Token::Word(word));
                }
            }
        }
        Ok(Self(tokens.into_iter().peekable()))
    }

    fn next(&mut self) -> Option<Token> {
        self.0.next()
    }

    fn take(&mut self, wanted: &Token) -> bool {
        self.0.next_if_eq(wanted).is_some()
    }

    fn take_word(&mut self, wanted: &str) -> bool {
        let is_it = |token: &Token| matches!(token, Token::Word(word) if word == wanted);
        self.0.next_if(is_it).is_some()
    }

    fn expect(&mut self, wanted: &Token) -> Result<(), Refusal> {
        match self.next() {
            Some(token) if token == *wanted => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    fn word(&mut self) -> Result<String, Refusal> {
        match self.next() {
            Some(Token::Word(word)) => Ok(word),
            other => Err(unexpected(other)),
        }
    }

    fn text(&mut self) -> Result<String, Refusal> {
        match self.next() {
            Some(Token::Text(text)) => Ok(text),
            other => Err(unexpected(other)),
        }
    }

    fn text_or_word(&mut self) -> Result<String, Refusal> {
        match self.next() {
            Some(Token::Text(text) | Token::Word(text)) => Ok(text),
            other => Err(unexpected(other)),
        }
    }

    fn time(&mut self) -> Result<SystemTime, Refusal> {
        let text = self.text_or_word()?;
        humantime::parse_rfc3339(&text)
            .map_err(|_| invalid(format!("{text} is not a time like 2024-03-01T00:00:00Z")))
    }

    fn either(&mut self, depth: usize) -> Result<Filter, Refusal> {
        let mut parts = vec![self.both(depth)?];
        while self.take_word("or") {
            parts.push(self.both(depth)?);
        }
        Ok(Filter::Any(parts))
    }

    fn both(&mut self, depth: usize) -> Result<Filter, Refusal> {
        let mut parts = vec![self.single(depth)?];
        while self.take_word("and") {
            parts.push(self.single(depth)?);
        }
        Ok(Filter::All(parts))
    }

    fn single(&mut self, depth: usize) -> Result<Filter, Refusal> {
        if depth > MAX_DEPTH {
            return Err(invalid("the expression is too deep"));
        }
        if self.take(&Token::Open) {
            let inner = self.either(depth + 1)?;
            self.expect(&Token::Close)?;
            return Ok(inner);
        }
        let name = self.word()?;
        if name == "team/any" {
            return self.team();
        }
        let operator = self.operator()?;
        match name.as_str() {
            "createdDateTime" => Ok(Filter::Created(operator, self.time()?)),
            "updatedDateTime" => Ok(Filter::Updated(operator, self.time()?)),
            "email" => Ok(Filter::Team(equality(operator)?, self.text()?)),
            name => {
                let pointer =
                    pointer(name).ok_or_else(|| invalid(format!("cannot filter by {name}")))?;
                // The links in recorded referrals name an engagement without quotes.
                let wanted = match is_id(pointer) {
                    true => self.text_or_word()?,
                    false => self.text()?,
                };
                Ok(Filter::Text(pointer, equality(operator)?, wanted))
            }
        }
    }

    /// What stands after `team/any`: `(t:t/email eq 'pat@example.com')`.
    fn team(&mut self) -> Result<Filter, Refusal> {
        self.expect(&Token::Open)?;
        let mut lambda = self.word()?;
        if lambda.ends_with(':') {
            lambda.push_str(&self.word()?);
        }
        let is_email = lambda
            .split_once(':')
            .is_some_and(|(variable, path)| path.strip_prefix(variable) == Some("/email"));
        if !is_email {
            return Err(invalid("of the team, only the email can be filtered by"));
        }
        let operator = equality(self.operator()?)?;
        let wanted = self.text()?;
        self.expect(&Token::Close)?;
        Ok(Filter::Team(operator, wanted))
    }

    fn operator(&mut self) -> Result<Operator, Refusal> {
        match self.word()?.as_str() {
            "eq" => Ok(Operator::Eq),
            "ne" => Ok(Operator::Ne),
            "gt" => Ok(Operator::Gt),
            "ge" => Ok(Operator::Ge),
            "lt" => Ok(Operator::Lt),
            "le" => Ok(Operator::Le),
            word => Err(invalid(format!("{word} is not a supported operator"))),
        }
    }
}

fn pointer(name: &str) -> Option<&'static str> {
    [
        "/id",
        "/engagementId",
        "/status",
        "/substatus",
        "/type",
        "/direction",
        "/qualification",
        "/customerProfile/address/country",
    ]
    .into_iter()
    .find(|pointer| pointer.strip_prefix('/') == Some(name))
}

fn equality(operator: Operator) -> Result<Operator, Refusal> {
    match operator {
        Operator::Eq | Operator::Ne => Ok(operator),
        Operator::Gt | Operator::Ge | Operator::Lt | Operator::Le => {
            Err(invalid("compare texts with eq or ne only"))
        }
    }
}

fn unexpected(token: Option<Token>) -> Refusal {
    match token {
        Some(Token::Open) => invalid("unexpected ("),
        Some(Token::Close) => invalid("unexpected )"),
        Some(Token::Word(text)) => invalid(format!("unexpected {text}")),
        Some(Token::Text(text)) => invalid(format!("unexpected '{text}'")),
        None => invalid("the expression is incomplete"),
    }
}

fn invalid(message: impl AsRef<str>) -> Refusal {
    Refusal::invalid("$filter", format!("$filter: {}", message.as_ref()))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use serde_json::json;

    use super::Filter;
    use crate::simulator::{random::Random, store::Store};

    /// `wanted` is `None` for an expression that is refused.
    #[track_caller]
    fn check(expression: &str, wanted: Option<bool>) {
        let members = json!({
            "id": "ab-1", "engagementId": "cd-2", "status": "New", "substatus": "Pending",
            "type": "Shared", "direction": "Incoming", "qualification": "Direct",
            "customerProfile": { "address": { "country": "US" } },
            "team": [{ "email": "pat@example.com" }, { "email": "o'neil@example.com" }, 7],
        });
        let mut store = Store::new(Random::new(1), 1);
        let members = members.as_object().expect("an object").clone();
        let referral = store
            .insert(members, UNIX_EPOCH, UNIX_EPOCH)
            .expect("room for one");
        let seen = Filter::parse(expression).map(|filter| filter.holds(referral));
        assert_eq!(seen.ok(), wanted, "{expression}");
    }

    #[test]
    fn a_filter_holds_for_the_referrals_it_describes() {
        for (expression, wanted) in [
            ("status eq 'New'", true),
            ("status ne 'New'", false),
            ("status eq 'new'", false),
            ("substatus eq 'Pending'", true),
            ("type eq 'Shared'", true),
            ("direction eq 'Outgoing'", false),
            ("qualification eq 'Direct'", true),
            ("id eq 'AB-1'", true),
            ("engagementId eq cd-2", true),
            ("engagementId eq 'cd-3'", false),
            ("customerProfile/address/country eq 'US'", true),
            ("email eq 'pat@example.com'", true),
            ("team/any(t:t/email eq 'Pat@example.com')", true),
            ("team/any(m: m/email eq 'o''neil@example.com')", true),
            ("team/any(t:t/email eq 'kim@example.com')", false),
            ("createdDateTime eq 1970-01-01T00:00:00Z", true),
            ("updatedDateTime gt 1970-01-01T00:00:00Z", false),
            ("updatedDateTime ge 1970-01-01T00:00:00.0000000Z", true),
            ("updatedDateTime lt '2024-03-01T00:00:00Z'", true),
            ("updatedDateTime le 1970-01-01T00:00:00Z", true),
            ("status eq 'New' and type eq 'Shared'", true),
            ("status eq 'New' and type eq 'x'", false),
            ("status eq 'x' or type eq 'Shared'", true),
            ("status eq 'New' or status eq 'x' and type eq 'x'", true),
            ("(status eq 'New' or status eq 'x') and type eq 'x'", false),
            ("((status eq 'New'))", true),
        ] {
            check(expression, Some(wanted));
        }
    }

    #[test]
    fn an_expression_that_can_not_be_read_is_refused() {
        for expression in [
            "",
            "status",
            "status eq",
            "status eq New",
            "status eq 'New",
            "status eq 'New' and",
            "status eq 'New' 'x'",
            "status eq 'New')",
            "(status eq 'New'",
            "status EQ 'New'",
            "status gt 'New'",
            "status = 'New'",
            "status eq and",
            "name eq 'x'",
            "updatedDateTime gt yesterday",
            "team/any(t:t/firstName eq 'Pat')",
            "team/any(t:x/email eq 'pat@example.com')",
            "team/any(t:t/email gt 'pat@example.com')",
            "contains(name,'x')",
        ] {
            check(expression, None);
        }
        let deep = format!("{}status eq 'New'{}", "(".repeat(5000), ")".repeat(5000));
        check(&deep, None);
    }
}
