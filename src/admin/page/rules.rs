//! What rules made of writes, and the transitions that were judged.

use std::collections::BTreeSet;

use maud::{Markup, html};
use serde_json::Value;

use super::words::{list, shown};

/// The columns of the rules' table.
const VERDICTS: [(&str, &str); 6] = [
    ("pass", "pass"),
    ("would_deny", "would deny"),
    ("warn", "warn"),
    ("deny", "deny"),
    ("repaired", "repaired"),
    ("unjudged", "unjudged"),
];

pub(super) fn rules(status: &Value) -> Markup {
    html! {
        div .scroll tabindex="0" role="region" aria-label="Rules and verdicts" {
            table {
                thead {
                    tr {
                        th scope="col" { "Rule" }
                        th scope="col" { "mode" }
                        @for (_, name) in VERDICTS { th .number scope="col" { (name) } }
                    }
                }
                tbody {
                    @for rule in list(status, "/rules") {
                        tr {
                            th scope="row" { (shown(rule, "/rule")) }
                            td { (shown(rule, "/mode")) }
                            @for (verdict, _) in VERDICTS {
                                @let count = shown(rule, &format!("/verdicts/{verdict}"));
                                td .number .zero[count == "0"] { (count) }
                            }
                        }
                    }
                }
            }
        }
        h3 { "Transitions" }
        (transitions(status))
    }
}

/// From × to, with the refused ones in words: colour alone says nothing.
fn transitions(status: &Value) -> Markup {
    let cells: Vec<(String, String, bool, u64)> = list(status, "/transitions")
        .map(|cell| {
            let count = cell.pointer("/count").and_then(Value::as_u64);
            (
                shown(cell, "/from"),
                shown(cell, "/to"),
                shown(cell, "/verdict") == "deny",
                count.unwrap_or_default(),
            )
        })
        .collect();
    let count = |from: &str, to: &str, denied: bool| -> u64 {
        let cells = cells.iter().filter(|cell| cell.0 == from && cell.1 == to);
        cells
            .filter(|cell| cell.2 == denied)
            .map(|cell| cell.3)
            .sum()
    };
    let names: BTreeSet<&str> = cells.iter().flat_map(|cell| [&*cell.0, &*cell.1]).collect();
    let most = cells.iter().map(|cell| cell.3).max().unwrap_or_default();
    if cells.is_empty() {
        return html! { p { "No transition was judged since the start." } };
    }
    html! {
        div .scroll tabindex="0" role="region" aria-label="Transitions between statuses" {
            table {
                thead {
                    tr {
                        th scope="col" { "from \\ to" }
                        @for to in &names { th .number scope="col" { (to) } }
                    }
                }
                tbody {
                    @for from in &names {
                        tr {
                            th scope="row" { (from) }
                            @for to in &names {
                                @let (passed, denied) = (count(from, to, false), count(from, to, true));
                                td class={ "number heat-" (heat(passed + denied, most)) } {
                                    @if passed > 0 { (passed) }
                                    @if passed > 0 && denied > 0 { " + " }
                                    @if denied > 0 { (denied) " refused" }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// 0 for none, then four steps up to the most.
fn heat(count: u64, most: u64) -> u64 {
    match count {
        0 => 0,
        count => (count.saturating_mul(4).div_ceil(most.max(1))).clamp(1, 4),
    }
}
