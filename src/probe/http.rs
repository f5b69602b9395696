//! The probe's requests, over one connection while the server keeps it, with the time that each step of it took.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, LINK, LOCATION};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::link::{Link, Relay};
use super::{Patience, Trouble};

/// The longest answer of the server is an SDP answer.
const ANSWER_BYTES: usize = 256 * 1024;

/// Bytes both ways, by TCP alone or inside TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What the probe believes of certificates.
pub(super) fn connector(authority: Option<&Path>) -> Result<TlsConnector, Trouble> {
    let mut roots = RootCertStore::empty();
    match authority {
        Some(file) => {
            let unusable = || Trouble::Authority(file.to_owned());
            let certificates = CertificateDer::pem_file_iter(file).map_err(|_| unusable())?;
            for certificate in certificates {
                roots
                    .add(certificate.map_err(|_| unusable())?)
                    .map_err(|_| unusable())?;
            }
            if roots.is_empty() {
                return Err(unusable());
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|cause| Trouble::Bug(cause.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// How long the steps to the web server took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Steps {
    pub(super) dns: Duration,
    pub(super) tcp: Duration,
    pub(super) tls: Option<Duration>,
}

/// All of `host`: one at least.
pub(super) async fn addresses(host: &str, port: u16, patience: Patience) -> Result<Vec<SocketAddr>, Trouble> {
    let found = timeout(patience.step(), tokio::net::lookup_host((host, port))).await;
    let found: Vec<_> = found.ok().and_then(Result::ok).into_iter().flatten().collect();
    if found.is_empty() {
        return Err(Trouble::NoName(host.to_owned()));
    }
    Ok(found)
}

/// A connection to `host`, which is looked up.
pub(super) async fn connect(
    host: &str,
    port: u16,
    tls: Option<&TlsConnector>,
    patience: Patience,
) -> Result<(Box<dyn Stream>, IpAddr, Steps), Trouble> {
    let began = Instant::now();
    let place = || format!("{host} port {port}");
    let addresses = addresses(host, port, patience).await?;
    let mut steps = Steps {
        dns: began.elapsed(),
        ..Steps::default()
    };
    let mut why = String::new();
    for address in addresses {
        let began = Instant::now();
        let stream = match timeout(patience.step(), TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(cause)) => {
                why = cause.to_string();
                continue;
            }
            Err(_) => {
                why = "no answer".to_owned();
                continue;
            }
        };
        steps.tcp = began.elapsed();
        stream
            .set_nodelay(true)
            .map_err(|cause| Trouble::Bug(cause.to_string()))?;
        let Some(connector) = tls else {
            return Ok((Box::new(stream), address.ip(), steps));
        };
        let began = Instant::now();
        let name = ServerName::try_from(host.to_owned()).map_err(|_| Trouble::NoLink)?;
        let secure = timeout(patience.step(), connector.connect(name, stream)).await;
        let secure = match secure {
            Ok(Ok(secure)) => secure,
            Ok(Err(cause)) => {
                return Err(Trouble::Tls {
                    place: place(),
                    why: cause.to_string(),
                });
            }
            Err(_) => {
                return Err(Trouble::Tls {
                    place: place(),
                    why: "no answer".to_owned(),
                });
            }
        };
        steps.tls = Some(began.elapsed());
        return Ok((Box::new(secure), address.ip(), steps));
    }
    Err(Trouble::Unreachable { place: place(), why })
}

/// Asks the server, on a connection that is made anew when the server has closed it: it keeps none for long on which nothing is asked.
pub(super) struct Web {
    sender: http1::SendRequest<String>,
    host: String,
    port: u16,
    /// If the link is one of HTTPS.
    tls: Option<TlsConnector>,
    patience: Patience,
    authority: String,
    /// Of the server.
    pub(super) address: IpAddr,
    /// Of the first connection.
    pub(super) steps: Steps,
}

/// Why a request has no answer.
enum Unanswered {
    /// It never left.
    Unsent,
    /// The server may have done what it asks for.
    Sent,
}

/// The answer to a request.
struct Answer {
    status: StatusCode,
    headers: hyper::HeaderMap,
    body: String,
}

/// A WHIP or WHEP session. Holds secrets: no `Debug`.
pub(super) struct Session {
    /// Its path on the server.
    location: String,
    pub(super) answer: String,
    pub(super) relays: Vec<Relay>,
}

impl Session {
    /// The publisher's name, by which a viewer asks for it.
    pub(super) fn participant(&self) -> &str {
        self.location.rsplit('/').next().unwrap_or_default()
    }
}

/// A connection for requests.
async fn open(
    host: &str,
    port: u16,
    tls: Option<&TlsConnector>,
    patience: Patience,
) -> Result<(http1::SendRequest<String>, IpAddr, Steps), Trouble> {
    let (stream, address, steps) = connect(host, port, tls, patience).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|_| Trouble::NoAnswer)?;
    // Ends with the sender.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok((sender, address, steps))
}

impl Web {
    pub(super) async fn connect(link: &Link, connector: &TlsConnector, patience: Patience) -> Result<Self, Trouble> {
        let (host, port, tls) = (link.host.clone(), link.port, link.tls.then(|| connector.clone()));
        let (sender, address, steps) = open(&host, port, tls.as_ref(), patience).await?;
        Ok(Self {
            sender,
            host,
            port,
            tls,
            patience,
            authority: link.authority(),
            address,
            steps,
        })
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        bearer: Option<&str>,
        kind: &str,
        body: String,
    ) -> Result<Answer, Trouble> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.authority);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, kind);
        }
        if let Some(bearer) = bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {bearer}"));
        }
        let request = request.body(body).map_err(|cause| Trouble::Bug(cause.to_string()))?;
        // What was asked may be asked again if the server has not heard it, or if it does nothing more the second time.
        let is_idempotent = request.method() == Method::DELETE;
        for is_again in [false, true] {
            if self.sender.is_closed() || is_again {
                let opened = open(&self.host, self.port, self.tls.as_ref(), self.patience).await?;
                self.sender = opened.0;
            }
            let answered = timeout(self.patience.step(), self.exchange(request.clone())).await;
            match answered {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(Unanswered::Unsent)) => {}
                Ok(Err(Unanswered::Sent)) if is_idempotent => {}
                Ok(Err(Unanswered::Sent)) | Err(_) => break,
            }
        }
        Err(Trouble::NoAnswer)
    }

    async fn exchange(&mut self, request: Request<String>) -> Result<Answer, Unanswered> {
        self.sender.ready().await.map_err(|_| Unanswered::Unsent)?;
        let response = self.sender.try_send_request(request).await.map_err(|mut failed| {
            let unsent = failed.take_message();
            unsent.map_or(Unanswered::Sent, |_| Unanswered::Unsent)
        })?;
        let (parts, body) = response.into_parts();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: read(body).await.ok_or(Unanswered::Sent)?,
        })
    }

    /// Trades the link for a session; returns it and the room.
    pub(super) async fn enter(&mut self, link: &Link) -> Result<(String, String), Trouble> {
        #[derive(serde::Deserialize)]
        struct Entered {
            session: String,
            role: String,
            visit: Room,
        }
        #[derive(serde::Deserialize)]
        struct Room {
            id: String,
        }
        let body = serde_json::json!({ "token": link.token }).to_string();
        let answer = self
            .ask(Method::POST, "/api/session", None, "application/json", body)
            .await?;
        if answer.status != StatusCode::OK {
            return Err(refused(answer.status));
        }
        let entered: Entered = serde_json::from_str(&answer.body).map_err(|_| Trouble::NoHousecall)?;
        // Rooms for probes have guests alone.
        if entered.role != "guest" {
            return Err(Trouble::OtherLink);
        }
        Ok((entered.session, entered.visit.id))
    }

    /// Posts an offer.
    pub(super) async fn offer(&mut self, endpoint: &str, session: &str, offer: String) -> Result<Session, Trouble> {
        let answer = self
            .ask(Method::POST, endpoint, Some(session), "application/sdp", offer)
            .await?;
        if answer.status != StatusCode::CREATED {
            return Err(refused_offer(answer.status, endpoint));
        }
        let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let links = answer
            .headers
            .get_all(LINK)
            .iter()
            .filter_map(|value| value.to_str().ok());
        Ok(Session {
            location: location.ok_or(Trouble::NoHousecall)?.to_owned(),
            relays: links.filter_map(Relay::parse).collect(),
            answer: answer.body,
        })
    }

    /// Ends a session. If that does not work, the server ends it a while later.
    pub(super) async fn leave(&mut self, session: &Session, bearer: &str) {
        let _ = self
            .ask(Method::DELETE, &session.location, Some(bearer), "", String::new())
            .await;
    }
}

