//! The README does what it says: its walk-through works as printed.

use std::fs;

use tempfile::TempDir;

use super::support::{
    Gateway, ITEM, TAG,
    page::{between, blocks, check_part, check_same, section, text, ticked},
    tools::shell,
    wire::Call,
};

#[tokio::test]
async fn the_walk_through_works_as_printed() {
    let gateway = Gateway::with("").start_at("simulator").await;
    let section = section("README.md", "Walk through it");
    let [script] = blocks(&section, "sh")[..] else {
        panic!("not one shell block in {section}");
    };
    let here = script
        .replace("127.0.0.1:4280", &gateway.address.to_string())
        .replace("127.0.0.1:4281", &gateway.telemetry.to_string());
    // A free port may begin with the same digits.
    let is_left = |port: &str| here.contains(&format!(":{port}/"));
    assert!(!["4280", "4281"].into_iter().any(is_left), "{here}");

    let folder = TempDir::new().unwrap();
    let ended = shell("sh")
        .args(["-c", &here])
        .current_dir(folder.path())
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}\n{errors}");

    // The comments say which answer comes.
    let told = script
        .lines()
        .filter_map(|line| line.strip_prefix("# ")?.split_once(": "))
        .filter_map(|(status, _)| status.parse().ok());
    let came = said
        .lines()
        .filter_map(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let (told, came): (Vec<u16>, Vec<u16>) = (told.collect(), came.collect());
    assert_eq!(told, [200, 428, 200]);
    assert_eq!(came, told, "{said}\n{errors}");

    let [answer] = blocks(&section, "json")[..] else {
        panic!("not one answer in {section}");
    };
    let (_, refused) = said.split_once("HTTP/1.1 428").unwrap();
    let refused = refused.lines().find(|line| line.starts_with('{')).unwrap();
    // The body has a URL of the gateway before `links`, and a free port may have more digits.
    let column = 1073 + gateway.address.to_string().len() - "127.0.0.1:4280".len();
    let answer = answer.replace("column 1073", &format!("column {column}"));
    check_part(
        &serde_json::from_str(&answer).unwrap(),
        &serde_json::from_str(refused).unwrap(),
    );

    let [counted] = blocks(&section, "text")[..] else {
        panic!("not one block of metrics in {section}");
    };
    let lines = said.lines().filter(|line| line.starts_with("referral_"));
    assert_eq!(
        lines.collect::<Vec<_>>(),
        counted.lines().collect::<Vec<_>>()
    );

    let mut made = fs::read_dir(folder.path()).unwrap();
    let made = made.next().unwrap().unwrap().path();
    let good = fs::read(made.join("good.json")).unwrap();
    let again = Call::new(gateway.address, "PUT", ITEM)
        .without("Authorization")
        .header("Content-Type", "application/json")
        .if_match(TAG)
        .body(good)
        .send()
        .await;
    assert_eq!((again.status, again.is_ours()), (412, false));
}

#[test]
fn the_packages_are_those_that_the_scripts_install() {
    let lists = text("deploy/debian.sh") + &text("tests/run");
    let tools = lists.lines().filter_map(|line| line.trim().split_once(':'));
    let words = |text: &str| {
        text.bytes().all(
            |byte| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'/' | b'.'),
        )
    };
    let packages = tools
        .filter(|(tool, package)| words(tool) && words(package))
        .map(|(_, package)| package)
        .collect();
    let install = section("README.md", "Install");
    let named = between(&install, "where they\nare missing: ", ". It");
    check_same(&ticked(named).into_iter().collect(), &packages);
}

#[test]
fn the_readme_stays_short() {
    let lines = text("README.md").lines().count();
    assert!(lines <= 200, "{lines}");
}
