//! The labels with a closed set of values.

/// One label of a metric. Its values are a closed set.
pub(super) trait Label: Copy {
    /// The label's name.
    const NAME: &'static str;
    /// Every index is below this.
    const COUNT: usize;
    fn index(self) -> usize;
    /// The value as metrics show it.
    fn value(self) -> &'static str;
}

/// Declares one enum for each label: its type, its name, and its values with their names.
macro_rules! labels {
    ($(
        $(#[$doc:meta])*
        $type:ident = $name:literal { $($variant:ident = $value:literal,)+ }
    )+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type {
            $(#[doc = concat!("`", $value, "`")] $variant,)+
        }

        impl $type {
            /// All values.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The value as metrics and logs show it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $value,)+
                }
            }
        }

        impl Label for $type {
            const NAME: &'static str = $name;
            const COUNT: usize = Self::ALL.len();

            fn index(self) -> usize {
                self as usize
            }

            fn value(self) -> &'static str {
                self.as_str()
            }
        }
    )+};
}

labels! {
    /// Why a request to the admin listener was refused.
    AdminRefusal = "reason" {
        Host = "host",
        CrossSite = "cross_site",
        Token = "token",
    }
    /// The route of a request.
    Route = "route" {
        ReferralItem = "referral_item",
        ReferralList = "referral_list",
        ReferralCreate = "referral_create",
        Passthrough = "passthrough",
    }

    /// The method of a request.
    Method = "method" {
        Get = "GET",
        Head = "HEAD",
        Options = "OPTIONS",
        Put = "PUT",
        Patch = "PATCH",
        Post = "POST",
        Delete = "DELETE",
        Other = "other",
    }

    /// Who gave an answer.
    Source = "source" {
        Upstream = "upstream",
        Policy = "policy",
        RateLimit = "ratelimit",
        Cooldown = "cooldown",
        Gateway = "gateway",
    }

    /// The side of the gateway that a connection is on.
    Side = "side" {
        Downstream = "downstream",
        Upstream = "upstream",
    }

    /// How a connection attempt ended: `Accepted` and `Refused` are downstream, `Connected` is upstream. `Unsolicited` is a
    /// kept upstream connection that ended since bytes came on it that nobody had asked for.
    ConnectionOutcome = "outcome" {
        Accepted = "accepted",
        Refused = "refused",
        Connected = "connected",
        Failed = "failed",
        Unsolicited = "unsolicited",
    }

    /// The protocol of an upstream connection.
    Protocol = "protocol" {
        Http1 = "http1",
        Http2 = "http2",
    }

    /// Why a request was sent to the upstream once more.
    Resent = "reason" {
        GoAway = "goaway",
        Refused = "refused",
        ClosedUnused = "closed_unused",
        ReadClosed = "read_closed",
    }

    /// Why an upstream connection takes no further request.
    GivenUp = "reason" {
        GoAway = "goaway",
        Silent = "silent",
        NoStreams = "no_streams",
        Resets = "resets",
        Closed = "closed",
        Idle = "idle",
        Age = "age",
    }

    /// An error on the downstream side.
    RequestError = "kind" {
        Malformed = "malformed",
        HeaderTooLarge = "header_too_large",
        UriTooLong = "uri_too_long",
        HeaderTimeout = "header_timeout",
        BodyTimeout = "body_timeout",
        BodyIncomplete = "body_incomplete",
        ClientGone = "client_gone",
        TlsOnClearPort = "tls_on_clear_port",
        Panic = "panic",
    }

    /// Why the gateway itself is to blame for an answer: the problem's code.
    OwnFailure = "code" {
        InternalError = "internal_error",
        LoopDetected = "loop_detected",
        TooManyBodies = "too_many_bodies",
        TooManyConnections = "too_many_connections",
        UpstreamBusy = "upstream_busy",
    }

    /// Why URLs in an answer of the service were not re-based.
    NotRewritten = "reason" {
        Coding = "coding",
        Partial = "partial",
        Digest = "digest",
        NoTransform = "no_transform",
        Context = "context",
    }

    /// A listener that may speak TLS.
    Listener = "listener" {
        Data = "data",
        Telemetry = "telemetry",
    }

    /// Why a TLS handshake of a client failed.
    TlsFailure = "reason" {
        ClearText = "clear_text",
        NotTls = "not_tls",
        Version = "version",
        Cipher = "cipher",
        Protocol = "protocol",
        ClientCertificate = "client_certificate",
        ClientName = "client_name",
        RefusedByClient = "refused_by_client",
        Timeout = "timeout",
        Closed = "closed",
        Other = "other",
    }

    /// A certificate that the gateway shows.
    Certificate = "certificate" {
        Data = "data",
        Telemetry = "telemetry",
        UpstreamClient = "upstream_client",
    }

    /// Whether a span was exported.
    SpanOutcome = "outcome" {
        Exported = "exported",
        Failed = "failed",
        Dropped = "dropped",
    }

    /// An error on the upstream side.
    UpstreamError = "kind" {
        ConnectFailed = "connect_failed",
        ConnectTimeout = "connect_timeout",
        Busy = "busy",
        NotProcessed = "not_processed",
        Closed = "closed",
        BadAnswer = "bad_answer",
        ResponseTimeout = "response_timeout",
        Body = "body",
    }

    /// The verdict on a status transition.
    TransitionVerdict = "verdict" {
        Pass = "pass",
        Deny = "deny",
    }

    /// The form of `If-Match` on a write.
    Precondition = "kind" {
        Strong = "strong",
        Missing = "missing",
        Unusable = "unusable",
    }

    /// Whether the snapshot cache predicted a 412.
    Predicted = "predicted" {
        Yes = "yes",
        No = "no",
    }

    /// The result of looking up a referral's state.
    SnapshotLookup = "result" {
        Hit = "hit",
        Miss = "miss",
        Unproven = "unproven",
        Fetched = "fetched",
        MovedOn = "moved_on",
        Failed = "failed",
        NotAsked = "not_asked",
    }

    /// The answer that a snapshot came from.
    SnapshotOrigin = "from" {
        Get = "get",
        List = "list",
        Put = "put",
        Patch = "patch",
        Post = "post",
        Fetch = "fetch",
    }

    /// Why a snapshot was removed.
    Eviction = "cause" {
        Age = "age",
        Size = "size",
        Forgotten = "forgotten",
    }

    /// The class of a request that a limit counts.
    Class = "class" {
        Reads = "reads",
        Writes = "writes",
    }

    /// The decision of the limits on a request.
    Admission = "outcome" {
        Allowed = "allowed",
        Limited = "limited",
        Concurrency = "concurrency",
        Cooldown = "cooldown",
    }

    /// A number of tenants: those tracked, or the maximum.
    TenantCount = "state" {
        Tracked = "tracked",
        Max = "max",
    }

    /// How a tenant's request ended.
    TenantOutcome = "outcome" {
        Passed = "passed",
        Refused = "refused",
        Failed = "failed",
    }

    /// What a reload reads.
    ReloadSubject = "what" {
        Settings = "settings",
        Policy = "policy",
    }

    /// How a reload ended.
    ReloadResult = "result" {
        Success = "success",
        Unchanged = "unchanged",
        Failure = "failure",
    }

    /// The state of the gateway.
    State = "state" {
        Starting = "starting",
        Ready = "ready",
        Draining = "draining",
    }
}

