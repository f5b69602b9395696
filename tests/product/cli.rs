//! The command line: what it prints, what it refuses, and how it ends.

use std::fs::File;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::server::{self, Server, text};

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory can be made")
}

fn directory_name(directory: &tempfile::TempDir) -> String {
    directory.path().display().to_string()
}

#[test]
fn a_start_prints_links_ports_and_what_to_do_next() {
    let data = directory();
    let server = Server::start(data.path());
    let port = server.address().rsplit(':').next().expect("an address has a port");
    assert_eq!(server.origin(), format!("http://localhost:{port}"));
    assert!(
        server.after("Listening").contains(&format!("UDP 127.0.0.1:{port}")),
        "one port number for both"
    );
    assert_eq!(server.after("Data"), data.path().display().to_string());
    assert_ne!(server.token("Clinician"), server.token("Patient"));
    assert!(
        server
            .after("Open the clinician's link")
            .contains("the patient's link in another")
    );
}

#[test]
fn links_of_an_earlier_start_differ_from_those_of_the_next() {
    let data = directory();
    let first = Server::start(data.path()).token("Patient").to_owned();
    let second = Server::start(data.path()).token("Patient").to_owned();
    assert_ne!(first, second);
}

#[test]
fn a_taken_port_is_said_in_one_sentence_with_an_action() {
    let data = directory();
    // Each is taken on one transport and free on the other.
    let own = server::own_address();
    let tcp = TcpListener::bind((own, 0)).expect("a free port");
    let udp = UdpSocket::bind((own, 0)).expect("a free port");
    for (transport, taken) in [("TCP", tcp.local_addr()), ("UDP", udp.local_addr())] {
        let taken = taken.expect("a bound socket has an address");
        let output = server::run(&["--listen", &taken.to_string(), "--data", &directory_name(&data)]);
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(
            said.contains(&format!("{transport} port {} is taken", taken.port())),
            "{said}"
        );
        assert!(said.contains(&format!("housecall serve --listen {own}:")), "{said}");
        assert!(output.stdout.is_empty(), "nothing runs, so nothing says so");
    }
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let data = directory();
    let _first = Server::start(data.path());
    let output = server::run(&["--listen", "127.0.0.1:0", "--data", &directory_name(&data)]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains("another Housecall serves") && said.contains("--data DIR"),
        "{said}"
    );
}

/// A newer program that is started by mistake beside an older one must not bring its database up to date before it is refused.
#[test]
fn a_second_server_does_not_touch_what_is_stored() {
    let data = directory();
    let inside = data.path().join("data");
    drop(Server::start(&inside));
    let mode = std::fs::metadata(&inside).expect("it was made").permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "for its owner alone");

    // Of the first server only the lock is left: all else that is there afterwards was made by the second.
    for entry in std::fs::read_dir(&inside).expect("readable") {
        std::fs::remove_file(entry.expect("readable").path()).expect("removable");
    }
    let lock = File::create(inside.join("server.lock")).expect("writable");
    lock.lock().expect("nobody has it any more");
    let output = server::run(&["--listen", "127.0.0.1:0", "--data", &inside.display().to_string()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("another Housecall serves"));
    let left: Vec<_> = std::fs::read_dir(&inside).expect("readable").collect();
    assert_eq!(left.len(), 1, "the lock and nothing else: {left:?}");
    assert_eq!(lock.metadata().expect("readable").len(), 0);
}

#[test]
fn a_wrong_configuration_is_refused_by_key() {
    let data = directory();
    let file = data.path().join("wrong.toml");
    std::fs::write(&file, "[media]\nshards = 0\n").expect("a file can be written");
    let output = server::run(&["--config", &file.display().to_string()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "housecall: media.shards: 0 is out of range. Set it to a number from 1 to 64.\n"
    );
}

#[test]
fn a_configured_server_has_no_demo_clinic_and_says_how_to_make_visits() {
    let data = directory();
    let file = data.path().join("housecall.toml");
    std::fs::write(&file, "listen = \"127.0.0.1:0\"\n").expect("a file can be written");
    let server = Server::start_with(data.path(), &["--config", &file.display().to_string()]);
    assert!(
        !server.printed.iter().any(|line| line.contains("#hc_")),
        "{:?}",
        server.printed
    );
    assert!(server.after("housecall visit create").contains("--data"));
}

#[test]
fn visits_are_made_beside_a_running_server() {
    let data = directory();
    let _server = Server::start(data.path());
    let plain = server::command(data.path(), &["visit", "create", "--in-minutes", "30"]);
    let json: Value =
        serde_json::from_str(&server::command(data.path(), &["visit", "create", "--json"])).expect("JSON");
    let visit = json["visit"].as_str().expect("a visit id");
    assert_ne!(plain, visit);
    let mut tokens = Vec::new();
    for role in ["clinician", "patient", "guest"] {
        tokens.push(server::command(
            data.path(),
            &[
                "token",
                "--visit",
                visit,
                "--role",
                role,
                "--name",
                "Ann Example",
                "--ttl",
                "2h",
            ],
        ));
    }
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 3, "each token is its own");
}

