//! What goes out on the SSRC of retransmissions, and what asks for it.

use super::*;

/// Bytes of a retransmission before its payload: the original sequence number (RFC 4588 §4).
const OSN_LEN: usize = 2;

/// Bytes of a packet of padding: what its last byte can count.
const PADDING: usize = 255;

/// A NACK for a number that never left looks this many numbers ahead for one that did, to know how old the hole is.
const HOLE_SCAN: u64 = 32;

/// A packet that comes so long after its followers was not overtaken on its way, but lost and repaired.
const OVERTAKEN: Duration = Duration::from_millis(10);

impl Subscription {
    /// Takes in a NACK (RFC 4585 §6.2.1): what can be resent is queued, what cannot asks for a key frame.
    pub(crate) fn handle_nack(&mut self, numbers: impl Iterator<Item = u16>, now: Instant) {
        for number in numbers {
            let Some(sequence) = self.widen(number) else {
                continue;
            };
            match self.history.get(sequence) {
                Some(sent) if self.config.rtx_ssrc.is_some() => {
                    let round_trip = self.reports.round_trip();
                    let asked = self.resends.ask(&sent, &self.history, round_trip, self.is_lossy, now);
                    if asked == Asked::Spent {
                        self.lost_picture(sequence);
                    }
                }
                // Under SRTP a packet cannot be sent twice under one number.
                Some(_) => self.lost_picture(sequence),
                None if self.is_repairable(sequence, now) => {}
                None => self.lost_picture(sequence),
            }
        }
    }

    /// Feedback says that this packet did not arrive, however often it was sent: it is sent again unasked, unless nobody needs it any more.
    pub(crate) fn handle_missing(&mut self, number: u16, copies: Copies) {
        if self.config.rtx_ssrc.is_some()
            && let Some(sequence) = self.widen(number).filter(|sequence| *sequence >= self.decodable_from)
            && let Some(sent) = self.history.get(sequence)
        {
            let asked = self.resends.ask_at_once(&sent, copies == Copies::Two);
            if asked == Asked::Spent {
                self.lost_picture(sequence);
            }
        }
    }

    /// A packet that leaves just now is to be sent once more behind itself.
    pub(crate) fn repeat(&mut self, written: &Written) {
        if self.config.rtx_ssrc.is_some() && written.repeats.is_none() {
            self.resends.follow(written.sequence);
        }
    }

    /// Whether a number that leaves only now was missed by the receiver: those after it left some time ago.
    pub(super) fn was_missed(&self, sequence: u64, now: Instant) -> bool {
        (sequence + 1..=sequence + HOLE_SCAN)
            .filter_map(|later| self.history.get(later))
            .any(|later| self.history.age(&later, now) >= OVERTAKEN)
    }

    /// The packet that a number on the wire means. Numbers ahead of the highest were never sent; those of another source are of no use any
    /// more.
    fn widen(&self, number: u16) -> Option<u64> {
        let highest = self.forwarder.next_sequence().checked_sub(1)?;
        let behind = (highest as u16).wrapping_sub(number);
        highest
            .checked_sub(u64::from(behind))
            .filter(|sequence| behind < 1 << 15 && *sequence >= self.source_from)
    }

    /// Whether a number never left and its packet may still come from the publisher.
    fn is_repairable(&self, sequence: u64, now: Instant) -> bool {
        (sequence + 1..=sequence + HOLE_SCAN)
            .find_map(|later| self.history.get(later))
            .is_some_and(|later| self.history.age(&later, now) < limits::REPAIR_WINDOW)
    }

    /// The receiver lacks a packet that it will not get.
    fn lost_picture(&mut self, sequence: u64) {
        if sequence >= self.decodable_from {
            self.refresh();
        }
    }

    /// Takes in a PLI or FIR (RFC 4585 §6.3.1, RFC 5104 §4.3.1). Without effect while nothing flows: browsers ask 3 s into every
    /// pause, and whoever waits for a key frame has asked already.
    pub(crate) fn handle_pli(&mut self) {
        self.refresh();
    }

