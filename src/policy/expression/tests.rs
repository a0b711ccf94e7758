//! What is refused when a policy is loaded, what an expression makes of a request, and that neither has no end.

use cel::parser::Expression as Code;
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use serde_json::json;

use super::{limits::MAX_DEPTH, *};
use crate::referral::State;

/// A request to evaluate expressions on.
#[derive(Clone)]
struct Given {
    method: &'static str,
    headers: HeaderMap,
    query: Option<&'static str>,
    application: &'static str,
    body: Option<Vec<u8>>,
    referral: Option<State>,
}

impl Default for Given {
    fn default() -> Self {
        Self {
            method: "PUT",
            headers: HeaderMap::new(),
            query: None,
            application: "",
            body: Some(b"{}".to_vec()),
            referral: None,
        }
    }
}

impl Given {
    fn body(body: &(impl ToString + ?Sized)) -> Self {
        Self {
            body: Some(body.to_string().into_bytes()),
            ..Self::default()
        }
    }

    fn patch(body: &(impl ToString + ?Sized)) -> Self {
        Self {
            method: "PATCH",
            ..Self::body(body)
        }
    }

    fn inputs<'a>(&'a self, names: &'a Names) -> Inputs<'a> {
        Inputs {
            method: self.method,
            route: "referral_item",
            headers: &self.headers,
            query: self.query,
            application: self.application,
            body: self.body.as_deref(),
            referral: self.referral.as_ref(),
            tenant_alias: "contoso",
            tenant_id: "11111111-aaaa-4000-8000-000000000001",
            names,
            converted: Box::leak(Box::default()),
        }
    }

    #[track_caller]
    fn holds(&self, text: &str) -> Result<bool, EvalError> {
        let expression = compiled(text);
        let names = Names::from_iter([&expression]);
        expression.holds(&self.inputs(&names))
    }

    #[track_caller]
    fn check(&self, text: &str, wanted: &Result<bool, EvalError>) {
        let body = self.body.as_deref().unwrap_or_default();
        let body = String::from_utf8_lossy(body.get(..500).unwrap_or(body));
        assert_eq!(
            &self.holds(text),
            wanted,
            "{text} on {} {body}",
            self.method
        );
    }
}

#[track_caller]
fn compiled(text: &str) -> Expression {
    match Expression::compile(text) {
        Ok(expression) => expression,
        Err(error) => unreachable!("{text}: {error}"),
    }
}

fn missing(name: &str) -> EvalError {
    EvalError::Missing(Some(name.to_owned()))
}

/// With the stack of a worker thread: what overflows it ends the process.
fn on_a_worker_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let worker = thread::Builder::new().stack_size(2 << 20);
        let worker = worker.spawn_scoped(scope, work).expect("a thread");
        worker.join().expect("no panic")
    })
}

#[track_caller]
fn refused(text: &str, wanted: &str) {
    let error = Expression::compile(text).err();
    let seen = error.map(|error| format!("{}:{} {error}", error.line, error.column));
    assert_eq!(seen.as_deref(), Some(wanted), "{text}");
}

