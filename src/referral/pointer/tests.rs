//! Which pointers reach which member, and which are refused.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(pointer: &str, target: Result<Target, BadPointer>) {
    assert_eq!(Target::of(pointer), target, "{pointer:?}");
}

#[test]
fn a_pointer_is_read_as_rfc_6901_says_and_names_compare_without_case() {
    for (pointer, target) in [
        ("", Target::Whole),
        ("/status", Target::Member(Guarded::Status)),
        ("/Status", Target::Member(Guarded::Status)),
        ("/SUBSTATUS", Target::Member(Guarded::Substatus)),
        ("/links", Target::Member(Guarded::Links)),
        ("/links@odata.bind", Target::Member(Guarded::Links)),
        ("/etag", Target::Member(Guarded::ETag)),
        ("/ID", Target::Member(Guarded::Id)),
        ("/links/self", Target::Below(Guarded::Links)),
        ("/Links/self/uri", Target::Below(Guarded::Links)),
        ("/status/x", Target::Below(Guarded::Status)),
        ("/status/0", Target::Below(Guarded::Status)),
        ("/status/-", Target::Below(Guarded::Status)),
        ("/-", Target::Other),
        ("/0", Target::Other),
        ("/0/status", Target::Other),
        ("/statusReason", Target::Other),
        ("/registrations/-", Target::Other),
        ("/registrations/0/contract/signDateTime", Target::Other),
        ("/details/status", Target::Other),
        ("/details/links", Target::Other),
        ("/a~1b", Target::Other),
        ("/a~0b", Target::Other),
        ("/a~01b", Target::Other),
        ("/details/a~1status", Target::Other),
        ("/@odata.type", Target::Other),
        ("/größe", Target::Other),
        ("/status_x", Target::Other),
        ("/consent/consentToContact", Target::Other),
    ] {
        check(pointer, Ok(target));
    }
}

#[test]
fn what_is_no_pointer_is_refused() {
    for pointer in [
        "status",
        "Status",
        " /status",
        "#/status",
        "$.status",
        "-",
        "links/self",
    ] {
        check(pointer, Err(BadPointer::NoSlash));
    }
    for pointer in ["/~", "/~2status", "/status~", "/a/~", "/~~0", "/details/~x"] {
        check(pointer, Err(BadPointer::LoneTilde));
    }
}

#[test]
fn a_token_that_some_readers_skip_is_refused() {
    for pointer in [
        "/",
        "//",
        "//status",
        "/status/",
        "/details//notes",
        "/details/",
        "/./status",
        "/x/../status",
        "/.../status",
        "/ /status",
        "/\t/status",
        "/\u{200b}/status",
        "/\\/status",
        "/~1/status",
        "/~0/status",
        "/\u{ff0e}/status",
    ] {
        check(pointer, Err(BadPointer::SkippedToken));
    }
}

#[test]
fn a_spelling_that_only_some_readers_take_for_a_guarded_member_is_refused() {
    for pointer in [
        "/%73tatus",
        "/%2fstatus",
        "/%2Flinks/self",
        "/%2573tatus",
        "/%u0073tatus",
        "/x/%2e%2e/status",
        "/~1status",
        "/status~1",
        "/status~1x",
        "/links~1self",
        "/~01status",
        "/~001status",
        "/~00000000001status",
        "/x~1status",
        "/\\status",
        "/status\\x",
        "/status.x",
        "/$.status",
        "/$status",
        "/links[0]",
        "/['links']",
        "/\"status\"",
        "/status;v=1",
        "/status?x",
        "/status#",
        "/ſtatus",
        "/\u{fb06}atus",
        "/lin\u{212a}s",
        "/\u{ff53}tatus",
        "/ status",
        "/status ",
        "/sta\u{200b}tus",
        "/status\u{0}",
        "/\u{130}d",
        "/\u{ff0f}status",
    ] {
        check(pointer, Err(BadPointer::Ambiguous));
    }
}

#[test]
fn a_long_pointer_is_read_in_time() {
    for piece in ["~0", "~1", "/~0", "0", "/a", "é", " ", "~01"] {
        let long = format!("/a{}", piece.repeat(300_000));
        let _ = Target::of(&long);
    }
    let padded = format!("/status{}", "\u{200b}".repeat(100_000));
    check(&padded, Err(BadPointer::Ambiguous));
}

/// The first member that any of several careless readers follows a pointer to.
fn lenient(pointer: &str) -> Vec<String> {
    let slashed = if pointer.starts_with('/') {
        pointer.to_owned()
    } else {
        format!("/{pointer}")
    };
    let decoded_first = slashed.replace("~0", "~").replace("~1", "/");
    [&slashed, &decoded_first]
        .into_iter()
        .filter_map(|text| {
            let token = text.split('/').find(|token| !token.trim().is_empty())?;
            let name = token.replace("~1", "/").replace("~0", "~");
            Some(name.trim().to_lowercase())
        })
        .collect()
}

proptest! {
    #[test]
    fn no_pointer_is_a_panic(pointer in ".*") {
        let _ = Target::of(&pointer);
    }

    #[test]
    fn whatever_a_careless_reader_sees_is_seen_or_refused(
        pointer in r"(/|//| |~0|~1|\\|%2f|\.){0,3}(status|Status|links|LINKS|id|notes|-|0)(/|~1|~0| |//|\.\.|/x){0,3}"
    ) {
        let sees = |name: &str| lenient(&pointer).iter().any(|seen| seen == name);
        match Target::of(&pointer) {
            Err(_) => {}
            Ok(Target::Member(member) | Target::Below(member)) => {
                prop_assert!(sees(&member.name().to_lowercase()), "{}", pointer);
            }
            Ok(Target::Whole) => prop_assert!(pointer.is_empty()),
            Ok(Target::Other) => {
                for member in ["status", "links", "id"] {
                    prop_assert!(!sees(member), "{}", pointer);
                }
            }
        }
    }
}
