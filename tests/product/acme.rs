//! A certificate by ACME from a real authority: Pebble, which Let's Encrypt made for tests of clients, as Debian has it. It looks at our
//! port by itself. Nothing here waits for a certificate to grow old: what is to be renewed is old when it is put there, and nobody reaches
//! the authority before the test lets him.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use crate::server::{self, PATIENCE, Server, text};
use crate::tls::{self, Visitor};

const NAME: &str = "visits.example.org";

/// Seconds that a certificate of the authority lives: 90 days, so that none is renewed that isn't to be.
const LIFE: u32 = 90 * 24 * 3_600;

/// How long a certificate may take: a first attempt may fail on a busy machine, and the next is made a minute later.
const ATTEMPTS: Duration = PATIENCE.saturating_mul(4);

/// A port that nobody has now, for a program that cannot be told to take any. The kernel gives none of these to those who ask for any, and
/// no other test looks for its own here.
async fn free_port() -> TcpListener {
    let first = std::process::id() % 2_000;
    for step in 0..2_000 {
        let port = u16::try_from(30_000 + (first + step * 7) % 2_000).expect("small");
        if let Ok(taken) = TcpListener::bind(("127.0.0.1", port)).await {
            return taken;
        }
    }
    panic!("no free port");
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

/// A port of the test's own that leads where the test says. Whoever comes while it leads nowhere waits outside.
struct Door {
    port: u16,
    leads: watch::Sender<Option<String>>,
}

impl Door {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let (leads, leading) = watch::channel(None);
        tokio::spawn(async move {
            while let Ok((outside, _)) = listener.accept().await {
                tokio::spawn(Self::pass(outside, leading.clone()));
            }
        });
        Self { port, leads }
    }

    async fn pass(mut outside: TcpStream, mut leading: watch::Receiver<Option<String>>) {
        let Ok(address) = leading.wait_for(Option::is_some).await.map(|address| address.clone()) else {
            return;
        };
        // Whoever is refused inside is sent away; what comes of it is seen by those who talk.
        if let Ok(mut inside) = TcpStream::connect(address.expect("looked at")).await {
            let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
        }
    }

    fn open(&self, address: &str) {
        self.leads.send_replace(Some(address.to_owned()));
    }

    fn close(&self) {
        self.leads.send_replace(None);
    }
}

/// Names as the authority is told them: all lead to this machine, by IPv4 alone (RFC 1035 §4.1).
async fn answer_names(socket: UdpSocket) {
    let mut question = [0; 512];
    while let Ok((len, from)) = socket.recv_from(&mut question).await {
        // The name is what is between the header and its empty label; type and class follow.
        let Some(name) = question[12..len].iter().position(|byte| *byte == 0) else {
            continue;
        };
        let end = 12 + name + 5;
        let is_ipv4 = question[end - 4..end] == [0, 1, 0, 1];
        let mut answer = question[..2].to_vec();
        answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_ipv4), 0, 0, 0, 0]);
        answer.extend(&question[12..end]);
        if is_ipv4 {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
        }
        // Whoever doesn't hear it asks again.
        let _ = socket.send_to(&answer, from).await;
    }
}

/// The authority. It is reached by a door, and looks for servers behind another.
struct Authority {
    _pebble: Helper,
    address: String,
    door: Door,
    servers: Door,
    /// What its own HTTPS is to be checked with.
    own_root: std::path::PathBuf,
    /// The root of what it issues.
    root: CertificateDer<'static>,
}

