//! `housecall probe`: the way it says it took, what it measures, what it says of what is wrong, and how it ends.

use std::fs::File;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpSocket;

use crate::server::{self, Server, text};

/// For a busy machine: three times as long, which is still less than the server waits for a connection.
const PATIENT: [&str; 4] = ["--seconds", "1", "--patience", "3"];

/// Nobody is to fail for a busy machine: what is measured is for whoever has a network.
const LENIENT: [&str; 8] = [
    "--seconds",
    "1",
    "--patience",
    "3",
    "--max-loss",
    "100",
    "--max-rtt-ms",
    "1000000",
];

/// A server and a link to a test room of its own, in a file.
struct House {
    server: Server,
    data: TempDir,
}

impl House {
    fn open(arguments: &[&str]) -> Self {
        let data = tempfile::tempdir().expect("a temporary directory");
        let server = Server::start_with(&data.path().join("data"), arguments);
        let house = Self { server, data };
        let link = server::command(&house.data.path().join("data"), &["ops", "probe-link"]);
        assert!(
            link.starts_with(&format!("{}/probe#hc_", house.server.origin())),
            "a link of this server"
        );
        std::fs::write(house.link_file(), link).expect("a file can be written");
        house
    }

    fn link_file(&self) -> std::path::PathBuf {
        self.data.path().join("link")
    }

    /// The secret is in nothing that is printed.
    fn probe(&self, arguments: &[&str]) -> Output {
        let link = File::open(self.link_file()).expect("the link");
        let output = server::run_reading(&[&["probe", "-"], arguments].concat(), Stdio::from(link));
        let link = std::fs::read_to_string(self.link_file()).expect("the link");
        let (_, secret) = link.trim().split_once('#').expect("a secret");
        for printed in [&output.stdout, &output.stderr] {
            assert!(!text(printed).contains(&secret[3..]), "the secret is printed");
        }
        output
    }

    fn json(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let output = self.probe(&[arguments, &["--json"]].concat());
        let printed = text(&output.stdout);
        assert_eq!(printed.lines().count(), 1, "{printed}{}", text(&output.stderr));
        (output.status.code(), serde_json::from_str(&printed).expect("JSON"))
    }
}

/// A certificate for localhost that is its own authority, and the configuration that uses it.
fn certified(directory: &Path) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let at = |name: &str| directory.join(name).display().to_string();
    std::fs::write(at("cert.pem"), made.cert.pem()).expect("a file can be written");
    std::fs::write(at("key.pem"), made.signing_key.serialize_pem()).expect("a file can be written");
    let settings = format!(
        "listen = \"127.0.0.1:0\"\n[tls]\ncert = \"{}\"\nkey = \"{}\"\n",
        at("cert.pem"),
        at("key.pem")
    );
    std::fs::write(at("housecall.toml"), settings).expect("a file can be written");
    (at("housecall.toml"), at("cert.pem"))
}

#[test]
fn every_way_is_taken_as_told_and_measured() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (settings, authority) = certified(directory.path());
    let house = House::open(&["--config", &settings]);
    // One link is good for four at a time.
    for ways in [&["udp", "tcp", "turn_udp"][..], &["turn_tcp", "turn_tls"]] {
        take(&house, &authority, ways);
    }
    let untrusting = house.probe(&LENIENT);
    let said = text(&untrusting.stdout);
    assert_eq!(untrusting.status.code(), Some(2), "{said}");
    assert!(
        said.starts_with("FAILED: there is no TLS with localhost port ") && said.contains("--ca"),
        "{said}"
    );
}

fn take(house: &House, authority: &str, ways: &[&str]) {
    std::thread::scope(|scope| {
        for way in ways {
            scope.spawn(move || {
                let (code, said) = house.json(&[&LENIENT[..], &["--path", *way, "--ca", authority]].concat());
                assert_eq!(
                    (code, &said["ok"], &said["reached"]),
                    (Some(0), &true.into(), &true.into()),
                    "{said}"
                );
                assert_eq!(said["path"], *way);
                for step in [
                    "dns",
                    "tcp",
                    "tls",
                    "session",
                    "signalling",
                    "transport",
                    "ice",
                    "dtls",
                    "first_packet",
                ] {
                    assert!(
                        said["timings_ms"][step].as_f64().is_some_and(|ms| ms >= 0.0),
                        "{step} in {said}"
                    );
                }
                let media = &said["media"];
                let packets = media["packets"].as_u64().expect("a number");
                assert!(
                    media["round"]["lost"].as_u64().is_some_and(|lost| lost < packets),
                    "{said}"
                );
                assert!(media["rtt_ms"]["median"].as_f64().is_some_and(|ms| ms > 0.0), "{said}");
            });
        }
    });
}

