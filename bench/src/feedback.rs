//! What a receiver says over RTCP: reports, and when packets arrived, by transport-wide number. Browsers do both.

use std::time::Duration;

/// Bytes of a datagram's worth of feedback.
const MAX_BYTES: usize = 1_150;
/// Symbols of two bits in a status vector chunk.
const PER_CHUNK: usize = 7;
/// A unit of arrival differences.
const DELTA: u64 = 250_000;

/// Packets that arrived and were not told of yet.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    /// Extended number and nanoseconds since the load began.
    packets: Vec<(u64, u64)>,
    newest: Option<u64>,
    /// The first number of the next message: one above what was told.
    next: Option<u64>,
    count: u8,
}

impl Arrivals {
    /// Notes a packet.
    pub(crate) fn note(&mut self, number: u16, nanos: u64) {
        let extended = extend(self.newest, number);
        self.newest = Some(self.newest.map_or(extended, |newest| newest.max(extended)));
        self.packets.push((extended, nanos));
    }

    /// The next message (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1), as many as are needed.
    pub(crate) fn poll(&mut self, ssrc: u32) -> Option<Vec<u8>> {
        if self.packets.is_empty() {
            return None;
        }
        self.packets.sort_unstable_by_key(|(number, _)| *number);
        self.packets.dedup_by_key(|(number, _)| *number);
        let first = self.packets[0].0;
        // Lost ones before the first arrival belong to this message; those that come late begin one of their own.
        let base = self
            .next
            .filter(|next| *next <= first && first - *next < 500)
            .unwrap_or(first);
        let reference = self.packets[0].1 / (64_000_000);
        let mut clock = reference * 64_000_000;
        let (mut symbols, mut deltas, mut taken) = (Vec::new(), Vec::new(), 0);
        for (number, nanos) in &self.packets {
            let missing = (number - base) as usize - symbols.len();
            let units = (*nanos as i64 - clock as i64).div_euclid(DELTA as i64);
            let Ok(units) = i16::try_from(units) else { break };
            let bytes = 20 + (symbols.len() + missing + 1).div_ceil(PER_CHUNK) * 2 + deltas.len() + 2;
            if bytes > MAX_BYTES {
                break;
            }
            symbols.extend(std::iter::repeat_n(0_u16, missing));
            if let Ok(small) = u8::try_from(units) {
                symbols.push(1);
                deltas.push(small);
            } else {
                symbols.push(2);
                deltas.extend(units.to_be_bytes());
            }
            clock = clock.wrapping_add_signed(i64::from(units) * DELTA as i64);
            taken += 1;
        }
        // The first one always fits: the reference is within 64 ms of it, unless a gap of hundreds is before it.
        if taken == 0 {
            self.packets.clear();
            return None;
        }
        self.packets.drain(..taken);
        let message = self.message(ssrc, base, reference, &symbols, &deltas);
        self.next = Some(self.next.unwrap_or(0).max(base + symbols.len() as u64));
        Some(message)
    }

    fn message(&mut self, ssrc: u32, base: u64, reference: u64, symbols: &[u16], deltas: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x80 | 15, 205, 0, 0, 0, 0, 0, 1];
        packet.extend(ssrc.to_be_bytes());
        packet.extend((base as u16).to_be_bytes());
        packet.extend((symbols.len() as u16).to_be_bytes());
        packet.extend(&(reference as u32).to_be_bytes()[1..]);
        packet.push(self.count);
        self.count = self.count.wrapping_add(1);
        for chunk in symbols.chunks(PER_CHUNK) {
            let mut word = 0b11 << 14;
            for (place, symbol) in chunk.iter().enumerate() {
                word |= symbol << (12 - 2 * place);
            }
            packet.extend(word.to_be_bytes());
        }
        packet.extend(deltas);
        let padding = (4 - packet.len() % 4) % 4;
        if padding > 0 {
            packet[0] |= 0x20;
            packet.extend(std::iter::repeat_n(0, padding - 1));
            packet.push(padding as u8);
        }
        let words = (packet.len() / 4 - 1) as u16;
        packet[2..4].copy_from_slice(&words.to_be_bytes());
        packet
    }
}

