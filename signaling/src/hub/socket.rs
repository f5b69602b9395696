//! One WebSocket from its first message to its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

use super::task::{self, Outbox, Outgoing, Request, VisitHandle};
use super::{JOIN_ATTEMPTS, Shared};
use crate::error::JoinError;
use crate::frame::{CloseCode, Frame};
use crate::limits;
use crate::media::Media;
use crate::message::{ClientMessage, EndReason, ErrorCode, ServerMessage};
use crate::portal::{AuthError, Portal};
use crate::rate::TokenBucket;
use crate::visit::SocketId;

/// How a socket came to its end.
enum End {
    /// We close it.
    Ours(CloseCode),
    /// The peer closed it, or it broke.
    Peers,
}

/// A socket that has said hello.
struct Joined {
    socket: SocketId,
    visit: VisitHandle,
    messages: mpsc::Receiver<Outgoing>,
    cut: mpsc::Receiver<CloseCode>,
}

/// Counts a socket for as long as it lives.
struct Counted<'a, P, M>(&'a Shared<P, M>);

impl<'a, P, M> Counted<'a, P, M> {
    fn new(shared: &'a Shared<P, M>) -> Self {
        shared.metrics.sockets.inc();
        shared.sockets.send_modify(|count| *count += 1);
        Self(shared)
    }
}

impl<P, M> Drop for Counted<'_, P, M> {
    fn drop(&mut self) {
        self.0.metrics.sockets.dec();
        self.0.sockets.send_modify(|count| *count -= 1);
    }
}

/// Tells the visit of the end of a socket, in whatever way it ends: its task may be dropped at any await.
struct Farewell {
    socket: SocketId,
    visit: VisitHandle,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        let gone = Request::SocketGone { socket: self.socket };
        if let Err(mpsc::error::TrySendError::Full(gone)) = self.visit.requests.try_send(gone) {
            let requests = self.visit.requests.clone();
            tokio::spawn(async move {
                // An error means that the visit is over.
                let _ = requests.send(gone).await;
            });
        }
    }
}

pub(super) async fn serve<P, M, S, E>(shared: &Arc<Shared<P, M>>, mut stream: S, greeting: impl Send)
where
    P: Portal,
    M: Media,
    S: Stream<Item = Result<Frame, E>> + Sink<Frame> + Unpin + Send,
    E: Send,
{
    let _counted = Counted::new(shared);
    let end = match greet(shared, &mut stream).await {
        Ok(joined) => {
            drop(greeting);
            converse(shared, &mut stream, joined).await
        }
        Err(end) => end,
    };
    match end {
        End::Ours(code) => {
            shared.metrics.count_close(Some(code));
            let close = async {
                let _ = stream.send(Frame::Close(Some(code))).await;
                let _ = stream.close().await;
            };
            // A peer that does not read is not waited for any longer.
            let _ = tokio::time::timeout(limits::WRITE_TIMEOUT, close).await;
        }
        End::Peers => shared.metrics.count_close(None),
    }
}

