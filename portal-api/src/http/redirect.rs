//! Plain HTTP where there is TLS: every request is sent to the origin that people use.

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::edge::header_value;

/// A router that knows the way to `origin` (without a slash at the end), and nothing else. What the request says of its host is not used: an
/// answer that follows it would send people anywhere.
pub fn redirect(origin: &str) -> Router {
    let origin = origin.to_owned();
    Router::new().fallback(move |request: Request| {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let response = to(&origin, path);
        async { response }
    })
}

fn to(origin: &str, path: &str) -> Response {
    // `//host` and `*` are no paths; the origin has nothing there either.
    let path = if path.starts_with('/') { path } else { "/" };
    let location = header_value(&format!("{origin}{path}"));
    let headers = [
        (header::LOCATION, location),
        (header::CACHE_CONTROL, header_value("no-store")),
        (header::CONNECTION, header_value("close")),
    ];
    (StatusCode::PERMANENT_REDIRECT, headers).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn every_request_is_sent_to_the_origin_whatever_host_it_names() {
        for (uri, expected) in [
            ("/", "https://visits.example.org/"),
            ("/join?x=1", "https://visits.example.org/join?x=1"),
            ("//evil.example/a", "https://visits.example.org//evil.example/a"),
            ("http://evil.example/b", "https://visits.example.org/b"),
        ] {
            let request = Request::get(uri).header("host", "evil.example");
            let response = redirect("https://visits.example.org")
                .oneshot(request.body(Body::empty()).expect("a request"))
                .await
                .expect("infallible");
            assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
            assert_eq!(response.headers()["location"], expected);
        }
    }
}