#[test]
fn a_table_metrics_and_an_exit_code_for_what_is_too_much() {
    let house = House::open(&["--listen", "127.0.0.1:0"]);
    let metrics = house.data.path().join("probe.prom").display().to_string();
    let arguments = [
        "--path",
        "udp",
        "--max-loss",
        "100",
        "--max-rtt-ms",
        "0",
        "--prometheus",
        &metrics,
    ];
    let slow = house.probe(&[&PATIENT[..], &arguments].concat());
    let table = text(&slow.stdout);
    assert_eq!(slow.status.code(), Some(1), "{table}{}", text(&slow.stderr));
    for line in [
        "path          udp\n",
        "round trip ",
        "loss up ",
        "loss down ",
        "WARNING: a packet takes ",
        "0 ms are allowed",
    ] {
        assert!(table.contains(line), "{line:?} in {table}");
    }
    assert!(
        text(&slow.stderr).contains("measuring for 1 s"),
        "progress is not among the figures"
    );
    let metrics = std::fs::read_to_string(metrics).expect("written");
    for line in [
        "housecall_probe_reached 1\n",
        "housecall_probe_ok 0\n",
        "housecall_probe_path{path=\"udp\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line:?} in {metrics}");
    }
}

#[test]
fn where_no_udp_gets_through_it_takes_the_next_way_and_says_which_were_blocked() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (settings, authority) = certified(directory.path());
    // Media is said to be at an address for documentation, where nobody is (RFC 5737); the relay over TLS has the name's.
    let written = std::fs::read_to_string(&settings).expect("written above");
    let written = format!("public_addresses = [\"192.0.2.1\"]\n{written}");
    std::fs::write(&settings, written).expect("a file can be written");
    let house = House::open(&["--config", &settings]);
    let output = house.probe(&[&LENIENT[..], &["--ca", &authority, "--json"]].concat());
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (output.status.code(), &said["path"]),
        (Some(0), &"turn_tls".into()),
        "{said}"
    );
    assert_eq!(said["blocked"], serde_json::json!(["udp", "tcp"]));
    // Where this machine has no way there at all, it says so at once; either way it says what to open.
    let progress = text(&output.stderr);
    let of_udp = progress.lines().skip_while(|line| *line != "media by udp ...").nth(1);
    assert!(
        of_udp.is_some_and(|said| said.contains("by udp") || said.contains("for udp")),
        "{progress}"
    );
    assert!(
        of_udp.is_some_and(|said| said.contains("in the firewalls on the way")),
        "{progress}"
    );
}

#[test]
fn what_leads_nowhere_is_said_in_one_sentence_with_an_action() {
    let house = House::open(&["--listen", "127.0.0.1:0"]);
    // Held, so that nobody else gets it, and not listened on.
    let held = TcpSocket::new_v4().expect("a socket");
    held.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let place = held.local_addr().expect("an address");
    let nobody = format!("http://{place}/probe#hc_{}", "x".repeat(43));
    let wrong = format!("{}/probe#hc_{}", house.server.origin(), "x".repeat(43));
    let person = house.server.after("Patient").to_owned();
    for (link, said) in [
        (nobody.as_str(), "nothing answers at TCP 127.0.0.1 port "),
        (&wrong, "the server does not take this link"),
        (&person, "this link is for people"),
        (&person.replace("/join#", "/probe#"), "this link is for people"),
        ("localhost", "this is no link of a test room"),
        (
            &wrong.replace("localhost", "nobody.invalid"),
            "nobody.invalid has no address",
        ),
    ] {
        let output = server::run(&[&["probe", link], &PATIENT[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{said}");
        let printed = text(&output.stdout);
        assert!(
            printed.starts_with(&format!("FAILED: {said}")) && printed.lines().count() == 1,
            "{printed}"
        );
    }

    // What was taken back opens nothing any more.
    let data = house.data.path().join("data");
    let link = std::fs::read_to_string(house.link_file()).expect("the link");
    let again = server::run(&["ops", "probe-link", "--data", &data.display().to_string()]);
    let hints = text(&again.stderr);
    let (_, visit) = hints.trim().rsplit_once("--visit ").expect("how to take it back");
    server::command(&data, &["visit", "revoke", "--visit", visit.trim()]);
    let taken = text(&again.stdout);
    let output = server::run(&[&["probe", taken.trim()], &PATIENT[..]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stdout).contains("does not take this link"),
        "{}",
        text(&output.stdout)
    );
    assert_ne!(taken.trim(), link.trim(), "each room has a link of its own");
    assert_eq!(
        house.probe(&LENIENT).status.code(),
        Some(0),
        "the other room is not touched"
    );
}

#[test]
fn a_probe_that_fails_itself_is_no_bad_way() {
    let nowhere = tempfile::tempdir()
        .expect("a temporary directory")
        .path()
        .join("gone/probe.prom");
    let output = server::run(&["probe", "localhost", "--prometheus", &nowhere.display().to_string()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stdout).starts_with("FAILED: this is no link"),
        "told before it is written"
    );
    for limit in ["nan", "inf", "-1"] {
        let output = server::run(&["probe", "localhost", &format!("--max-loss={limit}")]);
        assert!(
            text(&output.stderr).contains("a number that is not negative"),
            "{limit}"
        );
    }
}
