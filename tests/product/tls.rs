//! Clients of the TLS port, as far as it can be seen from outside.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use housecall_turn::stun::{AttributeType, Builder, Class, Message, Method, TransactionId};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::server::PATIENCE;

pub(crate) type Secure = TlsStream<TcpStream>;

/// Checks chain and name against one root. The time of the check is that of the certificate's beginning: short ones may have ended on a
/// busy machine, and that is not what is looked at. `None`: takes any.
struct Verifier {
    roots: Option<Arc<WebPkiServerVerifier>>,
    signatures: Arc<WebPkiServerVerifier>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(roots) = &self.roots else {
            return Ok(ServerCertVerified::assertion());
        };
        let (_, read) = x509_parser::parse_x509_certificate(certificate).expect("a certificate");
        let begin = u64::try_from(read.validity().not_before.timestamp()).expect("of our time");
        let then = UnixTime::since_unix_epoch(Duration::from_secs(begin + 1));
        roots.verify_server_cert(certificate, chain, name, ocsp, then)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.supported_verify_schemes()
    }
}

/// Somebody who connects to one address under one name.
pub(crate) struct Visitor {
    address: String,
    name: &'static str,
    connector: Mutex<TlsConnector>,
}

impl Visitor {
    /// One who believes `root` alone, or everybody.
    pub(crate) fn new(address: &str, name: &'static str, root: Option<CertificateDer<'static>>) -> Self {
        Self::with_protocol(address, name, root, &[])
    }

    /// One who asks for these protocols.
    pub(crate) fn with_protocol(
        address: &str,
        name: &'static str,
        root: Option<CertificateDer<'static>>,
        protocols: &[&str],
    ) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = |root| {
            let mut roots = RootCertStore::empty();
            roots.add(root).expect("a root");
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .expect("a verifier")
        };
        let anybody = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
        let verifier = Verifier {
            roots: root.map(verifier),
            signatures: verifier(anybody.cert.into()),
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self {
            address: address.to_owned(),
            name,
            connector: Mutex::new(TlsConnector::from(Arc::new(config))),
        }
    }

    /// A new connection, if the certificate is good.
    pub(crate) async fn connect(&self) -> std::io::Result<Secure> {
        let stream = TcpStream::connect(&self.address).await?;
        let name = ServerName::try_from(self.name).expect("a name");
        let connector = self.connector.lock().expect("no panic").clone();
        connector.connect(name, stream).await
    }

    /// Connects until `wanted` holds of a connection; gives up after `patience`.
    pub(crate) async fn until(&self, patience: Duration, wanted: impl Fn(&Secure) -> bool) -> Secure {
        let start = Instant::now();
        loop {
            match self.connect().await {
                Ok(stream) if wanted(&stream) => return stream,
                Ok(_) => assert!(start.elapsed() < patience, "no such certificate"),
                Err(cause) => assert!(start.elapsed() < patience, "no handshake: {cause}"),
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The WebSocket of whoever has this link's token, after `hello`.
    pub(crate) async fn socket(&self, token: &str) -> WebSocketStream<Secure> {
        let mut stream = self.until(PATIENCE, |_| true).await;
        let body = json!({ "token": token }).to_string();
        let request = format!(
            "POST /api/session HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.name,
            body.len()
        );
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        let (_, body) = answer.split_once("\r\n\r\n").expect("an answer");
        let session: Value = serde_json::from_str(body).expect("a session");
        let stream = self.until(PATIENCE, |_| true).await;
        let (mut socket, _) = client_async(format!("wss://{}/ws", self.name), stream)
            .await
            .expect("a WebSocket");
        let hello = json!({ "type": "hello", "session": session["session"] }).to_string();
        let sent = socket.send(tungstenite::Message::text(hello)).await;
        sent.expect("the socket is open");
        socket
    }
}

/// The certificate that was shown.
pub(crate) fn shown(stream: &Secure) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().expect("a chain")[0].to_vec()
}

/// Asks a page on a connection that is to live on.
pub(crate) async fn is_served(stream: &mut Secure) {
    let request = b"GET /healthz HTTP/1.1\r\nHost: visits.example.org\r\n\r\n";
    stream.write_all(request).await.expect("written");
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok\n") {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut answer)).await;
        let read = read.expect("the server said nothing for a long time").expect("read");
        assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&answer));
    }
    assert!(
        answer.starts_with(b"HTTP/1.1 200"),
        "{:?}",
        String::from_utf8_lossy(&answer)
    );
}

/// Asks the relay, as a stranger does: it wants credentials.
pub(crate) async fn is_challenged(stream: &mut Secure) {
    stream.write_all(&allocate()).await.expect("written");
    // The head says how long the rest is (RFC 8489 §5).
    let mut answer = vec![0; 20];
    let whole = async {
        stream.read_exact(&mut answer).await?;
        let rest = usize::from(u16::from_be_bytes([answer[2], answer[3]]));
        answer.resize(20 + rest, 0);
        stream.read_exact(&mut answer[20..]).await
    };
    let read = tokio::time::timeout(PATIENCE, whole).await;
    read.expect("the relay said nothing for a long time").expect("read");
    wants_credentials(&answer);
}

/// The same over UDP.
pub(crate) async fn is_challenged_over_udp(address: &str) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    socket.connect(address).await.expect("an address");
    socket.send(&allocate()).await.expect("sent");
    let mut answer = [0; 512];
    let read = tokio::time::timeout(PATIENCE, socket.recv(&mut answer)).await;
    let read = read.expect("the relay said nothing for a long time").expect("read");
    wants_credentials(&answer[..read]);
}

fn allocate() -> Vec<u8> {
    let mut buffer = [0; 128];
    let id = TransactionId(*b"from-outside");
    let mut builder = Builder::new(&mut buffer, Class::Request, Method::ALLOCATE, id);
    builder.attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    let len = builder.finish().expect("it fits");
    buffer[..len].to_vec()
}

fn wants_credentials(answer: &[u8]) {
    let message = Message::parse(answer).expect("STUN");
    assert_eq!(message.error_code().map(|error| error.code), Some(401));
}

/// Sends a ping and waits until it comes back.
pub(crate) async fn is_alive(socket: &mut WebSocketStream<Secure>, payload: &'static [u8]) {
    let ping = tungstenite::Message::Ping(payload.into());
    socket.send(ping).await.expect("sent");
    loop {
        let frame = tokio::time::timeout(PATIENCE, socket.next()).await;
        match frame.expect("the server said nothing for a long time") {
            Some(Ok(tungstenite::Message::Pong(back))) if &back[..] == payload => return,
            Some(Ok(_)) => {}
            other => panic!("the socket ended: {other:?}"),
        }
    }
}
