//! Every form of an item.

use super::*;

#[track_caller]
fn check(list: &str, covered: &[&str], others: &[&str]) {
    let no_proxy = NoProxy::of(list);
    for (targets, expected) in [(covered, true), (others, false)] {
        for target in targets {
            let (host, port) = target.rsplit_once(':').expect("a port");
            let port = port.parse().expect("a port");
            assert_eq!(
                no_proxy.covers(host, port),
                expected,
                "{target} by {list:?}"
            );
        }
    }
}

#[test]
fn a_name_covers_itself_and_all_below() {
    for list in [
        "example.com",
        ".example.com",
        "EXAMPLE.com",
        "example.com.",
        ".example.com.",
    ] {
        check(
            list,
            &[
                "example.com:443",
                "example.com:8443",
                "Example.COM:443",
                "example.com.:443",
                "a.example.com:443",
                "a.b.example.com.:443",
            ],
            &[
                "notexample.com:443",
                "example.org:443",
                "com:443",
                "example.com.other:443",
                ".example.com:443",
            ],
        );
    }
}

#[test]
fn a_name_with_a_star_covers_only_what_is_below() {
    for list in ["*.example.com", "*.EXAMPLE.com."] {
        check(
            list,
            &["a.example.com:443", "A.b.example.com.:1"],
            &["example.com:443", "aexample.com:443"],
        );
    }
    // A star elsewhere means nothing.
    check(
        "a*.example.com,*example.com,**",
        &[],
        &["ab.example.com:443", "*:443"],
    );
}

#[test]
fn a_star_covers_everything() {
    for list in ["*", "other.example,*", " * "] {
        check(list, &["example.com:443", "10.0.0.1:443", "[::1]:443"], &[]);
    }
    check(
        "*:443",
        &["example.com:443", "[::1]:443"],
        &["example.com:8443"],
    );
}

#[test]
fn an_item_with_a_port_covers_only_that_port() {
    check(
        "example.com:8443",
        &["example.com:8443", "a.example.com:8443"],
        &["example.com:443"],
    );
    check(
        ".example.com:8443",
        &["example.com:8443"],
        &["example.com:443"],
    );
    check(
        "*.example.com:8443",
        &["a.example.com:8443"],
        &["a.example.com:443"],
    );
    check("10.0.0.1:8443", &["10.0.0.1:8443"], &["10.0.0.1:443"]);
    check("[::1]:8443", &["[::1]:8443"], &["[::1]:443"]);
    check(
        "example.com:,example.com:https,example.com:70000",
        &[],
        &["example.com:443"],
    );
}

#[test]
fn addresses_are_compared_as_addresses() {
    check(
        "10.0.0.1",
        &["10.0.0.1:443"],
        &["10.0.0.11:443", "a.10.0.0.1:443"],
    );
    for list in ["::1", "[::1]", "0:0:0:0:0:0:0:1"] {
        check(list, &["[::1]:443", "::1:443"], &["[::2]:443"]);
    }
    check("[2001:DB8::1]", &["[2001:db8:0::1]:443"], &[]);
    for list in ["10.0.0.1", "10.0.0.0/24", "::ffff:10.0.0.1"] {
        check(
            list,
            &["[::ffff:10.0.0.1]:443", "10.0.0.1:443"],
            &["[::1]:443"],
        );
    }
    // The end of an address is no domain.
    check(".0.0.1,0.0.1", &[], &["127.0.0.1:443"]);
}

#[test]
fn a_block_covers_its_addresses() {
    check(
        "10.1.0.0/16",
        &["10.1.0.0:443", "10.1.255.255:8443"],
        &["10.2.0.0:443", "example.com:443"],
    );
    check("10.1.2.3/16", &["10.1.255.255:443"], &[]);
    check("0.0.0.0/0", &["1.2.3.4:443"], &["[::1]:443"]);
    check(
        "fd00::/8",
        &["[fd12::1]:443"],
        &["[fe80::1]:443", "10.0.0.1:443"],
    );
    check("10.0.0.0/33,10.0.0.0/,/8", &[], &["10.0.0.0:443"]);
}

#[test]
fn commas_and_blanks_separate_items() {
    for list in [
        "a.example,b.example",
        "a.example b.example",
        " a.example ,\tb.example, ",
        ",,a.example,,b.example,",
        "a.example\nb.example",
        "not/an:item a.example b.example",
    ] {
        check(
            list,
            &["a.example:443", "b.example:443"],
            &["c.example:443"],
        );
    }
    for list in ["", " ", ",", ".", "*.", "[", "[]", "[::1", ":443"] {
        check(list, &[], &["a.example:443", "[::1]:443"]);
    }
}
