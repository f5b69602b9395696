//! What one look at a socket brought, sorted into runs: datagrams for one destination that one call sends, in the order in which they came.
//! Nothing is copied before it is known what goes together.

use std::net::SocketAddr;
use std::ops::Range;

use housecall_turn::{ClientAddr, Fragments, Framing};

/// Bytes of one run: what the kernel takes in one call.
const RUN_BYTES: usize = 65_000;
/// How many of the latest runs are looked through for one that a datagram fits to. More clients at once than this only make shorter runs.
const LOOK_BACK: usize = 16;

/// Where payload goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// To a peer, from a relayed address.
    Peer {
        /// Of the client's allocation.
        relayed: SocketAddr,
        /// The peer.
        peer: SocketAddr,
        /// Whether it may go in pieces.
        fragments: Fragments,
    },
    /// To a client.
    Client(ClientAddr),
}

/// One datagram.
#[derive(Clone, Debug)]
struct Entry {
    /// Where it lies.
    at: Range<usize>,
    /// The next one of its run.
    next: Option<usize>,
}

/// Datagrams that one call sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) to: To,
    /// What is put around each of them. For an indication, around the first; each has a number of its own.
    framing: Option<Framing>,
    first: usize,
    last: usize,
    /// The size of each, with what is put around it; the last may be shorter.
    pub(super) segment: usize,
    /// Of all of them.
    bytes: usize,
    pub(super) datagrams: usize,
    /// Bytes of payload.
    pub(super) payload: usize,
}

impl Run {
    fn goes(&self, to: &To, framing: Option<&Framing>) -> bool {
        let is_alike = match (&self.framing, framing) {
            (None, None) => true,
            (Some(Framing::Channel(one)), Some(Framing::Channel(other))) => one == other,
            (Some(Framing::Indication { peer: one, .. }), Some(Framing::Indication { peer: other, .. })) => {
                one == other
            }
            _ => false,
        };
        is_alike && self.to == *to
    }

    /// Whether a datagram of this size can become its last.
    fn takes(&self, size: usize, max_segments: usize) -> bool {
        let is_whole = self.bytes == self.datagrams * self.segment;
        is_whole
            && (1..=self.segment).contains(&size)
            && self.datagrams < max_segments
            && self.bytes + size <= RUN_BYTES
    }
}

/// See the module. Its collections grow to what one look brings, and no further.
pub(super) struct Gather {
    entries: Vec<Entry>,
    runs: Vec<Run>,
    max_segments: usize,
    scratch: Box<[u8]>,
}

