//! The probe's requests, over one connection, with the time that each step of it took.

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

use super::Trouble;
use super::link::{Link, Relay};

/// How long a step may take: longer than any patient waits for it.
const PATIENCE: Duration = Duration::from_secs(10);
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

/// A connection to `host`, which is looked up.
pub(super) async fn connect(
    host: &str,
    port: u16,
    tls: Option<&TlsConnector>,
) -> Result<(Box<dyn Stream>, IpAddr, Steps), Trouble> {
    let began = Instant::now();
    let place = || format!("{host} port {port}");
    let found = timeout(PATIENCE, tokio::net::lookup_host((host, port))).await;
    let addresses: Vec<SocketAddr> = match found {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    if addresses.is_empty() {
        return Err(Trouble::NoName(host.to_owned()));
    }
    let mut steps = Steps {
        dns: began.elapsed(),
        ..Steps::default()
    };
    let mut why = String::new();
    for address in addresses {
        let began = Instant::now();
        let stream = match timeout(PATIENCE, TcpStream::connect(address)).await {
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
        let secure = timeout(PATIENCE, connector.connect(name, stream)).await;
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

/// A connection on which requests go.
pub(super) struct Web {
    sender: http1::SendRequest<String>,
    authority: String,
    /// Of the server.
    pub(super) address: IpAddr,
    pub(super) steps: Steps,
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

impl Web {
    pub(super) async fn connect(link: &Link, connector: &TlsConnector) -> Result<Self, Trouble> {
        let (stream, address, steps) = connect(&link.host, link.port, link.tls.then_some(connector)).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|_| Trouble::NoAnswer)?;
        // Ends with the sender.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self {
            sender,
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
        let sender = &mut self.sender;
        let answered = async {
            sender.ready().await.ok()?;
            let response = sender.send_request(request).await.ok()?;
            let (parts, body) = response.into_parts();
            Some(Answer {
                status: parts.status,
                headers: parts.headers,
                body: read(body).await?,
            })
        };
        timeout(PATIENCE, answered)
            .await
            .ok()
            .flatten()
            .ok_or(Trouble::NoAnswer)
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
            return Err(refused(answer.status));
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
