//! Names the upstream in a request.

use http::{HeaderValue, Request, Uri, Version, header, uri::PathAndQuery};

use super::Upstream;
use crate::body::Body;

impl Upstream {
    /// Names the upstream in the form of the HTTP version (RFC 9112 3.2.1, RFC 9113 8.3.1), whatever the caller named.
    pub(super) fn address(&self, request: &mut Request<Body>, is_http2: bool) {
        // http shows an empty path, or a fragment alone, as `/`, but hyper would send nothing.
        let path = request.uri().path_and_query();
        let path = match path.filter(|path| path.as_str() != "/") {
            Some(path) => path.clone(),
            None => PathAndQuery::from_static("/"),
        };
        let is_path = request.uri().authority().is_none();
        // The version is that of the upstream connection, not the downstream's.
        *request.version_mut() = Version::HTTP_11;
        if is_http2 {
            let mut parts = http::uri::Parts::default();
            parts.scheme = Some(self.scheme.clone());
            parts.authority = Some(self.authority.clone());
            parts.path_and_query = Some(path);
            *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
            *request.version_mut() = Version::HTTP_2;
            request.headers_mut().remove(header::HOST);
            request.headers_mut().remove(header::TRANSFER_ENCODING);
            return;
        }
        if !is_path || path.as_str() == "/" {
            *request.uri_mut() = path.into();
        }
        request
            .headers_mut()
            .insert(header::HOST, self.host.clone());
        // hyper drops a body of unknown length on methods that rarely have one, unless a header tells of it.
        let is_open = http_body::Body::size_hint(request.body()).exact().is_none();
        if is_open && !request.headers().contains_key(header::CONTENT_LENGTH) {
            request.headers_mut().insert(
                header::TRANSFER_ENCODING,
                HeaderValue::from_static("chunked"),
            );
        }
    }
}
