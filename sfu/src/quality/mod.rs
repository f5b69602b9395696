//! What figures mean for people: a score for speech ([`mos`]) and whose line is to blame ([`blame()`]). Pure functions; `docs/quality.md`
//! explains every number and names its source.

mod blame;
mod speech;
mod spread;

use std::time::Duration;

pub use blame::{Culprit, Server, Signs, blame};
pub use speech::{Mos, mos};
pub(crate) use spread::Spread;

use crate::api::{ParticipantStats, PublishedStats, SlotStats};
use crate::ids::TrackId;
use crate::media::Kind;

/// What one direction of one participant's line did between two snapshots.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Leg {
    /// Packets that should have come over it.
    pub expected: u64,
    /// The share of them that were lost before any repair, 0.0..=1.0.
    pub loss: f32,
    /// The share of audio that was lost; it is not repaired. `None` if there was none.
    pub audio_loss: Option<f32>,
    /// The worst interarrival jitter of its audio, or of its video if there was no audio.
    pub jitter: Duration,
    /// The range in which the transit times of nine in ten packets of its audio lay.
    pub spread: Duration,
    /// Round trip of the whole line, if it was measured.
    pub rtt: Option<Duration>,
    /// How long packets stood in a queue. Known of what the server sends.
    pub queue: Duration,
}

impl Leg {
    /// What a participant sent to the server between two snapshots of it.
    #[must_use]
    pub fn up(before: Option<&ParticipantStats>, now: &ParticipantStats) -> Self {
        let earlier = |stats: &PublishedStats| {
            let known = before?.published.iter();
            let is_same = |other: &&PublishedStats| (other.track, other.layer) == (stats.track, stats.layer);
            known.into_iter().find(is_same)
        };
        let mut sums = Sums::default();
        let mut spread = Duration::ZERO;
        for stats in &now.published {
            let (packets, lost, repaired) =
                earlier(stats).map_or((0, 0, 0), |other| (other.packets, other.lost, other.repaired));
            let kind = if stats.layer.is_none() {
                Kind::Audio
            } else {
                Kind::Video
            };
            let repaired = stats.repaired.saturating_sub(repaired);
            let lost = stats.lost.saturating_sub(lost) + repaired;
            let came = stats.packets.saturating_sub(packets).saturating_sub(repaired);
            sums.add(kind, came + lost, lost, stats.jitter);
            if came + lost > 0 {
                spread = spread.max(stats.spread);
            }
        }
        Self {
            spread,
            rtt: now.rtt.or(now.uplink_rtt),
            ..sums.leg()
        }
    }

    /// What the server sent to a participant between two snapshots of it.
    #[must_use]
    pub fn down(before: Option<&ParticipantStats>, now: &ParticipantStats) -> Self {
        let earlier = |stats: &SlotStats| before?.slots.iter().find(|other| other.mid == stats.mid);
        let mut sums = Sums::default();
        for stats in &now.slots {
            let (packets, lost) = earlier(stats).map_or((0, 0), |other| (other.packets, other.lost));
            let sent = stats.packets.saturating_sub(packets);
            let lost = stats.lost.saturating_sub(lost).min(sent);
            sums.add(stats.kind, sent, lost, stats.jitter);
        }
        let leg = sums.leg();
        Self {
            // Who is silent has none, whatever was last measured.
            spread: leg.audio_loss.map_or(Duration::ZERO, |_| now.spread),
            rtt: now.rtt,
            // Over TCP what waits for the connection is a queue, too, and the first to be seen.
            queue: now.queue.max(now.stream_queue.unwrap_or_default()),
            // Receivers differ in whether they count what was repaired; transport-wide feedback knows what the path did.
            loss: if leg.expected == 0 {
                0.0
            } else {
                leg.loss.max(now.path_loss)
            },
            ..leg
        }
    }
}

/// Whether a participant is shown something of these tracks.
#[must_use]
pub fn receives(stats: &ParticipantStats, tracks: impl Fn(TrackId) -> bool) -> bool {
    stats.slots.iter().any(|slot| slot.source.is_some_and(&tracks))
}

#[derive(Default)]
struct Sums {
    expected: u64,
    lost: u64,
    audio: (u64, u64),
    jitter: [Option<Duration>; 2],
}

