//! A certificate by ACME from a real authority: Pebble, which Let's Encrypt made for tests of clients, as Debian has it. It looks at our
//! port by itself, and its certificates live for seconds, so that renewals can be seen.

use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::time::{Instant, sleep};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use crate::server::{self, PATIENCE, Server, text};
use crate::tls::{self, Visitor};

const NAME: &str = "visits.example.org";

/// Seconds that a certificate lives; it is renewed after two thirds of them.
const LIFE: u32 = 15;

/// A port that nobody has, on TCP and UDP, and none that the kernel gives to those who ask for any.
fn free_port() -> u16 {
    let first = u16::try_from(std::process::id() % 10_000).expect("small");
    (0..10_000_u16)
        .map(|step| 20_000 + (first + step * 7) % 10_000)
        .find(|port| {
            let address = ("127.0.0.1", *port);
            TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
        })
        .expect("a free port")
}

/// Processes that end with the test.
struct Helper(Child);

impl Helper {
    fn start(command: &mut Command) -> std::io::Result<Self> {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        quiet.spawn().map(Self)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The authority, and the names it believes in: all of them lead to this machine.
struct Authority {
    _names: Helper,
    _pebble: Helper,
    directory: String,
    management: String,
    /// What its own HTTPS is to be checked with.
    root: std::path::PathBuf,
}

impl Authority {
    /// Starts one that looks for servers at `port`.
    fn start(folder: &Path, port: u16) -> std::io::Result<Self> {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a root");
        let key = KeyPair::generate().expect("a key");
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.signed_by(&key, &issuer).expect("signed");
        let file = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).map(|()| path)
        };
        let root = file("root.pem", &issuer.pem())?;
        // Each is taken before the next is looked for, and that of the server as well.
        let mut taken = vec![TcpListener::bind(("127.0.0.1", port))?];
        let mut next = || -> std::io::Result<u16> {
            let port = free_port();
            taken.push(TcpListener::bind(("127.0.0.1", port))?);
            Ok(port)
        };
        let (directory, management, dns, control) = (next()?, next()?, next()?, next()?);
        drop(taken);
        let settings = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{directory}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": file("cert.pem", &certificate.pem())?,
            "privateKey": file("key.pem", &key.serialize_pem())?,
            "httpPort": 1,
            "tlsPort": port,
            "certificateValidityPeriod": LIFE,
        }});
        let settings = file("pebble.json", &settings.to_string())?;
        let none = ["-http01=", "-https01=", "-tlsalpn01=", "-defaultIPv6="];
        let names = Helper::start(
            Command::new("pebble-challtestsrv")
                .args(none)
                .arg(format!("-dns01=127.0.0.1:{dns}"))
                .arg(format!("-management=127.0.0.1:{control}")),
        )?;
        let pebble = Helper::start(
            Command::new("pebble")
                .arg("-config")
                .arg(settings)
                .arg(format!("-dnsserver=127.0.0.1:{dns}"))
                // It looks at once, refuses nothing by chance, and looks again at every renewal.
                .envs([
                    ("PEBBLE_VA_NOSLEEP", "1"),
                    ("PEBBLE_WFE_NONCEREJECT", "0"),
                    ("PEBBLE_AUTHZREUSE", "0"),
                ]),
        )?;
        Ok(Self {
            _names: names,
            _pebble: pebble,
            directory: format!("https://localhost:{directory}/dir"),
            management: format!("127.0.0.1:{management}"),
            root,
        })
    }

    /// The root of what it issues; waits until it runs.
    async fn issues_under(&self) -> CertificateDer<'static> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let own = CertificateDer::from_pem_file(&self.root).expect("a root");
        let visitor = Visitor::new(&self.management, "localhost", Some(own));
        let start = Instant::now();
        let mut stream = loop {
            match visitor.connect().await {
                Ok(stream) => break stream,
                Err(cause) => assert!(start.elapsed() < PATIENCE, "Pebble does not run: {cause}"),
            }
            sleep(Duration::from_millis(50)).await;
        };
        let request = b"GET /roots/0 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.expect("written");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        CertificateDer::from_pem_slice(&answer).expect("a root")
    }
}