#[tokio::test]
async fn links_are_taken_back_beside_a_running_server() {
    let data = directory();
    let server = Server::start(data.path());
    let visit = server::command(data.path(), &["visit", "create"]);
    let [first, second] =
        ["guest", "clinician"].map(|role| server::command(data.path(), &["token", "--visit", &visit, "--role", role]));
    let exchange = async |token: &str| {
        let url = format!("{}/api/session", server.origin());
        let request = reqwest::Client::new()
            .post(url)
            .json(&serde_json::json!({ "token": token }));
        request.send().await.expect("the server answers").status().as_u16()
    };
    assert_eq!((exchange(&first).await, exchange(&second).await), (200, 200));
    let revoke = ["visit", "revoke", "--visit", &visit];
    assert_eq!(server::command(data.path(), &revoke), "2", "so many links");
    assert_eq!((exchange(&first).await, exchange(&second).await), (404, 404));
    assert_eq!(server::command(data.path(), &revoke), "0");
    assert_eq!(exchange(server.token("Patient")).await, 200, "another visit's");

    let unknown = "00000000-0000-4000-8000-000000000000";
    let output = server::run(&["visit", "revoke", "--visit", unknown, "--data", &directory_name(&data)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("no such visit"),
        "{}",
        text(&output.stderr)
    );
}

/// The most common mistake: the server's data is elsewhere. A directory made here would hold visits that no server knows.
#[test]
fn commands_make_no_data_directory() {
    let here = directory();
    let unknown = "00000000-0000-4000-8000-000000000000";
    let commands: [&[&str]; 3] = [
        &["visit", "create"],
        &["token", "--visit", unknown, "--role", "patient"],
        &["visit", "revoke", "--visit", unknown],
    ];
    for arguments in commands {
        for data in [None, Some("elsewhere")] {
            let mut command = server::housecall();
            command.args(arguments).current_dir(here.path());
            command.args(data.map(|data| ["--data", data]).into_iter().flatten());
            let output = command.output().expect("the program can be started");
            assert_eq!(output.status.code(), Some(1));
            assert!(output.stdout.is_empty());
            let said = text(&output.stderr);
            let meant = here.path().join(data.unwrap_or("housecall-data"));
            for part in [&*meant.display().to_string(), "nothing is stored", "--data DIR"] {
                assert!(said.contains(part), "{arguments:?}: {said}");
            }
            let left: Vec<_> = std::fs::read_dir(here.path()).expect("readable").collect();
            assert!(left.is_empty(), "{arguments:?} made {left:?}");
        }
    }
    std::fs::create_dir(here.path().join("housecall-data")).expect("a directory can be made");
    let output = server::housecall()
        .args(["visit", "create"])
        .current_dir(here.path())
        .output();
    assert_eq!(output.expect("the program can be started").status.code(), Some(1));
    let inside: Vec<_> = std::fs::read_dir(here.path().join("housecall-data"))
        .expect("readable")
        .collect();
    assert!(inside.is_empty(), "an empty directory stays so: {inside:?}");
}

#[tokio::test]
async fn what_a_command_was_asked_for_is_all_of_its_output() {
    let data = directory();
    let server = Server::start(data.path());
    let place = ["--data", &directory_name(&data)];
    let made = server::run(&[&["visit", "create", "--at", "2099-01-01T00:00Z"], &place[..]].concat());
    assert_eq!(made.status.code(), Some(1), "that is too far away");
    assert!(text(&made.stderr).contains("two years"), "{}", text(&made.stderr));

    let made = server::run(&[&["visit", "create", "--in-minutes", "90"], &place[..]].concat());
    let (visit, hints) = (text(&made.stdout), text(&made.stderr));
    let visit = visit.strip_suffix('\n').expect("one line");
    assert_eq!(visit.len(), 36, "an id alone: {visit}");
    for role in ["clinician", "patient"] {
        let next = format!("housecall token --data {} --visit {visit} --role {role}", place[1]);
        assert!(hints.contains(&next), "{next} is not in {hints}");
    }

    let link = format!("{}/join#", server.origin());
    assert!(hints.contains(&link), "{link} is not in {hints}");

    let json = server::run(&[&["visit", "create", "--json"], &place[..]].concat());
    assert!(text(&json.stderr).is_empty(), "programs need no hints");

    let minted = server::run(&[&["token", "--visit", visit, "--role", "patient"], &place[..]].concat());
    let (token, hints) = (text(&minted.stdout), text(&minted.stderr));
    let token = token.strip_suffix('\n').expect("one line");
    assert!(
        token.starts_with("hc_") && !token.contains(char::is_whitespace),
        "a token alone"
    );
    assert!(!hints.contains(token), "the secret is printed once");
    let whole = server::run(&[&["token", "--visit", visit, "--role", "patient", "--link"], &place[..]].concat());
    let (whole, hints) = (text(&whole.stdout), text(&whole.stderr));
    let secret = whole.trim_end().strip_prefix(&link).expect("a link");
    assert!(
        secret.starts_with("hc_") && !hints.contains(secret),
        "the secret is printed once"
    );
    let url = format!("{}/api/session", server.origin());
    let request = reqwest::Client::new()
        .post(url)
        .json(&serde_json::json!({ "token": token }));
    let session: Value = request.send().await.expect("an answer").json().await.expect("JSON");
    let ends_at: jiff::Timestamp = session["visit"]["ends_at"]
        .as_str()
        .expect("an instant")
        .parse()
        .expect("RFC 3339");
    let until = ends_at + jiff::SignedDuration::from_hours(12);
    let until = until.strftime("It works until %Y-%m-%d %H:%M (UTC).").to_string();
    assert!(hints.contains(&until), "{until} is not in {hints}");

    let short = server::run(
        &[
            &["token", "--visit", visit, "--role", "guest", "--ttl", "1h"],
            &place[..],
        ]
        .concat(),
    );
    assert!(
        text(&short.stderr).contains("give it a longer --ttl"),
        "{}",
        text(&short.stderr)
    );

    server.kill();
    let made = server::run(&[&["visit", "create"], &place[..]].concat());
    assert!(made.status.success());
    assert!(text(&made.stderr).contains("No server uses"), "{}", text(&made.stderr));
}

#[test]
fn a_visit_starts_by_the_clinics_clocks() {
    let data = directory();
    let file = data.path().join("housecall.toml");
    let config = "listen = \"127.0.0.1:0\"\n[clinic]\ntime_zone = \"America/Vancouver\"\n";
    std::fs::write(&file, config).expect("a file can be written");
    let file = file.display().to_string();
    let _server = Server::start_with(data.path(), &["--config", &file]);
    let tomorrow = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    let vancouver = tomorrow
        .in_tz("America/Vancouver")
        .expect("a zone of the bundled database");
    let shown = vancouver.strftime("%Y-%m-%dT%H:%M").to_string();
    for at in [shown, tomorrow.strftime("%Y-%m-%dT%H:%MZ").to_string()] {
        let json = server::command(
            data.path(),
            &["visit", "create", "--json", "--config", &file, "--at", &at],
        );
        let json: Value = serde_json::from_str(&json).expect("JSON");
        let expected = tomorrow.strftime("%Y-%m-%dT%H:%M:00Z").to_string();
        assert_eq!(json["starts_at"], *expected, "{at}");
        assert_eq!(json["time_zone"], "America/Vancouver");
    }
}

/// A newer program beside an older server must not bring the database up to date under its feet (docs/decisions/0004).
#[test]
fn a_command_of_a_newer_version_leaves_a_running_servers_data_alone() {
    let data = directory();
    let server = Server::start(data.path());
    let database = rusqlite::Connection::open(data.path().join("housecall.sqlite3")).expect("it was made");
    // As an older server has it: the newest migration is not there yet.
    let newest = "DELETE FROM schema_migrations WHERE version = (SELECT MAX(version) FROM schema_migrations)";
    assert_eq!(database.execute(newest, []).expect("the test's edit"), 1);
    let visits = || -> i64 {
        database
            .query_row("SELECT COUNT(*) FROM visits", [], |row| row.get(0))
            .expect("readable")
    };
    let before = visits();
    let output = server::run(&["visit", "create", "--data", &directory_name(&data)]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains("is an older version of Housecall") && said.contains("Restart the server"),
        "{said}"
    );
    assert_eq!(visits(), before);
    drop(server);
}

#[test]
fn a_proxy_that_is_not_listed_is_warned_about() {
    let data = directory();
    let file = data.path().join("housecall.toml");
    for (proxies, warned) in [("", true), ("trusted_proxies = [\"127.0.0.1\"]\n", false)] {
        let config = format!("listen = \"0.0.0.0:0\"\npublic_url = \"https://visits.example.org\"\n{proxies}");
        std::fs::write(&file, config).expect("a file can be written");
        let log = data.path().join("log");
        let output = File::create(&log).expect("a file can be made");
        let server = Server::start_logged_with(data.path(), &["--config", &file.display().to_string()], output);
        server.terminate();
        assert!(server.ended().success());
        let log = std::fs::read_to_string(&log).expect("the log is text");
        assert_eq!(log.contains("trusted_proxies is empty"), warned, "{log}");
    }
}

#[test]
fn a_token_for_a_visit_that_is_not_there_is_refused() {
    let data = directory();
    let _server = Server::start(data.path());
    for visit in ["7", "00000000-0000-4000-8000-000000000000"] {
        let output = server::run(&[
            "token",
            "--role",
            "guest",
            "--visit",
            visit,
            "--data",
            &directory_name(&data),
        ]);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        assert!(
            text(&output.stderr).contains("`housecall visit create` makes one"),
            "{}",
            text(&output.stderr)
        );
    }
}

#[test]
fn a_stop_request_ends_it_cleanly() {
    let data = directory();
    let server = Server::start(data.path());
    server.terminate();
    assert!(server.ended().success());
}