/// A number of 16 bits as one that does not wrap, next to the newest.
pub(crate) fn extend(newest: Option<u64>, number: u16) -> u64 {
    match newest {
        // Room to go back before the first one.
        None => 0x1_0000 + u64::from(number),
        Some(newest) => newest.saturating_add_signed(i64::from(number.wrapping_sub(newest as u16) as i16)),
    }
}

/// A receiver report (RFC 3550 §6.4.2) on streams given as SSRC and highest extended number, without loss.
pub(crate) fn report(streams: &[(u32, u64)]) -> Vec<u8> {
    let mut packet = vec![
        0x80 | streams.len() as u8,
        201,
        0,
        (1 + 6 * streams.len()) as u8,
        0,
        0,
        0,
        1,
    ];
    for (ssrc, newest) in streams {
        packet.extend(ssrc.to_be_bytes());
        packet.extend([0; 4]);
        packet.extend((*newest as u32).to_be_bytes());
        packet.extend([0; 12]);
    }
    packet
}

/// Key frame requests (PLI, FIR) in a compound packet.
pub(crate) fn key_frame_requests(mut plain: &[u8]) -> u64 {
    let mut requests = 0;
    while plain.len() >= 4 {
        let len = (usize::from(u16::from_be_bytes([plain[2], plain[3]])) + 1) * 4;
        if plain[1] == 206 && matches!(plain[0] & 0x1f, 1 | 4) {
            requests += 1;
        }
        plain = plain.get(len..).unwrap_or_default();
    }
    requests
}

/// How often arrivals are told: Chromium's pace.
pub(crate) const INTERVAL: Duration = Duration::from_micros(62_500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feedback_is_laid_out_as_in_the_draft() {
        let mut arrivals = Arrivals::default();
        for (number, millis) in [(10, 64), (11, 65), (13, 130), (14, 129)] {
            arrivals.note(number, millis * 1_000_000);
        }
        let message = arrivals.poll(9).expect("a message");
        assert_eq!(arrivals.poll(9), None);
        let expected = [
            0x8f,
            205,
            0,
            6,
            0,
            0,
            0,
            1,
            0,
            0,
            0,
            9, // version, type, length, sender, media
            0,
            10,
            0,
            5,
            0,
            0,
            1,
            0, // base, count, reference of 64 ms, number
            0b1101_0100,
            0b1010_0000, // received, received, lost, received with a long difference twice
            0,
            4,
            1,
            4,
            0xff,
            0xfc, // 0 ms, 1 ms; 65 ms are 260 units, then four back
        ];
        assert_eq!(message, expected);
        arrivals.note(17, 200_000_000);
        let message = arrivals.poll(9).expect("a message");
        assert_eq!(&message[12..16], [0, 15, 0, 3], "the two lost ones before it are told");
    }

    #[test]
    fn many_arrivals_take_several_messages_of_a_datagram() {
        let mut arrivals = Arrivals::default();
        for number in 65_000..67_000_u32 {
            arrivals.note(number as u16, u64::from(number) * 1_000_000);
        }
        let (mut told, mut messages) = (0, 0);
        while let Some(message) = arrivals.poll(1) {
            assert!(message.len() <= MAX_BYTES + 4 && message.len().is_multiple_of(4));
            told += u32::from(u16::from_be_bytes([message[14], message[15]]));
            messages += 1;
        }
        assert_eq!(told, 2_000);
        assert!(messages > 1);
    }

    #[test]
    fn numbers_wrap() {
        let first = extend(None, 65_535);
        assert_eq!(extend(Some(first), 0), first + 1);
        assert_eq!(extend(Some(first + 1), 65_535), first);
    }

    #[test]
    fn requests_are_counted_in_compounds() {
        let receiver_report = report(&[(1, 2)]);
        assert_eq!(receiver_report.len(), 32);
        let compound = [&receiver_report[..], &[0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2]].concat();
        assert_eq!(key_frame_requests(&compound), 1);
        assert_eq!(key_frame_requests(&compound[..30]), 0);
    }
}
