//! Sockets from a service manager, as systemd passes them: file descriptors from 3 on, `LISTEN_FDS`, `NOTIFY_SOCKET`. Where the test may, it
//! opens ports below 1024 and takes every capability from the program.

use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::server::{PATIENCE, Server, own_address, text};
use crate::tls::{self, Visitor};

/// Opens sockets, puts them where systemd puts them, and becomes the program. Perl, for it is part of every Debian, and this takes calls
/// that safe Rust has not. Arguments: their address, sockets like `tcp:443`, `--`, the program.
const LAUNCHER: &str = r#"
use strict; use Socket; use POSIX ();
my ($address, $to, @kept) = (shift @ARGV, 100);
while (@ARGV and (my $wanted = shift @ARGV) ne "--") {
    my ($kind, $port) = split /:/, $wanted;
    my $type = $kind eq "tcp" ? SOCK_STREAM : SOCK_DGRAM;
    socket(my $socket, PF_INET, $type, 0) or die "socket: $!";
    setsockopt($socket, SOL_SOCKET, SO_REUSEADDR, pack("l", 1)) if $kind eq "tcp";
    bind($socket, sockaddr_in($port, inet_aton($address))) or die "bind $wanted: $!";
    listen($socket, 128) or die "listen: $!" if $kind eq "tcp";
    POSIX::dup2(fileno($socket), $to++) or die "dup2: $!";
    push @kept, $socket;
}
my $count = $to - 100;
for my $index (0 .. $count - 1) {
    POSIX::dup2(100 + $index, 3 + $index) or die "dup2: $!";
    POSIX::close(100 + $index);
}
$ENV{LISTEN_PID} = $$;
$ENV{LISTEN_FDS} = $count;
exec @ARGV or die "exec: $!";
"#;

/// Takes every capability away, also from root.
const POWERLESS: [&str; 4] = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"];

/// Whether [`POWERLESS`] works here.
fn can_be_powerless() -> bool {
    let tried = Command::new(POWERLESS[0]).args(&POWERLESS[1..]).arg("true").output();
    tried.is_ok_and(|output| output.status.success())
}

/// Two ports that nobody has, on TCP and UDP of our own address: below 1024 if that is allowed.
fn two_ports(low: bool) -> (u16, u16) {
    let (first, count) = if low { (600, 400) } else { (30_000, 2_000) };
    let offset = u16::try_from(std::process::id() % u32::from(count)).expect("small");
    let mut free = (0..count).map(|step| first + (offset + step) % count).filter(|port| {
        let address = (own_address(), *port);
        TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
    });
    let mut next = || free.next().expect("a free port");
    (next(), next())
}

/// The program behind the launcher.
fn launched(sockets: &[String], powerless: bool, arguments: &[&str]) -> Command {
    let mut command = Command::new("perl");
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
        .args(["-e", LAUNCHER])
        .arg(own_address().to_string())
        .args(sockets)
        .arg("--");
    if powerless {
        command.args(POWERLESS);
    }
    command
        .arg(env!("CARGO_BIN_EXE_housecall"))
        .arg("serve")
        .args(arguments);
    command
}

fn settings(folder: &Path) -> String {
    let path = folder.join("housecall.toml");
    std::fs::write(
        &path,
        "public_url = \"https://visits.example.org\"\n[tls]\nself_signed = true\n",
    )
    .expect("written");
    path.display().to_string()
}

#[tokio::test]
async fn sockets_of_a_service_manager_are_served_without_any_privilege() {
    let folder = tempfile::tempdir().expect("a folder");
    let powerless = can_be_powerless();
    let low = powerless
        && TcpListener::bind((own_address(), 1_023)).is_ok_and(|_| UdpSocket::bind((own_address(), 1_022)).is_ok());
    let (port, further) = two_ports(low);
    let notified = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
    notified.set_read_timeout(Some(PATIENCE)).expect("set");
    let word = || {
        let mut buffer = [0; 256];
        let len = notified.recv(&mut buffer).expect("a word in time");
        text(&buffer[..len])
    };

    let sockets = [format!("tcp:{port}"), format!("tcp:{further}"), format!("udp:{port}")];
    let (settings, listen) = (settings(folder.path()), format!("{}:{port}", own_address()));
    let data = folder.path().join("data").display().to_string();
    let arguments = ["--config", &settings, "--listen", &listen, "--data", &data];
    let mut command = launched(&sockets, powerless, &arguments);
    let server = Server::spawn(command.env("NOTIFY_SOCKET", folder.path().join("notify")));
    assert_eq!(server.address(), listen);
    assert_eq!(word().trim(), "READY=1");

    let visitor = Visitor::new(&listen, "visits.example.org", None);
    tls::is_served(&mut visitor.connect().await.expect("a handshake")).await;
    tls::is_challenged(&mut visitor.connect().await.expect("a handshake")).await;
    tls::is_challenged_over_udp(&listen).await;
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let client = client.build().expect("a client");
    let answer = client.get(format!("http://{}:{further}/join", own_address())).send();
    let answer = answer.await.expect("the further port answers");
    assert_eq!(answer.headers()["location"], "https://visits.example.org/join");

    server.terminate();
    assert_eq!(word().trim(), "STOPPING=1");
    assert!(server.ended().success());
}

#[test]
fn sockets_that_do_not_fit_are_refused_with_a_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings(folder.path());
    let data = folder.path().join("data").display().to_string();
    let (port, other) = two_ports(false);
    let (tcp, udp) = (format!("tcp:{port}"), format!("udp:{port}"));
    for (sockets, listen, says) in [
        (vec![tcp.clone()], port, "no UDP socket"),
        (vec![udp.clone()], port, &*format!("no TCP socket for port {port}")),
        (
            vec![tcp.clone(), udp.clone(), format!("udp:{other}")],
            port,
            "2 UDP sockets for 1 media.shards",
        ),
        (vec![tcp, udp], other, &*format!("`listen` names port {other}")),
    ] {
        let listen = format!("{}:{listen}", own_address());
        let arguments = ["--config", &settings, "--listen", &listen, "--data", &data];
        let Output { status, stderr, .. } = launched(&sockets, false, &arguments).output().expect("started");
        let said = text(&stderr);
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains(says) && said.contains("housecall.socket"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
