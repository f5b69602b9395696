//! Somebody who takes part in a visit, as a page does: a link, a session, a socket.

use futures_util::{SinkExt, StreamExt};
use housecall_signaling::message::{ClientMessage, EndReason, Place, RoleName, ServerMessage, VisitState};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::server::{PATIENCE, Server};

/// Trades a token for a session: `POST /api/session`.
pub(crate) async fn session(server: &Server, token: &str) -> Value {
    let response = reqwest::Client::new()
        .post(format!("http://{}/api/session", server.address()))
        .json(&json!({ "token": token }))
        .send()
        .await
        .expect("the server answers");
    assert_eq!(response.status(), 200);
    response.json().await.expect("a JSON body")
}

/// A person's socket, after `welcome`.
pub(crate) struct Person {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Their part in the visit.
    pub(crate) role: RoleName,
    /// This stay.
    pub(crate) participant: String,
    /// What the page keeps to come back with.
    pub(crate) session: String,
}

impl Person {
    /// Opens a link: a session, a socket, `hello`, `welcome`.
    pub(crate) async fn join(server: &Server, token: &str) -> Self {
        let session = session(server, token).await;
        Self::hello(server, session["session"].as_str().expect("a session")).await
    }

    /// Opens a socket with a session, as a page does that lost its own.
    pub(crate) async fn hello(server: &Server, session: &str) -> Self {
        let address = format!("ws://{}/ws", server.address());
        let (socket, _) = connect_async(address).await.expect("the server takes a WebSocket");
        let mut person = Self {
            socket,
            role: RoleName::Guest,
            participant: String::new(),
            session: session.to_owned(),
        };
        person
            .send(&ClientMessage::Hello {
                session: session.to_owned(),
                resume: None,
            })
            .await;
        match person.next().await {
            Some(ServerMessage::Welcome { you, role, .. }) => {
                person.participant = you;
                person.role = role;
                person
            }
            other => panic!("expected welcome, got {}", shown(other.as_ref())),
        }
    }

    pub(crate) async fn send(&mut self, message: &ClientMessage) {
        let text = serde_json::to_string(message).expect("a message is JSON");
        self.socket.send(Message::text(text)).await.expect("the socket is open");
    }

    /// The next message; `None` when the socket has closed.
    async fn next(&mut self) -> Option<ServerMessage> {
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.socket.next())
                .await
                .expect("the server said nothing for a long time");
            match frame {
                Some(Ok(Message::Text(text))) => {
                    return Some(serde_json::from_str(&text).expect("a message of the protocol"));
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Reads states until one is as wanted.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&VisitState) -> bool) -> VisitState {
        loop {
            match self.next().await {
                Some(ServerMessage::State(state)) if wanted(&state) => return state,
                Some(ServerMessage::State(_)) => {}
                other => panic!("expected a state, got {}", shown(other.as_ref())),
            }
        }
    }

    /// Reads until this person is in the visit with so many people, oneself included.
    pub(crate) async fn until_together(&mut self, people: usize) -> VisitState {
        self.until(|state| matches!(state.you, Place::Admitted {}) && state.participants.len() == people)
            .await
    }

    /// Reads until `ended`, and to the close after it.
    pub(crate) async fn until_ended(&mut self) -> EndReason {
        loop {
            match self.next().await {
                Some(ServerMessage::Ended { reason, .. }) => {
                    assert!(self.next().await.is_none(), "the socket closes after `ended`");
                    return reason;
                }
                Some(ServerMessage::State(_)) => {}
                other => panic!("expected ended, got {}", shown(other.as_ref())),
            }
        }
    }

    /// Reads until the socket has broken, as it does when the server is killed.
    pub(crate) async fn until_broken(&mut self) {
        while self.next().await.is_some() {}
    }
}

fn shown(message: Option<&ServerMessage>) -> String {
    message.map_or_else(
        || "the end of the socket".to_owned(),
        |message| serde_json::to_string(message).expect("a message is JSON"),
    )
}

/// Clinician and patient of the demo visit, both in it.
pub(crate) async fn together(server: &Server) -> (Person, Person) {
    let mut patient = Person::join(server, server.token("Patient")).await;
    let mut clinician = Person::join(server, server.token("Clinician")).await;
    let queue = clinician.until(|state| !state.queue.is_empty()).await.queue;
    assert_eq!(queue[0].participant, patient.participant);
    clinician
        .send(&ClientMessage::Admit {
            participant: patient.participant.clone(),
        })
        .await;
    patient.until_together(2).await;
    clinician.until_together(2).await;
    (clinician, patient)
}