impl Authority {
    /// Starts one, and waits until it runs.
    async fn start(folder: &Path) -> std::io::Result<Self> {
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
        let own_root = file("root.pem", &issuer.pem())?;
        let (certificate, key) = (
            file("cert.pem", &certificate.pem())?,
            file("key.pem", &key.serialize_pem())?,
        );
        let names = UdpSocket::bind("127.0.0.1:0").await?;
        let resolver = names.local_addr()?.to_string();
        tokio::spawn(answer_names(names));
        let (door, servers) = (Door::new().await, Door::new().await);
        let start = Instant::now();
        loop {
            // Both are held until both are found.
            let taken = (free_port().await, free_port().await);
            let (address, management) = (taken.0.local_addr()?.to_string(), taken.1.local_addr()?.to_string());
            drop(taken);
            let settings = serde_json::json!({ "pebble": {
                "listenAddress": address,
                "managementListenAddress": management,
                "certificate": certificate,
                "privateKey": key,
                "httpPort": 1,
                "tlsPort": servers.port,
                "certificateValidityPeriod": LIFE,
            }});
            let settings = file("pebble.json", &settings.to_string())?;
            let mut pebble = Helper::start(
                Command::new("pebble")
                    .arg("-config")
                    .arg(settings)
                    .args(["-dnsserver", &resolver])
                    // It looks at once, refuses nothing by chance, and looks again at every renewal.
                    .envs([
                        ("PEBBLE_VA_NOSLEEP", "1"),
                        ("PEBBLE_WFE_NONCEREJECT", "0"),
                        ("PEBBLE_AUTHZREUSE", "0"),
                    ]),
            )?;
            // It ends if somebody was quicker at one of the ports.
            while pebble.0.try_wait()?.is_none() {
                if let Some(root) = Self::issues_under(&management, &own_root).await {
                    return Ok(Self {
                        _pebble: pebble,
                        address,
                        door,
                        servers,
                        own_root,
                        root,
                    });
                }
                assert!(start.elapsed() < ATTEMPTS, "Pebble does not run");
                sleep(Duration::from_millis(50)).await;
            }
            assert!(start.elapsed() < ATTEMPTS, "Pebble does not run");
        }
    }

    /// The root of what it issues, if it runs already.
    async fn issues_under(management: &str, own_root: &Path) -> Option<CertificateDer<'static>> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let own = CertificateDer::from_pem_file(own_root).expect("a root");
        let mut stream = Visitor::new(management, "localhost", Some(own)).connect().await.ok()?;
        let request = b"GET /roots/0 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.ok()?;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        CertificateDer::from_pem_slice(&answer).ok()
    }

    /// The folder for it in the data directory.
    fn folder(&self, data: &Path) -> std::path::PathBuf {
        data.join(format!("acme/localhost_{}_dir", self.door.port))
    }

    /// A file with settings for a server that asks it.
    fn settings(&self, folder: &Path) -> String {
        let settings = folder.join("housecall.toml");
        let written = format!(
            "public_url = \"https://{NAME}\"\ndemo = true\n[tls.acme]\nterms_agreed = true\ncontact = \"it@example.org\"\ndirectory = \"https://localhost:{}/dir\"\nroot = {:?}",
            self.door.port, self.own_root,
        );
        std::fs::write(&settings, written).expect("written");
        settings.display().to_string()
    }

    /// Lets servers reach it, and it this one.
    fn open(&self, server: &Server) {
        self.servers.open(server.address());
        self.door.open(&self.address);
    }

    /// Nobody reaches it any more.
    fn close(&self) {
        self.door.close();
        self.servers.close();
    }
}

/// An authority of its own for each test; `None` where there is no Pebble.
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
async fn authority(folder: &Path) -> Option<Authority> {
    match Authority::start(folder).await {
        Ok(authority) => Some(authority),
        Err(why) => {
            // The whole test run asks for it where it can be had, so that it is not left out without a word.
            let required = std::env::var_os("HOUSECALL_TEST_ACME").is_some_and(|value| value == "required");
            assert!(
                !required && why.kind() == ErrorKind::NotFound,
                "Pebble cannot be started: {why}"
            );
            eprintln!("left out, Pebble cannot be started: {why}");
            None
        }
    }
}

/// The certificate in a file.
fn stored(file: &Path) -> Vec<u8> {
    CertificateDer::from_pem_file(file).expect("a certificate").to_vec()
}

