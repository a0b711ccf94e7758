//! An expression is refused with its place, or it is true, false or an error of any request, in bounded time.
#![no_main]

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use referral_gateway::{
    policy::{Converted, EvalError, Expression, Inputs, Names},
    referral::State,
};
use serde_json::Value as Json;

/// More than any expression takes here, where every branch is counted and others share the processor.
const MAX_TIME: Duration = Duration::from_secs(4);

/// The largest body that is judged.
const MAX_BODY: usize = 1 << 20;

/// The longest target.
const MAX_QUERY: usize = 16 << 10;

/// The places in which names are values: there a member's spelling is seen.
const LOOPS: [&str; 4] = ["all", "exists", "filter", "map"];

fn check_place(text: &str, offset: usize, line: usize, column: usize) {
    let before = text.get(..offset).expect("a place between letters");
    assert_eq!(line, before.matches('\n').count() + 1);
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    assert_eq!(column, before[start..].chars().count() + 1);
}

/// What the expression says of a request with this body.
fn holds(
    expression: &Expression,
    method: &str,
    body: &[u8],
    query: Option<&str>,
    referral: Option<&State>,
) -> Result<bool, EvalError> {
    let mut headers = HeaderMap::new();
    headers.insert("if-match", HeaderValue::from_static("\"a\""));
    headers.insert("x-other", HeaderValue::from_static("secret"));
    let names = Names::from_iter([expression]);
    let converted = Converted::default();
    let inputs = Inputs {
        method,
        route: "referral_item",
        headers: &headers,
        query,
        application: "app",
        body: Some(body),
        referral,
        tenant_alias: "contoso",
        tenant_id: "11111111-aaaa-4000-8000-000000000001",
        names: &names,
        converted: &converted,
    };
    let start = Instant::now();
    let holds = expression.holds(&inputs);
    let time = start.elapsed();
    assert!(time < MAX_TIME, "{time:?} for {} bytes", body.len());
    assert_eq!(holds, expression.holds(&inputs), "another answer");
    assert_ne!(holds, Err(EvalError::Internal));
    holds
}

/// The same names in the other case.
fn swapped(json: Json) -> Json {
    let swap = |letter: char| match letter {
        'a'..='z' => letter.to_ascii_uppercase(),
        _ => letter.to_ascii_lowercase(),
    };
    match json {
        Json::Array(items) => items.into_iter().map(swapped).collect(),
        Json::Object(members) => members
            .into_iter()
            .map(|(name, json)| (name.chars().map(swap).collect::<String>(), swapped(json)))
            .collect(),
        other => other,
    }
}