#[test]
fn what_cannot_be_read_is_refused_with_place_and_remedy() {
    for (text, wanted) in [
        ("", "1:1 is empty; write a condition"),
        (" \n ", "1:1 is empty; write a condition"),
        (
            "(body.x",
            "1:8 cannot be read here: missing ')' at its end; correct the expression there",
        ),
        (
            "body.x == 1\n  && body.y ==\n",
            "3:1 cannot be read here: mismatched input its end; correct the expression there",
        ),
        (
            "body.x = 5",
            "1:8 cannot be read here: token recognition error at: '= '; write == to compare",
        ),
        (
            "body.x == 5 and body.y == 6",
            "1:13 cannot be read here: mismatched input 'and'; write && for and",
        ),
        (
            "body.x == 5 or body.y == 6",
            "1:13 cannot be read here: mismatched input 'or'; write || for or",
        ),
        (
            "not body.x",
            "1:5 cannot be read here: mismatched input 'body'; write ! for not",
        ),
        (
            "body.x == \"a",
            "1:11 cannot be read here: token recognition error at: '\"a'; close the text in its line, and write \\\\ for a backslash in it",
        ),
        (
            "body.x.matches('\\d')",
            "1:16 cannot be read here: token recognition error at: ''\\d'; close the text in its line, and write \\\\ for a backslash in it",
        ),
        (
            "'é' == body.x && body.y == “a”",
            "1:28 cannot be read here: token recognition error at: '“'; write plain quotes",
        ),
        (
            "body.x == 99999999999999999999",
            "1:11 cannot be read here: invalid int literal; correct the expression there",
        ),
        (
            "body.?x == 1",
            "1:5 cannot be read here: unsupported syntax '.?'; correct the expression there",
        ),
        (
            "has(body)",
            "1:5 has() asks for a member; write such as has(body.member), or 'member' in body",
        ),
    ] {
        refused(text, wanted);
    }
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest_known_one() {
    for (text, wanted) in [
        (
            "boddy.x == 1",
            "1:1 unknown variable `boddy`; did you mean `body`?",
        ),
        (
            ".body.x == 1",
            "1:2 unknown variable `.body`; did you mean `body`?",
        ),
        (
            "body.x == 1 &&\n  'é' == boddy.x",
            "2:10 unknown variable `boddy`; did you mean `body`?",
        ),
        (
            "entity.x == 1",
            "1:1 unknown variable `entity`; known variables: body, request, referral, tenant",
        ),
        (
            "body.all(key, ky != 'x')",
            "1:15 unknown variable `ky`; did you mean `key`?",
        ),
        (
            "type(body.x) == strng",
            "1:17 unknown variable `strng`; did you mean `string`?",
        ),
        (
            "request.methd == 'PUT'",
            "1:9 `request` has no member `methd`; did you mean `method`?",
        ),
        (
            "request . headrs == []",
            "1:11 `request` has no member `headrs`; did you mean `headers`?",
        ),
        (
            "tenant.name == 'x'",
            "1:8 `tenant` has no member `name`; write tenant.alias, tenant.id",
        ),
        (
            "referral == null",
            "1:1 `referral` is not a value by itself; write referral.known, referral.status, referral.substatus",
        ),
        (
            "tenant['id'] == 'x'",
            "1:1 `tenant` is not a value by itself; write tenant.alias, tenant.id",
        ),
        (
            "has(tenant.alias)",
            "1:4 has() does not ask for tenant.alias; compare its value",
        ),
        (
            "has(referral.status)",
            "1:4 has() does not ask for referral.status; ask for referral.known",
        ),
        (
            "body.x.startWith('a')",
            "1:8 unknown function `startWith`; did you mean `startsWith`?",
        ),
        (
            "siez(body) > 1",
            "1:1 unknown function `siez`; did you mean `size`?",
        ),
        (
            "body.items.exist(x, x > 1)",
            "1:12 unknown function `exist`; did you mean `exists`?",
        ),
        (
            "body.items.all(x > 1)",
            "1:12 `all` cannot be called this way; write list.all(item, condition)",
        ),
        (
            "contains(body.x, 'a')",
            "1:1 `contains` cannot be called this way; write value.contains(..)",
        ),
        (
            "body.x.double() > 1.0",
            "1:8 `double` cannot be called this way; write double(value)",
        ),
        (
            "body.x.contains()",
            "1:8 `contains` is given 0 arguments; give it 1",
        ),
    ] {
        refused(text, wanted);
    }
}

#[test]
fn what_has_the_wrong_type_is_refused() {
    for (text, wanted) in [
        (
            "1",
            "1:1 the result is an int, not a boolean; compare it with something",
        ),
        (
            "  body.x + 'a'",
            "1:3 the result is a text, not a boolean; compare it with something",
        ),
        (
            "body",
            "1:1 the result is an object, not a boolean; compare it with something",
        ),
        (
            "request.headers",
            "1:1 the result is a list, not a boolean; compare it with something",
        ),
        (
            "body.x ? 1 : 2",
            "1:1 the result is an int, not a boolean; compare it with something",
        ),
        (
            "body.items.map(x, x + 1)",
            "1:1 the result is a list, not a boolean; compare it with something",
        ),
        (
            "body.x ? true : 'a'",
            "1:8 `?:` does not take a value of the request and a boolean and a text; use values of a type that it takes",
        ),
        (
            "request.method == 5",
            "1:16 `==` does not take a text and an int; use values of a type that it takes",
        ),
        (
            "request.method != null",
            "1:16 `!=` does not take a text and null; use values of a type that it takes",
        ),
        (
            "size(body) > '1'",
            "1:12 `>` does not take an int and a text; use values of a type that it takes",
        ),
        (
            "1 + 1.0 == body.x",
            "1:3 `+` does not take an int and a double; give both the same type, such as by double(..)",
        ),
        (
            "!request.method",
            "1:1 `!` does not take a text; use values of a type that it takes",
        ),
        (
            "body.x && request.method",
            "1:8 `&&` does not take a value of the request and a text; use values of a type that it takes",
        ),
        (
            "5 in body",
            "1:3 `in` does not take an int and an object; use values of a type that it takes",
        ),
        (
            "request.method.length > 1",
            "1:15 a text has no members; select a member of an object",
        ),
        (
            "request.query.top > 5",
            "1:19 `>` does not take a text and an int; use values of a type that it takes",
        ),
        (
            "body.x.contains(1)",
            "1:8 `contains` does not take a value of the request and an int; use values of a type that it takes",
        ),
        (
            "body.all(key, key > 1)",
            "1:19 `>` does not take a text and an int; use values of a type that it takes",
        ),
        (
            "request.method.all(x, true)",
            "1:19 a loop over a text; loop over a list or an object",
        ),
        (
            "timestamp(body.x) + timestamp(body.y) == body.z",
            "1:19 `+` does not take a timestamp and a timestamp; use values of a type that it takes",
        ),
    ] {
        refused(text, wanted);
    }
}

#[test]
fn what_has_no_use_or_no_bound_is_refused() {
    for (text, wanted) in [
        (
            "1 + 1 == 2",
            "1:1 it names no variable, so its result is always the same; use body, request, referral or tenant",
        ),
        (
            "[1, 2].all(x, x > 0)",
            "1:1 it names no variable, so its result is always the same; use body, request, referral or tenant",
        ),
        (
            "{'a': 1} == body.x",
            "1:1 {..} is not supported; compare the members one by one",
        ),
        (
            "b'x' == body.x",
            "1:1 bytes are not supported; write a text, without b",
        ),
        (
            "'Prefer' in request.headers",
            "1:1 request.headers are in lower case; write \"prefer\"",
        ),
        (
            "body.x.matches(body.y)",
            "1:8 the pattern of `matches` must be a literal; write it in quotes: text.matches('^[a-z]+$')",
        ),
        (
            "body.x.matches('(')",
            "1:16 the pattern cannot be used: unclosed group; correct the pattern",
        ),
        (
            "body.x.matches('(?:a{100}){100}')",
            "1:16 the pattern is too large; repeat less, or write [0-9] for \\d and [A-Za-z] for \\w",
        ),
        (
            "duration(body.x) == duration('1h')",
            "1:1 `duration` takes a literal; write such as duration('36h') or duration('1h30m')",
        ),
        (
            "timestamp(body.x) - timestamp(body.y) < duration('1d')",
            "1:41 `duration` takes a literal; write such as duration('36h') or duration('1h30m')",
        ),
        (
            "body.items.all(x, x > 1) && x == 1",
            "1:29 unknown variable `x`; known variables: body, request, referral, tenant",
        ),
        (
            "body.items.all(x, x.parts.all(y, y > 1))",
            "1:30 nested loops are not supported; loop once, over one list; split it into several rules",
        ),
        (
            "body.items.filter(x, x > 1).all(y, y > 1)",
            "1:32 loops over calculated lists are not supported; loop over a member of the body, or over a written list",
        ),
        (
            "[body.items.filter(x, x > 1)].all(y, size(y) > 1)",
            "1:19 nested loops are not supported; loop once, over one list; split it into several rules",
        ),
        (
            "(body.a + body.b).all(x, x > 1)",
            "1:22 loops over calculated lists are not supported; loop over a member of the body, or over a written list",
        ),
        (
            "body.items.all(body, true)",
            "1:15 `body` is a reserved name; give the item of the loop another name",
        ),
    ] {
        refused(text, wanted);
    }
}

#[test]
fn an_expression_that_is_too_long_or_too_deep_is_refused_on_any_stack() {
    let chain = |link: &str, count: usize| format!("body.x{} == 1", link.repeat(count));
    let nest = |open: &str, close: &str, depth: usize| {
        format!("{}body.x{} == 1", open.repeat(depth), close.repeat(depth))
    };
    let texts = [
        chain("+body.x", 2000),
        chain("+1", 900),
        chain("+1", 30),
        chain("-body.y", 200),
        chain("*2", 30),
        chain("==1", 30),
        chain("[0]", 30),
        chain(".size()", 30),
        format!("{}body.x", "body.x ? true : ".repeat(120)),
        format!("{}body.x", "body.x ? true : ".repeat(30)),
        format!("(1+1){} == 1", ".x".repeat(30)),
        nest("(", ")", 25),
        nest("[", "]", 25),
        nest("size(", ")", 25),
        nest("!(", ")", 25),
        nest("body[", "]", 25),
        nest("{1:", "}", 25),
        nest("(1+", ")", 24),
        "(".repeat(2048),
        "[".repeat(24),
        "{'a':".repeat(24),
        format!("{}{}", "\"".repeat(3), "[".repeat(2000)),
        format!("r'\\'{}", "(".repeat(2000)),
        format!("// '\n{}", "(".repeat(2000)),
        "'".repeat(2000),
        "!".repeat(2000),
        "a.".repeat(1000),
        "a(".repeat(1000),
        "\\".repeat(2000),
        "é".repeat(1024),
    ];
    on_a_worker_stack(|| {
        for text in texts {
            let outcome = Expression::compile(&text);
            assert!(outcome.is_err(), "{text}");
        }
        refused(
            &format!("body.x == {}", "1".repeat(2039)),
            "1:1 2049 bytes are more than 2048; split it into several rules",
        );
        refused(
            &format!("r'\\'{}", "(".repeat(30)),
            "1:29 parentheses nest deeper than 24 levels; split it into several rules",
        );
        refused(
            &nest("(", ")", 25),
            "1:25 parentheses nest deeper than 24 levels; split it into several rules",
        );
        refused(
            &format!("{}body.x", "body.x ? true : ".repeat(120)),
            "1:1537 its parts nest deeper than 24 levels; split it into several rules",
        );
        refused(
            &chain("+1", 30),
            "1:19 its parts nest deeper than 24 levels; split it into several rules",
        );
    });
}

/// The deepest expressions of each shape that are accepted, on a value that makes each level count.
#[test]
fn the_deepest_expressions_can_be_evaluated_on_a_worker_stack() {
    let deepest = |shape: &dyn Fn(usize) -> String| {
        let depth = (1..MAX_DEPTH)
            .rev()
            .find(|depth| Expression::compile(&shape(*depth)).is_ok())
            .expect("some depth");
        assert!(depth >= 16, "{depth}: {}", shape(depth));
        shape(depth)
    };
    let nest = |open: &str, close: &str, depth: usize| {
        format!("{}body.x{} == 1", open.repeat(depth), close.repeat(depth))
    };
    let texts = [
        deepest(&|depth| format!("body.x{} == 1", "+body.x".repeat(depth))),
        deepest(&|depth| format!("body.x{}", "==body.x".repeat(depth))),
        deepest(&|depth| format!("dyn(body.o){} == 1", ".o".repeat(depth))),
        deepest(&|depth| nest("(1+", ")", depth)),
        deepest(&|depth| format!("{}body.x{} == []", "[".repeat(depth), "]".repeat(depth))),
        deepest(&|depth| format!("{}body.x == 1{}", "!(".repeat(depth), ")".repeat(depth))),
        deepest(&|depth| nest("dyn(", ")", depth)),
        deepest(&|depth| nest("(true ? ", " : 1)", depth)),
        deepest(&|depth| format!("body.items.all(x, {})", nest("dyn(", ")", depth))),
        deepest(&|depth| format!("body.items.map(x, {}) == []", nest("(1+", ")", depth))),
    ];
    let given = Given::body(r#"{"x": 1, "o": {"o": 1}, "items": [1, 2]}"#);
    on_a_worker_stack(|| {
        for text in texts {
            let outcome = given.holds(&text);
            assert!(
                !matches!(outcome, Err(EvalError::Internal)),
                "{text}: {outcome:?}"
            );
        }
    });
}

/// A deal over a cap needs a reason. The value may come as a number or as a string.
const CAP: &str = "!has(body.details) || !has(body.details.dealValue)
    || double(body.details.dealValue) <= 1000000.0
    || (has(body.statusReason) && body.statusReason.matches('\\\\S'))";

#[test]
fn a_deal_over_a_cap_needs_a_reason() {
    let wrong_type = |types: &str| Err(EvalError::Type(types.to_owned()));
    for (details, passes) in [
        (json!({}), Ok(true)),
        (json!({"dealValue": 1_000_000}), Ok(true)),
        (json!({"dealValue": 12500.50}), Ok(true)),
        (json!({"dealValue": "12500.50"}), Ok(true)),
        (
            json!({"dealValue": 1_000_001}),
            Err(missing("statusReason")),
        ),
        (
            json!({"DealValue": 1_000_001}),
            Err(missing("statusReason")),
        ),
        (json!({"dealValue": 1.0e7}), Err(missing("statusReason"))),
        (
            json!({"dealValue": "10000000"}),
            Err(missing("statusReason")),
        ),
        (json!({"dealValue": "1e7"}), Err(missing("statusReason"))),
        (
            json!({"dealValue": "1,000,001"}),
            Err(EvalError::Function("double".into())),
        ),
        (
            json!({"dealValue": "NaN"}),
            wrong_type("<= with double and double"),
        ),
        (
            json!({"dealValue": null}),
            wrong_type("double with null_type"),
        ),
        (json!({"dealValue": [1]}), wrong_type("double with list")),
    ] {
        // Without a reason the last alternative is false, so an error before it stays.
        let passes = match passes {
            Err(EvalError::Missing(_)) => Ok(false),
            other => other,
        };
        Given::body(&json!({"details": details})).check(CAP, &passes);
        Given::patch(&json!({"Details": details})).check(CAP, &passes);
        let replaced = json!([{"op": "replace", "path": "/details", "value": details}]);
        Given::patch(&replaced).check(CAP, &passes);
        let operations: Vec<_> = details
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| json!({"op": "add", "path": format!("/Details/{name}"), "value": value}))
            .collect();
        Given::patch(&json!(operations)).check(CAP, &passes);

        let reasoned = json!({"details": details, "StatusReason": "agreed"});
        Given::body(&reasoned).check(CAP, &Ok(true));
        for reason in [json!(""), json!(" \t")] {
            let body = json!({"details": details, "statusReason": reason});
            Given::body(&body).check(CAP, &passes);
        }
    }
    let body = json!({"details": {"dealValue": 1_000_001}, "statusReason": null});
    Given::body(&body).check(CAP, &wrong_type("matches with null_type and pattern"));
}

#[test]
fn an_application_can_be_kept_from_writing() {
    let rule = "request.application != '33333333-cccc-4000-8000-000000000003'";
    for (application, passes) in [
        ("33333333-cccc-4000-8000-000000000003", false),
        ("33333333-cccc-4000-8000-000000000004", true),
        ("", true),
    ] {
        let given = Given {
            application,
            body: None,
            ..Given::default()
        };
        given.check(rule, &Ok(passes));
        given.check(
            &format!("request.application != '' && {rule}"),
            &Ok(passes && !application.is_empty()),
        );
    }
}

/// Who closes a referral without winning it says why. A patch may name the status alone.
const REASON: &str =
    "!has(body.substatus) || body.substatus in ['Pending', 'Received', 'Accepted', 'Won']
    || (has(body.statusReason) && body.statusReason.matches('\\\\S'))";

#[test]
fn a_declined_or_lost_referral_needs_a_reason() {
    for (substatus, needs) in [
        ("Won", false),
        ("Accepted", false),
        ("Lost", true),
        ("Declined", true),
        ("lost", true),
        ("Expired", true),
    ] {
        let bare = json!({"status": "Closed", "SubStatus": substatus});
        let reasoned = json!({"Status": "Closed", "subStatus": substatus, "STATUSREASON": "price"});
        let operations = |body: &serde_json::Value| {
            let members = body.as_object().into_iter().flatten();
            let operations: Vec<_> = members
                .map(|(name, value)| json!({"op": "replace", "path": format!("/{name}"), "value": value}))
                .collect();
            json!(operations)
        };
        for (body, passes) in [(bare, !needs), (reasoned, true)] {
            Given::body(&body).check(REASON, &Ok(passes));
            Given::patch(&body).check(REASON, &Ok(passes));
            Given::patch(&operations(&body)).check(REASON, &Ok(passes));
        }
        // The later operation wins.
        let last = json!([
            {"op": "add", "path": "/substatus", "value": "Won"},
            {"op": "add", "path": "/SUBSTATUS", "value": substatus},
        ]);
        Given::patch(&last).check(REASON, &Ok(!needs));
        let taken_back = json!([
            {"op": "add", "path": "/substatus", "value": substatus},
            {"op": "add", "path": "/statusReason", "value": "price"},
            {"op": "remove", "path": "/StatusReason"},
        ]);
        Given::patch(&taken_back).check(REASON, &Ok(!needs));
    }
}

const ON_DEAL_VALUE: [&str; 9] = [
    "body.details.dealValue == 5",
    "body.Details['DealValue'] == 5",
    "has(body.details.dealValue)",
    "'dealValue' in body.details",
    "body.details.exists(name, name == 'dealValue')",
    "body.exists(name, name == 'dealValue')",
    "!body.all(name, name in ['details', 'other'])",
    "body.details.map(name, name) == ['dealValue']",
    "body.exists(name, body[name] == 5)",
];

#[test]
fn a_name_cannot_be_dodged_by_its_spelling() {
    for name in ["dealValue", "DealValue", "DEALVALUE", "dealvalue"] {
        let given = Given::body(&json!({"Details": {name: 5}, name: 5}));
        for rule in ON_DEAL_VALUE {
            given.check(rule, &Ok(true));
        }
    }
}

#[test]
fn what_only_some_readers_take_for_a_member_is_neither_there_nor_missing() {
    for name in [
        "deal\u{ad}Value",
        "deal Value",
        "dealValue ",
        "dealValue\u{200b}",
        "\u{feff}dealValue",
        "dealＶalue",
    ] {
        let given = Given::body(&json!({"Details": {name: 5}, name: 5}));
        // That one asks for the other names.
        for rule in ON_DEAL_VALUE.iter().filter(|rule| !rule.starts_with('!')) {
            let found = given.holds(rule);
            assert!(found.is_err(), "{rule} on {name:?}: {found:?}");
        }
        given.check("!has(body.other)", &Ok(true));
        let path = format!("/{name}");
        for operation in [
            json!({"op": "add", "path": path, "value": 1}),
            json!({"op": "remove", "path": path}),
            json!({"op": "add", "path": format!("{path}/x"), "value": 1}),
        ] {
            let patch = json!([{"op": "add", "path": "/dealValue", "value": 5}, operation]);
            for rule in ["has(body.dealValue)", "!has(body.dealValue)"] {
                let found = Given::patch(&patch).holds(rule);
                let is_untold = matches!(found, Err(EvalError::Patch { operation: 2, .. }));
                assert!(is_untold, "{rule} on {patch}: {found:?}");
            }
        }
    }
    for (name, other) in [
        ("status", "\u{17f}tatus"),
        ("links", "lin\u{212a}s"),
        ("id", "\u{130}d"),
        ("status", "\u{fb06}atus"),
    ] {
        let wanted = Err(EvalError::LookAlike(name.to_owned()));
        Given::body(&json!({ other: 1 })).check(&format!("body['{name}'] == 1"), &wanted);
    }
    // Nobody takes one for the other.
    let missing = Err(EvalError::Missing(Some("größe".to_owned())));
    Given::body(&json!({"GRÖSSE": 1})).check("body['größe'] == 1", &missing);
    Given::body(&json!({"GRÖẞE": 1, "Größe": 1}))
        .check("body['größe'] == 1", &Err(EvalError::RepeatedMember));
}

#[test]
fn a_member_given_twice_is_an_error() {
    for body in [
        r#"{"dealValue": 1, "dealValue": 2}"#,
        r#"{"dealValue": 1, "DealValue": 2}"#,
        r#"{"x": {"a": 1, "A": 1}}"#,
        r#"{"x": [{"ſ": 1, "s": 1}]}"#,
        r#"{"x": 1, "\u0078": 1}"#,
    ] {
        for method in ["PUT", "PATCH"] {
            let given = Given {
                method,
                ..Given::body(body)
            };
            // Also where the other side of an operator would decide.
            given.check(
                "request.method != '' || has(body.x)",
                &Err(EvalError::RepeatedMember),
            );
        }
    }
    let twice = r#"[{"op": "add", "path": "/x", "value": 1, "Value": 2}]"#;
    Given::patch(twice).check("has(body.x)", &Err(EvalError::RepeatedMember));
    Given::body(r#"{"x": {"a": 1}, "y": {"A": 1}}"#).check("body.x == body.y", &Ok(true));
}

#[test]
fn loops_see_names_as_the_expressions_of_the_policy_spell_them() {
    let loops = compiled("body.all(name, name in ['status', 'substatus'])");
    let other = compiled("body.Status == 'New'");
    let differs = compiled("body.exists(name, name == 'STATUS')");
    let given = Given::body(&json!({"sTATUS": "New"}));

    let names = Names::from_iter([&loops, &other]);
    let inputs = given.inputs(&names);
    assert_eq!(loops.holds(&inputs), Ok(true));
    assert_eq!(other.holds(&inputs), Ok(true));

    // Spelled alike twice is not a disagreement.
    let names = Names::from_iter([&loops, &loops, &other, &other]);
    assert_eq!(loops.holds(&given.inputs(&names)), Ok(true));

    let names = Names::from_iter([&loops, &other, &differs]);
    let inputs = given.inputs(&names);
    assert!(matches!(loops.holds(&inputs), Err(EvalError::Type(_))));
    assert!(matches!(differs.holds(&inputs), Err(EvalError::Type(_))));
    assert_eq!(other.holds(&inputs), Ok(true));

    // An expression whose names were left out could be dodged.
    let names = Names::from_iter([&other]);
    assert_eq!(loops.holds(&given.inputs(&names)), Err(EvalError::Internal));
    assert_eq!(other.holds(&given.inputs(&names)), Ok(true));
}

#[test]
fn numbers_compare_whatever_their_form() {
    for value in ["50000", "50000.0", "5e4", "5.0E+4"] {
        let given = Given::body(&format!(
            r#"{{"v": {value}, "big": 18446744073709551615, "huge": 1e30}}"#
        ));
        for (rule, holds) in [
            ("body.v > 1000", true),
            ("body.v > 1000.5", true),
            ("body.v == 50000", true),
            ("body.v == 50000.0", true),
            ("body.v != 50000u", false),
            ("body.v <= 49999.99", false),
            ("body.v in [1, 50000]", true),
            ("double(body.v) * 2.0 == 100000.0", true),
            ("int(body.v) % 7 == 6", true),
            ("body.big > 9223372036854775807", true),
            ("body.big < body.huge", true),
            ("body.huge > 1", true),
        ] {
            given.check(rule, &Ok(holds));
        }
    }
    let given =
        Given::body(r#"{"int": 2, "double": 2.5, "text": "2", "max": 9223372036854775807}"#);
    for (rule, error) in [
        (
            "body.int * 1.5 > 1.0",
            EvalError::Type("an operand of *".into()),
        ),
        (
            "body.text > 1",
            EvalError::Type("> with string and int".into()),
        ),
        ("body.max + 1 > 0", EvalError::Range),
        ("body.int / (body.int - 2) > 0", EvalError::Range),
        (
            "int(body.double) > 1 && uint(0 - body.int) > 1u",
            EvalError::Function("uint".into()),
        ),
        (
            "double(body.text + 'x') > 1.0",
            EvalError::Function("double".into()),
        ),
    ] {
        given.check(rule, &Err(error));
    }
}

#[test]
fn what_is_missing_or_null_is_told_apart() {
    let given = Given::body(r#"{"nil": null, "empty": "", "list": [], "object": {}}"#);
    for (rule, wanted) in [
        ("has(body.x)", Ok(false)),
        ("has(body.nil)", Ok(true)),
        ("body.nil == null", Ok(true)),
        ("body.empty == null", Ok(false)),
        ("has(body.object.x)", Ok(false)),
        ("body.x == 1", Err(missing("x"))),
        ("!(body.x == 1)", Err(missing("x"))),
        ("has(body.x.y)", Err(missing("x"))),
        ("body.object.x", Err(missing("x"))),
        ("body[body.empty] == 1", Err(EvalError::Missing(None))),
        ("body.list[0] == 1", Err(EvalError::Position)),
        ("body.list == [] && size(body.object) == 0", Ok(true)),
        (
            "has(body.nil.x)",
            Err(EvalError::Type(". with null_type and string".into())),
        ),
        (
            "size(body.nil) > 0",
            Err(EvalError::Type("size with null_type".into())),
        ),
        (
            "body.empty",
            Err(EvalError::Type("the result is string".into())),
        ),
        // What decides the result in any case, decides it here too.
        ("body.x == 1 || body.empty == ''", Ok(true)),
        ("body.x == 1 && body.empty == 'x'", Ok(false)),
        ("body.x == 1 || body.empty == 'x'", Err(missing("x"))),
    ] {
        given.check(rule, &wanted);
    }
}

#[test]
fn the_request_the_referral_and_the_tenant_can_be_asked() {
    let mut given = Given {
        method: "PATCH",
        query: Some("$Select=a+b%26c&empty&x=%C3%A9"),
        body: None,
        ..Given::default()
    };
    given
        .headers
        .insert("Prefer", HeaderValue::from_static("return=representation"));
    given
        .headers
        .insert("authorization", HeaderValue::from_static("Bearer s3cret"));
    for (rule, holds) in [
        (
            "request.method == 'PATCH' && request.route == 'referral_item'",
            true,
        ),
        ("'prefer' in request.headers", true),
        ("'if-match' in request.headers", false),
        (
            "request.headers.exists(name, name.startsWith('auth'))",
            true,
        ),
        (
            "request.headers.exists(name, name.contains('s3cret'))",
            false,
        ),
        ("request.query['$select'] == 'a b&c'", true),
        (
            "has(request.query.empty) && request.query.empty == ''",
            true,
        ),
        ("request.query.x == 'é'", true),
        ("'y' in request.query", false),
        (
            "request.query.all(name, name in ['$select', 'empty', 'x'])",
            true,
        ),
        ("size(request.query) == 3", true),
        ("tenant.alias == 'contoso' && tenant.id.endsWith('1')", true),
        ("referral.known", false),
        ("!referral.known || referral.status == 'New'", true),
    ] {
        given.check(rule, &Ok(holds));
    }
    given.check("referral.status != 'Closed'", &Err(EvalError::UnknownState));
    given.check(
        "!(referral.substatus == 'Won')",
        &Err(EvalError::UnknownState),
    );
    given.check("has(body.x)", &Err(EvalError::Unread));
    given.referral = Some(State {
        status: "Closed".into(),
        substatus: None,
    });
    given.check(
        "referral.known && referral.status == 'Closed' && referral.substatus == ''",
        &Ok(true),
    );

    for query in ["a=1&A=2", "a&a", "a=%ff", "%ff=1"] {
        given.query = Some(query);
        given.check("has(request.query.b)", &Err(EvalError::Query));
        given.check("request.method == 'PATCH'", &Ok(true));
    }
    given.query = None;
    given.check("size(request.query) == 0", &Ok(true));
}

#[test]
fn what_an_expression_looks_at_is_known() {
    for (text, body, referral) in [
        ("request.method == 'PUT'", false, false),
        ("body.x == 1", true, false),
        ("request.method != 'PUT' || has(body.x)", true, false),
        ("referral.status == 'New'", false, true),
        ("referral.known || body.all(x, x != 'a')", true, true),
        ("'body' in request.query", false, false),
    ] {
        let expression = compiled(text);
        assert_eq!(expression.reads_body(), body, "{text}");
        assert_eq!(expression.reads_referral(), referral, "{text}");
    }
}

#[test]
fn texts_lists_and_times_can_be_asked() {
    let given = Given::body(&json!({
        "mail": "pat@example.com", "name": "Größe", "on": "2024-06-30T00:00:00+02:00", "later": "2024-07-30T12:00:00Z",
        "team": [{"mail": "a@example.com"}, {"mail": "b@example.com"}], "tags": ["a", "b"],
    }));
    for rule in [
        "body.mail.matches('^[^@]+@example\\\\.com$') && matches(body.mail, r'^\\S+$')",
        "!body.mail.matches('^example')",
        "size(body.name) == 5 && body.name.size() == 5",
        "body.mail.contains('@') && !body.mail.startsWith('@')",
        "body.team.all(member, member.mail.endsWith('@example.com'))",
        "body.team.exists_one(member, member.mail == 'a@example.com')",
        "body.team.exists(member, member.Mail == 'a@example.com')",
        "body.team.filter(member, member.mail > 'a').size() == 2",
        "body.team.map(member, member.mail)[0] == 'a@example.com'",
        "body.tags == ['a', 'b'] && ['a', 'b'] == body.tags && body.tags != ['b', 'a']",
        "body.tags + ['c'] == ['a', 'b', 'c']",
        "(has(body.team) ? body.team : []).all(member, has(member.mail))",
        "timestamp(body.on) < timestamp('2024-07-01T00:00:00Z')",
        "timestamp(body.on).getMonth() == 5 && timestamp(body.on).getDate('Asia/Tokyo') == 30",
        "timestamp(body.later) - timestamp(body.on) > duration('720h30m')",
        "timestamp(body.on) + duration('1h') > timestamp(body.on)",
        "timestamp(body.on) - duration('1h') < timestamp(body.on)",
        "body['team'].all(member, has(member.mail))",
        "'mail' in (request.method == 'X' ? request.query : body)",
        "type(body.team) == list && type(body) == map && type(body.mail) == string",
        "string(1) + body.mail == '1pat@example.com'",
        "dyn(body.mail) != 'x'",
    ] {
        given.check(rule, &Ok(true));
    }
    for (rule, error) in [
        (
            "timestamp(body.mail) < timestamp('2024-07-01T00:00:00Z')",
            EvalError::Function("timestamp".into()),
        ),
        (
            "timestamp(body.on) + duration('9999999h') + duration('99999999h') > timestamp(body.on)",
            EvalError::Function("duration".into()),
        ),
        (
            "timestamp(body.on).getDate(body.mail) == 1",
            EvalError::Function("timezone".into()),
        ),
        (
            "timestamp('9999-12-31T23:59:59Z') + duration('48h') > timestamp(body.on)",
            EvalError::Range,
        ),
        (
            "body.mail.all(x, true)",
            EvalError::Type("the value of an operand".into()),
        ),
    ] {
        given.check(rule, &Err(error));
    }
}

#[test]
fn errors_never_repeat_what_the_request_holds() {
    let given = Given {
        query: Some("q=s3cret"),
        ..Given::body(
            &json!({"text": "s3cret", "list": ["s3cret"], "object": {"s3cret": "s3cret"}, "number": 987_654_321}),
        )
    };
    for rule in [
        "body.text > 1",
        "body.text + 1 == 2",
        "body.list < 1",
        "body.object > 1",
        "body[body.text] == 1",
        "body.list[987654321] == 1",
        "body.list[body.number] == 1",
        "body.object.exists(name, body[name] == 1)",
        "double(body.text) > 1.0",
        "timestamp(body.text) > timestamp(0)",
        "timestamp(0).getDate(body.text) == 1",
        "body.text in body.text",
        "body.number * 987654321987 > 0",
        "body.number / 0 > 0",
        "body.text",
        "!body.text",
        "-body.object == 1",
        "body.text ? true : false",
        "request.query.q.matches('x') || body.text",
        "body.text.matches('x') && body.missing",
        "size(body.number) > 1",
        "body.number.all(x, true)",
        "body.text.contains(body.object)",
    ] {
        let outcome = given.holds(rule);
        let seen = match &outcome {
            Ok(holds) => holds.to_string(),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(
            !seen.contains("s3cret") && !seen.contains("987654321"),
            "{rule}: {seen}"
        );
    }
}

#[track_caller]
fn check_patch(operations: &serde_json::Value, wanted: &Result<serde_json::Value, &str>) {
    let set = body::read(operations.to_string().as_bytes(), "PATCH");
    let wanted = match wanted {
        Ok(object) => body::read(object.to_string().as_bytes(), "PUT"),
        Err(why) => {
            let operation = operations.as_array().map_or(0, Vec::len);
            assert_eq!(
                set.map_err(|error| error.to_string()),
                Err(format!(
                    "the value that operation {operation} of the JSON Patch sets is unknown: {why}"
                )),
                "{operations}"
            );
            return;
        }
    };
    assert_eq!(set, wanted, "{operations}");
}

#[test]
fn a_json_patch_sets_what_its_operations_leave_behind() {
    let taken = "an earlier operation of the patch put another kind of value there";
    let empty = "its path has an empty name, or a tilde that is followed by neither 0 nor 1";
    let position = "its path has a position in a list";
    let dash = "its path has a - that is not the end of a list";
    let known = "only add, replace, remove and test are supported";
    let op = |op: &str, path: &str, value: serde_json::Value| json!({"op": op, "path": path, "value": value});
    for (operations, wanted) in [
        (json!([]), Ok(json!({}))),
        (json!([op("add", "/a", json!(1))]), Ok(json!({"a": 1}))),
        (
            json!([op("replace", "/a", json!(1)), op("add", "/A", json!(2))]),
            Ok(json!({"A": 2})),
        ),
        (
            json!([
                op("Replace", "/a/b/c", json!(1)),
                op("ADD", "/A/b/d", json!(2))
            ]),
            Ok(json!({"a": {"b": {"c": 1, "d": 2}}})),
        ),
        (
            json!([
                op("add", "/a", json!({"b": 1})),
                op("add", "/a/c", json!(2))
            ]),
            Ok(json!({"a": {"b": 1, "c": 2}})),
        ),
        (
            json!([
                op("add", "/a/c", json!(2)),
                op("add", "/a", json!({"b": 1}))
            ]),
            Ok(json!({"a": {"b": 1}})),
        ),
        (
            json!([op("add", "/a~1b/m~0n/~01", json!(1))]),
            Ok(json!({"a/b": {"m~n": {"~1": 1}}})),
        ),
        (
            json!([op("add", "/l/-", json!(1)), op("add", "/L/-", json!(2))]),
            Ok(json!({"l": [1, 2]})),
        ),
        (
            json!([op("add", "/a/l/-", json!({"b": 1}))]),
            Ok(json!({"a": {"l": [{"b": 1}]}})),
        ),
        (
            json!([op("add", "/l", json!([1])), op("add", "/l/-", json!(2))]),
            Ok(json!({"l": [1, 2]})),
        ),
        (json!([op("add", "/l/0/b", json!(1))]), Err(position)),
        (json!([op("add", "/l/0", json!(1))]), Err(position)),
        (
            json!([op("add", "/l", json!([])), {"op": "remove", "path": "/l/12"}]),
            Err(position),
        ),
        (
            json!([op("add", "", json!({"a": 1})), op("add", "/b", json!(2))]),
            Ok(json!({"a": 1, "b": 2})),
        ),
        (
            json!([
                op("add", "/b", json!(2)),
                op("replace", "", json!({"a": 1}))
            ]),
            Ok(json!({"a": 1})),
        ),
        (
            json!([op("add", "/a", json!(null))]),
            Ok(json!({"a": null})),
        ),
        (
            json!([op("add", "/a/b", json!(1)), {"op": "remove", "path": "/A/B"}]),
            Ok(json!({"a": {}})),
        ),
        (
            json!([op("add", "/a/b", json!(1)), {"op": "remove", "path": "/a"}]),
            Ok(json!({})),
        ),
        (
            json!([{"op": "remove", "path": "/x/y"}, op("add", "/a", json!(1))]),
            Ok(json!({"a": 1})),
        ),
        (json!([{"op": "remove", "path": "/l/-"}]), Ok(json!({}))),
        (
            json!([op("test", "/a", json!(1)), op("add", "/a", json!(2))]),
            Ok(json!({"a": 2})),
        ),
        (
            json!([{"OP": "add", "Path": "/a", "VALUE": 1}]),
            Ok(json!({"a": 1})),
        ),
        (
            json!([op("add", "/a", json!(1)), op("add", "/a/b", json!(1))]),
            Err(taken),
        ),
        (
            json!([op("add", "/a", json!(null)), op("add", "/a/-", json!(1))]),
            Err(taken),
        ),
        (
            json!([op("add", "/l/-", json!(1)), op("add", "/l/0", json!(2))]),
            Err(position),
        ),
        (
            json!([op("add", "/l/-", json!(1)), op("replace", "/l/-", json!(2))]),
            Err(taken),
        ),
        (
            json!([op("add", "/l/-", json!(1)), {"op": "remove", "path": "/l/0"}]),
            Err(position),
        ),
        (
            json!([op("add", "/l/-", json!({})), op("add", "/l/0/b", json!(2))]),
            Err(position),
        ),
        (
            json!([op("add", "a", json!(1))]),
            Err("its path does not begin with a slash"),
        ),
        (
            json!([op("add", "#/a", json!(1))]),
            Err("its path does not begin with a slash"),
        ),
        (json!([op("add", "/a/", json!(1))]), Err(empty)),
        (json!([op("add", "//a", json!(1))]), Err(empty)),
        (json!([op("add", "/a~2", json!(1))]), Err(empty)),
        (json!([op("add", "/a~", json!(1))]), Err(empty)),
        (json!([op("add", "/-", json!(1))]), Err(dash)),
        (json!([op("add", "/a/-/b", json!(1))]), Err(dash)),
        (
            json!([op("add", "", json!([]))]),
            Err("it replaces the referral with a value that is not an object"),
        ),
        (
            json!([{"op": "remove", "path": ""}]),
            Err("it removes the referral"),
        ),
        (
            json!([{"op": "copy", "from": "/a", "path": "/b"}]),
            Err(known),
        ),
        (
            json!([{"op": "move", "from": "/a", "path": "/b"}]),
            Err(known),
        ),
        (json!([op("merge", "/a", json!(1))]), Err(known)),
        (json!([{"path": "/a", "value": 1}]), Err("it has no op")),
        (
            json!([{"op": 1, "path": "/a", "value": 1}]),
            Err("it has no op"),
        ),
        (json!([{"op": "add", "value": 1}]), Err("it has no path")),
        (
            json!([{"op": "add", "path": ["a"], "value": 1}]),
            Err("it has no path"),
        ),
        (json!([{"op": "add", "path": "/a"}]), Err("it has no value")),
        (
            json!([op("add", "/a", json!(1)), 5]),
            Err("it is not an object"),
        ),
        (
            json!([op("add", &"/a".repeat(65), json!(1))]),
            Err("it nests too deep"),
        ),
        (
            json!([op("add", &"/a".repeat(64), json!({}))]),
            Err("it nests too deep"),
        ),
    ] {
        check_patch(&operations, &wanted);
    }
    let deep = json!([op("add", &"/a".repeat(64), json!(1))]);
    assert!(body::read(deep.to_string().as_bytes(), "PATCH").is_ok());
}

#[test]
fn a_body_beyond_the_bounds_is_an_error() {
    let nested = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    let list = |items: usize| format!(r#"{{"l":[{}]}}"#, vec!["1"; items].join(","));
    let rule = "has(body.l) || true";
    for (body, wanted) in [
        (nested(64), Ok(true)),
        (nested(65), Err(EvalError::TooDeep)),
        (nested(66), Err(EvalError::TooDeep)),
        (nested(5000), Err(EvalError::TooDeep)),
        ("[".repeat(100_000), Err(EvalError::TooDeep)),
        // The object, the list and its items are values.
        (list(19_998), Ok(true)),
        (list(19_999), Err(EvalError::TooManyValues)),
        ("[]".to_owned(), Err(EvalError::NotAnObject)),
        ("7".to_owned(), Err(EvalError::NotAnObject)),
        (String::new(), Err(EvalError::NotJson)),
        ("{} {}".to_owned(), Err(EvalError::NotJson)),
        ("{\"a\":1,}".to_owned(), Err(EvalError::NotJson)),
        ("{\"a\":1e999}".to_owned(), Err(EvalError::NotJson)),
        ("{\"a\":\"\\ud800\"}".to_owned(), Err(EvalError::NotJson)),
        ("\u{feff}{}".to_owned(), Err(EvalError::NotJson)),
    ] {
        assert_eq!(
            Given::body(body.as_str()).holds(rule),
            wanted,
            "{}",
            body.get(..80).unwrap_or(&body)
        );
    }
    let given = Given {
        body: Some(b"{\"a\":\"\xff\"}".to_vec()),
        ..Given::default()
    };
    given.check(rule, &Err(EvalError::NotJson));
    let operations = vec![r#"{"op":"add","path":"/l/-","value":1}"#; 10_000].join(",");
    assert_eq!(
        Given::patch(&format!("[{operations}]")).holds(rule),
        Err(EvalError::TooManyValues)
    );
}

#[test]
fn the_work_of_loops_is_bounded() {
    let long = "x".repeat(100_000);
    let large = Given::body(&json!({"l": vec![1; 15_000], "notes": long}));
    for (rule, wanted) in [
        ("body.l.all(x, x > 0)", Ok(true)),
        (
            "body.l.all(x, x > 0) && body.l.exists(x, x == 1) && !body.l.exists(x, x == 2)",
            Ok(true),
        ),
        (
            "body.l.all(x, !body.notes.contains(string(x)))",
            Err(EvalError::TooMuchWork),
        ),
        (
            "size(body.l.map(x, body.notes + 'y')) > 0",
            Err(EvalError::TooMuchWork),
        ),
        // An error in time, also where the loop would have come to nothing.
        (
            "true || body.l.all(x, body.l == [x])",
            Err(EvalError::TooMuchWork),
        ),
    ] {
        large.check(rule, &wanted);
    }
    let heavy = format!("body.l.map(x, [{}1]) != []", "1,".repeat(900));
    large.check(&heavy, &Err(EvalError::TooMuchWork));
    let heavy = format!("body.l.map(x, string(x) + '{}') != []", "y".repeat(1900));
    assert!(large.holds(&heavy).is_ok());
    let written = |letters: usize| {
        let (parts, text) = ("'',".repeat(50), "y".repeat(letters));
        format!("body.l.map(x, [{parts}string(x) + '{text}']) != []")
    };
    assert!(large.holds(&written(1)).is_ok());
    large.check(&written(1700), &Err(EvalError::TooMuchWork));

    let long = Given::body(&json!({"notes": long}));
    let listed = |items: usize| {
        format!(
            "[{}1].all(x, !body.notes.contains(string(x)))",
            "1,".repeat(items)
        )
    };
    long.check(&listed(1), &Ok(true));
    long.check(&listed(900), &Err(EvalError::TooMuchWork));
    let members = |count: usize| {
        let members = (0..count).map(|name| (format!("m{name}"), json!(1)));
        let members: serde_json::Map<String, serde_json::Value> = members.collect();
        Given::body(&json!({"o": members, "notes": "x".repeat(100_000)}))
    };
    let rule = "body.o.all(name, !body.notes.contains(name))";
    members(10).check(rule, &Ok(true));
    members(1000).check(rule, &Err(EvalError::TooMuchWork));

    let query: String = (0..1000).map(|name| format!("{name:x}&")).collect();
    let queried = |items: usize| Given {
        query: Some(Box::leak(query.clone().into_boxed_str())),
        ..Given::body(&json!({"l": vec![1; items]}))
    };
    let rule = "body.l.all(x, request.query == request.query)";
    queried(100).check(rule, &Ok(true));
    queried(15_000).check(rule, &Err(EvalError::TooMuchWork));

    let small = Given::body(&json!({"l": vec![1; 20], "notes": "x".repeat(20_000)}));
    small.check("body.l.all(x, !body.notes.contains(string(x)))", &Ok(true));
    // Three times these notes are all that `matches` may search.
    let rule = |times: usize| {
        format!(
            "body.notes.size() > 0{}",
            " && body.notes.matches('x$')".repeat(times)
        )
    };
    small.check(&rule(3), &Ok(true));
    small.check(&rule(4), &Err(EvalError::Function("matches".into())));
    small.check(
        "body.l.all(x, body.notes.matches('x$'))",
        &Err(EvalError::Function("matches".into())),
    );
}

#[test]
fn several_expressions_share_one_conversion() {
    let first = compiled("body.x == 1");
    let second = compiled("body.X == 1 && request.query.q == 'a' && size(request.headers) == 0");
    let given = Given {
        query: Some("q=a"),
        ..Given::body(r#"{"x": 1}"#)
    };
    let names = Names::from_iter([&first, &second]);
    let mut inputs = given.inputs(&names);
    assert!(inputs.converted.body.get().is_none());
    assert_eq!(first.holds(&inputs), Ok(true));
    // What is converted stays, even if the text it came from is gone.
    inputs.body = None;
    assert_eq!(second.holds(&inputs), Ok(true));
    assert_eq!(first.holds(&inputs), Ok(true));
}

#[test]
fn a_panic_of_the_crate_is_an_error() {
    // The crate cannot evaluate a part that the parser left empty; no text makes one that is accepted.
    let mut broken = compiled("body.x == 1");
    broken.0.code = Code::default();
    let given = Given::default();
    assert_eq!(
        broken.holds(&given.inputs(&Names::default())),
        Err(EvalError::Internal)
    );
}

/// Pieces of expressions, so that many of their sequences can be read.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "body",
        "body.x",
        "body.l",
        "request.method",
        "request.headers",
        "request.query",
        "referral.status",
        "tenant.id",
        "x",
        "1",
        "2.5",
        "3u",
        "'a'",
        "\"\\\"\"",
        "r'\\d'",
        "null",
        "true",
        "false",
        "-",
        "+",
        "*",
        "/",
        "%",
        "==",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        " in ",
        "&&",
        "||",
        "!",
        "?",
        ":",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ".",
        ".all(x, ",
        ".exists(x, ",
        ".map(x, ",
        ".filter(x, ",
        ".exists_one(x, ",
        "has(",
        "size(",
        ".size()",
        ".contains(",
        ".matches('a*')",
        "double(",
        "int(",
        "string(",
        "timestamp(",
        "duration('1h')",
        "type(",
        "dyn(",
        ".getHours()",
        "int",
        "//",
        "\n",
        " ",
        "'",
        "\"",
        "\\",
        "é",
        "9223372036854775807",
        "0x",
        "1e308",
        "@",
        "#",
        "`",
        "b'",
        "'''",
    ])
}

fn soup() -> impl Strategy<Value = String> {
    let pieces = prop::collection::vec(piece(), 1..60).prop_map(|pieces| pieces.concat());
    prop_oneof![3 => pieces, 1 => any::<String>()]
}

/// Conditions that can be read, and mostly evaluated.
fn condition() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "body.x",
        "body.l",
        "body.o",
        "body.n",
        "body.missing",
        "request.method",
        "referral.status",
        "request.query.q",
        "1",
        "2.5",
        "'a'",
        "null",
        "true",
        "[1, 2]",
        "body.o.p",
        "body.l[0]",
        "timestamp(0)",
        "duration('-9223372036s')",
        "9223372036854775807",
        "int(body.x)",
        "double(body.n)",
        "timestamp(body.n)",
        "has(body.x)",
        "size(body.l)",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(6, 40, 3, |inner| {
        let operator = prop::sample::select(vec![
            "==", "!=", "<", ">=", "+", "-", "*", "/", "%", "&&", "||", "in",
        ]);
        let call = prop::sample::select(vec![
            "int", "uint", "double", "string", "bool", "timestamp", "type", "size", "dyn", "!", "-",
        ]);
        let getter = prop::sample::select(vec![
            "getHours()", "getDayOfYear()", "getFullYear('+23:59')", "getMonth('-23:59')", "getMilliseconds()", "size()",
            "matches('a*b')", "contains('a')", "x", "all(y, y == 1)", "exists(y, y > 0)", "map(y, [y, y])", "filter(y, y != null)",
        ]);
        prop_oneof![
            4 => (inner.clone(), operator, inner.clone()).prop_map(|(a, operator, b)| format!("({a} {operator} {b})")),
            2 => (call, inner.clone()).prop_map(|(call, a)| format!("{call}({a})")),
            2 => (inner.clone(), getter).prop_map(|(a, getter)| format!("dyn({a}).{getter}").replace("dyn(body.l).", "body.l.")),
            1 => (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
        ]
    })
    .prop_map(|condition| format!("dyn({condition}) == true || has(body.missing)"))
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|bool| json!(bool)),
        any::<i64>().prop_map(|int| json!(int)),
        any::<f64>().prop_map(|double| json!(double)),
        ".{0,8}".prop_map(|text| json!(text)),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| json!(items)),
            prop::collection::btree_map("[a-cA-C]{1,2}", inner, 0..4)
                .prop_map(|members| json!(members)),
        ]
    })
}

