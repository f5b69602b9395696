//! Which shard a room lives on. It is chosen when the room is opened, by who has most headroom, and stays: rooms never move.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;

use crate::ids::RoomId;

/// Shards whose load differs by less than this, in thousandths of their time, are taken to be equally busy: a window of a quiet shard swings
/// by as much.
const ALIKE_PERMILLE: u16 = 100;

/// What a shard has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Occupancy {
    /// The share of its time it works, in thousandths.
    pub(crate) permille: u16,
    /// Rooms that were placed on it and are open.
    pub(crate) rooms: usize,
}

/// The shard with most headroom: of those that are about as busy as the least busy one, the one with the fewest rooms. Rooms that have just
/// been opened are no load yet but will be.
fn roomiest(shards: impl Iterator<Item = Occupancy> + Clone) -> usize {
    let least = shards.clone().map(|shard| shard.permille).min().unwrap_or(0);
    let alike = shards
        .enumerate()
        .filter(|(_, shard)| shard.permille < least.saturating_add(ALIKE_PERMILLE));
    alike
        .min_by_key(|(_, shard)| (shard.rooms, shard.permille))
        .map_or(0, |(index, _)| index)
}

/// See the module. Touched when rooms are opened and closed and when commands are given, never by a packet.
#[derive(Debug, Default)]
pub(crate) struct Placement {
    rooms: Mutex<FxHashMap<RoomId, usize>>,
}

impl Placement {
    /// Places a room, given how busy each shard is. A room that has a place keeps it.
    pub(crate) fn place(&self, room: RoomId, permille: impl Iterator<Item = u16>) -> usize {
        let mut rooms = self.lock();
        if let Some(shard) = rooms.get(&room) {
            return *shard;
        }
        let mut shards: Vec<Occupancy> = permille.map(|permille| Occupancy { permille, rooms: 0 }).collect();
        for shard in rooms.values() {
            if let Some(occupancy) = shards.get_mut(*shard) {
                occupancy.rooms += 1;
            }
        }
        let shard = roomiest(shards.into_iter());
        rooms.insert(room, shard);
        shard
    }

    /// The shard of a room that was placed.
    pub(crate) fn shard_of(&self, room: RoomId) -> Option<usize> {
        self.lock().get(&room).copied()
    }

    /// Forgets a room that was closed; the shard it was on.
    pub(crate) fn forget(&self, room: RoomId) -> Option<usize> {
        self.lock().remove(&room)
    }

    fn lock(&self) -> MutexGuard<'_, FxHashMap<RoomId, usize>> {
        // Every change is a single insert or remove: nothing is half done.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shard_with_most_headroom_is_taken() {
        let choose = |shards: &[(u16, usize)]| {
            roomiest(shards.iter().map(|(permille, rooms)| Occupancy {
                permille: *permille,
                rooms: *rooms,
            }))
        };
        assert_eq!(choose(&[(0, 0), (0, 0)]), 0);
        assert_eq!(choose(&[(0, 1), (0, 0)]), 1, "as busy, fewer rooms");
        assert_eq!(choose(&[(60, 0), (0, 5)]), 0, "about as busy, fewer rooms");
        assert_eq!(choose(&[(600, 0), (300, 5)]), 1, "one large visit fills a shard");
        assert_eq!(choose(&[(1_000, 9), (950, 9), (890, 9)]), 2);
    }

    #[test]
    fn rooms_spread_and_stay() {
        let placement = Placement::default();
        let idle = || [0_u16; 3].into_iter();
        let shards: Vec<usize> = (0..9).map(|room| placement.place(RoomId(room), idle())).collect();
        for shard in 0..3 {
            assert_eq!(shards.iter().filter(|other| **other == shard).count(), 3);
        }
        // Whatever the load, a room is where it was.
        for (room, shard) in (0..9).map(RoomId).zip(&shards) {
            assert_eq!(placement.place(room, [999, 999, 999].into_iter()), *shard);
            assert_eq!(placement.shard_of(room), Some(*shard));
        }
        assert_eq!(placement.forget(RoomId(4)), Some(shards[4]));
        assert_eq!(
            (placement.shard_of(RoomId(4)), placement.forget(RoomId(4))),
            (None, None)
        );
        assert_eq!(
            placement.place(RoomId(20), idle()),
            shards[4],
            "where there is room now"
        );
    }
}
