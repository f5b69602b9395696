//! What people are shown: each socket's view of the visit, sent as a whole when it differs from the last one sent.

use std::time::{Duration, Instant};

use housecall_sfu::{Kind, Layer, Mid, Source, Target, TrackId, UplinkChange, UplinkLayer};

use super::stay::{Link, SocketState, Stay};
use super::{Output, Visit};
use crate::ids::PersonId;
use crate::message::{
    ClinicianPresence, Direction, KindName, ParticipantInfo, Place, QualityReason, RoleName, ServerMessage, SourceName,
    TargetName, TrackInfo, UplinkLayerInfo, UplinkReason, VisitState, WaitingInfo,
};
use crate::metrics::Census;

impl Visit {
    /// Sends everybody their view if it has changed.
    pub(super) fn show_views(&mut self, now: Instant) {
        let participants: Vec<ParticipantInfo> =
            self.stays.values().filter(|s| s.is_listed()).map(participant).collect();
        let waiting = self.queue();
        let queue: Vec<WaitingInfo> = waiting
            .iter()
            .map(|&(since, stay)| waiting_info(stay, since, now))
            .collect();
        let positions: Vec<_> = waiting.iter().map(|(_, stay)| stay.id).collect();
        let presence_in_visit = self.presence_shown(true);
        let presence_waiting = self.presence_shown(false);

        for (&id, stay) in &mut self.stays {
            let admitted = stay.is_admitted();
            let clinician = stay.role == RoleName::Clinician;
            let Link::Socket {
                state: SocketState::Online { socket, told },
                ..
            } = &mut stay.link
            else {
                continue;
            };
            let position = positions
                .iter()
                .position(|&p| p == id)
                .map_or(0, |index| index as u32 + 1);
            let view = VisitState {
                you: if admitted {
                    Place::Admitted {}
                } else {
                    Place::Waiting { position }
                },
                clinician: if admitted { presence_in_visit } else { presence_waiting },
                participants: if admitted { participants.clone() } else { Vec::new() },
                queue: if clinician { queue.clone() } else { Vec::new() },
            };
            if told.as_ref() != Some(&view) {
                self.outputs.push_back(Output::Send {
                    socket: *socket,
                    message: ServerMessage::State(view.clone()),
                });
                *told = Some(view);
            }
        }
    }

    /// Who waits, first in line first, and since when.
    pub(super) fn queue(&self) -> Vec<(Instant, &Stay)> {
        let mut queue: Vec<_> = self
            .stays
            .values()
            .filter_map(|stay| stay.waiting().map(|(since, turn)| (turn, since, stay)))
            .collect();
        queue.sort_by_key(|&(turn, ..)| turn);
        queue.into_iter().map(|(_, since, stay)| (since, stay)).collect()
    }

    /// How many are there and wait, and since when the first of them has.
    pub(crate) fn waiting_summary(&self) -> Option<(usize, Instant)> {
        let mut present = self.queue().into_iter().filter(|(_, stay)| stay.is_connected());
        let (since, _) = present.next()?;
        Some((1 + present.count(), since))
    }

    /// How many take part, by protocol and place; kept places included.
    pub(crate) fn census(&self) -> Census {
        let mut census = Census::default();
        for stay in self.stays.values().filter(|stay| !stay.is_joining()) {
            census[stay.via() as usize][usize::from(stay.is_admitted())] += 1;
        }
        census
    }

    /// The clinicians here, and whether each is in a call with a patient: what other visits want to know.
    pub(crate) fn clinicians_here(&self) -> Vec<(PersonId, bool)> {
        let in_call = self.has_patient_in_call();
        self.online_clinicians()
            .map(|stay| (stay.person.clone(), in_call))
            .collect()
    }

