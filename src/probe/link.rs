//! What is read before anything can be sent: the link, the server's answer, the relay it names.

use std::net::{IpAddr, SocketAddr};

use super::Trouble;

/// Where the server is, and the secret that opens its test room. Holds a secret: no `Debug`.
pub(super) struct Link {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
    pub(super) token: String,
}

impl Link {
    pub(super) fn parse(url: &str) -> Result<Self, Trouble> {
        let (place, token) = url.split_once('#').ok_or(Trouble::NoLink)?;
        let (tls, rest) = match (place.strip_prefix("https://"), place.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(Trouble::NoLink),
        };
        let (authority, path) = rest.split_once('/').ok_or(Trouble::NoLink)?;
        match path {
            "probe" => {}
            "join" | "ops" => return Err(Trouble::OtherLink),
            _ => return Err(Trouble::NoLink),
        }
        let (host, port) = host_and_port(authority, if tls { 443 } else { 80 }).ok_or(Trouble::NoLink)?;
        if !token.starts_with("hc_") || !token.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) {
            return Err(Trouble::NoLink);
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            tls,
            token: token.to_owned(),
        })
    }

    /// As it stands in `Host`.
    pub(super) fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// `host`, `host:port`, `[::1]:port`. The host without brackets.
fn host_and_port(authority: &str, default: u16) -> Option<(&str, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':'))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok()?,
        None => default,
    };
    (!host.is_empty() && !host.contains(['@', '?', ' '])).then_some((host, port))
}

/// Addresses at which an answer says that media is to be had (RFC 8839 §5.1, RFC 6544 §4.5).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Candidates {
    pub(super) udp: Vec<SocketAddr>,
    pub(super) tcp: Vec<SocketAddr>,
}

impl Candidates {
    pub(super) fn of(answer: &str) -> Self {
        let mut found = Self::default();
        for line in answer.lines() {
            let Some(candidate) = line.strip_prefix("a=candidate:") else {
                continue;
            };
            let words: Vec<&str> = candidate.split(' ').collect();
            let [_, _, transport, _, ip, port, ..] = words[..] else {
                continue;
            };
            let (Ok(ip), Ok(port)) = (ip.parse::<IpAddr>(), port.parse()) else {
                continue;
            };
            let list = match transport.to_ascii_lowercase().as_str() {
                "udp" => &mut found.udp,
                "tcp" => &mut found.tcp,
                _ => continue,
            };
            let address = SocketAddr::new(ip, port);
            if !list.contains(&address) {
                list.push(address);
            }
        }
        found
    }

    /// Of these, the one at which the web server was reached; else one of its family, else the first.
    pub(super) fn nearest(list: &[SocketAddr], web: IpAddr) -> Option<SocketAddr> {
        let same = list.iter().find(|address| address.ip() == web);
        let family = || list.iter().find(|address| address.is_ipv4() == web.is_ipv4());
        same.or_else(family).or(list.first()).copied()
    }
}

/// The same answer with one candidate: the far end of the probe's own link, which leads to the server by whatever way was chosen.
pub(super) fn with_candidate(answer: &str, far: SocketAddr) -> String {
    let mut lines = String::new();
    let mut placed = false;
    for line in answer.lines() {
        if line.starts_with("a=candidate:") {
            if placed {
                continue;
            }
            placed = true;
            lines += &format!("a=candidate:1 1 udp 2130706431 {} {} typ host", far.ip(), far.port());
        } else {
            lines += line;
        }
        lines += "\r\n";
    }
    lines
}

/// The relay, from the `Link` headers of an answer (RFC 9725 §4.6). Holds a secret: no `Debug`.
#[derive(Clone)]
pub(super) struct Relay {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
    pub(super) username: String,
    pub(super) credential: String,
}

