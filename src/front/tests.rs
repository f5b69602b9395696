//! The port over real sockets: each protocol by its first bytes, and connections that say nothing, too much or nonsense.

use std::path::Path;
use std::time::Duration;

use housecall_sfu::{RelayUrls, Running, Settings, Streams};
use housecall_turn::stun::{Builder, Class, Message, Method, TransactionId};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::*;
use crate::config::{Tls, TlsVersion};

const GET: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

struct Port {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
    metrics: FrontMetrics,
    _media: Running,
}

impl Port {
    async fn open(secured: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let media = housecall_sfu::start(&Settings {
            listen: "127.0.0.1:0".parse().expect("an address"),
            streams: Streams::Accepted {
                relay_urls: RelayUrls::default(),
            },
            ..Settings::default()
        })
        .expect("a media core");
        let metrics = FrontMetrics::register(&prometheus::Registry::new()).expect("names are unique");
        let services = Services {
            router: housecall_portal::redirect("https://served.example"),
            tls: secured.map(|acceptor| Secured {
                acceptor,
                redirect: housecall_portal::redirect("https://redirected.example"),
            }),
            sfu: media.sfu.clone(),
            general: None,
            proxies: Vec::new(),
            metrics: metrics.clone(),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let done = tokio::spawn(serve(vec![(listener, 0)], None, services, async {
            drop(stopped.await);
        }));
        Self {
            address,
            stop,
            done,
            metrics,
            _media: media,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connected")
    }
}

/// Everything until the other side closes.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An Allocate request of a stranger.
fn allocate() -> Vec<u8> {
    let mut buffer = [0; 128];
    let mut builder = Builder::new(&mut buffer, Class::Request, Method::ALLOCATE, TransactionId([7; 12]));
    builder.attribute(housecall_turn::stun::AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    let len = builder.finish().expect("it fits");
    buffer[..len].to_vec()
}

async fn is_challenged(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    stream.write_all(&allocate()).await.expect("written");
    // The head says how long the rest is (RFC 8489 section 5).
    let mut answer = vec![0; 20];
    stream.read_exact(&mut answer).await.expect("an answer");
    let rest = usize::from(u16::from_be_bytes([answer[2], answer[3]]));
    answer.resize(20 + rest, 0);
    stream.read_exact(&mut answer[20..]).await.expect("the whole of it");
    let message = Message::parse(&answer).expect("STUN, and nothing else");
    assert_eq!((message.class(), message.method()), (Class::Error, Method::ALLOCATE));
    assert_eq!(message.error_code().map(|error| error.code), Some(401));
}

#[tokio::test]
async fn each_protocol_finds_its_service_and_a_stop_ends_all() {
    let port = Port::open(None).await;
    let mut http = port.connect().await;
    for piece in GET.chunks(3) {
        http.write_all(piece).await.expect("written");
    }
    assert!(
        rest(&mut http)
            .await
            .contains("location: https://served.example/healthz\r\n")
    );
    let mut turn = port.connect().await;
    is_challenged(&mut turn).await;
    is_challenged(&mut turn).await;

    let mut silent = port.connect().await;
    port.stop.send(()).expect("running");
    port.done.await.expect("no panic");
    assert_eq!(
        rest(&mut silent).await,
        "",
        "one that had said nothing is not waited for"
    );
    assert!(TcpStream::connect(port.address).await.is_err());
}

#[tokio::test]
async fn nonsense_is_closed_without_a_word() {
    let port = Port::open(None).await;
    let huge_frame = [
        &[0, 0x54, 0, 1, 0, 0x40, 0x21, 0x12, 0xa4, 0x42][..],
        &[0; 74],
        &[0xff; 2_000],
    ]
    .concat();
    let huge_message = [&[0, 1, 0xff, 0xfc, 0x21, 0x12, 0xa4, 0x42][..], &[0; 20]].concat();
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01",
        b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01",
        &huge_frame,
        &huge_message,
    ] {
        let mut stream = port.connect().await;
        // It may be closed while it is written to.
        let _ = stream.write_all(bytes).await;
        assert_eq!(rest(&mut stream).await, "", "{bytes:02x?}");
    }
    is_challenged(&mut port.connect().await).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_say_what_it_wants_is_closed() {
    // Time runs as soon as nobody has anything to do, so nothing is waited for.
    let port = Port::open(None).await;
    for bytes in [&b""[..], b"GE", &allocate()[..7]] {
        let mut stream = port.connect().await;
        stream.write_all(bytes).await.expect("written");
        assert_eq!(rest(&mut stream).await, "");
    }
    let silent = port.metrics.refused_for(Refused::Silent);
    assert_eq!(silent, 3);
}

/// An authority, and certificates of it in files.
struct Files {
    folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Files {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let files = Self {
            folder: tempfile::tempdir().expect("a folder"),
            issuer: CertifiedIssuer::self_signed(params, key).expect("an authority"),
        };
        files.issue();
        files
    }

    fn cert(&self) -> std::path::PathBuf {
        self.folder.path().join("cert.pem")
    }

    fn key(&self) -> std::path::PathBuf {
        self.folder.path().join("key.pem")
    }

    /// Puts a new certificate and its key into the files.
    fn issue(&self) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        std::fs::write(self.cert(), certificate.pem()).expect("written");
        std::fs::write(self.key(), key.serialize_pem()).expect("written");
    }

    fn tls(&self) -> Tls {
        Tls::Files {
            cert: self.cert(),
            key: self.key(),
        }
    }

    fn open(&self) -> Arc<tls::Certificate> {
        tls::Certificate::open(&self.tls(), self.folder.path(), Vec::new())
            .expect("a pair")
            .expect("TLS is on")
    }

    fn connector(&self, alpn: &[&str]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("an authority");
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }
}

type Client = tokio_rustls::client::TlsStream<TcpStream>;

async fn secure(port: &Port, connector: &TlsConnector) -> Client {
    let name = ServerName::try_from("localhost").expect("a name");
    connector
        .connect(name, port.connect().await)
        .await
        .expect("a handshake")
}

fn shown(client: &Client) -> CertificateDer<'static> {
    let chain = client.get_ref().1.peer_certificates().expect("a chain");
    chain[0].clone().into_owned()
}

#[tokio::test]
async fn inside_of_tls_there_is_http_and_turn_and_outside_a_redirect() {
    let files = Files::new();
    let port = Port::open(Some(files.open().acceptor(TlsVersion::V13).expect("TLS"))).await;
    let mut plain = port.connect().await;
    plain.write_all(GET).await.expect("written");
    assert!(
        rest(&mut plain)
            .await
            .contains("location: https://redirected.example/healthz\r\n")
    );

    for alpn in [&[][..], &["h2", "http/1.1"]] {
        let mut https = secure(&port, &files.connector(alpn)).await;
        https.write_all(GET).await.expect("written");
        assert!(
            rest(&mut https)
                .await
                .contains("location: https://served.example/healthz\r\n")
        );
    }
    for alpn in [&[][..], &["http/1.1", "stun.turn"]] {
        let mut turn = secure(&port, &files.connector(alpn)).await;
        is_challenged(&mut turn).await;
        is_challenged(&mut turn).await;
    }
    is_challenged(&mut port.connect().await).await;

    let mut tls_in_tls = secure(&port, &files.connector(&[])).await;
    tls_in_tls.write_all(b"\x16\x03\x01\x02\x00").await.expect("written");
    assert_eq!(rest(&mut tls_in_tls).await, "");
}

#[tokio::test]
async fn a_new_certificate_is_for_new_handshakes_and_drops_nobody() {
    let files = Files::new();
    let certificate = files.open();
    let port = Port::open(Some(certificate.acceptor(TlsVersion::V13).expect("TLS"))).await;
    let changed = Arc::new(Notify::new());
    let watching = tokio::spawn(tls::watch(
        certificate,
        files.cert(),
        files.key(),
        port.metrics.clone(),
        Arc::clone(&changed),
    ));
    let connector = files.connector(&[]);
    let mut before = Vec::new();
    for _ in 0..50 {
        let mut client = secure(&port, &connector).await;
        is_challenged(&mut client).await;
        before.push(client);
    }
    let old = shown(&before[0]);

    // Half of a pair changes nothing.
    std::fs::write(files.key(), "not a key").expect("written");
    files.issue();
    let mut after = secure(&port, &connector).await;
    while shown(&after) == old {
        tokio::time::sleep(Duration::from_millis(20)).await;
        after = secure(&port, &connector).await;
    }
    is_challenged(&mut after).await;
    for client in &mut before {
        is_challenged(client).await;
    }
    assert_eq!(before.len(), 50, "all of them still work");
    // Whoever looks whether the new one is good is told of it, however late they ask.
    let told = timeout(Duration::from_secs(60), changed.notified()).await;
    assert!(told.is_ok(), "nobody was told");
    watching.abort();
}

#[test]
fn what_is_wrong_with_a_pair_is_said_in_a_sentence() {
    let (files, other) = (Files::new(), Files::new());
    let provider = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider();
    let nowhere = Path::new("/nonexistent/cert.pem");
    for (cert, key, says) in [
        (nowhere, files.key(), "cannot be read"),
        (&files.key(), files.key(), "has no certificate"),
        (&files.cert(), files.cert(), "has no private key"),
        (&files.cert(), other.key(), "is not that of the first certificate"),
    ] {
        let error = tls::load(cert, &key, &provider).expect_err("refused").to_string();
        assert!(error.contains(says), "{error}");
    }
    assert!(tls::load(&files.cert(), &files.key(), &provider).is_ok());
}

// A record as long as they may be with short ones behind it is more than the library takes at once.
#[tokio::test]
async fn what_crosses_tls_is_whole_however_long_its_records_are() {
    let (mut wire, mut client) = tls_pair().await;

    let pieces = [
        16_384, 900, 900, 900, 900, 900, 900, 900, 900, 900, 16_384, 1, 40_000, 7,
    ];
    let sent: Vec<Vec<u8>> = (1_u8..).zip(pieces).map(|(mark, len)| vec![mark; len]).collect();
    let all = sent.concat();
    let len = all.len();
    // It never waits: it is tried until the socket is ready.
    let driven = tokio::task::spawn_blocking(move || {
        let (mut came, mut buffer) = (Vec::new(), vec![0; 4_096]);
        while came.len() < len {
            if let Some(read) = unless_later(wire.read(&mut buffer)) {
                assert_ne!(read, 0, "it goes on");
                came.extend_from_slice(&buffer[..read]);
            }
        }
        assert!(!wire.has_more(), "that was all");
        let mut back = &came[..];
        while !back.is_empty() {
            if let Some(taken) = unless_later(wire.write(back)) {
                back = &back[taken..];
            }
        }
        while unless_later(wire.flush()).is_none() {}
        while unless_later(wire.read(&mut buffer)) != Some(0) {}
        came
    });
    for piece in &sent {
        client.write_all(piece).await.expect("written");
    }
    client.flush().await.expect("sent");
    let mut back = vec![0; len];
    client.read_exact(&mut back).await.expect("all of it");
    client.shutdown().await.expect("closed");
    let came = driven.await.expect("no panic");
    assert!(came == all && back == all);
}

/// What was done; `None` where the socket was not ready.
fn unless_later<T>(outcome: std::io::Result<T>) -> Option<T> {
    match outcome {
        Ok(done) => Some(done),
        Err(cause) => {
            assert_eq!(cause.kind(), std::io::ErrorKind::WouldBlock, "{cause}");
            std::thread::yield_now();
            None
        }
    }
}

/// Both ends of a connection after the handshake; the client's keys may be taken out.
async fn tls_pair() -> (TlsWire<std::net::TcpStream>, Client) {
    let files = Files::new();
    let acceptor = files.open().acceptor(TlsVersion::V13).expect("TLS");
    let mut config = (**files.connector(&[]).config()).clone();
    config.enable_secret_extraction = true;
    let connector = TlsConnector::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let near = TcpStream::connect(listener.local_addr().expect("bound"))
        .await
        .expect("connected");
    let (far, _) = listener.accept().await.expect("accepted");
    let name = ServerName::try_from("localhost").expect("a name");
    let (client, server) = tokio::join!(connector.connect(name, near), acceptor.accept(far));
    let (stream, tls) = server.expect("a handshake").into_inner();
    let wire = TlsWire::new(stream.into_std().expect("a socket"), tls);
    (wire, client.expect("a handshake"))
}

// Whoever says goodbye and waits for ours leaves the socket open, and it tells no more.
#[tokio::test]
async fn a_goodbye_that_comes_with_the_last_bytes_ends_the_connection() {
    let (mut wire, client) = tls_pair().await;
    let (mut client, mut tls) = client.into_inner();
    std::io::Write::write_all(&mut tls.writer(), b"last").expect("there is room");
    tls.send_close_notify();
    let mut records = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut records).expect("written");
    }
    client.write_all(&records).await.expect("written");
    let mut buffer = [0; 4_096];
    let read = loop {
        match unless_later(wire.read(&mut buffer)) {
            Some(read) => break read,
            None => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    };
    assert_eq!(&buffer[..read], b"last");
    assert!(wire.has_more(), "its end is to be read");
    assert_eq!(unless_later(wire.read(&mut buffer)), Some(0));
}

