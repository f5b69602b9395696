//! The public relay (`turn.relay = "public"`) under clients of other projects: Debian's coturn has some, crates.io has one, and PyPI one with ICE
//! around it.

use std::net::{SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use housecall_turn::{Credentials, Secret, UnixSeconds};
use turn::client::{Client, ClientConfig};
use webrtc_util::Conn;

use crate::server::{PATIENCE, Server, own_address};

const SECRET: &str = "00112233445566778899aabbccddeeff";

/// What comes in time.
async fn within<T>(what: &str, coming: impl Future<Output = T>) -> T {
    let Ok(came) = tokio::time::timeout(PATIENCE, coming).await else {
        panic!("{what}: nothing for {} s", PATIENCE.as_secs())
    };
    came
}

/// Ports near one that nobody has now. Should somebody take some of them, the relay passes over those.
fn ports() -> RangeInclusive<u16> {
    let free = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let first = free.expect("a free port").port().min(u16::MAX - 999);
    first..=first + 999
}

/// A server with a public relay on loopback, which reaches loopback.
fn relay(directory: &Path) -> (Server, SocketAddr) {
    let secret = directory.join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).expect("written");
    let (first, last) = ports().into_inner();
    let config = format!(
        r#"
        listen = "127.0.0.1:0"
        [turn]
        relay = "public"
        listen = "127.0.0.1:0"
        secret_file = {secret:?}
        addresses = ["127.0.0.1"]
        ports = [{first}, {last}]
        answer_stun = true
        allow_peers = ["127.0.0.0/8"]
        [tls]
        self_signed = true
        "#
    );
    let file = directory.join("housecall.toml");
    std::fs::write(&file, config).expect("written");
    let file = file.display().to_string();
    let server = Server::start_with(&directory.join("data"), &["--config", &file]);
    let address = server.after("Relay      TURN").split(' ').next().expect("an address");
    let address = address.parse().expect("an address");
    (server, address)
}

/// Whether a program is there. `HOUSECALL_TEST_TURNUTILS=required` means that it has to be.
fn has(program: &str) -> bool {
    // Looked for and not called: some of them would run for ever.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    let is_required = std::env::var("HOUSECALL_TEST_TURNUTILS").is_ok_and(|value| value == "required");
    assert!(found || !is_required, "{program} is missing (Debian: coturn)");
    found
}

/// Username and password, good for a while.
fn credentials() -> Credentials {
    let expires = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs() + 600;
    Secret::new(SECRET.as_bytes()).mint("clinic", UnixSeconds(expires))
}

/// `turnutils_peer`, which sends back what it gets.
struct Echo {
    process: Child,
    address: SocketAddr,
}

