//! The body of a PATCH: a JSON Patch with `add` and `replace`, or an object to merge.

use serde_json::{Value, json};

use super::{
    answer::Refusal,
    resource::{self, Members},
};

/// The deepest path. Deeper ones name nothing in a referral, and would let it grow without end.
const MAX_DEPTH: usize = 32;

/// The largest number of operations.
const MAX_OPERATIONS: usize = 1000;

/// A change of some members.
#[derive(Debug)]
pub(super) enum Patch {
    /// RFC 6902.
    Operations(Vec<Operation>),
    /// What one public client sends.
    Merge(Members),
}

/// One operation of a JSON Patch.
#[derive(Debug)]
pub(super) struct Operation {
    verb: Verb,
    path: Vec<String>,
    value: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Add,
    Replace,
}

impl Patch {
    /// Reads the body of a PATCH.
    pub(super) fn of(body: Value) -> Result<Self, Refusal> {
        match body {
            Value::Array(operations) if operations.len() > MAX_OPERATIONS => {
                Err(invalid("the document has too many operations"))
            }
            Value::Array(operations) => {
                let operations = operations.into_iter().map(Operation::of);
                Ok(Self::Operations(operations.collect::<Result<_, _>>()?))
            }
            object => Ok(Self::Merge(resource::object(object)?)),
        }
    }

    /// The members of a referral after the change.
    pub(super) fn apply(&self, stored: &Members) -> Result<Members, Refusal> {
        let mut next = stored.clone();
        match self {
            Self::Operations(operations) => {
                for operation in operations {
                    operation.apply(&mut next)?;
                }
            }
            Self::Merge(members) => merge(&mut next, members),
        }
        Ok(next)
    }
}

fn merge(into: &mut Members, members: &Members) {
    for (name, value) in members {
        match (into.get_mut(name), value) {
            (Some(Value::Object(below)), Value::Object(members)) => merge(below, members),
            _ => {
                into.insert(name.clone(), value.clone());
            }
        }
    }
}

impl Operation {
    fn of(operation: Value) -> Result<Self, Refusal> {
        let Value::Object(mut operation) = operation else {
            return Err(invalid("an operation must be an object"));
        };
        let verb = match operation.get("op").and_then(Value::as_str) {
            Some("add") => Verb::Add,
            Some("replace") => Verb::Replace,
            _ => return Err(invalid("only the operations add and replace are supported")),
        };
        let path = operation
            .get("path")
            .and_then(Value::as_str)
            .and_then(|path| path.strip_prefix('/'))
            .ok_or_else(|| invalid("the path of an operation must begin with a slash"))?;
        let mut path: Vec<String> = path
            .split('/')
            .map(|token| token.replace("~1", "/").replace("~0", "~"))
            .collect();
        if path.len() > MAX_DEPTH {
            return Err(invalid("the path of an operation is too deep"));
        }
        if let Some(first) = path.first_mut() {
            *first = resource::member(first).to_owned();
        }
        let value = operation
            .remove("value")
            .ok_or_else(|| invalid("an operation must have a value"))?;
        Ok(Self { verb, path, value })
    }

    fn apply(&self, members: &mut Members) -> Result<(), Refusal> {
        match self.path.as_slice() {
            [] => Err(invalid("the path names no member")),
            [name] => {
                members.insert(name.clone(), self.value.clone());
                Ok(())
            }
            [name, path @ ..] => {
                let member = members.entry(name.clone()).or_insert(Value::Null);
                self.apply_below(member, path)
            }
        }
    }

    fn apply_below(&self, parent: &mut Value, path: &[String]) -> Result<(), Refusal> {
        match (parent, path) {
            // Registrations are added with `/registrations/-` to a referral that shows none.
            (parent @ Value::Null, [last]) if last == "-" && self.verb == Verb::Add => {
                *parent = json!([self.value]);
                Ok(())
            }
            (Value::Object(members), [last]) => {
                members.insert(last.clone(), self.value.clone());
                Ok(())
            }
            (Value::Array(items), [last]) => self.apply_to_item(items, last),
            (Value::Object(members), [next, rest @ ..]) => match members.get_mut(next) {
                Some(child) => self.apply_below(child, rest),
                None => Err(no_target()),
            },
            (Value::Array(items), [next, rest @ ..]) => {
                match index(next).and_then(|place| items.get_mut(place)) {
                    Some(child) => self.apply_below(child, rest),
                    None => Err(no_target()),
                }
            }
            _ => Err(no_target()),
        }
    }

