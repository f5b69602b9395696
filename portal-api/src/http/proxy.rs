//! Whom a request is from, behind a proxy or not.

use std::net::IpAddr;

use axum::http::HeaderMap;
use ipnet::IpNet;

/// The address of whoever made the request. What `X-Forwarded-For` says counts only if a listed proxy wrote it: each proxy adds the
/// address it was called from at the right end, so the right-most entry that is no listed proxy is the client, and whatever stands
/// left of it is the client's own invention.
pub(super) fn client(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
    let mut client = peer.to_canonical();
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let mut entries = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
    while holds(proxies, client) {
        match entries.next().and_then(address) {
            Some(before) => client = before,
            None => break,
        }
    }
    client
}

/// Whether one of the networks holds this address.
#[must_use]
pub fn holds(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// Whether something between the client and us says that it passed the request on.
pub(super) fn is_forwarded(headers: &HeaderMap) -> bool {
    ["x-forwarded-for", "forwarded", "via"]
        .iter()
        .any(|name| headers.contains_key(*name))
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn address(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let parsed = bare.unwrap_or(entry).parse().ok();
    parsed
        .or_else(|| entry.parse().ok().map(|with_port: std::net::SocketAddr| with_port.ip()))
        .map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_proxies_are_believed() {
        let proxies =
            ["127.0.0.1/32", "10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().expect("a network"));
        let check = |peer: &str, lines: &[&str], expected: &str| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", line.parse().expect("a header"));
            }
            let expected: IpAddr = expected.parse().expect("an address");
            let found = client(peer.parse().expect("an address"), &headers, &proxies);
            assert_eq!(found, expected, "{peer} says {lines:?}");
        };
        // Nobody else may say for whom they speak.
        check("198.51.100.7", &["203.0.113.9"], "198.51.100.7");
        check("127.0.0.2", &["203.0.113.9"], "127.0.0.2");
        check("127.0.0.1", &["203.0.113.9"], "203.0.113.9");
        check("::ffff:127.0.0.1", &["203.0.113.9"], "203.0.113.9");
        check("2001:db8::1", &["2a00::1"], "2a00::1");
        // What the client wrote itself stands to the left.
        check("127.0.0.1", &["1.1.1.1, 203.0.113.9"], "203.0.113.9");
        check("127.0.0.1", &["1.1.1.1", "203.0.113.9"], "203.0.113.9");
        check("127.0.0.1", &["1.1.1.1, 203.0.113.9, 10.1.2.3"], "203.0.113.9");
        check("127.0.0.1", &["203.0.113.9,10.1.2.3", "10.1.2.4"], "203.0.113.9");
        // Without an entry that can be read, it is the last proxy known.
        check("127.0.0.1", &[], "127.0.0.1");
        check("127.0.0.1", &[""], "127.0.0.1");
        check("127.0.0.1", &["203.0.113.9, unknown"], "127.0.0.1");
        check("127.0.0.1", &["203.0.113.9, unknown, 10.1.2.3"], "10.1.2.3");
        check("127.0.0.1", &["10.1.2.3, 10.1.2.4"], "10.1.2.3");
        // As some proxies write it.
        check("127.0.0.1", &["203.0.113.9:4711"], "203.0.113.9");
        check("127.0.0.1", &["[2a00::1]:4711"], "2a00::1");
        check("127.0.0.1", &["[2a00::1]"], "2a00::1");
        check("127.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9");
    }
}
