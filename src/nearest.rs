//! Suggests the known word for a mistyped one.

/// The known word that is nearest to `word`, if one is near: case and the choice of `-` or `_` do not count.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |word: &str| word.to_lowercase().replace('-', "_");
    let word = plain(word);
    let near = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&word, &plain(known)), known))
        .filter(|(distance, _)| *distance <= near)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_word_is_near_or_none() {
        for (word, expected) in [
            ("conect_timeout", Some("connect_timeout")),
            ("connect-timeout", Some("connect_timeout")),
            ("Connect_Timeout", Some("connect_timeout")),
            ("ulr", Some("url")),
            ("queue", None),
        ] {
            assert_eq!(
                nearest(word, ["url", "connect_timeout"]),
                expected,
                "{word}"
            );
        }
    }
}
