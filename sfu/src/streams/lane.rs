//! What waits for a connection: framed datagrams, one behind the other.

use std::time::Instant;

use housecall_turn::stream::{ice_header, turn_padding};

use super::{Chunk, LaneBound};
use crate::limits;
use crate::path::StreamKind;

/// See the module.
#[derive(Default)]
pub(super) struct Lane {
    bytes: Chunk,
    datagrams: usize,
    /// When the first of them came; `None` if there is none.
    since: Option<Instant>,
}

impl Lane {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Drops everything if it is too old, or leaves no room for `more` bytes. How many datagrams that were.
    pub(super) fn expire(&mut self, bound: LaneBound, more: usize, now: Instant) -> usize {
        let is_late = self
            .since
            .is_some_and(|since| now.saturating_duration_since(since) > bound.age);
        if !is_late && (self.is_empty() || self.bytes.len() + more <= bound.bytes) {
            return 0;
        }
        self.bytes.clear();
        self.bytes.shrink_to(limits::STREAM_RECORD);
        self.since = None;
        std::mem::take(&mut self.datagrams)
    }

    /// Appends a datagram as its stream has it. False if it is too long for that.
    pub(super) fn push(&mut self, kind: StreamKind, datagram: &[u8], now: Instant) -> bool {
        match kind {
            StreamKind::IceTcp => {
                let Some(header) = ice_header(datagram.len()) else {
                    return false;
                };
                self.bytes.extend_from_slice(&header);
                self.bytes.extend_from_slice(datagram);
            }
            StreamKind::TurnTcp | StreamKind::TurnTls => {
                self.bytes.extend_from_slice(datagram);
                self.bytes.extend_from_slice(&[0; 3][..turn_padding(datagram.len())]);
            }
        }
        self.datagrams += 1;
        self.since.get_or_insert(now);
        true
    }

    /// Takes over all that another has, behind what is here.
    pub(super) fn append(&mut self, other: &mut Self) {
        self.bytes.append(&mut other.bytes);
        other.bytes.shrink_to(limits::STREAM_RECORD);
        self.datagrams += std::mem::take(&mut other.datagrams);
        self.since = self.since.into_iter().chain(other.since.take()).min();
    }

    /// Takes everything out, in exchange for an empty chunk; since when it waits.
    ///
    /// # Panics
    /// If it is empty.
    pub(super) fn take(&mut self, empty: Chunk) -> (Chunk, Instant) {
        self.datagrams = 0;
        let since = self.since.take().expect("a lane that is not empty knows since when");
        (std::mem::replace(&mut self.bytes, empty), since)
    }
}
