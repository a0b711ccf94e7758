//! The options of curl that are read, and what they mean.

/// What an option does to the request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Meaning {
    /// Nothing, and it has no value.
    Nothing,
    /// Nothing, and its value is skipped.
    NothingWithValue,
    Get,
    Head,
    GlobOff,
    PathAsIs,
    Request,
    Header,
    Data,
    DataBinary,
    DataRaw,
    DataUrlencode,
    Json,
    User,
    Bearer,
    Cookie,
    Agent,
    Referer,
    Url,
}

impl Meaning {
    /// Of a long option, without its dashes.
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        let known = LONG.iter().find(|(long, _)| long.as_bytes() == name);
        known.map(|(_, meaning)| *meaning)
    }

    /// Of a letter after one dash.
    pub(super) fn of_letter(letter: u8) -> Option<Self> {
        let (_, long) = SHORT.iter().find(|(short, _)| *short == letter)?;
        Self::of(long.as_bytes())
    }

    /// Whether a value follows.
    pub(super) fn has_value(self) -> bool {
        !matches!(
            self,
            Self::Nothing | Self::Get | Self::Head | Self::GlobOff | Self::PathAsIs
        )
    }
}

/// Long options without the dashes. Those that are not here are refused by name.
const LONG: &[(&str, Meaning)] = {
    use Meaning::{
        Agent, Bearer, Cookie, Data, DataBinary, DataRaw, DataUrlencode, Get, GlobOff, Head,
        Header, Json, Nothing, NothingWithValue, PathAsIs, Referer, Request, Url, User,
    };
    &[
        ("request", Request),
        ("header", Header),
        ("data", Data),
        ("data-ascii", Data),
        ("data-binary", DataBinary),
        ("data-raw", DataRaw),
        ("data-urlencode", DataUrlencode),
        ("json", Json),
        ("get", Get),
        ("head", Head),
        ("user", User),
        ("oauth2-bearer", Bearer),
        ("cookie", Cookie),
        ("user-agent", Agent),
        ("referer", Referer),
        ("url", Url),
        ("globoff", GlobOff),
        ("path-as-is", PathAsIs),
        ("basic", Nothing),
        ("compressed", Nothing),
        ("fail", Nothing),
        ("fail-early", Nothing),
        ("fail-with-body", Nothing),
        ("http1.1", Nothing),
        ("http2", Nothing),
        ("http2-prior-knowledge", Nothing),
        ("http3", Nothing),
        ("include", Nothing),
        ("insecure", Nothing),
        ("ipv4", Nothing),
        ("ipv6", Nothing),
        ("location", Nothing),
        ("no-buffer", Nothing),
        ("no-progress-meter", Nothing),
        ("progress-bar", Nothing),
        ("remote-name", Nothing),
        ("show-error", Nothing),
        ("silent", Nothing),
        ("ssl-no-revoke", Nothing),
        ("tlsv1.2", Nothing),
        ("tlsv1.3", Nothing),
        ("verbose", Nothing),
        ("cacert", NothingWithValue),
        ("cert", NothingWithValue),
        ("connect-timeout", NothingWithValue),
        ("connect-to", NothingWithValue),
        ("cookie-jar", NothingWithValue),
        ("dump-header", NothingWithValue),
        ("interface", NothingWithValue),
        ("key", NothingWithValue),
        ("limit-rate", NothingWithValue),
        ("max-redirs", NothingWithValue),
        ("max-time", NothingWithValue),
        ("noproxy", NothingWithValue),
        ("output", NothingWithValue),
        ("proxy", NothingWithValue),
        ("proxy-user", NothingWithValue),
        ("resolve", NothingWithValue),
        ("retry", NothingWithValue),
        ("retry-delay", NothingWithValue),
        ("retry-max-time", NothingWithValue),
        ("trace", NothingWithValue),
        ("trace-ascii", NothingWithValue),
        ("unix-socket", NothingWithValue),
        ("write-out", NothingWithValue),
    ]
};

/// The long option that a letter stands for.
const SHORT: &[(u8, &str)] = &[
    (b'X', "request"),
    (b'H', "header"),
    (b'd', "data"),
    (b'G', "get"),
    (b'I', "head"),
    (b'u', "user"),
    (b'b', "cookie"),
    (b'A', "user-agent"),
    (b'e', "referer"),
    (b'g', "globoff"),
    (b'f', "fail"),
    (b'i', "include"),
    (b'k', "insecure"),
    (b'4', "ipv4"),
    (b'6', "ipv6"),
    (b'L', "location"),
    (b'N', "no-buffer"),
    (b'#', "progress-bar"),
    (b'O', "remote-name"),
    (b'S', "show-error"),
    (b's', "silent"),
    (b'v', "verbose"),
    (b'E', "cert"),
    (b'c', "cookie-jar"),
    (b'D', "dump-header"),
    (b'm', "max-time"),
    (b'o', "output"),
    (b'x', "proxy"),
    (b'U', "proxy-user"),
    (b'w', "write-out"),
];