impl Gather {
    /// An empty one, whose runs have at most `max_segments` datagrams.
    pub(super) fn new(max_segments: usize) -> Self {
        Self {
            entries: Vec::with_capacity(1_024),
            runs: Vec::with_capacity(256),
            max_segments,
            scratch: vec![0; RUN_BYTES + Framing::MAX_HEADROOM + Framing::MAX_TAIL + 1_024].into_boxed_slice(),
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.runs.clear();
    }

    /// Adds payload that lies at `at` in the buffers.
    pub(super) fn add(&mut self, to: To, framing: Option<Framing>, at: Range<usize>) {
        let len = at.len();
        let around = framing
            .as_ref()
            .map_or(0, |framing| framing.headroom() + framing.tail(len));
        let size = len + around;
        let entry = self.entries.len();
        self.entries.push(Entry { at, next: None });
        // Only the latest run of a destination: what comes later must not overtake.
        let latest = self.runs.iter_mut().rev().take(LOOK_BACK);
        let same = latest.into_iter().find(|run| run.goes(&to, framing.as_ref()));
        match same {
            Some(run) if run.takes(size, self.max_segments) => {
                self.entries[run.last].next = Some(entry);
                run.last = entry;
                run.bytes += size;
                run.datagrams += 1;
                run.payload += len;
            }
            _ => self.runs.push(Run {
                to,
                framing,
                first: entry,
                last: entry,
                segment: size,
                bytes: size,
                datagrams: 1,
                payload: len,
            }),
        }
    }

    /// How many runs there are.
    pub(super) fn runs(&self) -> usize {
        self.runs.len()
    }

    /// One of the runs, with its bytes as they are sent.
    pub(super) fn write(&mut self, run: usize, bytes: &[u8]) -> (Run, &[u8]) {
        let run = self.runs[run];
        let (mut framing, mut filled, mut next) = (run.framing, 0, Some(run.first));
        while let Some(entry) = next {
            let Entry { at, next: after } = &self.entries[entry];
            let payload = &bytes[at.clone()];
            let space = &mut self.scratch[filled..];
            filled += match &mut framing {
                None => {
                    space[..payload.len()].copy_from_slice(payload);
                    payload.len()
                }
                Some(framing) => {
                    let head = framing.headroom();
                    space[head..head + payload.len()].copy_from_slice(payload);
                    let written = framing.write(space, payload.len());
                    framing.advance();
                    // Never, for a datagram is shorter than the space: it is lost then.
                    written.unwrap_or(0)
                }
            };
            next = *after;
        }
        (run, &self.scratch[..filled])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use housecall_turn::stun::TransactionId;
    use housecall_turn::{ChannelNumber, ClientTransport, PeerAddr};
    use proptest::prelude::*;

    fn peer(port: u16) -> To {
        To::Peer {
            relayed: ([192, 0, 2, 1], 50_000).into(),
            peer: ([198, 51, 100, 1], port).into(),
            fragments: Fragments::Allowed,
        }
    }

    fn client(port: u16) -> To {
        let address = ([198, 51, 100, 1], port).into();
        To::Client(ClientAddr::new(ClientTransport::Udp, address, None))
    }

    fn channel(number: u16) -> Option<Framing> {
        ChannelNumber::new(number).map(Framing::Channel)
    }

    fn shapes(gather: &Gather) -> Vec<(usize, usize)> {
        gather.runs.iter().map(|run| (run.segment, run.datagrams)).collect()
    }

    #[test]
    fn equal_sizes_to_one_place_make_one_run_and_a_shorter_one_ends_it() {
        let mut gather = Gather::new(64);
        for len in [100, 100, 60, 60, 100] {
            gather.add(peer(1), None, 0..len);
        }
        assert_eq!(shapes(&gather), [(100, 3), (60, 1), (100, 1)]);
    }

    #[test]
    fn what_comes_for_several_in_turn_is_sorted_apart() {
        let mut gather = Gather::new(64);
        for number in 0..24 {
            gather.add(peer(number % 3), None, 0..100);
        }
        assert_eq!(shapes(&gather), [(100, 8), (100, 8), (100, 8)]);
    }

    #[test]
    fn an_empty_datagram_is_sent_by_itself() {
        let mut gather = Gather::new(64);
        for len in [0, 0, 5, 0] {
            gather.add(peer(1), None, 0..len);
        }
        assert_eq!(shapes(&gather), [(0, 1), (0, 1), (5, 1), (0, 1)]);
    }

    #[test]
    fn headers_are_part_of_the_size_and_indications_are_numbered() {
        let bytes = [7; 32];
        let mut gather = Gather::new(64);
        let first = Framing::Indication {
            peer: PeerAddr::new(([192, 0, 2, 9], 9).into()),
            id: TransactionId([1; 12]),
        };
        for number in 0..3 {
            gather.add(client(1), channel(0x4000), number..number + 8);
            gather.add(client(1), Some(first), number..number + 8);
        }
        assert_eq!(shapes(&gather), [(12, 3), (first.headroom() + 8, 3)]);
        let (_, channels) = gather.write(0, &bytes);
        assert!(channels.chunks(12).all(|message| message[..4] == [0x40, 0, 0, 8]));
        let (run, indications) = gather.write(1, &bytes);
        let mut ids: Vec<_> = indications.chunks(run.segment).map(|message| &message[8..20]).collect();
        ids.dedup();
        assert_eq!(ids.len(), 3);
    }

    proptest! {
        /// Nothing is lost, doubled, mixed up or overtaken by what came later for the same destination.
        #[test]
        fn every_datagram_leaves_once_and_in_order(
            sent in prop::collection::vec((0_u16..20, prop::sample::select(vec![0_usize, 1, 50, 50, 50, 1_200])), 1..200),
            max_segments in 1_usize..64,
        ) {
            let bytes: Vec<u8> = (0..4_096_u32).map(|at| at as u8).collect();
            let mut gather = Gather::new(max_segments);
            let mut expected = vec![Vec::new(); 20];
            for (number, (port, len)) in sent.iter().enumerate() {
                let at = number..number + len;
                expected[usize::from(*port)].push(bytes[at.clone()].to_vec());
                let (to, framing) = if port % 2 == 0 { (peer(*port), None) } else { (client(*port), channel(0x4000)) };
                gather.add(to, framing, at);
            }
            let mut left = vec![Vec::new(); 20];
            for run in 0..gather.runs() {
                let (run, contents) = gather.write(run, &bytes);
                prop_assert!(run.datagrams <= max_segments && contents.len() <= RUN_BYTES.max(run.segment));
                let (port, head) = match run.to {
                    To::Peer { peer, .. } => (peer.port(), 0),
                    To::Client(client) => (client.remote().port(), 4),
                };
                let pieces: Vec<&[u8]> = if contents.is_empty() { vec![contents] } else { contents.chunks(run.segment).collect() };
                prop_assert_eq!(pieces.len(), run.datagrams);
                left[usize::from(port)].extend(pieces.into_iter().map(|piece| piece[head..].to_vec()));
            }
            prop_assert_eq!(left, expected);
        }
    }
}