fn operation() -> impl Strategy<Value = serde_json::Value> {
    let op = prop::sample::select(vec!["add", "replace", "remove", "test", "copy", "Add"]);
    let path = "(/(a|A|b|-|0|1|~0|~1|~|)){0,3}";
    (op, path, json_value())
        .prop_map(|(op, path, value)| json!({"op": op, "path": path, "value": value}))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused_at_a_place_in_it(text in soup()) {
        on_a_worker_stack(|| match Expression::compile(&text) {
            Ok(expression) => {
                let given = Given::body(r#"{"x": 1, "l": [1, "a", null, {"x": 2}], "o": {"p": "q"}, "n": 2.5}"#);
                let names = Names::from_iter([&expression]);
                let _ = expression.holds(&given.inputs(&names));
            }
            Err(error) => {
                assert!(error.offset <= text.len());
                let line = text.split('\n').nth(error.line - 1).expect("a line of the text");
                assert!(error.column <= line.chars().count() + 1);
                assert!(error.to_string().len() < 1000);
            }
        });
    }

    #[test]
    fn a_condition_is_evaluated_without_a_panic(text in condition(), value in json_value()) {
        on_a_worker_stack(|| {
            if let Ok(expression) = Expression::compile(&text) {
                let given = Given {
                    query: Some("q=a"),
                    ..Given::body(&json!({"x": value, "l": [value, 1, "a"], "o": {"p": value}, "n": "2.5"}))
                };
                let names = Names::from_iter([&expression]);
                let outcome = expression.holds(&given.inputs(&names));
                assert_ne!(outcome, Err(EvalError::Internal), "{text}");
            }
        });
    }

    #[test]
    fn any_body_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for method in ["PUT", "PATCH"] {
            let _ = body::read(&bytes, method);
        }
        let _ = body::read_query(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_patch_is_followed_or_refused(operations in prop::collection::vec(operation(), 0..8)) {
        let patch = json!(operations).to_string();
        if let Ok(set) = body::read(patch.as_bytes(), "PATCH") {
            // What the last operation sets stands where it says.
            let last = operations.iter().rev().find(|operation| operation["op"] != "test");
            if let Some(last) = last.filter(|last| last["op"] != "remove") {
                let value = format!(r#"{{"v": {}}}"#, last["value"]);
                let value = body::read(value.as_bytes(), "PUT").expect("an object").remove("v");
                let path = last["path"].as_str().expect("a path").replace("~1", "/").replace("~0", "~");
                if let (Some(name), Some((_, value))) = (path.strip_prefix('/'), value)
                    && !name.contains(['/', '-'])
                {
                    let found = set.get(&name.to_lowercase()).map(|(_, found)| found);
                    prop_assert_eq!(found, Some(&value));
                }
            }
        }
    }
}

#[test]
fn operators_take_operands_of_types_that_go_together() {
    for rule in [
        "[1] < [2]",
        "null < null",
        "type(body.a) < type(body.b)",
        "body < body",
        "request.query < request.query",
        "1 && true",
        "true && 1",
        "'a' || true",
        "true || 'a'",
        "(1 ? true : false)",
        "(body.a ? 1 : 'a') == 1",
        "1 + 'a' == 2",
        "'a' - 'b' == ''",
        "[1] * [2] == []",
        "true + true == 2",
        "true + body.a == 1",
        "body.a + true == 1",
        "1 + body.a == 'a'",
        "body.a + 1 == 'a'",
        "5.0 % 2.0 == 1.0",
        "1 == 'a'",
        "'a' == 1",
        "true == 1",
        "1 != true",
        "[1] == 1",
        "body == 1",
        "1 == body",
        "request.query == 'a'",
        "'a' == request.query",
        "duration('1h') == 1",
        "duration('1h') < timestamp(body.a)",
    ] {
        let rule = format!("({rule}) || has(body.z)");
        assert!(Expression::compile(&rule).is_err(), "{rule}");
    }
    for rule in [
        "1 == 1.0",
        "1.0 == 1u",
        "1 < 1.5",
        "1u <= 2",
        "body == request.query || request.query == body",
        "body.a == 1 && 1 == body.a",
        "body.a - timestamp(body.b) > duration('1h')",
        "timestamp(body.a) - body.b > duration('1h')",
        "timestamp(body.a) + body.b > timestamp(body.a)",
        "body.a % 2 == 1",
    ] {
        let rule = format!("({rule}) || has(body.z)");
        assert_eq!(Expression::compile(&rule).err(), None, "{rule}");
    }
    for text in ["1h", "-1h30m", "1ms2us3ns", "999999999h"] {
        assert!(Expression::compile(&format!("body.a != duration('{text}')")).is_ok());
    }
    for text in ["", "h", "1", "1hx", "1h 2m", "1234567890h", "1d", "1h-2m"] {
        let rule = format!("body.a != duration('{text}')");
        assert!(Expression::compile(&rule).is_err(), "{text}");
    }
    refused(
        "body.a & body.b",
        "1:8 cannot be read here: token recognition error at: '& '; write && for and",
    );
    refused(
        "body.a | body.b",
        "1:8 cannot be read here: token recognition error at: '| '; write || for or",
    );
}

#[test]
fn an_operand_of_the_wrong_type_is_told_by_its_operator() {
    let given = Given::body(r#"{"flag": true, "number": 2}"#);
    for (rule, operator) in [
        ("body.flag + body.number == 1", "+"),
        ("body.flag - body.number == 1", "-"),
        ("body.flag * body.number == 1", "*"),
        ("body.flag / body.number == 1", "/"),
        ("body.flag % body.number == 1", "%"),
    ] {
        let told = EvalError::Type(format!("an operand of {operator}"));
        given.check(rule, &Err(told));
    }
}

#[test]
fn only_the_names_of_header_fields_are_found_without_case() {
    let given = Given::body(r#"{"headers": ["x-a"], "request": {"headers": ["x-a"]}}"#);
    for (rule, holds) in [
        ("'x-a' in body.headers", true),
        ("'X-A' in body.headers", false),
        ("'X-A' in body.request.headers", false),
    ] {
        given.check(rule, &Ok(holds));
    }
}

#[test]
fn a_remedy_fits_the_fault() {
    refused(
        "1.0 + 1 == body.x",
        "1:5 `+` does not take a double and an int; give both the same type, such as by double(..)",
    );
    refused(
        "1.0 % 1 == body.x",
        "1:5 `%` does not take a double and an int; use values of a type that it takes",
    );
    refused(
        "body.x.matches('a', 'b', 'c')",
        "1:8 `matches` is given 3 arguments; give it 1",
    );
}

#[test]
fn objects_are_equal_with_the_same_members() {
    let given = Given::body(
        r#"{"one": {"x": 1}, "same": {"X": 1}, "more": {"x": 1, "y": 2}, "other": {"y": 1}, "two": {"x": 2}}"#,
    );
    for (rule, holds) in [
        ("body.one == body.same", true),
        ("body.one == body.more", false),
        ("body.more == body.one", false),
        ("body.one == body.other", false),
        ("body.one == body.two", false),
    ] {
        given.check(rule, &Ok(holds));
    }
}

#[test]
fn brackets_in_texts_do_not_nest() {
    let brackets = "([{".repeat(20);
    for rule in [
        format!("body.x != '{brackets}'"),
        format!("body.x != \"{brackets}\""),
        format!("body.x != 'a\\'{brackets}'"),
        format!("body.x != r'\\' && body.y != '{brackets}'"),
        format!("body.x != \"'\" && body.y != \"{brackets}\""),
    ] {
        assert!(Expression::compile(&rule).is_ok(), "{rule}");
    }
}

#[test]
fn only_the_steps_of_loops_cost_work() {
    let large = Given::body(&json!({"l": vec![1; 15_000], "notes": "x".repeat(100_000)}));
    for rule in [
        format!("body.l.all(x, x > 0) && [{}1] != []", "1,".repeat(900)),
        format!("body.l.all(x, x > 0) && '{}' != ''", "y".repeat(1900)),
        "body.l.all(x, x > 0) && body.notes != 'y' && body.notes != 'z'".to_owned(),
    ] {
        large.check(&rule, &Ok(true));
    }
    let longest = Given::body(&json!({"l": vec![1; 19_990]}));
    let (parts, text) = ("1,".repeat(25), "y".repeat(1900));
    longest.check(
        &format!("body.l.all(x, [{parts}x] != []) && '{text}' != ''"),
        &Ok(true),
    );

    let query: String = (0..1000).map(|name| format!("{name:x}&")).collect();
    let queried = Given {
        query: Some(Box::leak(query.into_boxed_str())),
        ..Given::body(&json!({"l": vec![1; 15_000]}))
    };
    queried.check(
        "body.l.all(x, x > 0) && request.query == request.query",
        &Ok(true),
    );
}