// The library keeps what it has of such a message, and takes no more: the connection ends, for it would never be of use again.
#[tokio::test]
async fn a_message_of_a_handshake_that_never_ends_ends_the_connection() {
    use tokio_rustls::rustls::ConnectionTrafficSecrets;

    let (mut wire, client) = tls_pair().await;
    let (mut client, tls) = client.into_inner();
    let secrets = tls.dangerous_extract_secrets().expect("allowed");
    let (first, ConnectionTrafficSecrets::Aes256Gcm { key, iv }) = secrets.tx else {
        panic!("another cipher")
    };
    let key = aws_lc_rs::aead::UnboundKey::new(&aws_lc_rs::aead::AES_256_GCM, key.as_ref()).expect("a key");
    let key = aws_lc_rs::aead::LessSafeKey::new(key);
    // A certificate of 16 MB, of which a record holds a little (RFC 8446 section 5.2).
    for number in 0..8 {
        let mut record = vec![0; 16_000];
        if number == 0 {
            record[..4].copy_from_slice(&[11, 0xff, 0xff, 0xff]);
        }
        record.push(22);
        let len = (record.len() as u16 + 16).to_be_bytes();
        let header = [23, 3, 3, len[0], len[1]];
        let mut nonce: [u8; 12] = iv.as_ref().try_into().expect("twelve bytes");
        for (byte, of_number) in nonce[4..].iter_mut().zip((first + number).to_be_bytes()) {
            *byte ^= of_number;
        }
        let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce, aws_lc_rs::aead::Aad::from(header), &mut record)
            .expect("sealed");
        client.write_all(&header).await.expect("written");
        // It may be closed while it is written to.
        let _ = client.write_all(&record).await;
        let mut buffer = [0; 4_096];
        // What has come of it, in several reads; of the last, whatever is still on its way.
        let (reads, pause) = if number == 7 { (20_000, 1) } else { (1_000, 0) };
        for _ in 0..reads {
            match wire.read(&mut buffer) {
                Ok(read) => panic!("{read} bytes of nothing"),
                Err(cause) if cause.kind() == std::io::ErrorKind::WouldBlock => {
                    assert!(!wire.has_more(), "there is nothing to be read of it");
                    tokio::task::yield_now().await;
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                Err(cause) => {
                    assert_eq!(cause.kind(), std::io::ErrorKind::InvalidData, "{cause}");
                    return;
                }
            }
        }
    }
    panic!("it goes on for ever");
}
