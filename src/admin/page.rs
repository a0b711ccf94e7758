//! The status page: what `/status`, `/tenants` and `/decisions` say, for people.
//!
//! The page is whole without its script: the script asks for it again and takes the sections over, draws the plots,
//! follows the decisions, and asks `/explain`. Every text goes through the templates, which escape it.

use std::{fmt::Write as _, sync::OnceLock};

use http::{HeaderValue, Response, StatusCode, header};
use maud::{DOCTYPE, Markup, html};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Status, answer::text};
use crate::body::Body;

mod parts;
mod rules;
mod words;

/// The page loads nothing from elsewhere, and nobody can put it into a frame. No style or script may stand in it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// A file that the page loads.
pub(super) struct Asset {
    name: &'static str,
    ending: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
    hash: OnceLock<String>,
}

impl Asset {
    const fn new(
        name: &'static str,
        ending: &'static str,
        media_type: &'static str,
        bytes: &'static [u8],
    ) -> Self {
        Self {
            name,
            ending,
            media_type,
            bytes,
            hash: OnceLock::new(),
        }
    }

    /// The path, relative to that of the page. It changes with the content, so that browsers can keep the file for ever.
    fn path(&self) -> String {
        let hash = self.hash.get_or_init(|| {
            let digest = Sha256::digest(self.bytes);
            digest.iter().take(6).fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
        });
        format!("assets/{}-{hash}.{}", self.name, self.ending)
    }
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

static SCRIPT: Asset = Asset::new("page", "js", JAVASCRIPT, include_bytes!("page/page.js"));
static STYLE: Asset = Asset::new("page", "css", CSS, include_bytes!("page/page.css"));
static PLOTS: Asset = Asset::new("uplot", "js", JAVASCRIPT, include_bytes!("page/uplot.js"));
static PLOTS_STYLE: Asset = Asset::new("uplot", "css", CSS, include_bytes!("page/uplot.css"));
static ICON: Asset = Asset::new(
    "icon",
    "svg",
    "image/svg+xml",
    include_bytes!("page/icon.svg"),
);

/// What a path of the page names.
pub(super) enum Asked {
    /// The page itself.
    Page,
    /// A file that it loads.
    File(&'static Asset),
}

/// What a path names, if it is one of the page.
pub(super) fn of_path(path: &str) -> Option<Asked> {
    if path == "/" {
        return Some(Asked::Page);
    }
    let path = path.strip_prefix('/')?;
    let assets = [&SCRIPT, &STYLE, &PLOTS, &PLOTS_STYLE, &ICON];
    let asset = assets.into_iter().find(|asset| path == asset.path())?;
    Some(Asked::File(asset))
}

/// A file of the page.
pub(super) fn file(asset: &'static Asset) -> Response<Body> {
    let mut answer = text(StatusCode::OK, asset.media_type, asset.bytes);
    answer.headers_mut().insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=31536000, immutable"),
    );
    secured(answer)
}

/// The page without anything in it, for who has shown no token: browsers cannot send one by themselves.
pub(super) fn locked() -> Response<Body> {
    let content = html! {
        main #locked { p { "This gateway asks for a token before it shows anything." } }
    };
    answer(page("referral-gateway", true, &content))
}

impl Status {
    /// The page.
    pub(super) fn page(&self) -> Response<Body> {
        let status = self.status();
        let records = self.decisions.last();
        let decisions: Vec<Value> = records
            .iter()
            .rev()
            .filter_map(|record| serde_json::from_slice(record).ok())
            .collect();
        let word = words::word(status.pointer("/verdict/code"));
        let content = parts::all(&status, &self.tenants(), &decisions);
        answer(page(&format!("{word} - referral-gateway"), false, &content))
    }
}

fn page(title: &str, is_locked: bool, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href=(ICON.path());
                link rel="stylesheet" href=(PLOTS_STYLE.path());
                link rel="stylesheet" href=(STYLE.path());
                script src=(PLOTS.path()) defer {}
                script src=(SCRIPT.path()) defer {}
            }
            body data-locked[is_locked] {
                header {
                    h1 { "referral-gateway" }
                    form #token hidden[!is_locked] {
                        label for="token-text" { "Token (the content of admin.token_file)" }
                        div .row {
                            div { input #token-text type="password" autocomplete="off"; }
                            button { "Show" }
                        }
                        p #token-said role="alert" {}
                        noscript { p { "This page needs JavaScript to send the token. Without it: " code { "referral-gateway status" } "." } }
                    }
                }
                (content)
            }
        }
    }
}

fn answer(page: Markup) -> Response<Body> {
    secured(text(
        StatusCode::OK,
        "text/html; charset=utf-8",
        page.into_string(),
    ))
}

fn secured(mut answer: Response<Body>) -> Response<Body> {
    let headers = answer.headers_mut();
    for (name, value) in [
        ("content-security-policy", POLICY),
        // Forms and scripts of the page say their origin to this listener, and nobody else hears of the page.
        ("referrer-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}
