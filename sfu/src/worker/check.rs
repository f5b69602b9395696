//! What must hold of a worker between two calls, for tests and fuzzing.

use std::collections::BTreeSet;

use super::Worker;
use crate::limits;
use crate::member::MemberKey;

impl Worker {
    /// Asserts that all indices agree with each other and that nothing outlives its owner. Output must have been drained.
    ///
    /// # Panics
    /// When it does not hold.
    pub(crate) fn check(&self) {
        let members = || self.members.iter().map(|(index, member)| (MemberKey(index), member));
        let in_rooms: usize = self.rooms.values().map(|room| room.members.len()).sum();
        assert_eq!(in_rooms, self.members.len(), "each member is in one room");
        assert_eq!(self.by_id.len(), self.members.len());
        let mut ufrags = 0;
        let mut slots = 0;
        for (key, member) in members() {
            assert_eq!(self.by_id.get(&member.id), Some(&key));
            assert!(self.rooms[&member.room].members.contains(&key));
            assert!(member.ufrags.contains(&member.local_ice.ufrag.clone().into_boxed_str()));
            for ufrag in &member.ufrags {
                assert_eq!(self.by_ufrag.get(ufrag), Some(&key));
            }
            ufrags += member.ufrags.len();
            for track in &member.tracks {
                assert_eq!(self.tracks[track.0].owner, key, "a track has the owner that lists it");
            }
            for slot in &member.slots {
                slots += usize::from(slot.source.is_some());
                let Some(source) = slot.source else { continue };
                let track = &self.tracks[source.0];
                assert_eq!((track.room, track.kind), (member.room, slot.kind()));
                assert!(track.viewers.contains(&key), "a track knows its viewers");
            }
            assert!(member.resting.iter().all(|slot| slot.source.is_none()));
            assert!(member.slots.len() + member.resting.len() <= limits::MAX_LINES);
            assert!(!member.pending, "all was sent");
        }
        assert_eq!(self.by_ufrag.len(), ufrags, "no name outlives its member");
        for (path, key) in &self.by_path {
            let owner = &self.members[key.0];
            assert!(owner.transport.paths().any(|valid| valid == *path));
        }
        for (index, track) in &self.tracks {
            let owner = &self.members[track.owner.0];
            assert!(owner.tracks.iter().any(|key| key.0 == index));
            let viewers: BTreeSet<_> = track.viewers.iter().collect();
            assert_eq!(viewers.len(), track.viewers.len(), "each viewer once");
            for viewer in viewers {
                let watches = |slot: &crate::slot::Slot| slot.source.is_some_and(|source| source.0 == index);
                assert!(self.members[viewer.0].slots.iter().any(watches), "viewers watch");
            }
        }
        assert!(self.tracks.iter().map(|(_, track)| track.viewers.len()).sum::<usize>() <= slots);
        assert!(self.pending.is_empty() && self.dirty.is_empty() && self.farewells.is_empty());
        assert!(self.shared.wishes.is_empty() && self.batch.is_empty());
        assert!(
            self.timers.len() <= self.members.len(),
            "a deadline each, and none outlives its member"
        );
    }

    /// Asserts that nothing is left of rooms that were closed.
    ///
    /// # Panics
    /// When something is.
    pub(crate) fn check_empty(&self) {
        self.check();
        assert!(self.rooms.is_empty() && self.members.is_empty() && self.tracks.is_empty());
        assert!(self.by_id.is_empty() && self.by_ufrag.is_empty() && self.by_path.is_empty());
        assert!(self.last_path.is_none(), "nor the last path");
    }

    /// Asserts that not even a deadline is left, once the time of all has passed.
    ///
    /// # Panics
    /// When something is.
    #[cfg(test)]
    pub(crate) fn check_forgotten(&self) {
        self.check_empty();
        assert_eq!(self.poll_timeout(), None, "no deadline of anybody");
        assert!(self.shared.events.is_empty(), "all was told");
    }
}
