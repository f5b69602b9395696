//! Questions to a server on this machine: is it there, and does its relay answer, on each way?
//!
//! The relay is asked as a stranger asks it: it says that it wants credentials. That takes the way of every client, to the media thread and
//! back.

use std::future::Future;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;

use housecall_turn::stun::{AttributeType, Builder, Class, Message, Method, TransactionId};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::PATIENCE;

/// Whether a question was answered with yes, in time.
async fn yes(question: impl Future<Output = Option<bool>>) -> bool {
    timeout(PATIENCE, question).await.ok().flatten().unwrap_or(false)
}

/// Whether a server of this kind answers at this address.
pub(super) async fn is_served(address: SocketAddr, tls: bool) -> bool {
    yes(async {
        let stream = TcpStream::connect(address).await.ok()?;
        if tls {
            is_healthy(secure(stream).await?).await
        } else {
            is_healthy(stream).await
        }
    })
    .await
}

/// What systemd says of the sockets that it has; empty where there is no systemd.
pub(super) async fn systemd_sockets() -> String {
    let asked = tokio::task::spawn_blocking(|| {
        let mut systemctl = Command::new("systemctl");
        systemctl.args([
            "list-sockets",
            "--no-legend",
            "--no-pager",
            "--plain",
            "--full",
            "--show-types",
        ]);
        systemctl.stdin(Stdio::null()).output()
    });
    match timeout(PATIENCE, asked).await {
        Ok(Ok(Ok(output))) => String::from_utf8_lossy(&output.stdout).into_owned(),
        // No such program, or it waits for a system that doesn't answer.
        _ => String::new(),
    }
}

async fn is_healthy(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Option<bool> {
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.ok()?;
    let mut text = Vec::new();
    stream.take(4_096).read_to_end(&mut text).await.ok()?;
    Some(text.starts_with(b"HTTP/1.1 200") && text.ends_with(b"ok\n"))
}

pub(super) async fn relay_over_udp(address: SocketAddr) -> bool {
    yes(async {
        let any: SocketAddr = if address.is_ipv4() {
            ([0; 4], 0).into()
        } else {
            ([0; 16], 0).into()
        };
        let socket = UdpSocket::bind(any).await.ok()?;
        socket.connect(address).await.ok()?;
        socket.send(&allocate()).await.ok()?;
        let mut answer = [0; 1_024];
        let len = socket.recv(&mut answer).await.ok()?;
        Some(is_challenge(&answer[..len]))
    })
    .await
}

pub(super) async fn relay_over_tcp(address: SocketAddr) -> bool {
    yes(async { challenges(TcpStream::connect(address).await.ok()?).await }).await
}

pub(super) async fn relay_over_tls(address: SocketAddr) -> bool {
    yes(async { challenges(secure(TcpStream::connect(address).await.ok()?).await?).await }).await
}

async fn challenges(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Option<bool> {
    stream.write_all(&allocate()).await.ok()?;
    let mut answer = [0; 1_024];
    let len = stream.read(&mut answer).await.ok()?;
    Some(is_challenge(&answer[..len]))
}

/// An Allocate request without credentials (RFC 8656 §7.1).
fn allocate() -> Vec<u8> {
    let mut buffer = [0; 128];
    let mut builder = Builder::new(
        &mut buffer,
        Class::Request,
        Method::ALLOCATE,
        TransactionId(*b"housecall-dr"),
    );
    builder.attribute(AttributeType::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    let len = builder.finish().unwrap_or_default();
    buffer[..len].to_vec()
}

fn is_challenge(answer: &[u8]) -> bool {
    Message::parse(answer).is_ok_and(|message| message.error_code().is_some_and(|error| error.code == 401))
}

/// TLS with whoever is there. Whether its certificate is good is found out from the files.
async fn secure(stream: TcpStream) -> Option<TlsStream<TcpStream>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").ok()?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()
}

/// Takes any certificate.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
