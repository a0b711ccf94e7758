//! A repair changes what it is asked to mend and nothing else, and what comes out passes the rule that asked.
#![no_main]

use std::{fmt, sync::LazyLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use referral_gateway::{
    policy::{
        Check, Context, Method, Policy, Verdict,
        judging::{Payload, Received, Settings, Stale, UnknownState, UnknownStateFailed, Write},
        repair::{self, Mended, Repair},
    },
    referral::{Guarded, MAX_DEPTH, Member, Members, ReferralId, nests_deeper_than},
};
use serde::de::{self, Deserialize, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;

/// Every repair, wherever it may be used, and the check that must not be dodged by one.
static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let text = "
name: mends
rules:
  - { id: a, check: well_formed, on: [PUT, PATCH], mode: repair, repairs: [trailing-comma] }
  - id: b
    check: if_match
    on: [PUT, PATCH]
    mode: repair
    repairs: [quote-if-match, unescape-if-match, if-match-from-body]
  - { id: c, check: links_removed, on: [PUT, PATCH], mode: repair, repairs: [strip-links] }
  - { id: d, check: same_etag, on: [PUT, PATCH], mode: enforce }
states: { New: { next: [New], substatus: [Pending] } }
";
    Policy::parse(text, "mends").expect("a policy")
});

const SETTINGS: Settings = Settings {
    unknown_state: UnknownState::Fetch,
    unknown_state_failed: UnknownStateFailed::Refuse,
    stale: Stale::Refuse,
};

/// A JSON value with the members of objects in their order, twins included, which a map would hide.
#[derive(Debug, Clone, PartialEq)]
enum Tree {
    Leaf(Json),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: de::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(AnyTree)
    }
}

struct AnyTree;

impl<'de> Visitor<'de> for AnyTree {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf(Json::Null))
    }

    fn visit_bool<E>(self, bool: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf(bool.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf(number.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Tree::Object(members))
    }
}

/// A reader that lets a comma stand behind the last entry of a list or an object, and is strict in all else.
struct Lenient<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Lenient<'a> {
    fn read(body: &'a [u8]) -> Option<Tree> {
        let mut reader = Self {
            rest: std::str::from_utf8(body).ok()?,
            depth: 0,
        };
        let tree = reader.value()?;
        reader.blanks();
        reader.rest.is_empty().then_some(tree)
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn take(&mut self, sign: char) -> bool {
        self.blanks();
        let rest = self.rest.strip_prefix(sign);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// The piece of the text that is a string or a word, as a plain reader reads it.
    fn leaf(&mut self) -> Option<Json> {
        let mut escaped = false;
        let length = match self.rest.strip_prefix('"') {
            Some(text) => {
                let end = text.bytes().position(|byte| {
                    let is_end = byte == b'"' && !escaped;
                    escaped = byte == b'\\' && !escaped;
                    is_end
                });
                end? + 2
            }
            None => self
                .rest
                .find(|letter: char| !letter.is_ascii_alphanumeric() && !"+-.".contains(letter))
                .unwrap_or(self.rest.len()),
        };
        let (leaf, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        serde_json::from_str(leaf).ok()
    }

    fn value(&mut self) -> Option<Tree> {
        self.depth += 1;
        if self.depth > 2 * MAX_DEPTH {
            return None;
        }
        let tree = if self.take('[') {
            let mut items = Vec::new();
            while !self.take(']') {
                items.push(self.value()?);
                if !self.take(',') {
                    self.take(']').then_some(())?;
                    break;
                }
            }
            Tree::List(items)
        } else if self.take('{') {
            let mut members = Vec::new();
            while !self.take('}') {
                let Json::String(name) = self.leaf()? else {
                    return None;
                };
                self.take(':').then_some(())?;
                members.push((name, self.value()?));
                if !self.take(',') {
                    self.take('}').then_some(())?;
                    break;
                }
            }
            Tree::Object(members)
        } else {
            Tree::Leaf(self.leaf()?)
        };
        self.depth -= 1;
        Some(tree)
    }
}

/// A name as readers see it that compare without case.
fn folded(name: &str) -> String {
    name.to_uppercase().to_lowercase()
}

fn is_links(name: &str) -> bool {
    folded(name.split('@').next().unwrap_or_default()) == "links"
}

/// A body without what sets `links`.
fn without_links(mut tree: Tree) -> Tree {
    let text = |operation: &Tree, wanted: &str| {
        let Tree::Object(parts) = operation else {
            return None;
        };
        let (_, value) = parts.iter().find(|(name, _)| name == wanted)?;
        match value {
            Tree::Leaf(Json::String(text)) => Some(text.clone()),
            _ => None,
        }
    };
    match &mut tree {
        Tree::Object(members) => members.retain(|(name, _)| !is_links(name)),
        Tree::List(operations) => operations.retain(|operation| {
            let path = text(operation, "path").unwrap_or_default();
            let first = path.split('/').nth(1).unwrap_or_default();
            !is_links(&first.replace("~1", "/").replace("~0", "~"))
        }),
        Tree::Leaf(_) => {}
    }
    tree
}

/// The ranges are in order, apart and none empty, and all else is byte for byte the same.
fn check_cuts(body: &[u8], mended: &Mended) {
    let mut rest = Vec::new();
    let mut from = 0;
    assert!(!mended.cuts.is_empty());
    for cut in &mended.cuts {
        assert!(from <= cut.start && cut.start < cut.end, "{mended:?}");
        rest.extend_from_slice(&body[from..cut.start]);
        from = cut.end;
    }
    rest.extend_from_slice(&body[from..]);
    assert_eq!(mended.body, rest);
}

fn check_commas(body: &[u8]) {
    let read = Lenient::read(body);
    let is_flat = |body| !nests_deeper_than(body, MAX_DEPTH);
    let Some(mended) = repair::trailing_comma(body) else {
        let is_wrong = read.is_some() && serde_json::from_slice::<Tree>(body).is_err();
        assert!(!is_wrong || !is_flat(body), "{body:?} was left alone");
        return;
    };
    check_cuts(body, &mended);
    assert!(mended.cuts.iter().all(|cut| &body[cut.clone()] == b","));
    assert!(is_flat(&mended.body));
    match serde_json::from_slice::<Tree>(&mended.body) {
        Ok(tree) => assert_eq!(read, Some(tree), "{mended:?}"),
        Err(error) => {
            // A reader that keeps what it reads is stricter about numbers and lone surrogates.
            let told = error.to_string();
            let stricter = ["out of range", "surrogate", "hex escape"];
            assert!(stricter.iter().any(|why| told.contains(why)), "{told}");
        }
    }
    assert_eq!(repair::trailing_comma(&mended.body), None);
}

fn check_links(body: &[u8]) {
    let tree = serde_json::from_slice::<Tree>(body).ok();
    let Some(mended) = repair::strip_links(body) else {
        if let Ok(members) = Members::read(body) {
            let is_plain = members.look_alike.is_none();
            assert!(members.links == Member::Absent || !is_plain, "{members:?}");
        }
        return;
    };
    check_cuts(body, &mended);
    if let Some(tree) = tree {
        let wanted = without_links(tree);
        let now: Tree = serde_json::from_slice(&mended.body).expect("as readable as before");
        assert_eq!(now, wanted, "{mended:?}");
    }
    if let Ok(members) = Members::read(&mended.body) {
        assert_eq!(members.links, Member::Absent, "{mended:?}");
    }
    assert_eq!(repair::strip_links(&mended.body), None);
}

/// A write of the referral, repaired as far as its rules can.
fn mended<'a>(method: Method, id: &'a ReferralId, headers: &HeaderMap, body: &[u8]) -> Write<'a, ()> {
    Received {
        method,
        id: Some(id),
        headers: headers.clone(),
        body: Payload::Whole(Bytes::copy_from_slice(body)),
        context: Context::default(),
    }
    .mend(&POLICY)
}

