//! The web client, from memory. There is no path from a request to a file.

use axum::extract::Request;
use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::assets::{ASSETS, Asset, INDEX, OPS};
use super::problem::Problem;

const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// The one page; its script reads the path and the fragment.
pub(super) async fn index(headers: HeaderMap) -> Response {
    send(&INDEX, &headers)
}

/// The operator's page; its script reads the token from the fragment.
pub(super) async fn ops(headers: HeaderMap) -> Response {
    send(&OPS, &headers)
}

/// `GET /assets/{tree}/{path}`: the directory's name is the hash of all files, so each may be kept for good.
pub(super) async fn asset(request: Request) -> Response {
    let path = request.uri().path();
    match ASSETS.binary_search_by(|asset| asset.path.cmp(path)) {
        Ok(found) => {
            let mut response = send(&ASSETS[found], request.headers());
            response.headers_mut().insert(header::CACHE_CONTROL, IMMUTABLE);
            response
        }
        Err(_) => Problem::NOT_FOUND.into_response(),
    }
}

fn send(asset: &'static Asset, headers: &HeaderMap) -> Response {
    let kind = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type)),
        (header::VARY, HeaderValue::from_static("accept-encoding")),
    ];
    if accepts_brotli(headers) {
        let encoding = [(header::CONTENT_ENCODING, HeaderValue::from_static("br"))];
        return (StatusCode::OK, kind, encoding, asset.brotli).into_response();
    }
    (StatusCode::OK, kind, asset.plain).into_response()
}

/// Browsers list `br` on secure origins and localhost; `q=0` refuses it (RFC 9110 §12.5.3).
fn accepts_brotli(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| {
            let mut parts = item.split(';').map(str::trim);
            let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("br"));
            let refused = parts
                .filter_map(|part| part.strip_prefix("q="))
                .any(|q| q.parse::<f32>().is_ok_and(|q| q == 0.0));
            named && !refused
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brotli_goes_to_those_who_ask_for_it() {
        let check = |value: &'static str, expected: bool| {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]);
            assert_eq!(accepts_brotli(&headers), expected, "{value}");
        };
        check("gzip, deflate, br, zstd", true);
        check("BR;q=0.5", true);
        check("br;q=0, gzip", false);
        check("gzip", false);
        check("brx", false);
        assert!(!accepts_brotli(&HeaderMap::new()));
    }
}
