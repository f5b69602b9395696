//! The embedded client.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Method, StatusCode};

use super::fixture::{Fixture, ask};
use crate::http::assets::{ASSETS, Asset, INDEX};

/// What everything needed to show the join page may weigh, compressed.
const JOIN_PATH_BYTES: usize = 45_000;

fn text(asset: &Asset) -> &str {
    std::str::from_utf8(asset.plain).expect("UTF-8")
}

fn find(path: &str) -> &'static Asset {
    ASSETS
        .iter()
        .find(|asset| asset.path == path)
        .unwrap_or_else(|| panic!("{path} is named, but not embedded"))
}

/// The quoted strings that follow each `key`.
fn quoted<'a>(source: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    source.split(key).skip(1).filter_map(|rest| {
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        rest[1..].split_once(quote).map(|(value, _)| value)
    })
}

/// Paths of the modules that a module or style sheet imports.
fn imports(asset: &Asset) -> Vec<String> {
    let directory = asset.path.rsplit_once('/').map_or("", |(directory, _)| directory);
    // Comments hold `import('…')` types, which no browser loads.
    let source: String = text(asset)
        .lines()
        .filter(|line| !line.trim_start().starts_with(['*', '/']))
        .collect::<Vec<_>>()
        .join("\n");
    let style = asset.path.ends_with(".css");
    let keys: &[&str] = if style {
        &["@import ", "@import url("]
    } else {
        &["from ", "import "]
    };
    keys.iter()
        .flat_map(|key| quoted(&source, key))
        .filter(|name| style || name.starts_with('.'))
        .map(|name| resolve(directory, name))
        .collect()
}

fn resolve(directory: &str, name: &str) -> String {
    let mut parts: Vec<&str> = directory.split('/').collect();
    for part in name.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    parts.join("/")
}

#[test]
fn the_join_path_is_small_and_whole() {
    let page = text(&INDEX);
    assert!(!page.contains("{{"), "a placeholder is left");
    let mut wanted: Vec<String> = [" src=", " href="]
        .iter()
        .flat_map(|key| quoted(page, key))
        .filter(|path| path.starts_with("/assets/"))
        .map(str::to_owned)
        .collect();
    let mut seen = BTreeSet::new();
    let mut bytes = INDEX.brotli.len();
    while let Some(path) = wanted.pop() {
        if seen.insert(path.clone()) {
            let asset = find(&path);
            bytes += asset.brotli.len();
            wanted.extend(imports(asset));
        }
    }
    assert!(bytes <= JOIN_PATH_BYTES, "{bytes} bytes: {seen:?}");
}

#[test]
fn all_files_are_sorted_known_and_not_for_tests() {
    assert!(ASSETS.is_sorted_by(|a, b| a.path < b.path));
    for asset in ASSETS {
        assert!(
            !asset.path.contains(".test.") && !asset.path.ends_with(".d.ts") && !asset.path.contains("node_modules")
        );
        for import in imports(asset) {
            find(&import);
        }
    }
}

#[tokio::test]
async fn pages_are_fresh_and_files_are_kept() {
    let f = Fixture::new().await;
    for path in ["/", "/join"] {
        let reply = f.get(path).await;
        assert_eq!(
            (reply.status, reply.header("cache-control")),
            (StatusCode::OK, "no-store")
        );
        assert_eq!(reply.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(reply.body, INDEX.plain);
    }
    for asset in ASSETS {
        let plain = f.get(asset.path).await;
        assert_eq!((plain.status, plain.header("content-encoding")), (StatusCode::OK, ""));
        assert_eq!(plain.header("cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(
            (plain.header("content-type"), plain.header("vary")),
            (asset.content_type, "accept-encoding")
        );
        assert_eq!(plain.body, asset.plain);
        let request = ask(Method::GET, asset.path)
            .header("accept-encoding", "gzip, br")
            .body(Body::empty());
        let packed = f.send(request.expect("a request")).await;
        assert_eq!(
            (packed.header("content-encoding"), &packed.body[..]),
            ("br", asset.brotli)
        );
    }
}