impl Relay {
    pub(super) fn parse(header: &str) -> Option<Self> {
        let (url, parameters) = header.strip_prefix('<')?.split_once('>')?;
        let value = |name: &str| {
            let begin = format!("{name}=\"");
            let found = parameters
                .split(';')
                .find_map(|part| part.trim().strip_prefix(&begin))?;
            Some(found.strip_suffix('"')?.to_owned())
        };
        if value("rel")? != "ice-server" {
            return None;
        }
        let (tls, rest) = match (url.strip_prefix("turns:"), url.strip_prefix("turn:")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return None,
        };
        let authority = rest.split('?').next()?;
        let (host, port) = host_and_port(authority, if tls { 5_349 } else { 3_478 })?;
        Some(Self {
            host: host.to_owned(),
            port,
            tls,
            username: value("username")?,
            credential: value("credential")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "hc_abcdefghijklmnopqrstuvwxyz0123456789-_ABCDE";

    #[test]
    fn links() {
        let read = |url: &str| Link::parse(url).map(|link| (link.authority(), link.tls)).ok();
        let good = |place: &str| read(&format!("{place}/probe#{TOKEN}"));
        assert_eq!(good("https://a.example"), Some(("a.example:443".to_owned(), true)));
        assert_eq!(good("http://a.example"), Some(("a.example:80".to_owned(), false)));
        assert_eq!(
            good("https://a.example:8443"),
            Some(("a.example:8443".to_owned(), true))
        );
        assert_eq!(good("http://[::1]:8091"), Some(("[::1]:8091".to_owned(), false)));
        for bad in [
            "",
            "https://a.example",
            "https://a.example/probe",
            "https://a.example/probe#",
            "https://a.example/probe#hcs_x y",
            &format!("ftp://a.example/probe#{TOKEN}"),
            &format!("https://me@a.example/probe#{TOKEN}"),
            &format!("https://a.example:x/probe#{TOKEN}"),
            &format!("https:///probe#{TOKEN}"),
        ] {
            assert!(matches!(Link::parse(bad), Err(Trouble::NoLink)), "{bad}");
        }
        let join = Link::parse(&format!("https://a.example/join#{TOKEN}"));
        assert!(
            matches!(join, Err(Trouble::OtherLink)),
            "a visit with people is no place for a probe"
        );
    }

    #[test]
    fn answers_are_read_and_led_over_the_link() {
        let answer = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=candidate:1 1 udp 9 192.0.2.1 443 typ host\r\n\
            a=candidate:2 1 udp 8 2001:db8::1 443 typ host\r\na=candidate:3 1 TCP 7 192.0.2.1 443 typ host tcptype passive\r\n\
            a=candidate:broken\r\na=end-of-candidates\r\n";
        let found = Candidates::of(answer);
        let v4: SocketAddr = "192.0.2.1:443".parse().unwrap();
        let v6: SocketAddr = "[2001:db8::1]:443".parse().unwrap();
        assert_eq!((&found.udp[..], &found.tcp[..]), (&[v4, v6][..], &[v4][..]));
        let nearest = |web: &str| Candidates::nearest(&found.udp, web.parse().unwrap());
        assert_eq!(nearest("2001:db8::1"), Some(v6));
        assert_eq!(nearest("2001:db8::2"), Some(v6), "of the same family");
        assert_eq!(nearest("192.0.2.77"), Some(v4));
        assert_eq!(Candidates::nearest(&[], v4.ip()), None);

        let far = "127.0.0.1:9".parse().unwrap();
        let led = with_candidate(answer, far);
        assert_eq!(Candidates::of(&led).udp, [far]);
        assert_eq!(led.matches("a=candidate").count(), 1);
        assert!(led.contains("m=audio") && led.ends_with("a=end-of-candidates\r\n"));
    }

    #[test]
    fn relays() {
        let relay = Relay::parse(
            "<turns:a.example:443?transport=tcp>; rel=\"ice-server\"; username=\"9:1\"; credential=\"ab+/=\"; credential-type=\"password\"",
        );
        let relay = relay.unwrap_or_else(|| panic!("a relay"));
        assert_eq!(
            (
                relay.host.as_str(),
                relay.port,
                relay.tls,
                relay.username.as_str(),
                relay.credential.as_str()
            ),
            ("a.example", 443, true, "9:1", "ab+/=")
        );
        for other in [
            "",
            "</x>; rel=\"next\"",
            "<stun:a.example>; rel=\"ice-server\"",
            "<turn:a.example>; rel=\"ice-server\"",
        ] {
            assert!(Relay::parse(other).is_none(), "{other}");
        }
    }
}