/// As [`refused`]; a viewer names whom it wants to hear, and where that one is gone it is not the link's fault.
fn refused_offer(status: StatusCode, endpoint: &str) -> Trouble {
    if status == StatusCode::NOT_FOUND && endpoint.contains("?from=") {
        return Trouble::PublisherGone;
    }
    refused(status)
}

fn refused(status: StatusCode) -> Trouble {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE => {
            Trouble::LinkRefused
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Trouble::Busy,
        other => Trouble::Answered(other.as_u16()),
    }
}

async fn read(mut body: Incoming) -> Option<String> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame.ok()?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > ANSWER_BYTES {
            return None;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers one request on each connection, and closes it.
    async fn answer_once_each(listener: TcpListener) {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut got = Vec::new();
            while !got.ends_with(b"\r\n\r\n") && !got.ends_with(b"offer") {
                assert_ne!(stream.read_buf(&mut got).await.expect("a request"), 0);
            }
            let answer = b"HTTP/1.1 201 Created\r\nlocation: /whip/v/p\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.expect("an answer");
        }
    }

    #[tokio::test]
    async fn a_connection_that_the_server_closed_is_made_anew() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(answer_once_each(listener));
        let link = format!("http://127.0.0.1:{port}/probe#hc_{}", "x".repeat(43));
        let Ok(link) = Link::parse(&link) else { panic!("a link") };
        let Ok(connector) = connector(None) else {
            panic!("a connector")
        };
        let Ok(mut web) = Web::connect(&link, &connector, Patience(6)).await else {
            panic!("a connection")
        };
        for _ in 0..3 {
            let offered = web.offer("/whip/v", "session", "offer".to_owned()).await;
            assert!(offered.is_ok_and(|session| session.participant() == "p"));
            // As after a measurement that took long.
            while !web.sender.is_closed() {
                tokio::task::yield_now().await;
            }
        }
    }

    #[test]
    fn a_publisher_that_is_gone_is_not_the_links_fault() {
        let said = |status, endpoint| refused_offer(status, endpoint);
        assert!(matches!(
            said(StatusCode::NOT_FOUND, "/whep/v?from=p"),
            Trouble::PublisherGone
        ));
        assert!(matches!(said(StatusCode::NOT_FOUND, "/whip/v"), Trouble::LinkRefused));
        assert!(matches!(
            said(StatusCode::FORBIDDEN, "/whep/v?from=p"),
            Trouble::LinkRefused
        ));
    }
}