/// From the opening of the socket to a successful hello.
async fn greet<P, M, S, E>(shared: &Arc<Shared<P, M>>, stream: &mut S) -> Result<Joined, End>
where
    P: Portal,
    M: Media,
    S: Stream<Item = Result<Frame, E>> + Sink<Frame> + Unpin + Send,
    E: Send,
{
    let Ok(_permit) = shared.greeting.try_acquire() else {
        return Err(End::Ours(CloseCode::Full));
    };
    let hello = tokio::time::timeout(limits::HELLO_TIMEOUT, first_text(stream)).await;
    let text = hello.map_err(|_| End::Ours(CloseCode::HelloTimeout))??;
    if text.len() > limits::MAX_SMALL_MESSAGE_BYTES {
        return Err(End::Ours(CloseCode::TooLong));
    }
    let message = serde_json::from_str(&text).ok();
    shared.metrics.count_message(message.as_ref());
    let Some(ClientMessage::Hello { session, resume }) = message else {
        return Err(End::Ours(CloseCode::BadMessage));
    };
    for _ in 0..JOIN_ATTEMPTS {
        // Asked anew on every attempt: the visit may have ended under us.
        let identity = match shared.portal.authenticate(&session).await {
            Ok(identity) => identity,
            Err(error) => return Err(refuse_session(stream, error).await),
        };
        let visit_id = identity.visit.clone();
        let visit = match shared.visit(&visit_id) {
            Ok(visit) => visit,
            Err(error) => return Err(refuse_join(stream, &error).await),
        };
        let socket = shared.new_socket();
        let (messages, queue) = mpsc::channel(limits::SEND_QUEUE);
        let (cut, cut_off) = mpsc::channel(1);
        let (reply, answer) = oneshot::channel();
        let outbox = Outbox { messages, cut };
        let resume = resume.clone();
        let request = Request::Hello {
            identity,
            resume,
            socket,
            outbox,
            reply,
        };
        let sent = visit.requests.send(request).await;
        match (sent, answer.await) {
            (Ok(()), Ok(Ok(()))) => {
                return Ok(Joined {
                    socket,
                    visit,
                    messages: queue,
                    cut: cut_off,
                });
            }
            (Ok(()), Ok(Err(error @ JoinError::Full { .. }))) => return Err(refuse_join(stream, &error).await),
            _ if visit.over.load(Ordering::Acquire) => {}
            _ => shared.forget(&visit_id, visit.room),
        }
    }
    Err(refuse_join(stream, &JoinError::Stopping).await)
}

/// The first text message. Control frames before it are passed over.
async fn first_text<S, E>(stream: &mut S) -> Result<String, End>
where
    S: Stream<Item = Result<Frame, E>> + Unpin,
{
    loop {
        match stream.next().await {
            Some(Ok(Frame::Text(text))) => return Ok(text),
            Some(Ok(Frame::Ping | Frame::Pong)) => {}
            Some(Ok(Frame::Binary)) => return Err(End::Ours(CloseCode::BadMessage)),
            Some(Ok(Frame::Close(_)) | Err(_)) | None => return Err(End::Peers),
        }
    }
}

async fn refuse_session<S: Sink<Frame> + Unpin>(stream: &mut S, error: AuthError) -> End {
    let ended = |reason, message: &str| ServerMessage::Ended {
        reason,
        message: message.to_owned(),
    };
    let (message, code) = match error {
        AuthError::SessionExpired => (
            ServerMessage::Error {
                code: ErrorCode::SessionExpired,
                message: "Your session has expired.".to_owned(),
            },
            CloseCode::SessionRefused,
        ),
        AuthError::VisitEnded => (ended(EndReason::VisitEnded, "The visit has ended."), CloseCode::Done),
        AuthError::VisitCancelled => (
            ended(EndReason::Cancelled, "The appointment was cancelled."),
            CloseCode::Done,
        ),
        AuthError::Unavailable => return End::Ours(CloseCode::Unavailable),
    };
    write(stream, &message).await;
    End::Ours(code)
}

async fn refuse_join<S: Sink<Frame> + Unpin>(stream: &mut S, error: &JoinError) -> End {
    match error {
        JoinError::Full { .. } => {
            let message = "As many people as possible are in this visit already.".to_owned();
            write(
                stream,
                &ServerMessage::Error {
                    code: ErrorCode::Limit,
                    message,
                },
            )
            .await;
            End::Ours(CloseCode::Full)
        }
        JoinError::Stopping | JoinError::Offer(_) => End::Ours(CloseCode::Unavailable),
    }
}

/// A last word before closing; closing has its own time limit, this has too.
async fn write<S: Sink<Frame> + Unpin>(stream: &mut S, message: &ServerMessage) {
    let _ = tokio::time::timeout(limits::WRITE_TIMEOUT, stream.send(frame(message))).await;
}

