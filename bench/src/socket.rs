//! A person in a visit as the pages do it: a session, a WebSocket, an offer, and a subscription to whoever else is there.

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use housecall_signaling::message::{ClientMessage, KindName, Place, ServerMessage, SlotInfo, VisitState};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::offer::{Line, Offer};
use crate::peer::Peer;
use crate::server::Server;
use crate::target::{Target, somebody};
use crate::turn::{self, Credentials};

/// A connection, inside of TLS or not.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

async fn connect(server: &Server) -> Result<Box<dyn Stream>> {
    let stream = TcpStream::connect(server.address).await?;
    if !server.tls {
        return Ok(Box::new(stream));
    }
    let connector = TlsConnector::from(turn::tls_client(&[b"http/1.1"])?);
    let name = ServerName::try_from(turn::TLS_NAME)?;
    Ok(Box::new(connector.connect(name, stream).await?))
}

/// Posts JSON on a connection of its own and gives the JSON that is answered.
async fn post(server: &Server, path: &str, body: &serde_json::Value) -> Result<serde_json::Value> {
    let mut stream = connect(server).await?;
    let (body, host, somebody) = (body.to_string(), server.address, somebody());
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\nx-forwarded-for: {somebody}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    loop {
        if let Some(body) = parse_answer(&answer)? {
            return Ok(body);
        }
        ensure!(
            stream.read_buf(&mut answer).await? > 0,
            "the answer to POST {path} was cut off"
        );
    }
}

/// The JSON of a whole answer; `None` while it is not whole.
fn parse_answer(answer: &[u8]) -> Result<Option<serde_json::Value>> {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return Ok(None);
    };
    let status = head.lines().next().unwrap_or_default();
    ensure!(
        status.contains(" 200 ") || status.contains(" 201 "),
        "the answer was {status}"
    );
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.context("an answer without a length")?;
    Ok(if body.len() < length {
        None
    } else {
        Some(serde_json::from_str(body)?)
    })
}

/// Somebody who has said hello.
pub(crate) struct Person {
    socket: WebSocketStream<Box<dyn Stream>>,
    me: String,
    state: Option<VisitState>,
    slots: Vec<SlotInfo>,
    /// For the server's relay.
    relay: Option<Credentials>,
}

impl Person {
    /// Trades a token for a session and says hello.
    pub(crate) async fn enter(server: &Server, token: &str) -> Result<Self> {
        let session = post(server, "/api/session", &json!({ "token": token })).await?;
        let session = session["session"].as_str().context("no session")?.to_owned();
        let scheme = if server.tls { "wss" } else { "ws" };
        let url = format!("{scheme}://{}/ws", server.address);
        let (socket, _) = client_async(url, connect(server).await?).await?;
        let mut person = Self {
            socket,
            me: String::new(),
            state: None,
            slots: Vec::new(),
            relay: None,
        };
        person.send(&ClientMessage::Hello { session, resume: None }).await?;
        while person.me.is_empty() {
            if let ServerMessage::Welcome { you, ice_servers, .. } = person.next().await? {
                person.me = you;
                person.relay = ice_servers.into_iter().next().map(|server| Credentials {
                    username: server.username,
                    password: server.credential,
                });
            }
        }
        Ok(person)
    }

    /// What the server's relay takes from this person.
    pub(crate) fn relay(&self) -> Option<&Credentials> {
        self.relay.as_ref()
    }

    /// A clinician's part: lets in whoever comes next.
    pub(crate) async fn admit_one(&mut self) -> Result<()> {
        loop {
            let waiting = self.state.as_ref().and_then(|state| state.queue.first());
            if let Some(waiting) = waiting {
                let participant = waiting.participant.clone();
                return self.send(&ClientMessage::Admit { participant }).await;
            }
            self.next().await?;
        }
    }

    /// Waits to be let in.
    pub(crate) async fn until_admitted(&mut self) -> Result<()> {
        while !matches!(&self.state, Some(state) if matches!(state.you, Place::Admitted {})) {
            self.next().await?;
        }
        Ok(())
    }

    /// Offers these lines and connects.
    pub(crate) async fn connect(&mut self, lines: &[Line], target: &Target) -> Result<Peer> {
        let offer = Offer::new(lines)?;
        let message = ClientMessage::Offer {
            id: 1,
            sdp: offer.sdp.clone(),
            fresh: true,
        };
        self.send(&message).await?;
        loop {
            match self.next().await? {
                ServerMessage::Answer { sdp, slots, .. } => {
                    self.slots = slots;
                    let (profile, way) = (target.profile(), target.way().clone());
                    return tokio::task::spawn_blocking(move || Peer::connect(offer, &sdp, profile, &way)).await?;
                }
                ServerMessage::OfferRefused { message, .. } => bail!("the offer was refused: {message}"),
                _ => {}
            }
        }
    }

    /// Subscribes to everything there is and will be, until the socket ends.
    pub(crate) async fn follow(mut self) -> Result<()> {
        let mut shown: Vec<(String, String)> = Vec::new();
        loop {
            for (mid, track) in self.wishes(&shown) {
                let message = ClientMessage::Subscribe {
                    mid: mid.clone(),
                    track: Some(track.clone()),
                };
                self.send(&message).await?;
                shown.push((mid, track));
            }
            self.next().await?;
        }
    }

    /// Free lines and tracks of others that are not shown yet.
    fn wishes(&self, shown: &[(String, String)]) -> Vec<(String, String)> {
        let Some(state) = &self.state else { return Vec::new() };
        let others = state.participants.iter().filter(|other| other.participant != self.me);
        let tracks: Vec<_> = others.flat_map(|other| &other.tracks).collect();
        let mut wishes: Vec<(String, String)> = Vec::new();
        for slot in &self.slots {
            let free = shown.iter().all(|(mid, _)| *mid != slot.mid);
            let fits = |kind: KindName, name: &String| {
                kind == slot.kind && shown.iter().chain(&wishes).all(|(_, track)| track != name)
            };
            let track = tracks.iter().find(|track| free && fits(track.kind, &track.track));
            if let Some(track) = track {
                let wish = (slot.mid.clone(), track.track.clone());
                wishes.push(wish);
            }
        }
        wishes
    }

    async fn send(&mut self, message: &ClientMessage) -> Result<()> {
        self.socket.send(Message::text(serde_json::to_string(message)?)).await?;
        Ok(())
    }

    /// The next message; states are kept.
    async fn next(&mut self) -> Result<ServerMessage> {
        loop {
            let frame = self.socket.next().await.context("the server closed the socket")??;
            let Message::Text(text) = frame else {
                ensure!(!frame.is_close(), "the server closed the socket");
                continue;
            };
            let message: ServerMessage = serde_json::from_str(&text).context("not a message of the protocol")?;
            match &message {
                ServerMessage::State(state) => self.state = Some(state.clone()),
                ServerMessage::Ended { message, .. } => bail!("the server ended the visit: {message}"),
                ServerMessage::Error { message, .. } => bail!("the server refused: {message}"),
                _ => {}
            }
            return Ok(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_when_it_is_whole() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"a\":1}";
        for end in 0..answer.len() {
            assert_eq!(parse_answer(&answer[..end]).expect("no refusal"), None, "{end}");
        }
        assert_eq!(parse_answer(answer).expect("whole"), Some(json!({ "a": 1 })));
        assert!(parse_answer(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").is_err());
    }
}
