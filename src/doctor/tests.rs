//! Seeded misconfigurations are named, each by its check, and good set-ups get no word.

use super::*;
use crate::config::Written;

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 24 * 3_600;

fn config(text: &str) -> Config {
    Written::from_toml(text, "test")
        .and_then(Written::check)
        .expect("a configuration")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn certificate(names: &[&str]) -> Certificate {
    Certificate::Good {
        not_before: NOW - DAY,
        not_after: NOW + 60 * DAY,
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        chain: 2,
        is_root: false,
    }
}

/// A clinic on a machine of its own in the public internet, running.
fn clinic() -> Facts {
    Facts {
        config: config(
            "listen = \"0.0.0.0:443\"\npublic_url = \"https://visits.example.org\"\n[tls]\ncert = \"c.pem\"\nkey = \"k.pem\"",
        ),
        tcp: Port::Ours,
        udp: Port::Ours,
        certificate: certificate(&["visits.example.org"]),
        acme_trouble: None,
        own: vec![ip("127.0.0.1"), ip("192.88.98.7")],
        resolved: Some(vec![ip("192.88.98.7")]),
        relay_udp: Answer::Came,
        relay_tcp: Answer::Came,
        relay_tls: Answer::Came,
        now: NOW,
        data_written: Some(NOW - 60),
        data_writable: true,
        data_owner: None,
        disk_free: Some(20 << 30),
        socket_buffer: Some(212_992),
    }
}

fn acme() -> Tls {
    config("public_url = \"https://visits.example.org\"\n[tls.acme]\nterms_agreed = true").tls
}

fn with(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = clinic();
    change(&mut facts);
    facts
}

#[test]
fn good_set_ups_get_no_word() {
    let behind_proxy = with(|facts| {
        facts.config = config(
            "listen = \"127.0.0.1:8080\"\npublic_url = \"https://visits.example.org\"\ntrusted_proxies = [\"127.0.0.1\"]\npublic_addresses = [\"192.88.98.7\"]",
        );
        facts.certificate = Certificate::None;
        facts.relay_tls = Answer::NotAsked;
    });
    let behind_nat = with(|facts| {
        facts.config.public_addresses = vec![ip("192.88.98.7")];
        facts.own = vec![ip("10.0.0.5")];
    });
    let demo = with(|facts| {
        facts.config = config("");
        facts.certificate = Certificate::None;
        facts.resolved = None;
        (facts.tcp, facts.udp) = (Port::Free, Port::Free);
        (facts.relay_udp, facts.relay_tcp, facts.relay_tls) = (Answer::NotAsked, Answer::NotAsked, Answer::NotAsked);
        facts.data_written = None;
    });
    let wildcard_in_house = with(|facts| {
        facts.config = config(
            "listen = \"0.0.0.0:8443\"\npublic_url = \"https://visits.clinic.internal:8443\"\n[tls]\ncert = \"c.pem\"\nkey = \"k.pem\"",
        );
        facts.certificate = certificate(&["*.clinic.internal"]);
        facts.own = vec![ip("10.0.0.5")];
        facts.resolved = Some(vec![ip("10.0.0.5")]);
    });
    let by_acme = with(|facts| facts.config.tls = acme());
    let waiting_for_acme = with(|facts| {
        facts.config.tls = acme();
        facts.certificate = Certificate::Awaited;
    });
    for (name, facts) in [
        ("a clinic of its own", clinic()),
        ("with a certificate by ACME", by_acme),
        ("before the first certificate by ACME", waiting_for_acme),
        ("behind a proxy", behind_proxy),
        ("behind 1:1 NAT", behind_nat),
        ("a demo that does not run", demo),
        ("in house with a wildcard", wildcard_in_house),
    ] {
        assert_eq!(findings(&facts), [], "{name}");
    }
}

#[test]
fn each_misconfiguration_is_named_and_nothing_else() {
    let cases: Vec<(&str, &str, Facts)> = vec![
        (
            "port",
            "another program has TCP port 443",
            with(|facts| facts.tcp = Port::Taken),
        ),
        (
            "port",
            "another program has UDP port 443",
            with(|facts| facts.udp = Port::Taken),
        ),
        (
            "port",
            "may not open TCP port 443",
            with(|facts| facts.tcp = Port::Forbidden),
        ),
        (
            "port",
            "journalctl -u housecall.service",
            with(|facts| {
                let service = "housecall.service".to_owned();
                facts.tcp = Port::Kept { service };
                facts.udp = facts.tcp.clone();
            }),
        ),
        (
            "port",
            "no address 0.0.0.0",
            with(|facts| (facts.tcp, facts.udp) = (Port::NotHere, Port::NotHere)),
        ),
        (
            "public_url",
            "nobody has a certificate",
            with(|facts| {
                facts.config.tls = Tls::Off;
                facts.certificate = Certificate::None;
            }),
        ),
        (
            "public_url",
            "no camera",
            with(|facts| facts.config.public_url = Some("http://visits.example.org".to_owned())),
        ),
        (
            "listen",
            "set listen = \"0.0.0.0:443\"",
            with(|facts| facts.config.listen = "127.0.0.1:443".parse().expect("an address")),
        ),
        ("name", "make a DNS record", with(|facts| facts.resolved = None)),
        (
            "public_addresses",
            "set public_addresses = [\"192.88.98.7\"]",
            with(|facts| facts.own = vec![ip("10.0.0.5")]),
        ),
        (
            "public_addresses",
            "all of public_addresses are private",
            with(|facts| facts.config.public_addresses = vec![ip("10.0.0.5")]),
        ),
        (
            "port",
            "Chromium",
            with(|facts| {
                facts.own = vec![ip("10.0.0.5")];
                facts.resolved = Some(vec![ip("10.0.0.5")]);
            }),
        ),
        (
            "certificate",
            "it ended 3 days ago",
            with(|facts| facts.now += 63 * DAY),
        ),
        ("certificate", "it ends in 5 days", with(|facts| facts.now += 55 * DAY)),
        (
            "certificate",
            "it is not for visits.example.org",
            with(|facts| facts.certificate = certificate(&["www.example.org"])),
        ),
        (
            "certificate",
            "without its chain",
            with(|facts| {
                if let Certificate::Good { chain, .. } = &mut facts.certificate {
                    *chain = 1;
                }
            }),
        ),
        (
            "certificate",
            "is not that of the first certificate",
            with(|facts| {
                let mismatch = crate::TlsError::Mismatch {
                    cert: "c.pem".into(),
                    key: "k.pem".into(),
                };
                facts.certificate = Certificate::Unusable(mismatch.to_string());
            }),
        ),
        (
            "certificate",
            "self-signed",
            with(|facts| {
                facts.config.tls = Tls::SelfSigned;
                facts.certificate = Certificate::SelfSigned;
            }),
        ),
        (
            "acme",
            "no certificate for visits.example.org yet: connection refused; see that",
            with(|facts| {
                facts.config.tls = acme();
                facts.certificate = Certificate::Awaited;
                facts.acme_trouble = Some("connection refused".to_owned());
            }),
        ),
        (
            "acme",
            "not renewed and ends in 10 days: DNS problem",
            with(|facts| {
                facts.config.tls = acme();
                facts.now += 50 * DAY;
                facts.acme_trouble = Some("DNS problem".to_owned());
            }),
        ),
        (
            "acme",
            "start the server",
            with(|facts| {
                facts.config.tls = acme();
                facts.now += 70 * DAY;
            }),
        ),
        (
            "acme",
            "public_url names port 8443",
            with(|facts| {
                facts.config.tls = acme();
                facts.config.public_url = Some("https://visits.example.org:8443".to_owned());
            }),
        ),
        (
            "turn.relay",
            "direct path",
            with(|facts| facts.config.relay = Relay::HandOverUdp),
        ),
        (
            "turn.relay",
            "lets only TLS out",
            with(|facts| facts.config.relay = Relay::Off),
        ),
        (
            "relay",
            "over UDP on port 443",
            with(|facts| facts.relay_udp = Answer::Missing),
        ),
        (
            "relay",
            "over TLS on port 443",
            with(|facts| facts.relay_tls = Answer::Missing),
        ),
        ("data", "cannot write", with(|facts| facts.data_writable = false)),
        (
            "user",
            "sudo -u housecall housecall doctor",
            with(|facts| {
                facts.data_writable = false;
                facts.data_owner = Some("housecall".to_owned());
            }),
        ),
        (
            "disk",
            "100 MiB are left",
            with(|facts| facts.disk_free = Some(100 << 20)),
        ),
        (
            "clock",
            "set the clock right",
            with(|facts| facts.data_written = Some(NOW + 4_000)),
        ),
        (
            "kernel",
            "net.core.rmem_max",
            with(|facts| facts.socket_buffer = Some(65_536)),
        ),
    ];
    assert!(cases.len() >= 12);
    for (check, part, facts) in cases {
        let found = findings(&facts);
        assert_eq!(found.len(), 1, "{check}, {part}: {found:?}");
        assert_eq!(found[0].check, check, "{found:?}");
        let sentence = &found[0].sentence;
        assert!(sentence.contains(part), "{sentence}");
        assert!(sentence.ends_with('.') && !sentence.contains('\n'), "{sentence}");
    }
}

#[test]
fn ports_that_systemd_has_are_known_by_their_service() {
    let listed = "/run/systemd/journal/dev-log Datagram systemd-journald-dev-log.socket systemd-journald.service
[::]:1443                    Stream   other.socket                    other.service
[::]:443                     Stream   housecall.socket                housecall.service
127.0.0.1:631                Stream   cups.socket                     cups.service
";
    let keeper = |kind, port| facts::keeper(listed, kind, port);
    assert_eq!(keeper("Stream", 443).as_deref(), Some("housecall.service"));
    assert_eq!(keeper("Stream", 631).as_deref(), Some("cups.service"));
    assert_eq!(keeper("Datagram", 443), None, "that is another program's");
    assert_eq!(facts::keeper("", "Stream", 443), None);
}

#[tokio::test]
async fn a_machine_can_be_looked_at_while_nothing_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    // At an address of loopback where nobody else takes ports, on TCP or UDP.
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let own = std::net::Ipv4Addr::new(127, 128 | (high & 63), middle, low);
    let listener = std::net::TcpListener::bind((own, 0)).expect("a port");
    let listen = listener.local_addr().expect("bound");
    let text = format!(
        "listen = \"{listen}\"\ndata_dir = \"{}\"",
        folder.path().join("new").display()
    );
    let taken = gather(&config(&text)).await;
    assert_eq!(taken.tcp, Port::Taken, "a program that does not answer as we do");
    drop(listener);
    let free = gather(&config(&text)).await;
    assert_eq!((free.tcp, free.udp), (Port::Free, Port::Free));
    assert!(free.data_writable && free.disk_free.is_some_and(|bytes| bytes > 0) && !free.own.is_empty());
    assert_eq!((free.relay_udp, free.relay_tls), (Answer::NotAsked, Answer::NotAsked));
    assert!(!folder.path().join("new").exists(), "the doctor makes nothing");
}

#[test]
fn names_in_certificates_stand_for_hosts() {
    for (name, host, expected) in [
        ("visits.example.org", "visits.example.org", true),
        ("Visits.Example.org", "visits.example.org", true),
        ("*.example.org", "visits.example.org", true),
        ("*.example.org", "a.visits.example.org", false),
        ("*.example.org", "example.org", false),
        ("192.0.2.1", "192.0.2.1", true),
    ] {
        assert_eq!(covers(name, host), expected, "{name} for {host}");
    }
}
