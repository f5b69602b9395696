//! Whether anybody sees a shared screen: whoever shares one is told.

use housecall_sfu::{Mid, Source, Target, TrackId};

use super::Visit;
use super::stay::{Slot, Stay};
use crate::ids::StayId;
use crate::message::{ScreenAudience, ServerMessage};

impl Visit {
    /// Tells everybody who shares a screen whether it is seen, where that is something else than was said last.
    pub(super) fn tell_audiences(&mut self) {
        let screens: Vec<(StayId, Mid, ScreenAudience)> = self
            .stays
            .values()
            .filter(|stay| stay.is_admitted())
            .flat_map(|stay| stay.tracks().iter().map(|track| (stay.id, track)))
            .filter(|(_, track)| track.source == Source::Screen)
            .map(|(publisher, track)| (publisher, track.mid, self.audience(track.track)))
            .collect();
        for (publisher, mid, by) in screens {
            let Some(stay) = self.stays.get_mut(&publisher) else {
                continue;
            };
            let Some(connection) = &mut stay.connection else {
                continue;
            };
            if connection.audiences.insert(mid, by) == Some(by) {
                continue;
            }
            if let Some(socket) = stay.socket() {
                self.send(socket, message(mid, by));
            }
        }
    }

    /// Who is shown this track. A slot that shows it is of somebody who is admitted and not its publisher.
    fn audience(&self, track: TrackId) -> ScreenAudience {
        let connections = self.stays.values().filter_map(|stay: &Stay| stay.connection.as_ref());
        let slots = connections.flat_map(|connection| connection.slots.values());
        slots
            .filter(|slot| slot.source == Some(track))
            .map(seen_by)
            .max()
            .unwrap_or(ScreenAudience::Unwatched)
    }
}

/// What whoever this slot is of has of the track it shows.
fn seen_by(slot: &Slot) -> ScreenAudience {
    match (slot.sending, slot.limit) {
        (Some((_, Some(_))), _) => ScreenAudience::Seen,
        // By hand, or not asked for yet.
        (Some((Target::AudioOnly, None)), _) => ScreenAudience::Unwatched,
        (_, Some(Target::AudioOnly)) => ScreenAudience::TooThin,
        (Some((Target::Video(_), None)) | None, _) => ScreenAudience::NotArriving,
    }
}

/// The message about it.
pub(super) fn message(mid: Mid, by: ScreenAudience) -> ServerMessage {
    ServerMessage::Audience {
        mid: mid.to_string(),
        by,
    }
}