    /// The clinicians whose calls in other visits matter to those who wait here.
    pub(crate) fn clinicians_of_interest(&self) -> Vec<PersonId> {
        let here = self.online_clinicians().map(|stay| stay.person.clone());
        let mut all: Vec<_> = here.chain(self.booked_with.clone()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn online_clinicians(&self) -> impl Iterator<Item = &Stay> {
        self.stays
            .values()
            .filter(|stay| stay.role == RoleName::Clinician && stay.socket().is_some())
    }

    fn has_patient_in_call(&self) -> bool {
        self.stays
            .values()
            .any(|stay| stay.role == RoleName::Patient && stay.is_admitted() && stay.is_connected())
    }

    fn presence_shown(&self, to_admitted: bool) -> ClinicianPresence {
        let here = self.online_clinicians().next().is_some();
        if self.busy_elsewhere {
            ClinicianPresence::WithAnotherPatient
        } else if !here {
            ClinicianPresence::NotStarted
        } else if !to_admitted && self.has_patient_in_call() {
            ClinicianPresence::WithAnotherPatient
        } else {
            ClinicianPresence::Ready
        }
    }
}

fn participant(stay: &Stay) -> ParticipantInfo {
    ParticipantInfo {
        participant: stay.id.to_string(),
        role: stay.role,
        name: stay.name.reveal().to_owned(),
        connected: stay.is_connected(),
        microphone_muted: stay.microphone_muted,
        camera_muted: stay.camera_muted,
        tracks: stay
            .tracks()
            .iter()
            .map(|track| TrackInfo {
                track: track_name(track.track),
                kind: kind_name(track.kind),
                source: source_name(track.source),
            })
            .collect(),
    }
}

fn waiting_info(stay: &Stay, since: Instant, now: Instant) -> WaitingInfo {
    let waited: Duration = now.saturating_duration_since(since);
    WaitingInfo {
        participant: stay.id.to_string(),
        name: stay.name.reveal().to_owned(),
        role: stay.role,
        waiting_seconds: u32::try_from(waited.as_secs()).unwrap_or(u32::MAX),
        connected: stay.is_connected(),
    }
}

fn source_name(source: Source) -> SourceName {
    match source {
        Source::Microphone => SourceName::Microphone,
        Source::Camera => SourceName::Camera,
        Source::Screen => SourceName::Screen,
    }
}

pub(super) fn kind_name(kind: Kind) -> KindName {
    match kind {
        Kind::Audio => KindName::Audio,
        Kind::Video => KindName::Video,
    }
}

/// A track's name in the protocol: `t` and its number in the media core.
pub(super) fn track_name(track: TrackId) -> String {
    format!("t{}", track.0)
}

/// Reads what [`track_name`] wrote.
pub(super) fn track_id(name: &str) -> Option<TrackId> {
    let digits = name.strip_prefix('t')?;
    let plain = (1..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if !plain {
        return None;
    }
    digits.parse().ok().map(TrackId)
}

pub(super) fn target(name: TargetName) -> Target {
    match name {
        TargetName::AudioOnly => Target::AudioOnly,
        TargetName::P480 => Target::Video(Layer::P480),
        TargetName::P720 => Target::Video(Layer::P720),
    }
}

fn target_name(target: Target) -> TargetName {
    match target {
        Target::AudioOnly => TargetName::AudioOnly,
        Target::Video(Layer::P480) => TargetName::P480,
        Target::Video(Layer::P720) => TargetName::P720,
    }
}

/// The message about what a camera is to send.
pub(super) fn uplink(mid: Mid, layers: [UplinkLayer; 2], carries: Target, change: UplinkChange) -> ServerMessage {
    let layers = layers.into_iter().map(|layer| UplinkLayerInfo {
        rid: layer.rid.to_string(),
        active: layer.active,
        max_kbps: u32::try_from(layer.max.bps() / 1_000).unwrap_or(u32::MAX),
    });
    ServerMessage::Uplink {
        mid: mid.to_string(),
        layers: layers.collect(),
        carries: target_name(carries),
        reason: match change {
            UplinkChange::Demand => UplinkReason::Demand,
            UplinkChange::Path(_) => UplinkReason::Connection,
        },
    }
}

/// The message about what a line is sent, `before` being what was said about it last, and `limit` where the line's path put it last.
pub(super) fn quality(
    mid: &str,
    before: Option<(Target, Option<Layer>)>,
    (target, layer): (Target, Option<Layer>),
    limit: Option<Target>,
) -> ServerMessage {
    let flowing = |layer: Option<Layer>| layer.map_or(Target::AudioOnly, Target::Video);
    let earlier = before.map_or(Target::AudioOnly, |(_, layer)| flowing(layer));
    let direction = match flowing(layer).cmp(&earlier) {
        std::cmp::Ordering::Greater => Direction::Up,
        std::cmp::Ordering::Less => Direction::Down,
        std::cmp::Ordering::Equal => Direction::Same,
    };
    let asked = before.is_none_or(|(earlier_target, _)| earlier_target != target);
    ServerMessage::Quality {
        mid: mid.to_owned(),
        target: target_name(target),
        sending: target_name(flowing(layer)),
        direction,
        reason: if asked {
            QualityReason::Asked
        } else if limit == Some(flowing(layer)) {
            QualityReason::Connection
        } else {
            QualityReason::Publisher
        },
    }
}
