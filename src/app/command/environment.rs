//! What a command needs to know of proxies: the gateway is on this machine, and reached without one.

use std::ffi::OsString;

use http::Uri;

const PROXIES: [&str; 6] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
];
const EXEMPT: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The variables that exempt the host of a URL from proxies, where `of` names proxies in the environment.
pub(super) fn without_proxy(
    url: &str,
    of: impl Fn(&str) -> Option<OsString>,
) -> Vec<(&'static str, OsString)> {
    let set = |name: &str| of(name).filter(|value| !value.is_empty());
    let url: Uri = url.parse().unwrap_or_default();
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    if !PROXIES.iter().any(|name| set(name).is_some()) {
        return Vec::new();
    }
    // Programs read one of the two, some the other one.
    let [upper, lower] = EXEMPT.map(set);
    let both = [
        upper.clone().or_else(|| lower.clone()),
        lower.or_else(|| upper.clone()),
    ];
    let both = EXEMPT.into_iter().zip(both);
    let both = both.map(|(name, list)| {
        let mut list = list.unwrap_or_default();
        if !list.is_empty() {
            list.push(",");
        }
        list.push(host);
        (name, list)
    });
    both.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, environment: &[(&str, &str)], expected: &[(&str, &str)]) {
        let of = |name: &str| {
            let found = environment.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let given = without_proxy(url, of);
        let given: Vec<_> = given
            .iter()
            .map(|(name, value)| (*name, value.to_str().expect("UTF-8")))
            .collect();
        assert_eq!(given, expected);
    }

    #[test]
    fn the_gateway_is_exempt_from_proxies_where_there_are_some() {
        let url = "http://127.0.0.1:4280";
        check(url, &[], &[]);
        check(url, &[("NO_PROXY", "a.example")], &[]);
        check(
            url,
            &[("https_proxy", "http://proxy:3128"), ("ALL_PROXY", "")],
            &[("NO_PROXY", "127.0.0.1"), ("no_proxy", "127.0.0.1")],
        );
        check(
            "https://[::1]:4280",
            &[
                ("HTTP_PROXY", "http://proxy:3128"),
                ("NO_PROXY", "a.example"),
                ("no_proxy", "b.example"),
            ],
            &[("NO_PROXY", "a.example,::1"), ("no_proxy", "b.example,::1")],
        );
        check(
            "https://localhost:4280",
            &[
                ("ALL_PROXY", "http://proxy:3128"),
                ("no_proxy", "b.example"),
            ],
            &[
                ("NO_PROXY", "b.example,localhost"),
                ("no_proxy", "b.example,localhost"),
            ],
        );
    }
}