    fn apply_to_item(&self, items: &mut Vec<Value>, token: &str) -> Result<(), Refusal> {
        match (self.verb, token) {
            (Verb::Add, "-") => items.push(self.value.clone()),
            (Verb::Add, token) => {
                let place = index(token).filter(|place| *place <= items.len());
                items.insert(place.ok_or_else(no_target)?, self.value.clone());
            }
            (Verb::Replace, token) => {
                let item = index(token).and_then(|place| items.get_mut(place));
                *item.ok_or_else(no_target)? = self.value.clone();
            }
        }
        Ok(())
    }
}

/// RFC 6901: digits without a leading zero.
fn index(token: &str) -> Option<usize> {
    let digits = token.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (token.len() > 1 && token.starts_with('0')) {
        return None;
    }
    token.parse().ok()
}

fn no_target() -> Refusal {
    invalid("the path of an operation names nothing in the referral")
}

fn invalid(message: &str) -> Refusal {
    Refusal::invalid("patch", message)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Patch;

    /// `wanted` is `None` for a patch that is refused.
    #[track_caller]
    fn check(patch: &Value, wanted: Option<&Value>) {
        let referral = json!({ "status": "New", "team": [1, 2], "details": { "notes": null } });
        let stored = referral.as_object().expect("an object");
        let patched = Patch::of(patch.clone()).and_then(|patch| patch.apply(stored));
        assert_eq!(patched.ok().map(Value::Object).as_ref(), wanted, "{patch}");
    }

    #[test]
    fn a_patch_adds_and_replaces() {
        let with = |name: &str, value: Value| {
            let mut referral =
                json!({ "status": "New", "team": [1, 2], "details": { "notes": null } });
            if let Some(members) = referral.as_object_mut() {
                members.insert(name.to_owned(), value);
            }
            Some(referral)
        };
        let one = |op: &str, path: &str| json!([{ "op": op, "path": path, "value": 9 }]);
        for (op, path, wanted) in [
            ("replace", "/status", with("status", json!(9))),
            ("add", "/STATUS", with("status", json!(9))),
            ("replace", "/salesStage", with("salesStage", json!(9))),
            (
                "replace",
                "/details/notes",
                with("details", json!({ "notes": 9 })),
            ),
            (
                "add",
                "/details/a~1b",
                with("details", json!({ "notes": null, "a/b": 9 })),
            ),
            ("add", "/team/-", with("team", json!([1, 2, 9]))),
            ("add", "/team/0", with("team", json!([9, 1, 2]))),
            ("add", "/team/2", with("team", json!([1, 2, 9]))),
            ("replace", "/team/1", with("team", json!([1, 9]))),
            ("add", "/registrations/-", with("registrations", json!([9]))),
            ("add", "/team/3", None),
            ("replace", "/team/2", None),
            ("replace", "/team/-", None),
            ("add", "/team/01", None),
            ("add", "/team/x", None),
            ("add", "/nothing/below", None),
            ("add", "/status/below", None),
            ("add", "status", None),
            ("add", "", None),
            ("remove", "/status", None),
            ("test", "/status", None),
        ] {
            check(&one(op, path), wanted.as_ref());
        }
    }

    #[test]
    fn the_operations_of_a_patch_are_applied_in_order_or_not_at_all() {
        let first = json!({ "op": "add", "path": "/registrations/-", "value": { "type": "A" } });
        let second = json!({ "op": "replace", "path": "/registrations/0/type", "value": "B" });
        let wanted = json!({
            "status": "New", "team": [1, 2], "details": { "notes": null },
            "registrations": [{ "type": "B" }],
        });
        check(&json!([first, second]), Some(&wanted));
        check(&json!([second, first]), None);
    }

    #[test]
    fn an_object_is_merged() {
        let wanted = json!({
            "status": "Active", "team": null, "details": { "notes": null, "currency": "EUR" },
        });
        let patch = json!({ "Status": "Active", "team": null, "details": { "currency": "EUR" } });
        check(&patch, Some(&wanted));
    }

    #[test]
    fn anything_else_is_refused() {
        for patch in [
            json!("x"),
            json!(null),
            json!([1]),
            json!([{ "op": "add", "path": "/name" }]),
            json!([{ "op": "add", "path": "/a".repeat(33), "value": 1 }]),
        ] {
            check(&patch, None);
        }
    }
}