impl Echo {
    fn start() -> Self {
        let probe = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let soon = Some(Duration::from_millis(200));
        probe.set_read_timeout(soon).expect("a timeout");
        let free = UdpSocket::bind((own_address(), 0)).and_then(|socket| socket.local_addr());
        let address = free.expect("a free port");
        // Should this test be killed, it ends by itself.
        let process = Command::new("timeout")
            .args([
                "300",
                "turnutils_peer",
                "-L",
                &address.ip().to_string(),
                "-p",
                &address.port().to_string(),
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it can be started");
        let echo = Self { process, address };
        let began = Instant::now();
        // Until it listens, this is refused or lost.
        while probe.send_to(b"there?", address).is_err() || probe.recv(&mut [0; 64]).is_err() {
            assert!(began.elapsed() < PATIENCE, "turnutils_peer does not answer");
        }
        echo
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // It is gone already, or `timeout` ends it: that passes on what it is told, unless it is killed itself.
        let told = Command::new("kill")
            .args(["-TERM", &self.process.id().to_string()])
            .status();
        if told.is_ok_and(|status| status.success()) {
            let _ = self.process.wait();
        }
    }
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new("timeout")
        .args(["-k", "5", &PATIENCE.as_secs().to_string(), program])
        .args(arguments)
        .output()
        .expect("it can be started");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn coturns_stun_client_is_told_its_address() {
    if !has("turnutils_stunclient") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let (_server, relay) = relay(directory.path());
    let said = output("turnutils_stunclient", &["-p", &relay.port().to_string(), "127.0.0.1"]);
    assert!(said.contains("UDP reflexive addr: 127.0.0.1:"), "{said}");
}

// In Send and Data indications (-s): for channels this client takes numbers above 0x4FFF, which RFC 8656 has taken away (section 12).
#[test]
fn coturns_client_relays_to_coturns_peer_by_udp_tcp_and_tls() {
    if !has("turnutils_uclient") || !has("turnutils_peer") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let (_server, relay) = relay(directory.path());
    let echo = Echo::start();
    let credentials = credentials();
    // Over TLS it tries versions at random until one of them is spoken here, and takes each record for one message: where two have come
    // together it waits for the second one. So each of its clients gets one only.
    for (transport, flags, each) in [("UDP", &[][..], 10), ("TCP", &["-t"], 10), ("TLS", &["-t", "-S"], 1)] {
        let (messages, all) = (each.to_string(), 2 * each);
        let (port, peer) = (
            relay.port().to_string(),
            (echo.address.ip().to_string(), echo.address.port().to_string()),
        );
        let what = [
            "-s", "-c", "-n", &messages, "-m", "2", "-X", "-p", &port, "-e", &peer.0, "-r", &peer.1,
        ];
        let who = ["-u", &credentials.username, "-w", &credentials.password, "127.0.0.1"];
        let said = output("turnutils_uclient", &[flags, &what, &who].concat());
        let wanted = format!("tot_send_msgs={all}, tot_recv_msgs={all}\n");
        assert!(said.contains(&wanted), "{transport}: {said}");
    }
}

#[tokio::test]
async fn the_client_of_another_project_relays_in_channels_by_udp() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_server, relay) = relay(directory.path());
    let credentials = credentials();
    let client = Client::new(ClientConfig {
        stun_serv_addr: relay.to_string(),
        turn_serv_addr: relay.to_string(),
        username: credentials.username,
        password: credentials.password,
        realm: String::new(),
        software: String::new(),
        rto_in_ms: 0,
        conn: Arc::new(tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket")),
        vnet: None,
    })
    .await
    .expect("a client");
    client.listen().await.expect("listening");
    let relayed = within("an allocation", client.allocate()).await.expect("an allocation");
    let address = relayed.local_addr().expect("an address");
    let peer = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let to = peer.local_addr().expect("bound");
    let mut buffer = [0; 2_048];
    // The first ones go in indications, until its channel is bound.
    for number in 0..50_u16 {
        let payload: Vec<u8> = (0..number * 20).map(|byte| byte as u8).collect();
        let what = format!("payload {number}");
        within(&what, relayed.send_to(&payload, to)).await.expect("sent");
        let (len, from) = within(&what, peer.recv_from(&mut buffer)).await.expect("received");
        assert_eq!((from, &buffer[..len]), (address, &payload[..]));
        peer.send_to(&payload, from).await.expect("sent");
        let (len, from) = within(&what, relayed.recv_from(&mut buffer)).await.expect("received");
        assert_eq!((from, &buffer[..len]), (to, &payload[..]));
    }
}

/// A Python that has aioice, where `HOUSECALL_TEST_AIOICE` names one. (`test.sh` makes it, of `tests/product/aioice/requirements.txt`, or says that it
/// could not.)
fn aioice() -> Option<String> {
    std::env::var("HOUSECALL_TEST_AIOICE").ok()
}

#[test]
fn agents_of_aioice_meet_at_relayed_candidates_by_udp_tcp_and_tls() {
    let Some(python) = aioice() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let (_server, relay) = relay(directory.path());
    let (host, port) = (relay.ip().to_string(), relay.port().to_string());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/product/aioice/meet.py");
    let Credentials { username, password } = credentials();
    for transport in ["udp", "tcp", "tls"] {
        let said = output(&python, &[script, &host, &port, &username, &password, transport]);
        assert!(
            said.contains("50 messages each way"),
            "{transport}, by {python} with aioice: {said}"
        );
    }
}
