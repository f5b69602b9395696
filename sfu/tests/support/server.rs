//! A media core of its own for each test, and the steps every test takes.

use std::net::{IpAddr, SocketAddr};

use housecall_sfu::{
    Adaptation, Answer, Event, Kind, Layer, Mid, ParticipantId, ParticipantStats, PublishedTrack, RoomId, Settings,
    Sfu, Target,
};
use tokio::sync::mpsc;

use super::peer::{Line, PATIENCE, Peer};

pub const ROOM: RoomId = RoomId(7);
pub const PUBLISHER: ParticipantId = ParticipantId(1);
pub const VIEWER: ParticipantId = ParticipantId(2);
pub const P480: Target = Target::Video(Layer::P480);
pub const P720: Target = Target::Video(Layer::P720);

/// A media core of its own for each test.
pub struct Server {
    pub sfu: Sfu,
    pub events: mpsc::Receiver<Event>,
    pub address: SocketAddr,
}

impl Server {
    pub fn start() -> Self {
        Self::listening("127.0.0.1:0", &[])
    }

    /// A media core on this address that offers clients these addresses. Everybody is sent what was asked for, whatever the path carries: a busy
    /// machine is a bad one, and what is sent then is for nobody to say.
    pub fn listening(listen: &str, public_addresses: &[IpAddr]) -> Self {
        let settings = Settings {
            listen: listen.parse().unwrap(),
            public_addresses: public_addresses.to_vec(),
            adaptation: Adaptation::Off,
            ..Settings::default()
        };
        let running = housecall_sfu::start(&settings).unwrap();
        running.sfu.create_room(ROOM, 200).unwrap();
        Self {
            sfu: running.sfu,
            events: running.events,
            address: running.addresses[0],
        }
    }

    pub async fn negotiate(&self, participant: ParticipantId, peer: &Peer) -> Answer {
        let answer = self.sfu.negotiate(ROOM, participant, peer.offer().await).await.unwrap();
        peer.accept(&answer.sdp).await;
        answer
    }

    pub async fn join(&self, participant: ParticipantId, peer: &Peer) -> Answer {
        let answer = self.negotiate(participant, peer).await;
        peer.connected().await;
        answer
    }

    /// Somebody who publishes, sending already.
    pub async fn publisher(&self, lines: &[Line]) -> (Peer, Vec<PublishedTrack>) {
        self.publish(Peer::new(lines).await).await
    }

    /// Makes this peer the publisher.
    pub async fn publish(&self, mut peer: Peer) -> (Peer, Vec<PublishedTrack>) {
        let answer = self.join(PUBLISHER, &peer).await;
        peer.publish().await;
        (peer, answer.published)
    }

    /// Somebody who receives these tracks, one line for each, in order.
    pub async fn viewer(&self, participant: ParticipantId, tracks: &[PublishedTrack]) -> Peer {
        let peer = Peer::new(&lines_for(tracks)).await;
        self.watch(participant, &peer, tracks).await;
        peer
    }

    /// Lets this peer receive these tracks, which its lines fit.
    pub async fn watch(&self, participant: ParticipantId, peer: &Peer, tracks: &[PublishedTrack]) {
        let answer = self.join(participant, peer).await;
        self.subscribe(participant, &answer, tracks);
    }

    pub fn subscribe(&self, participant: ParticipantId, answer: &Answer, tracks: &[PublishedTrack]) {
        assert_eq!(answer.slots.len(), tracks.len());
        for (slot, track) in answer.slots.iter().zip(tracks) {
            self.sfu.set_source(ROOM, participant, slot.mid, Some(track.track));
            if slot.kind == Kind::Video {
                self.sfu.set_target(ROOM, participant, slot.mid, P720);
            }
        }
    }

    pub async fn stats(&self, participant: ParticipantId) -> ParticipantStats {
        self.sfu.stats(ROOM, participant).await.unwrap()
    }

    /// Waits for an event that the closure makes something of.
    pub async fn event<T>(&mut self, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let found = async {
            loop {
                let event = self.events.recv().await.expect("the media core runs");
                if let Some(found) = wanted(&event) {
                    return found;
                }
            }
        };
        let found = tokio::time::timeout(PATIENCE, found).await;
        found.unwrap_or_else(|_| panic!("{what}: no such event"))
    }

    pub async fn sending(&mut self, mid: &str, wanted: Option<Layer>) {
        let mid = Mid::new(mid);
        let what = format!("sending {wanted:?}");
        self.event(&what, |event| match event {
            Event::Sending {
                participant: VIEWER,
                mid: on,
                layer,
                ..
            } => (Some(*on) == mid && *layer == wanted).then_some(()),
            _ => None,
        })
        .await;
    }
}

pub fn lines_for(tracks: &[PublishedTrack]) -> Vec<Line> {
    let line = |track: &PublishedTrack| match track.kind {
        Kind::Audio => Line::ReceiveAudio,
        Kind::Video => Line::ReceiveVideo,
    };
    tracks.iter().map(line).collect()
}

#[track_caller]
pub fn without_faults(viewer: &Peer, mid: &str) {
    viewer.inbox(mid, |inbox| {
        let none: [String; 0] = [];
        assert_eq!(inbox.viewer.faults(), none);
    });
}
