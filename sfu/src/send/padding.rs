//! Packets of a frame are equally long within a byte, and one GSO call wants them all alike (only its last may be shorter). One byte of RTP
//! padding (RFC 3550 §5.1) on the shorter ones makes one run of them.

use crate::ring::{Read, Ring, RingIndex};

/// How far payloads of a run may be apart. Encoders cut a frame into equal parts, so that it is one byte; browsers were seen to decode
/// packets that are padded by it.
const LARGEST_PADDING: usize = 1;

/// A run never is longer: the most datagrams one GSO call takes.
const LONGEST_RUN: usize = 64;

/// Payloads that will be written one behind the other, and the length they get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PaddedRun {
    /// The place of its last packet, which may be shorter than the others.
    last: RingIndex,
    len: usize,
}

impl PaddedRun {
    /// The run that begins with the packet at `place`, of what is in the ring already.
    pub(super) fn starting_at(ring: &Ring, place: RingIndex) -> Self {
        let (mut shortest, mut longest) = (usize::MAX, 0);
        let (mut last, mut next) = (place, place);
        for _ in 0..LONGEST_RUN {
            let Read::Packet(_, payload) = ring.read(next) else {
                break;
            };
            let (low, high) = (shortest.min(payload.len()), longest.max(payload.len()));
            if high - low > LARGEST_PADDING {
                break;
            }
            (shortest, longest, last) = (low, high, next);
            next = next.next();
        }
        Self { last, len: longest }
    }

    /// Whether the packet at `place` belongs to it.
    pub(super) fn contains(&self, place: RingIndex) -> bool {
        place <= self.last
    }

    /// Bytes of padding for the packet at `place`.
    pub(super) fn padding(&self, place: RingIndex, payload: usize) -> usize {
        if place < self.last {
            // At most one; nothing if the ring was not what it was when the run was looked up.
            self.len.saturating_sub(payload).min(LARGEST_PADDING)
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::testing;
    use crate::limits;
    use crate::media::Codec;
    use crate::ring::{Incoming, Packing};

    /// The paddings of payloads of these lengths.
    fn paddings(lens: &[usize]) -> Vec<usize> {
        let mut ring = Ring::new(limits::LARGE_VIDEO_RING, 0);
        let mut places = Vec::new();
        for (sequence, len) in lens.iter().enumerate() {
            places.push(ring.end());
            let packet = Incoming {
                arrival: testing::start(),
                sequence: sequence as u64,
                timestamp: 0,
                marker: false,
                packing: Packing::Plain(Codec::H264),
                audio_level: None,
            };
            ring.insert(packet, &vec![1; *len]).unwrap();
        }
        let mut run: Option<PaddedRun> = None;
        places
            .iter()
            .zip(lens)
            .map(|(place, len)| {
                let run = match run {
                    Some(run) if run.contains(*place) => run,
                    _ => *run.insert(PaddedRun::starting_at(&ring, *place)),
                };
                run.padding(*place, *len)
            })
            .collect()
    }

    #[test]
    fn packets_that_differ_by_a_byte_become_equal() {
        assert_eq!(paddings(&[1112, 1112, 1113, 1113]), [1, 1, 0, 0]);
        assert_eq!(
            paddings(&[1113, 1112, 1113, 1112]),
            [0, 1, 0, 0],
            "the last may be shorter"
        );
        assert_eq!(paddings(&[1112, 1112]), [0, 0]);
        assert_eq!(paddings(&[1112]), [0]);
    }

    #[test]
    fn a_larger_step_starts_a_new_run() {
        assert_eq!(paddings(&[700, 702, 703]), [0, 1, 0]);
        assert_eq!(
            paddings(&[1113, 1112, 1111]),
            [0, 0, 0],
            "1112 ends the run: it needs none"
        );
        assert_eq!(paddings(&[500, 501, 502]), [1, 0, 0]);
        let many: Vec<usize> = (0..130).map(|n| 100 + n % 2).collect();
        assert_eq!(
            paddings(&many).iter().sum::<usize>(),
            65,
            "every other one, over three runs"
        );
    }
}
