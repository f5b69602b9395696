//! What leaves: the line of members that have something to send, the batch they fill, and when they are looked at again.

use std::time::Instant;

use arrayvec::ArrayVec;

use super::Worker;
use crate::batch::{Cargo, Envelope, Run, Transmit};
use crate::counters::Count;
use crate::limits;
use crate::media::Kind;
use crate::member::{Filled, MemberKey, Touch};
use crate::receive::Cause;
use crate::send::Leaving;

/// What is done about a frame of which more is on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frames {
    /// Where it is worth it, it is kept until it is whole.
    Whole,
    /// It is offered as it is.
    AsTheyAre,
}

impl Worker {
    /// The next datagrams to send, until `None`. When nothing else is left it takes steps of handshakes.
    pub(crate) fn poll_transmit(&mut self, now: Instant) -> Option<Transmit<'_>> {
        let run = loop {
            match self.next_run(now) {
                Some(run) => break run,
                None if self.handle_handshake(now) => {}
                None => return None,
            }
        };
        Some(self.batch.transmit(run))
    }

    /// As [`Self::poll_transmit`], without handshakes.
    pub(crate) fn poll_ready(&mut self, now: Instant) -> Option<Transmit<'_>> {
        let run = self.next_run(now)?;
        Some(self.batch.transmit(run))
    }

    fn next_run(&mut self, now: Instant) -> Option<Run> {
        loop {
            if let Some(run) = self.batch.next_run() {
                self.shared.counters.add(Count::SendCalls, 1);
                return Some(run);
            }
            self.batch.clear();
            self.fill_batch(now);
            self.current = None;
            if self.batch.is_empty() {
                return None;
            }
        }
    }

    /// The socket is full: the video of the present batch is dropped, all other video waits for the next tick. Returns how many datagrams
    /// were dropped. Viewers ask for them again; what waits is in the rings.
    pub(crate) fn handle_full_socket(&mut self, now: Instant) -> usize {
        self.shared.full_socket = Some(now);
        let dropped = self.batch.drop_video();
        self.offer_new_packets(Frames::Whole, now);
        for key in &self.pending {
            if let Some(member) = self.members.get_mut(key.0)
                && !member.waits
            {
                member.waits = true;
                self.pacer.wait(*key, now);
            }
        }
        dropped
    }

    /// True while [`Self::poll_transmit`] may have something.
    #[must_use]
    pub(crate) fn has_output(&self) -> bool {
        !self.pending.is_empty()
            || !self.dirty.is_empty()
            || !self.farewells.is_empty()
            || !self.handshakes.is_empty()
            || self.shared.relay.has_output()
    }

    /// Some of the packets forwarded since the last call, and when each had arrived.
    pub(crate) fn take_samples(&mut self) -> ArrayVec<(Kind, Instant), { limits::LATENCY_SAMPLES_PER_FLUSH }> {
        std::mem::take(&mut self.shared.samples.taken)
    }

    /// Puts a member in line for output and for a look at its deadlines.
    pub(crate) fn make_pending(&mut self, key: MemberKey) {
        let Some(member) = self.members.get_mut(key.0) else {
            return;
        };
        if !member.pending {
            member.pending = true;
            self.pending.push_back(key);
        }
    }

    /// Fills the batch from the members that have output, one after the other.
    fn fill_batch(&mut self, now: Instant) {
        while let Some((path, datagram)) = self.farewells.front() {
            let Some(space) = self.batch.space() else { return };
            space[..datagram.len()].copy_from_slice(datagram);
            let mut envelope = self.shared.relay.envelope(*path, now);
            self.batch.commit(&mut envelope, datagram.len(), Cargo::Urgent);
            self.shared.counters.add(Count::ControlOut, 1);
            self.farewells.pop_front();
        }
        while self.shared.relay.has_output() {
            let Some(space) = self.batch.space() else { return };
            let Some((path, answer)) = self.shared.relay.poll_transmit() else {
                break;
            };
            space[..answer.len()].copy_from_slice(&answer);
            self.batch
                .commit(&mut Envelope::direct(path), answer.len(), Cargo::Urgent);
            self.shared.counters.add(Count::TurnOut, 1);
        }
        self.offer_new_packets(Frames::Whole, now);
        while let Some(key) = self.pending.front().copied() {
            for (ahead, step) in [(3, Touch::Member), (2, Touch::Slots), (1, Touch::Histories)] {
                if let Some(member) = self.pending.get(ahead).and_then(|key| self.members.get(key.0)) {
                    member.touch(step);
                }
            }
            let Some(member) = self.members.get_mut(key.0) else {
                self.pending.pop_front();
                continue;
            };
            self.current = Some(member.room);
            let leaving = if member.waits { Leaving::Urgent } else { Leaving::All };
            let filled = member.fill(&mut self.batch, leaving, &mut self.tracks, &mut self.shared, now);
            // An empty batch has space for any datagram. If it did not, asking again would change nothing.
            let is_stuck = filled == Filled::Part && self.batch.is_empty();
            debug_assert!(!is_stuck, "nothing was written, and something is left");
            if filled == Filled::Part && !is_stuck {
                return;
            }
            self.pending.pop_front();
            self.members[key.0].pending = false;
            self.grant_wishes(now);
            // Whoever watches its own track stands in line again.
            if !self.members[key.0].pending {
                self.schedule(key, now);
            }
        }
    }

    /// Puts the viewers of tracks with new packets in line: those of video at its end, or, on a busy shard, into the list for the next tick;
    /// those of audio at its head. Where many watch, a frame is offered when it is whole.
    pub(super) fn offer_new_packets(&mut self, frames: Frames, now: Instant) {
        if frames == Frames::AsTheyAre {
            for track in self.held.drain(..) {
                let held = self.tracks.get_mut(track.0).filter(|published| published.held);
                if let Some(published) = held.filter(|published| !published.dirty) {
                    published.dirty = true;
                    self.dirty.push(track);
                }
            }
        }
        // Video first: whoever has to wait for the tick does so even if audio has come for it too.
        for kind in [Kind::Video, Kind::Audio] {
            for track in &self.dirty {
                let Some(published) = self.tracks.get_mut(track.0).filter(|track| track.kind == kind) else {
                    continue;
                };
                published.dirty = false;
                if frames == Frames::Whole
                    && !self.pacer.collects()
                    && published.viewers.len() >= limits::WHOLE_FRAMES_FROM
                    && published.is_amid_frame()
                {
                    if !published.held {
                        published.held = true;
                        self.held.push(*track);
                        self.pacer.hold(now);
                    }
                    continue;
                }
                if std::mem::take(&mut published.held) {
                    self.held.retain(|held| held != track);
                    if self.held.is_empty() {
                        self.pacer.release();
                    }
                }
                for viewer in &published.viewers {
                    // Who stands in line takes it along.
                    let Some(member) = self.members.get_mut(viewer.0).filter(|member| !member.pending) else {
                        continue;
                    };
                    match kind {
                        Kind::Video if self.pacer.collects() => {
                            if !member.waits {
                                member.waits = true;
                                self.pacer.wait(*viewer, now);
                            }
                        }
                        Kind::Video => {
                            member.pending = true;
                            self.pending.push_back(*viewer);
                        }
                        Kind::Audio => {
                            member.pending = true;
                            self.pending.push_front(*viewer);
                        }
                    }
                }
            }
        }
        self.dirty.clear();
    }

    /// Takes viewers' key frame wishes to the publishers.
    fn grant_wishes(&mut self, now: Instant) {
        while let Some(wish) = self.shared.wishes.pop() {
            let Some(published) = self.tracks.get_mut(wish.track.0) else {
                continue;
            };
            let owner = published.owner;
            // A layer that is off begins with a key frame when it is switched on. To ask for one now would make the others send theirs.
            if published.plan.comes(wish.layer) && !published.arrives(wish.layer) {
                self.steer_uplink(owner, now);
                continue;
            }
            published.key_frames.request(wish.layer, Cause::Viewer, now);
            self.make_pending(owner);
        }
    }

    /// Notes when the member must be looked at next.
    fn schedule(&mut self, key: MemberKey, now: Instant) {
        let Some(member) = self.members.get_mut(key.0) else {
            return;
        };
        match member.poll_timeout(&self.tracks, now) {
            Some((due, what)) => {
                member.scheduled_for = what;
                self.timers.set(key.0, due);
            }
            None => self.timers.remove(key.0),
        }
    }
}