/// Whether the check that asked for a repair still finds what it mends.
fn still_asks(verdict: &Verdict, repair: Repair) -> bool {
    let mut findings = verdict.findings().iter();
    findings.any(|finding| match repair {
        Repair::TrailingComma => finding.code == "malformed_json",
        Repair::StripLinks => finding.check == Check::LinksRemoved,
        Repair::QuoteIfMatch | Repair::UnescapeIfMatch | Repair::IfMatchFromBody => {
            finding.check == Check::IfMatch
        }
    })
}

/// The letters of a tag, which no repair may change.
fn letters(tag: &[u8]) -> Vec<u8> {
    let letters = tag.iter().filter(|byte| !b"\"\\ \t".contains(byte));
    letters.copied().collect()
}

fn check_mended(method: Method, headers: &HeaderMap, body: &[u8]) {
    let id = ReferralId::parse("r1").expect("an id");
    let mut write = mended(method, &id, headers, body);
    let Some(mending) = write.mending() else {
        return;
    };
    let (repairs, all_cuts) = (mending.repairs.clone(), mending.cuts.clone());
    let verdict = write.judge(SETTINGS).answer_by(None).into_parts().0;
    let sent = write.headers();
    let Payload::Whole(sent_body) = write.body() else {
        panic!("a body that was not read was repaired");
    };
    let mut rest = body.to_vec();
    for (repair, cuts) in &all_cuts {
        assert!(repair.changes_body());
        for cut in cuts.iter().rev() {
            rest.drain(cut.clone());
        }
    }
    assert_eq!(sent_body[..], rest[..]);

    let mut others = sent.clone();
    others.remove(header::IF_MATCH);
    let mut as_came = headers.clone();
    as_came.remove(header::IF_MATCH);
    assert_eq!(others, as_came);
    let tag = sent.get(header::IF_MATCH);
    let source = match headers.get(header::IF_MATCH) {
        Some(value) => Some(value.as_bytes().to_vec()),
        None if tag.is_some() => {
            let members = Members::read(sent_body).expect("the body that the tag comes from");
            let text = members.get(Guarded::ETag).text().expect("its tag");
            Some(text.as_bytes().to_vec())
        }
        None => None,
    };
    let tag = tag.map(|tag| letters(tag.as_bytes()));
    assert_eq!(tag, source.as_deref().map(letters));

    for (_, repair) in &repairs {
        assert!(!still_asks(&verdict, *repair), "{repairs:?}: {verdict:?}");
        if *repair == Repair::IfMatchFromBody {
            let mut checks = verdict.findings().iter().map(|finding| finding.check);
            assert!(checks.all(|check| check != Check::SameEtag), "{repairs:?}");
        }
    }
    let again = mended(method, &id, sent, sent_body);
    assert!(again.mending().is_none(), "{repairs:?}");
}

// The first line is `If-Match`, if it says anything; the rest is the body.
fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|byte| *byte == b'\n');
    let (tag, body) = data.split_at(end.unwrap_or(0));
    let body = body.strip_prefix(b"\n").unwrap_or(body);
    let mut headers = HeaderMap::new();
    headers.insert("x-other", HeaderValue::from_static("\"a\","));
    if let Ok(tag) = HeaderValue::from_bytes(tag)
        && !tag.is_empty()
    {
        headers.insert(header::IF_MATCH, tag);
    }
    check_commas(body);
    check_links(body);
    for method in [Method::Put, Method::Patch] {
        check_mended(method, &headers, body);
    }
});
