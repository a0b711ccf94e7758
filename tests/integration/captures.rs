//! What is read of a curl command is what the shell and curl make of it.

use referral_gateway::capture;
use tempfile::TempDir;

use super::{
    commands::write,
    support::{Upstream, tools::shell},
};

/// Commands in which shell or curl do something; `HOST` is where the upstream listens, `FILE` a file.
const COMMANDS: &[&str] = &[
    r"curl -s http://HOST/a",
    r"curl -s 'HOST?a=b#c' -X DELETE",
    r"curl -s HOST/a -d b=1 -d 'c d' --data-raw @e --data-binary $'f\ng\r\n'",
    r#"curl -s HOST/a -X PUT -H 'If-Match: "x"' -H "if-match: \"y\"" -H 'Content-Type: application/json' -d '{"a":"it'\''s $5 `b`"}'"#,
    r"curl -s HOST/a -XPATCH -HContent-Type:application/json -d[]",
    r"curl -s HOST/a -d '' -H 'content-type:' -H 'X-A;' -H 'X-B:' -H 'X-C: ' -H 'X-D:  e '",
    r#"curl -s HOST/a --json '{"a":' --json 1} -H 'accept: b'"#,
    r"curl -s HOST/a --data-urlencode 'a b&c' --data-urlencode '=a=b' --data-urlencode $'n=\u00e9\n/~'",
    r"curl -s -G 'HOST/a?x=y#z' -d b=1 --data-urlencode '$filter=status eq 1'",
    r"curl -s -G 'HOST/a?' -d b=1",
    r"curl -s -G HOST -d b",
    r"curl -s -G -X PUT HOST -d b",
    r"curl -s HOST/a -u me:pass:word -A agent -e 'http://r/;auto' -b 'a=1; b=2' -b c=3",
    r"curl -s HOST/a -u me:p --oauth2-bearer t -A '' -e ''",
    r"curl -s HOST/a -u me:p -b a=1 -A x -H 'authorization: Bearer t' -H 'Cookie: b=2' -H User-Agent:",
    r"curl -s -I HOST/a",
    r"curl -s -I -X PUT HOST/a",
    r"curl -s -g 'HOST/a{b}?c[1-2]'",
    r"curl -s 'HOST/a\{b\}?c\[1\]'",
    r"curl -s --path-as-is HOST/a/../b/./c",
    r"curl -s 'HOST/a?b/../c'",
    r#"curl -s HOST/a --data-raw "a\"b\\c\$d\`e\nf'g $ $% 5$" -o /dev/null -w '%{http_code}' | cat"#,
    r#"curl -s HOST/a --data-raw $'\'\\\"\?\t\a\b\e\E\f\v\x41\x7aa\101\1013\7\u00e9\u21!\U1f600\xff\777'"#,
    r#"curl -s HOST/a --data-raw a' 'b"c"\ d\
e"f\
g"'h
i'#~!=[x]*?;"#,
    "curl -s HOST/a -d @FILE",
    "curl -s HOST/a -X PUT -d a --data-ascii @FILE -d b",
    "curl -s HOST/a --data-binary @FILE",
    "curl -s HOST/a --json @FILE",
    "curl -s HOST/a --data-urlencode @FILE",
    "curl -s HOST/a --data-urlencode n@FILE",
    "# first\n\ncurl \\\n -sSkL \\\n --compressed -H Accept-Encoding: --max-time 20 \\\n HOST/a # last\n\n",
];

/// What stands in `FILE`.
const BODY: &str = "{ \"a\":\r\n  \"é & +\" }\n\0\n";

#[tokio::test]
async fn a_curl_command_reads_as_curl_sends_it() {
    let upstream = Upstream::start().await;
    let folder = TempDir::new().unwrap();
    let file = write(&folder, "body", BODY);
    for command in COMMANDS {
        let command = command.replace("HOST", &upstream.address.to_string());
        let command = command.replace("FILE", &file);
        let body = command.contains(&file).then_some(BODY.as_bytes());
        let before = upstream.seen().len();
        let script = command.clone();
        // The upstream answers on this thread.
        let ended = tokio::task::spawn_blocking(move || {
            shell("bash")
                .args(["--norc", "-c", &script])
                .env("LC_ALL", "C.UTF-8")
                .output()
                .unwrap()
        })
        .await
        .unwrap();
        let errors = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.success(), "{command}\n{errors}");
        let seen = upstream.seen().split_off(before);
        let [seen] = &seen[..] else {
            panic!("{} requests for {command}", seen.len());
        };

        let read = capture::read_with_body(command.as_bytes(), None, None, body);
        let read = read.unwrap_or_else(|error| panic!("{error}\n{command}"));
        let address = upstream.address.to_string();
        assert_eq!(read.authority, Some(address), "{command}");
        assert_eq!(read.method, seen.method.as_str(), "{command}");
        assert_eq!(read.target, seen.target(), "{command}");
        assert_eq!(
            read.body.escape_ascii().to_string(),
            seen.body.escape_ascii().to_string(),
            "{command}"
        );

        let mut sent: Vec<(String, Vec<u8>)> = seen
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            // `Host` and the length are those of any client; which codings curl knows depends on how it was built.
            .filter(|(name, _)| {
                !matches!(name.as_str(), "host" | "content-length" | "accept-encoding")
            })
            .map(|(name, value)| match value.starts_with(b"curl/") {
                // Its version does not stand in the command.
                true => (name, b"curl/8.0.0".to_vec()),
                false => (name, value),
            })
            .collect();
        let mut read: Vec<(String, Vec<u8>)> = read
            .headers
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect();
        sent.sort_by(|(left, _), (right, _)| left.cmp(right));
        read.sort_by(|(left, _), (right, _)| left.cmp(right));
        assert_eq!(read, sent, "{command}");
    }
}
