//! What waits for a connection: framed datagrams, one behind the other, in parts that leave one by one.

use std::collections::VecDeque;
use std::time::Instant;

use housecall_turn::stream::{ice_header, turn_padding};

use super::{Chunk, LaneBound};
use crate::limits;
use crate::path::StreamKind;

/// Whole datagrams, as many as fit into one record; one that is longer is a part by itself.
struct Part {
    bytes: Chunk,
    datagrams: usize,
    /// When the first of them came.
    since: Instant,
}

/// See the module.
#[derive(Default)]
pub(super) struct Lane {
    parts: VecDeque<Part>,
    /// Of all parts.
    len: usize,
    /// For the next part.
    spare: Chunk,
}

impl Lane {
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn since(&self) -> Option<Instant> {
        self.parts.front().map(|part| part.since)
    }

    /// Drops everything if it is too old, or leaves no room for `more` bytes. How many datagrams that were.
    pub(super) fn expire(&mut self, bound: LaneBound, more: usize, now: Instant) -> usize {
        let is_late = self
            .since()
            .is_some_and(|since| now.saturating_duration_since(since) > bound.age);
        if !is_late && (self.is_empty() || self.len + more <= bound.bytes) {
            return 0;
        }
        self.len = 0;
        self.parts.drain(..).map(|part| part.datagrams).sum()
    }

    /// Appends a datagram as its stream has it. False if it is too long for that.
    pub(super) fn push(&mut self, kind: StreamKind, datagram: &[u8], now: Instant) -> bool {
        match kind {
            StreamKind::IceTcp => match ice_header(datagram.len()) {
                Some(header) => self.extend(&header, datagram, &[], now),
                None => return false,
            },
            StreamKind::TurnTcp | StreamKind::TurnTls => {
                self.extend(&[], datagram, &[0; 3][..turn_padding(datagram.len())], now);
            }
        }
        true
    }

    fn extend(&mut self, header: &[u8], datagram: &[u8], padding: &[u8], now: Instant) {
        let all = header.len() + datagram.len() + padding.len();
        let is_full = |part: &Part| part.bytes.len() + all > limits::STREAM_RECORD;
        if self.parts.back().is_none_or(is_full) {
            self.parts.push_back(Part {
                bytes: std::mem::take(&mut self.spare),
                datagrams: 0,
                since: now,
            });
        }
        if let Some(part) = self.parts.back_mut() {
            for bytes in [header, datagram, padding] {
                part.bytes.extend_from_slice(bytes);
            }
            part.datagrams += 1;
            self.len += all;
        }
    }

    /// Takes over all that another has, behind what is here and into its last part if there is one.
    pub(super) fn append(&mut self, other: &mut Self) {
        self.len += std::mem::take(&mut other.len);
        while let Some(mut part) = other.parts.pop_front() {
            match self.parts.back_mut() {
                Some(last) => {
                    last.bytes.append(&mut part.bytes);
                    last.datagrams += part.datagrams;
                    last.since = last.since.min(part.since);
                    other.spare = part.bytes;
                }
                None => self.parts.push_back(part),
            }
        }
    }

    /// Takes the oldest part out, in exchange for an empty chunk; since when it waits.
    ///
    /// # Panics
    /// If it is empty.
    pub(super) fn take(&mut self, empty: Chunk) -> (Chunk, Instant) {
        let part = self.parts.pop_front().expect("a lane that is not empty has a part");
        self.len -= part.bytes.len();
        self.spare = empty;
        (part.bytes, part.since)
    }
}
