//! Connections under the paths: what opens, ends and waits.

use std::time::Instant;

use super::Worker;
use crate::path::{Path, PathKind, StreamId, StreamKind};

impl Worker {
    /// A connection is there. False if there is nobody here to speak to on it.
    pub(crate) fn open_stream(&mut self, path: Path) -> bool {
        match path.is_stream() {
            Some((_, StreamKind::IceTcp)) => true,
            Some((_, StreamKind::TurnTcp | StreamKind::TurnTls)) => self.shared.relay.open_stream(path),
            None => false,
        }
    }

    /// A connection is gone: whoever was reached by it has this path no more.
    pub(crate) fn close_stream(&mut self, path: Path, now: Instant) {
        let Some((id, _)) = path.is_stream() else { return };
        self.shared.stream_queues.remove(&id);
        if self.shared.relay.has_allocation(path) {
            let through = |other: &&Path| other.carrier() == Some(id);
            let gone: Vec<Path> = self.by_path.keys().filter(through).copied().collect();
            for path in gone {
                self.lose_path(path, now);
            }
        }
        self.lose_path(path, now);
        self.shared.relay.close_stream(path);
        self.current = None;
    }

    fn lose_path(&mut self, path: Path, now: Instant) {
        let Some(key) = self.by_path.get(&path).copied() else {
            return;
        };
        if let Some(member) = self.enter(key) {
            member.transport.handle_path_gone(path);
        }
        self.after_transport(key, now);
    }

    /// Whether somebody is reached by a connection, or has an allocation on it.
    pub(crate) fn uses_stream(&self, path: Path) -> bool {
        self.by_path.contains_key(&path) || self.shared.relay.has_allocation(path)
    }

    /// Since when the oldest datagram waits for a connection; `None` if nothing does.
    pub(crate) fn handle_stream_queue(&mut self, id: StreamId, since: Option<Instant>) {
        match since {
            Some(since) => _ = self.shared.stream_queues.insert(id, since),
            None => _ = self.shared.stream_queues.remove(&id),
        }
    }

    /// Connected transports, by their path in the order of [`PathKind::ALL`].
    pub(super) fn paths_in_use(&self) -> [i64; PathKind::ALL.len()] {
        let mut found = [0; PathKind::ALL.len()];
        for (_, member) in &self.members {
            if let Some(path) = member
                .transport
                .selected_path()
                .filter(|_| member.transport.is_connected())
            {
                found[path.kind() as usize] += 1;
            }
        }
        found
    }
}