fn frame(message: &ServerMessage) -> Frame {
    Frame::Text(serde_json::to_string(message).expect("messages have only string keys and finite numbers"))
}

/// From hello to the end.
async fn converse<P, M, S, E>(shared: &Arc<Shared<P, M>>, stream: &mut S, joined: Joined) -> End
where
    P: Portal,
    M: Media,
    S: Stream<Item = Result<Frame, E>> + Sink<Frame> + Unpin + Send,
    E: Send,
{
    let Joined {
        socket,
        visit,
        mut messages,
        mut cut,
    } = joined;
    let _farewell = Farewell {
        socket,
        visit: visit.clone(),
    };
    let mut bucket = TokenBucket::new(limits::MESSAGES_PER_SECOND, limits::MESSAGE_BURST, task::now());
    let mut pings = tokio::time::interval_at(
        Instant::from_std(task::now()) + limits::PING_INTERVAL,
        limits::PING_INTERVAL,
    );
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut idle_at = Instant::from_std(task::now()) + limits::IDLE_TIMEOUT;

    loop {
        let outgoing = tokio::select! {
            Some(code) = cut.recv() => return End::Ours(code),
            outgoing = messages.recv() => match outgoing {
                Some(Outgoing::Message(message)) => frame(&message),
                Some(Outgoing::Close(code)) => return End::Ours(code),
                None => return End::Ours(CloseCode::Unavailable),
            },
            incoming = stream.next() => {
                let Some(Ok(incoming)) = incoming else { return End::Peers };
                let now = task::now();
                idle_at = Instant::from_std(now) + limits::IDLE_TIMEOUT;
                if !bucket.take(now) {
                    return End::Ours(CloseCode::TooFast);
                }
                match read(shared, incoming) {
                    Ok(Some(message)) => {
                        if visit.requests.send(Request::Message { socket, message }).await.is_err() {
                            // The visit is over; what it said last is still in the queue.
                            idle_at = Instant::from_std(now);
                        }
                        continue;
                    }
                    Ok(None) => continue,
                    Err(Unfit::NotUnderstood) => frame(&ServerMessage::Error {
                        code: ErrorCode::BadMessage,
                        message: "The server does not know this message.".to_owned(),
                    }),
                    Err(Unfit::End(end)) => return end,
                }
            }
            _ = pings.tick() => Frame::Ping,
            () = tokio::time::sleep_until(idle_at) => return End::Ours(CloseCode::Idle),
        };
        let written = tokio::select! {
            written = tokio::time::timeout(limits::WRITE_TIMEOUT, stream.send(outgoing)) => written,
            Some(code) = cut.recv() => return End::Ours(code),
        };
        match written {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return End::Peers,
            Err(_) => return End::Ours(CloseCode::TooSlow),
        }
    }
}

/// Why a frame is not passed on.
enum Unfit {
    NotUnderstood,
    End(End),
}

/// The message in a frame, if it is one.
fn read<P, M>(shared: &Shared<P, M>, incoming: Frame) -> Result<Option<ClientMessage>, Unfit> {
    let close = |code| Err(Unfit::End(End::Ours(code)));
    let text = match incoming {
        Frame::Text(text) => text,
        Frame::Ping | Frame::Pong => return Ok(None),
        Frame::Binary => return close(CloseCode::BadMessage),
        Frame::Close(_) => return Err(Unfit::End(End::Peers)),
    };
    if text.len() > limits::MAX_MESSAGE_BYTES {
        return close(CloseCode::TooLong);
    }
    let message: Option<ClientMessage> = serde_json::from_str(&text).ok();
    shared.metrics.count_message(message.as_ref());
    match message {
        Some(ClientMessage::Offer { .. }) => Ok(message),
        _ if text.len() > limits::MAX_SMALL_MESSAGE_BYTES => close(CloseCode::TooLong),
        Some(message) => Ok(Some(message)),
        None => Err(Unfit::NotUnderstood),
    }
}