/// How often the body stands in a list, so that a short input makes a large body.
fn repeated(body: &str, times: usize) -> String {
    let times = times.min(MAX_BODY / (body.len() + 1));
    format!(r#"{{"a":[{}]}}"#, vec![body; times].join(","))
}

/// What a type of values is made of: `$b`, `$n`, `$s`, `$t`, `$d`, `$v` and `$l` stand for a boolean, a number, a text,
/// a time, a duration, any value and a list.
const PARTS: [(char, &[&str]); 7] = [
    (
        'b',
        &[
            "true",
            "$v == $v",
            "$v != $v",
            "$n < $n",
            "$s >= $s",
            "$t > $t",
            "$b && $b",
            "$b || $b",
            "!$b",
            "($b ? $b : $b)",
            "has(body.a)",
            "has(body.a.b)",
            "has($v.c)",
            "$v in $l",
            "$s in body",
            "$s in request.headers",
            "$s.matches('^(a|b)*[0-9]+')",
            "$s.matches('\\\\p{L}{3}.*x')",
            "$s.startsWith($s)",
            "$s.endsWith($s)",
            "$s.contains($s)",
            "$l.all(i, i == $v)",
            "$l.exists(i, $b)",
            "$l.exists_one(i, size(i) > $n)",
            "body.exists(k, body[k] == $v)",
            "bool($v)",
            "referral.known",
            "type($v) == string",
            "$d < $d",
        ],
    ),
    (
        'n',
        &[
            "0",
            "1",
            "-1",
            "9223372036854775807",
            "-9223372036854775808",
            "2u",
            "18446744073709551615u",
            "1.5",
            "-0.0",
            "1e308",
            "$n + $n",
            "$n - $n",
            "$n * $n",
            "$n / $n",
            "$n % $n",
            "-$n",
            "int($v)",
            "uint($v)",
            "double($v)",
            "int($t)",
            "size($v)",
            "size($l)",
            "$s.size()",
            "$t.getFullYear()",
            "$t.getDayOfYear('Europe/Berlin')",
            "$t.getMonth('+14:00')",
            "$t.getDate($s)",
            "$t.getHours('-23:59')",
            "$d.getMilliseconds()",
            "$d.getHours()",
            "$v",
        ],
    ),
    (
        's',
        &[
            "''",
            "'a'",
            "'2024-02-29T23:59:60Z'",
            "r'\\x'",
            "'\\u00df'",
            "string($v)",
            "string($t)",
            "string($d)",
            "string($n)",
            "$s + $s",
            "$v",
            "request.method",
            "request.query.x",
            "request.application",
            "referral.status",
            "tenant.alias",
        ],
    ),
    (
        't',
        &[
            "timestamp($s)",
            "timestamp($n)",
            "timestamp('2024-02-29T00:00:00+14:00')",
            "timestamp('9999-12-31T23:59:59.999999999Z')",
            "timestamp('0001-01-01T00:00:00Z')",
            "$t + $d",
            "$t - $d",
            "timestamp($v)",
        ],
    ),
    (
        'd',
        &[
            "duration('1h30m')",
            "duration('-999999999h')",
            "duration('999999999h999999999h')",
            "duration('1ns')",
            "$t - $t",
            "$d + $d",
            "$d - $d",
        ],
    ),
    (
        'v',
        &[
            "body.a",
            "body.b",
            "body.c",
            "body['A']",
            "body.a.b",
            "body.a[0]",
            "body.a[$n]",
            "body[$s]",
            "body",
            "null",
            "dyn($n)",
            "dyn($s)",
            "($b ? $v : null)",
            "request.query",
            "[$v, $v]",
            "$n",
            "$s",
        ],
    ),
    (
        'l',
        &[
            "body.a",
            "body.a.b",
            "[1, 'a', null]",
            "[$v, $n, body.b]",
            "body.a.filter(i, $b)",
            "body.a.map(i, $v)",
            "request.headers",
            "request.query",
        ],
    ),
];

const VALUES: [&str; 22] = [
    "null",
    "true",
    "0",
    "-9223372036854775808",
    "9223372036854775807",
    "18446744073709551615",
    "1e308",
    "-1e-320",
    "2.5",
    r#""""#,
    r#""5e4""#,
    r#""-1""#,
    r#""nan""#,
    r#""2024-02-29T12:00:00Z""#,
    r#""+262142-12-31T23:59:59Z""#,
    r#""-262143-01-01T00:00:00Z""#,
    r#""aab1\u00df\ud83d\ude00""#,
    "[]",
    "[1,\"a\",{\"b\":[2.0]}]",
    r#"{"b":[1,2],"c":{}}"#,
    r#"{"B":"x","c":null}"#,
    "[[[]],{\"c\":1}]",
];

/// An expression whose types fit mostly, and a body that has what it asks for.
fn built(steps: &[u8]) -> (String, String) {
    let mut steps = steps.iter().map(|step| usize::from(*step));
    let times = match steps.next().unwrap_or_default() % 64 {
        digit @ 1..=9 => digit.to_string(),
        _ => String::new(),
    };
    let values: Vec<&str> = steps
        .by_ref()
        .take(3)
        .map(|step| VALUES[step % VALUES.len()])
        .collect();
    let names = ["a", "B", "c"].iter().zip(values);
    let members: Vec<_> = names
        .map(|(name, json)| format!(r#""{name}":{json}"#))
        .collect();
    let mut text = "$b".to_owned();
    while let Some(at) = text.find('$') {
        let kind = text[at + 1..].chars().next().unwrap_or_default();
        let parts = PARTS.iter().find(|(known, _)| *known == kind);
        let (_, parts) = parts.expect("a type of values");
        // What is too long already gets the shortest.
        let next = steps.next().filter(|_| text.len() < 400).unwrap_or(0);
        text.replace_range(at..at + 2, parts[next % parts.len()]);
    }
    (text, format!("{times}{{{}}}", members.join(",")))
}

// An expression, an empty line, and a body. A digit in front of the body repeats it. Behind a byte that is no text
// stand the steps by which both are built.
fuzz_target!(|data: &[u8]| {
    if let [0xff, steps @ ..] = data {
        let (text, body) = built(steps);
        check(&text, &body);
    } else if let Ok(data) = std::str::from_utf8(data) {
        let (text, body) = data.split_once("\n\n").unwrap_or((data, "{}"));
        check(text, body);
    }
});

fn check(text: &str, body: &str) {
    let expression = match Expression::compile(text) {
        Ok(expression) => expression,
        Err(error) => {
            check_place(text, error.offset, error.line, error.column);
            assert!(error.to_string().contains("; "), "no remedy: {error}");
            return;
        }
    };
    let state = State {
        status: "New".into(),
        substatus: Some("Pending".into()),
    };
    let (times, one) = match body.as_bytes().first() {
        Some(digit @ b'1'..=b'9') => (4usize.pow(u32::from(digit - b'0')), &body[1..]),
        _ => (0, body),
    };
    for method in ["PUT", "PATCH"] {
        let query = body.lines().last();
        let known = holds(&expression, method, one.as_bytes(), query, Some(&state));
        let unknown = holds(&expression, method, one.as_bytes(), query, None);
        if !expression.reads_referral() {
            assert_eq!(known, unknown, "{text} depends on the referral");
        }
    }
    if times > 0 {
        let large = repeated(one, times);
        let parameters: Vec<_> = (0..times.min(MAX_QUERY / 4))
            .map(|n| format!("{n:x}"))
            .collect();
        let query = parameters.join("&");
        let query = Some(query.as_str());
        let _ = holds(&expression, "PUT", large.as_bytes(), query, Some(&state));
    }

    let body: Json = match serde_json::from_str(one) {
        Ok(Json::Object(members)) => Json::Object(members),
        _ => return,
    };
    if LOOPS.iter().any(|word| text.contains(word)) {
        return;
    }
    let other = swapped(body.clone()).to_string();
    let body = body.to_string();
    let seen = holds(&expression, "PUT", body.as_bytes(), None, Some(&state));
    let other = holds(&expression, "PUT", other.as_bytes(), None, Some(&state));
    // Two names that differ by case alone are one after the swap as before it, or were told from the start.
    assert_eq!(seen, other, "{text} depends on the case of names in {body}");
}