/// Connects until `wanted` holds of a connection.
async fn until(visitor: &Visitor, wanted: impl Fn(&tls::Secure) -> bool) -> tls::Secure {
    let start = Instant::now();
    loop {
        match visitor.connect().await {
            Ok(stream) if wanted(&stream) => return stream,
            _ => assert!(start.elapsed() < PATIENCE, "no such certificate"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
async fn a_certificate_comes_from_the_authority_and_renewals_disturb_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let authority = match Authority::start(folder.path(), port) {
        Ok(authority) => authority,
        Err(why) => {
            // The whole test run asks for it where it can be had, so that it is not left out without a word.
            let required = std::env::var_os("HOUSECALL_TEST_ACME").is_some_and(|value| value == "required");
            assert!(!required, "Pebble cannot be started: {why}");
            eprintln!("left out, Pebble cannot be started: {why}");
            return;
        }
    };
    let root = authority.issues_under().await;
    let settings = folder.path().join("housecall.toml");
    let written = format!(
        "public_url = \"https://{NAME}\"\ndemo = true\n[tls.acme]\nterms_agreed = true\ncontact = \"it@example.org\"\ndirectory = {:?}\nroot = {:?}",
        authority.directory, authority.root,
    );
    std::fs::write(&settings, written).expect("written");
    let settings = settings.display().to_string();
    let data = folder.path().join("data");
    let address = format!("127.0.0.1:{port}");
    let server = Server::start_with(&data, &["--config", &settings, "--listen", &address]);

    // One who asks as an authority does gets nothing, for nothing is to be shown to him.
    let nosy = Visitor::with_protocol(&address, "other.example.org", None, &["acme-tls/1"]);
    assert!(nosy.connect().await.is_err());
    // Before there is a certificate there is one of our own making, so that the port can be spoken to.
    let anybody = Visitor::new(&address, NAME, None);
    tls::is_served(&mut anybody.connect().await.expect("a handshake")).await;

    let patient = Visitor::new(&address, NAME, Some(root.clone()));
    let mut https = until(&patient, |_| true).await;
    let first = tls::shown(&https);
    let mut turn = until(&patient, |_| true).await;
    let mut socket = patient.socket(server.token("Patient")).await;
    tls::is_served(&mut https).await;
    tls::is_challenged(&mut turn).await;
    tls::is_alive(&mut socket, b"before").await;

    let mut fresh = until(&patient, |stream| tls::shown(stream) != first).await;
    tls::is_served(&mut fresh).await;
    tls::is_served(&mut https).await;
    tls::is_challenged(&mut turn).await;
    tls::is_alive(&mut socket, b"after").await;

    let mut metrics = Vec::new();
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut fresh, request)
        .await
        .expect("written");
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut fresh, &mut metrics).await;
    let metrics = text(&metrics);
    let asked = |figure: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(figure));
        line.unwrap_or_else(|| panic!("no {figure} in {metrics}"))
            .trim()
            .parse::<i64>()
            .expect("a number")
    };
    assert!(
        asked("housecall_connections_total{protocol=\"acme\"}") >= 2,
        "it looked each time"
    );
    assert!(asked("housecall_tls_certificate{figure=\"reloads\"}") >= 2);

    // Keys are for this user alone, and nothing went wrong.
    let kept: Vec<_> = walk(&data.join("acme"));
    for (path, mode) in &kept {
        assert_eq!(mode & 0o077, 0, "{}", path.display());
    }
    let named = |end: &str| kept.iter().any(|(path, _)| path.display().to_string().ends_with(end));
    assert!(named("account.json") && named(&format!("{NAME}.pem")), "{kept:?}");
    assert!(!named("trouble.json"), "{kept:?}");

    // The next start has what this one left, even where nobody can be asked.
    server.kill();
    drop(authority);
    let _again = Server::start_with(&data, &["--config", &settings, "--listen", &address]);
    patient
        .connect()
        .await
        .expect("a certificate under the authority's root");
}

/// Everything under a folder with its rights.
fn walk(folder: &Path) -> Vec<(std::path::PathBuf, u32)> {
    let mut found = Vec::new();
    // It may not be there yet.
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        let metadata = std::fs::metadata(&path).expect("there");
        found.push((path.clone(), metadata.permissions().mode()));
        if metadata.is_dir() {
            found.extend(walk(&path));
        }
    }
    found
}

/// What is in the way is said by the log and by the doctor, and the server runs all the same.
#[tokio::test]
async fn an_authority_that_cannot_be_asked_is_named_by_the_doctor() {
    let folder = tempfile::tempdir().expect("a folder");
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port");
    let directory = format!("https://{}/dir", nobody.local_addr().expect("bound"));
    drop(nobody);
    let root = rcgen::generate_simple_self_signed(vec!["x".to_owned()]).expect("a certificate");
    let root_file = folder.path().join("root.pem");
    std::fs::write(&root_file, root.cert.pem()).expect("written");
    let settings = folder.path().join("housecall.toml");
    let written = format!(
        "public_url = \"https://{NAME}\"\n[tls.acme]\nterms_agreed = true\ndirectory = {directory:?}\nroot = {root_file:?}"
    );
    std::fs::write(&settings, written).expect("written");
    let settings = settings.display().to_string();
    let data = folder.path().join("data");
    let server = Server::start_with(&data, &["--config", &settings, "--listen", "127.0.0.1:0"]);
    let visitor = Visitor::new(server.address(), NAME, None);
    tls::is_served(&mut visitor.connect().await.expect("a handshake")).await;
    let start = Instant::now();
    while !walk(&data.join("acme"))
        .iter()
        .any(|(path, _)| path.ends_with(format!("{NAME}.trouble.json")))
    {
        assert!(start.elapsed() < PATIENCE, "nothing was noted");
        sleep(Duration::from_millis(50)).await;
    }
    let data = data.display().to_string();
    let said = server::run(&[
        "doctor",
        "--config",
        &settings,
        "--data",
        &data,
        "--listen",
        server.address(),
    ]);
    let said = text(&said.stdout);
    assert!(
        said.contains(&format!("acme: there is no certificate for {NAME} yet: ")),
        "{said}"
    );
    assert!(said.contains("the server tries again by itself."), "{said}");
}