impl Sums {
    fn add(&mut self, kind: Kind, expected: u64, lost: u64, jitter: Duration) {
        if expected == 0 {
            return;
        }
        self.expected += expected;
        self.lost += lost;
        let place = match kind {
            Kind::Audio => {
                self.audio.0 += expected;
                self.audio.1 += lost;
                0
            }
            Kind::Video => 1,
        };
        self.jitter[place] = self.jitter[place].max(Some(jitter));
    }

    fn leg(&self) -> Leg {
        let share = |lost: u64, expected: u64| lost as f32 / expected.max(1) as f32;
        Leg {
            expected: self.expected,
            loss: share(self.lost, self.expected),
            audio_loss: (self.audio.0 > 0).then(|| share(self.audio.1, self.audio.0)),
            jitter: self.jitter[0].or(self.jitter[1]).unwrap_or_default(),
            ..Leg::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Mid;
    use crate::media::{Bitrate, Layer, Target};

    fn published(layer: Option<Layer>, packets: u64, lost: u64, repaired: u64, jitter: u64) -> PublishedStats {
        PublishedStats {
            track: TrackId(u64::from(layer.is_some())),
            layer,
            packets,
            bytes: 0,
            rate: Bitrate::ZERO,
            lost,
            repaired,
            jitter: Duration::from_millis(jitter),
            spread: Duration::from_millis(jitter),
            size: None,
            key_frames: 0,
        }
    }

    fn slot(mid: &str, kind: Kind, packets: u64, lost: u64, jitter: u64) -> SlotStats {
        SlotStats {
            mid: Mid::new(mid).expect("a mid"),
            kind,
            source: Some(TrackId(9)),
            target: Target::Video(Layer::P720),
            layer: None,
            packets,
            bytes: 0,
            resent: 0,
            loss: 0.0,
            lost,
            jitter: Duration::from_millis(jitter),
        }
    }

    #[test]
    fn a_leg_is_the_difference_of_two_snapshots() {
        let before = ParticipantStats {
            published: vec![
                published(None, 100, 2, 0, 3),
                published(Some(Layer::P480), 1_000, 0, 10, 90),
            ],
            slots: vec![slot("2", Kind::Audio, 500, 0, 4), slot("3", Kind::Video, 1_000, 50, 70)],
            ..ParticipantStats::default()
        };
        let now = ParticipantStats {
            published: vec![
                published(None, 190, 12, 0, 5),
                published(Some(Layer::P480), 1_900, 0, 110, 90),
            ],
            slots: vec![slot("2", Kind::Audio, 600, 5, 6), slot("3", Kind::Video, 2_000, 95, 70)],
            rtt: Some(Duration::from_millis(80)),
            queue: Duration::from_millis(20),
            ..ParticipantStats::default()
        };
        let up = Leg::up(Some(&before), &now);
        // 90 + 10 of audio; of the 900 of video that came, 100 were repairs.
        assert_eq!(up.expected, 1_000);
        assert!((up.loss - 0.11).abs() < 1e-6, "{up:?}");
        assert_eq!(up.audio_loss, Some(0.1));
        assert_eq!(up.jitter, Duration::from_millis(5), "that of the audio");
        assert_eq!(up.spread, Duration::from_millis(90), "the worst of what came");
        let down = Leg::down(Some(&before), &now);
        assert_eq!((down.expected, down.audio_loss), (1_100, Some(0.05)));
        assert!((down.loss - 50.0 / 1_100.0).abs() < 1e-6, "{down:?}");
        assert_eq!((down.rtt, down.queue), (now.rtt, now.queue));
        // Nothing moved: nothing is said.
        let still = Leg::up(Some(&now), &now);
        assert_eq!(
            (still.expected, still.audio_loss, still.jitter),
            (0, None, Duration::ZERO)
        );
    }

    #[test]
    fn what_transport_wide_feedback_lost_counts_for_what_is_sent() {
        let now = ParticipantStats {
            slots: vec![slot("3", Kind::Video, 100, 1, 0)],
            path_loss: 0.2,
            ..ParticipantStats::default()
        };
        assert!((Leg::down(None, &now).loss - 0.2).abs() < 1e-6);
        let silent = ParticipantStats {
            slots: Vec::new(),
            ..now
        };
        assert!(Leg::down(None, &silent).loss.abs() < 1e-6);
    }
}