#[tokio::test]
async fn a_first_certificate_comes_from_the_authority_and_is_there_at_the_next_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(authority) = authority(folder.path()).await else {
        return;
    };
    let settings = authority.settings(folder.path());
    let data = folder.path().join("data");
    let arguments = ["--config", &settings, "--listen", "127.0.0.1:0"];
    let server = Server::start_with(&data, &arguments);

    // One who asks as an authority does gets nothing, for nothing is to be shown to him.
    let nosy = Visitor::with_protocol(server.address(), "other.example.org", None, &["acme-tls/1"]);
    assert!(nosy.connect().await.is_err());
    // Before there is a certificate there is one of our own making, so that the port can be spoken to.
    let anybody = Visitor::new(server.address(), NAME, None);
    tls::is_served(&mut anybody.until(PATIENCE, |_| true).await).await;

    authority.open(&server);
    let patient = Visitor::new(server.address(), NAME, Some(authority.root.clone()));
    let mut https = patient.until(ATTEMPTS, |_| true).await;
    tls::is_served(&mut https).await;
    let file = authority.folder(&data).join(format!("{NAME}.pem"));
    assert_eq!(tls::shown(&https), stored(&file));
    assert!(authority.folder(&data).join("account.json").exists());
    // Keys are for this user alone.
    for (path, mode) in walk(&data.join("acme")) {
        assert_eq!(mode & 0o077, 0, "{}", path.display());
    }

    // The next start has what this one left, even where nobody can be asked.
    server.kill();
    authority.close();
    let again = Server::start_with(&data, &arguments);
    let anybody = Visitor::new(again.address(), NAME, None);
    assert_eq!(tls::shown(&anybody.until(PATIENCE, |_| true).await), stored(&file));
}

#[tokio::test]
async fn a_renewal_disturbs_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(authority) = authority(folder.path()).await else {
        return;
    };
    let settings = authority.settings(folder.path());
    let data = folder.path().join("data");
    // One with 20 of its 90 days left, hence to be renewed at once.
    let mut params = CertificateParams::new(vec![NAME.to_owned()]).expect("a name");
    let days = |days: u64| Duration::from_secs(days * 24 * 3_600);
    params.not_before = (SystemTime::now() - days(70)).into();
    params.not_after = (SystemTime::now() + days(20)).into();
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("signed");
    let old = certificate.der().to_vec();
    let kept = authority.folder(&data);
    std::fs::create_dir_all(&kept).expect("made");
    let pair = key.serialize_pem() + &certificate.pem();
    std::fs::write(kept.join(format!("{NAME}.pem")), pair).expect("written");

    let server = Server::start_with(&data, &["--config", &settings, "--listen", "127.0.0.1:0"]);
    let anybody = Visitor::new(server.address(), NAME, None);
    let with_old = |stream: &tls::Secure| tls::shown(stream) == old;
    let mut https = anybody.until(PATIENCE, with_old).await;
    let mut turn = anybody.until(PATIENCE, with_old).await;
    let mut socket = anybody.socket(server.token("Patient")).await;

    authority.open(&server);
    let patient = Visitor::new(server.address(), NAME, Some(authority.root.clone()));
    let start = Instant::now();
    let mut fresh = loop {
        let fresh = patient.connect().await;
        // These are all of before.
        tls::is_served(&mut https).await;
        tls::is_challenged(&mut turn).await;
        tls::is_alive(&mut socket, b"still").await;
        match fresh {
            Ok(fresh) => break fresh,
            Err(cause) => assert!(start.elapsed() < ATTEMPTS, "no new certificate: {cause}"),
        }
        sleep(Duration::from_millis(500)).await;
    };
    assert_ne!(tls::shown(&fresh), old);
    tls::is_served(&mut fresh).await;

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
        asked("housecall_connections_total{protocol=\"acme\"}") >= 1,
        "it looked"
    );
    assert!(asked("housecall_tls_certificate{figure=\"reloads\"}") >= 1);
    // What went wrong before, if anything did, is over.
    let start = Instant::now();
    while kept.join(format!("{NAME}.trouble.json")).exists() {
        assert!(start.elapsed() < PATIENCE, "trouble is remembered");
        sleep(Duration::from_millis(50)).await;
    }
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
    let nobody = std::net::TcpListener::bind((server::own_address(), 0)).expect("a port");
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
    tls::is_served(&mut visitor.until(PATIENCE, |_| true).await).await;
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
