//! One value as a text: for a YAML file, and for a message.

/// A text as a YAML scalar: plain where that is read back as the same text, else in double quotes.
pub fn scalar(text: &str) -> String {
    let plain = format!("[{text}]");
    match serde_saphyr::from_str::<serde_json::Value>(&plain) {
        Ok(serde_json::Value::Array(list)) if matches!(list.as_slice(), [serde_json::Value::String(same)] if same == text) => {
            text.to_owned()
        }
        _ => serde_json::Value::from(text).to_string(),
    }
}

/// A value as it appears in an error text: in backticks, without control characters, not too long.
pub fn quoted(value: &str) -> String {
    let mut shown: String = value
        .chars()
        .take(80)
        .flat_map(char::escape_debug)
        .collect();
    if value.chars().count() > 80 {
        shown.push_str("...");
    }
    format!("`{shown}`")
        .replace("\\\"", "\"")
        .replace("\\'", "'")
}
