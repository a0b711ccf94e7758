//! Single values of answers as the page shows them.

use maud::{Markup, html};
use serde_json::Value;

use crate::plain::is_hidden;

/// The longest text that is shown whole, in characters.
const LONGEST: usize = 300;

/// What stands at a place of an answer.
pub(super) fn shown(answer: &Value, pointer: &str) -> String {
    word(answer.pointer(pointer))
}

/// One value as text.
pub(super) fn word(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => cut(text),
        Some(other) => cut(&other.to_string()),
    }
}

/// Nothing here is longer by itself; what came from elsewhere may be. Marks of direction are shown as what they are.
fn cut(text: &str) -> String {
    let mut shown = String::new();
    for (at, c) in text.chars().enumerate() {
        if at == LONGEST {
            shown.push('\u{2026}');
            break;
        }
        match is_hidden(c) {
            true => shown.extend(c.escape_unicode()),
            false => shown.push(c),
        }
    }
    shown
}

pub(super) fn list<'a>(answer: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    let items = answer.pointer(pointer).and_then(Value::as_array);
    items.into_iter().flatten()
}

/// A time, which the script shows as local.
pub(super) fn time(answer: &Value, pointer: &str) -> Markup {
    let time = shown(answer, pointer);
    html! {
        @if time.is_empty() { "never" } @else { time datetime=(time) { (time) } }
    }
}

pub(super) fn millis(answer: &Value, pointer: &str) -> String {
    match answer.pointer(pointer) {
        Some(Value::Number(number)) => format!("{number} ms"),
        _ => "(no requests)".to_owned(),
    }
}

/// The part of a burst that is spent.
pub(super) fn spent(tenant: &Value, class: &str) -> String {
    let part = tenant.pointer(&format!("/{class}/spent"));
    let part = part.and_then(Value::as_f64).unwrap_or_default();
    let burst = shown(tenant, &format!("/{class}/burst"));
    format!("{:.0} % of {burst}", part * 100.0)
}
