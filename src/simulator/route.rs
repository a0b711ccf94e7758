//! Routes: which resource a path names, read as leniently as ASP.NET reads it.

use percent_encoding::percent_decode_str;

/// A resource of the API.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// The collection.
    Referrals,
    /// One referral, by its id in lower case.
    Referral(String),
}

impl Route {
    /// `None` for a path that names no resource.
    pub(super) fn of(path: &str) -> Option<Self> {
        let mut segments = Vec::new();
        for segment in path.split('/') {
            let segment = percent_decode_str(segment).decode_utf8().ok()?;
            match segment.as_ref() {
                "" | "." => {}
                ".." => drop(segments.pop()),
                name => segments.push(name.to_ascii_lowercase()),
            }
        }
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["v1.0" | "v1", "engagements" | "engagments", rest @ ..]
            | ["v1.0" | "v1", rest @ ..]
            | ["engagements" | "engagments", "v1.0" | "v1", rest @ ..] => Self::below(rest),
            _ => None,
        }
    }

    fn below(segments: &[&str]) -> Option<Self> {
        match segments {
            ["referrals"] => Some(Self::Referrals),
            ["referrals", id] => Some(Self::Referral((*id).to_owned())),
            [key] => {
                let key = key.strip_prefix("referrals(")?.strip_suffix(')')?;
                let bare = key
                    .strip_prefix('\'')
                    .and_then(|key| key.strip_suffix('\''));
                Some(Self::Referral(bare.unwrap_or(key).to_owned()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Route;

    #[test]
    fn every_known_spelling_of_a_path_is_understood() {
        for path in [
            "/v1.0/engagements/referrals",
            "/v1.0/engagements/referrals/",
            "/v1.0/engagements//referrals//",
            "/v1.0/engagments/referrals",
            "/V1.0/Engagements/Referrals",
            "/v1.0/engagements/%72eferrals",
            "/v1.0/referrals",
        ] {
            assert_eq!(Route::of(path), Some(Route::Referrals), "{path}");
        }
        for path in [
            "/v1.0/engagements/referrals/AB-1",
            "/v1.0/engagements/referrals/ab-1//",
            "/v1.0/engagments/referrals/ab-1",
            "/v1.0/engagements/x/../referrals/./ab-1",
            "/v1.0/engagements/referrals(ab-1)",
            "/v1.0/engagements/referrals('ab-1')",
            "/v1.0/referrals/ab-1",
            "/engagements/v1/referrals/ab-1",
        ] {
            let wanted = Route::Referral("ab-1".to_owned());
            assert_eq!(Route::of(path), Some(wanted), "{path}");
        }
        for path in [
            "/",
            "*",
            "/v1.0",
            "/v2.0/engagements/referrals",
            "/v1.0/engagements/referrals/ab-1/team",
            "/v1.0/engagements/referrals$filter=status",
            "/v1.0/$metadata",
            "/v1.0/engagements/%ff",
        ] {
            assert_eq!(Route::of(path), None, "{path}");
        }
    }
}
