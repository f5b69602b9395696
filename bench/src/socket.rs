//! A person in a visit as the pages do it: a session, a WebSocket, an offer, and a subscription to whoever else is there.

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use housecall_signaling::message::{ClientMessage, KindName, Place, ServerMessage, SlotInfo, VisitState};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::dtls::Profile;
use crate::offer::{Line, Offer};
use crate::peer::Peer;
use crate::server::Server;
use crate::target::as_somebody;

/// Somebody who has said hello.
pub(crate) struct Person {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    me: String,
    state: Option<VisitState>,
    slots: Vec<SlotInfo>,
}

impl Person {
    /// Trades a token for a session and says hello.
    pub(crate) async fn enter(server: &Server, http: &reqwest::Client, token: &str) -> Result<Self> {
        let url = format!("http://{}/api/session", server.address);
        let response = as_somebody(http.post(url))
            .json(&json!({ "token": token }))
            .send()
            .await?;
        let session: serde_json::Value = response.error_for_status()?.json().await?;
        let session = session["session"].as_str().context("no session")?.to_owned();
        let (socket, _) = connect_async(format!("ws://{}/ws", server.address)).await?;
        let mut person = Self {
            socket,
            me: String::new(),
            state: None,
            slots: Vec::new(),
        };
        person.send(&ClientMessage::Hello { session, resume: None }).await?;
        while person.me.is_empty() {
            if let ServerMessage::Welcome { you, .. } = person.next().await? {
                person.me = you;
            }
        }
        Ok(person)
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
    pub(crate) async fn connect(&mut self, lines: &[Line], profile: Option<Profile>) -> Result<Peer> {
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
                    return tokio::task::spawn_blocking(move || Peer::connect(offer, &sdp, profile)).await?;
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