    fn refresh(&mut self) {
        if self.config.kind == Kind::Video
            && let Flow::Flowing(flowing) = &mut self.flow
            && let Next::Same = flowing.next
        {
            flowing.next = Next::Refresh;
        }
    }

    /// Writes the next retransmission (RFC 4588), as [`Self::poll_packet`] does; `out` needs two bytes more. The payload is the
    /// same as at first.
    pub(crate) fn poll_resend(
        &mut self,
        source: &impl LayerSource,
        stamp: &mut Stamp,
        out: &mut [u8],
    ) -> Option<Written> {
        let ssrc = self.config.rtx_ssrc?;
        while let Some(sequence) = self.resends.next() {
            let Some(sent) = self.history.get(sequence) else {
                self.lost_picture(sequence);
                continue;
            };
            let Some((stored, payload)) = source.ring(sent.layer).and_then(|ring| ring.find(sent.mark)) else {
                self.lost_picture(sequence);
                continue;
            };
            let Some((outgoing, negotiated)) = self.config.payload_types.outgoing(stored.packing) else {
                continue;
            };
            let header_len = self.header.len();
            let Some(payload_type) = negotiated.rtx else {
                self.lost_picture(sequence);
                continue;
            };
            if out.len() < header_len + OSN_LEN + payload.len() {
                continue;
            }
            let number = self.next_rtx_sequence;
            self.next_rtx_sequence += 1;
            self.history.note_resent(sequence, stamp.now);
            let fields = fields(stored, sent.offsets, ssrc, payload_type, number);
            let transport_wide = self.header.write(out, fields, stamp);
            let body = &mut out[header_len..];
            body[..OSN_LEN].copy_from_slice(&(sequence as u16).to_be_bytes());
            let octets = write_payload(&mut body[OSN_LEN..], stored, payload, outgoing, sent.offsets);
            self.counters.resent += 1;
            return Some(Written {
                len: header_len + OSN_LEN + octets,
                arrival: stored.arrival,
                // A retransmission carries the payload as it was before padding (RFC 4588 §4).
                padding: 0,
                header_len,
                ssrc,
                sequence: number,
                repeats: Some(sequence),
                is_awaited: false,
                marker: stored.marker,
                transport_wide,
            });
        }
        None
    }

    /// Writes a packet of padding on the retransmission's SSRC, to measure the path. `None` if the receiver takes none.
    ///
    /// Browsers acknowledge it in their feedback and show nothing of it.
    pub(crate) fn write_padding(&mut self, stamp: &mut Stamp, out: &mut [u8]) -> Option<Written> {
        let ssrc = self.config.rtx_ssrc?;
        let payload_type = self.config.payload_types.vp8.or(self.config.payload_types.h264)?.rtx?;
        let header_len = self.header.len();
        let len = header_len + PADDING;
        if out.len() < len {
            return None;
        }
        let sequence = self.next_rtx_sequence;
        self.next_rtx_sequence += 1;
        let fields = HeaderFields {
            ssrc,
            payload_type,
            sequence: sequence as u16,
            timestamp: self.forwarder.last_timestamp(),
            marker: false,
            audio_level: None,
        };
        let transport_wide = self.header.write(out, fields, stamp);
        // RFC 3550 §5.1: the P bit, and the count in the last byte.
        out[0] |= 0x20;
        out[header_len..len].fill(0);
        out[len - 1] = PADDING as u8;
        Some(Written {
            len,
            arrival: stamp.now,
            padding: PADDING,
            header_len,
            ssrc,
            sequence,
            repeats: None,
            is_awaited: false,
            marker: false,
            transport_wide,
        })
    }

    /// Whether [`Self::write_padding`] can write any.
    pub(crate) fn takes_padding(&self) -> bool {
        let types = &self.config.payload_types;
        self.config.rtx_ssrc.is_some()
            && self.config.extensions.twcc.is_some()
            && types.vp8.or(types.h264).is_some_and(|types| types.rtx.is_some())
    }
}
