//! How each client is told to trust the CA.

use crate::certificate::{Item, Made};

/// One block a client: what it is, and the commands.
pub(super) fn text(made: &Made) -> String {
    let ca = word(&made.path(Item::Authority).to_string_lossy());
    let bundle = made
        .roots
        .map(|_| word(&made.path(Item::Bundle).to_string_lossy()));
    let store = word(&made.folder().join("cacerts").to_string_lossy());
    // These settings replace the public roots, so they need the bundle, or the client reaches nothing else.
    let replacing = |variable: &str| {
        let bundle = bundle.as_ref()?;
        Some(format!("export {variable}={bundle}"))
    };
    let clients = [
        ("curl", Some(format!("curl --cacert {ca} https://..."))),
        ("curl, always", replacing("CURL_CA_BUNDLE")),
        ("Node", Some(format!("export NODE_EXTRA_CA_CERTS={ca}"))),
        (
            "Python: requests, azure-core",
            replacing("REQUESTS_CA_BUNDLE"),
        ),
        ("Python: httpx, aiohttp, ssl", replacing("SSL_CERT_FILE")),
        ("Linux: Go, .NET, OpenSSL", replacing("SSL_CERT_FILE")),
        (
            "Java",
            Some(format!(
                "cp \"$JAVA_HOME/lib/security/cacerts\" {store}\n\
                 keytool -importcert -noprompt -alias referral-gateway -file {ca} -keystore {store} -storepass changeit\n\
                 java -Djavax.net.ssl.trustStore={store} ..."
            )),
        ),
        (
            "Windows: .NET, PowerShell",
            Some("certutil -user -addstore Root ca.pem".to_owned()),
        ),
        (
            "macOS: Go, .NET, Safari",
            Some(format!(
                "security add-trusted-cert -r trustRoot -k ~/Library/Keychains/login.keychain-db {ca}"
            )),
        ),
    ];
    let mut text = "\nTell the clients to trust the CA:\n".to_owned();
    for (client, commands) in clients {
        for (n, command) in commands
            .iter()
            .flat_map(|commands| commands.lines())
            .enumerate()
        {
            let client = if n == 0 { client } else { "" };
            text += &format!("  {client:<29} {command}\n");
        }
    }
    text + "Nobody else can open the folder: for clients of another user, copy what they need, never a key.\n"
}

/// A path as one word of a shell.
fn word(path: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+@%".contains(letter);
    match path.chars().all(is_plain) {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}