impl From<&http::Method> for Method {
    fn from(method: &http::Method) -> Self {
        match *method {
            http::Method::GET => Self::Get,
            http::Method::HEAD => Self::Head,
            http::Method::OPTIONS => Self::Options,
            http::Method::PUT => Self::Put,
            http::Method::PATCH => Self::Patch,
            http::Method::POST => Self::Post,
            http::Method::DELETE => Self::Delete,
            _ => Self::Other,
        }
    }
}

/// The status of an answer. 0 means no answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Code(u16);

impl Code {
    /// All statuses without a label of their own.
    const OTHER: Self = Self(1);

    pub(super) fn of(status: u16) -> Self {
        status_name(status).map_or(Self::OTHER, |_| Self(status))
    }
}

impl Label for Code {
    const NAME: &'static str = "code";
    const COUNT: usize = 600;

    fn index(self) -> usize {
        self.0.into()
    }

    fn value(self) -> &'static str {
        status_name(self.0).unwrap_or("other")
    }
}

/// The statuses with a label of their own: those that the service or the gateway documents.
fn status_name(status: u16) -> Option<&'static str> {
    Some(match status {
        0 => "none",
        200 => "200",
        201 => "201",
        202 => "202",
        204 => "204",
        206 => "206",
        301 => "301",
        302 => "302",
        304 => "304",
        307 => "307",
        308 => "308",
        400 => "400",
        401 => "401",
        403 => "403",
        404 => "404",
        405 => "405",
        406 => "406",
        408 => "408",
        409 => "409",
        410 => "410",
        411 => "411",
        412 => "412",
        413 => "413",
        414 => "414",
        415 => "415",
        416 => "416",
        422 => "422",
        423 => "423",
        428 => "428",
        429 => "429",
        431 => "431",
        500 => "500",
        501 => "501",
        502 => "502",
        503 => "503",
        504 => "504",
        507 => "507",
        509 => "509",
        _ => return None,
    })
}
