//! The send batch: sealed packets of several members, one behind the other in one buffer, cut into runs that one GSO call can send. All
//! datagrams of a run go one way and have the same size; only the last may be shorter.
//!
//! Many packets are sealed before the first of them is sent. Sends then follow each other closely, so that whoever receives on the same
//! machine is woken once for several of them; and neither the cipher nor the kernel has to be fetched into the cache anew for each packet.

use arrayvec::ArrayVec;
use housecall_turn::Framing;

use crate::limits;
use crate::path::Path;

/// Bytes one batch can hold: what fits into a core's second cache beside all else.
const CAPACITY: usize = 96 * 1024;
/// Runs one batch can hold.
const RUNS: usize = 96;
/// Bytes of one run: what the kernel takes in one GSO call.
const RUN_BYTES: usize = 65_000;

/// Datagrams for one path, ready to be sent by one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transmit<'a> {
    /// Where to.
    pub(crate) path: Path,
    /// The datagrams, one behind the other.
    pub(crate) contents: &'a [u8],
    /// The size of each datagram; the last may be shorter.
    pub(crate) segment: usize,
    /// What they carry.
    pub(crate) cargo: Cargo,
}

/// What the datagrams of a run carry, as far as it matters when not all of them can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cargo {
    /// Control, feedback or audio.
    Urgent,
    /// Video.
    Video,
}

/// Where datagrams go and what is put around them, for one path at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    /// `None`: they are lost.
    to: Option<Path>,
    framing: Option<Framing>,
}

impl Envelope {
    /// As they are.
    pub(crate) const fn direct(to: Path) -> Self {
        Self {
            to: Some(to),
            framing: None,
        }
    }

    /// To a client of the relay.
    pub(crate) const fn relayed(to: Path, framing: Framing) -> Self {
        Self {
            to: Some(to),
            framing: Some(framing),
        }
    }

    /// There is no way: they are written and lost.
    pub(crate) const fn nowhere() -> Self {
        Self {
            to: None,
            framing: None,
        }
    }

    fn headroom(&self) -> usize {
        self.framing.as_ref().map_or(0, Framing::headroom)
    }
}

impl Transmit<'_> {
    /// How many datagrams this is.
    #[must_use]
    pub(crate) fn datagrams(&self) -> usize {
        self.contents.len().div_ceil(self.segment.max(1))
    }
}

/// A run of the batch: `contents[start..end]` in datagrams of `segment` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    path: Path,
    start: usize,
    end: usize,
    segment: usize,
    datagrams: usize,
    cargo: Cargo,
}

impl Run {
    /// Whether a datagram that lies behind it can become its last.
    fn takes(&self, path: Path, len: usize, cargo: Cargo, max_segments: usize) -> bool {
        let is_whole = self.end - self.start == self.datagrams * self.segment;
        is_whole
            && len <= self.segment
            && self.datagrams < max_segments
            && self.end - self.start + len <= RUN_BYTES
            && (self.cargo, self.path) == (cargo, path)
    }
}

/// See the module.
pub(crate) struct Batch {
    buffer: Box<[u8]>,
    /// Bytes filled.
    filled: usize,
    runs: ArrayVec<Run, RUNS>,
    /// Runs already taken out.
    taken: usize,
    max_segments: usize,
    /// Bytes before the last space that was given.
    headroom: usize,
}

impl Batch {
    /// An empty one, whose runs have at most `max_segments` datagrams.
    pub(crate) fn new(max_segments: usize) -> Self {
        Self {
            buffer: vec![0; CAPACITY].into_boxed_slice(),
            filled: 0,
            runs: ArrayVec::new(),
            taken: 0,
            max_segments,
            headroom: 0,
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.filled = 0;
        self.runs.clear();
        self.taken = 0;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Forgets the video that was not taken out yet; how many datagrams that was.
    pub(crate) fn drop_video(&mut self) -> usize {
        let (mut place, mut dropped) = (0, 0);
        let taken = self.taken;
        self.runs.retain(|run| {
            let drops = place >= taken && run.cargo == Cargo::Video;
            place += 1;
            dropped += if drops { run.datagrams } else { 0 };
            !drops
        });
        dropped
    }

    /// Space for one more datagram, [`limits::MAX_PACKET`] bytes, or `None` if the batch is full. For datagrams whose envelope is known
    /// only when they are written; others use [`Self::space_in`], and their bytes are written where they are sent from.
    pub(crate) fn space(&mut self) -> Option<&mut [u8]> {
        self.space_behind(0)
    }

    /// The same behind the room that the envelope needs.
    pub(crate) fn space_in(&mut self, envelope: &Envelope) -> Option<&mut [u8]> {
        self.space_behind(envelope.headroom())
    }

    fn space_behind(&mut self, headroom: usize) -> Option<&mut [u8]> {
        // With room for any envelope, so that whoever was given space can always commit.
        let end = self.filled + limits::MAX_PACKET + Framing::MAX_HEADROOM + Framing::MAX_TAIL;
        if self.runs.is_full() || end > self.buffer.len() {
            return None;
        }
        self.headroom = headroom;
        let start = self.filled + headroom;
        self.buffer.get_mut(start..start + limits::MAX_PACKET)
    }

    /// Keeps the `len` bytes written into the last space.
    pub(crate) fn commit(&mut self, envelope: &mut Envelope, len: usize, cargo: Cargo) {
        debug_assert!(len > 0 && len <= limits::MAX_PACKET);
        let Some(path) = envelope.to else { return };
        let len = match &mut envelope.framing {
            None => len,
            Some(framing) => {
                let written = self.filled + self.headroom;
                let headroom = framing.headroom();
                if headroom != self.headroom {
                    self.buffer.copy_within(written..written + len, self.filled + headroom);
                }
                let Some(len) = framing.write(&mut self.buffer[self.filled..], len) else {
                    debug_assert!(false, "there was room for any envelope");
                    return;
                };
                framing.advance();
                len
            }
        };
        let (start, end) = (self.filled, self.filled + len);
        self.filled = end;
        let is_open = self.runs.len() > self.taken;
        match self.runs.last_mut().filter(|_| is_open) {
            Some(run) if run.end == start && run.takes(path, len, cargo, self.max_segments) => {
                run.end = end;
                run.datagrams += 1;
            }
            // There was space, so there is room for a run.
            _ => self.runs.push(Run {
                path,
                start,
                end,
                segment: len,
                datagrams: 1,
                cargo,
            }),
        }
    }

    /// The next run.
    pub(crate) fn next_run(&mut self) -> Option<Run> {
        let run = *self.runs.get(self.taken)?;
        self.taken += 1;
        Some(run)
    }

    pub(crate) fn transmit(&self, run: Run) -> Transmit<'_> {
        Transmit {
            path: run.path,
            contents: &self.buffer[run.start..run.end],
            segment: run.segment,
            cargo: run.cargo,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(port: u16) -> Path {
        Path::udp(([127, 0, 0, 1], port).into(), None)
    }

    fn put(batch: &mut Batch, port: u16, len: usize, cargo: Cargo) {
        batch.space().expect("room").fill(len as u8);
        batch.commit(&mut Envelope::direct(path(port)), len, cargo);
    }

    /// Path, datagram size and number of datagrams of each run.
    fn taken(batch: &mut Batch) -> Vec<(u16, usize, usize)> {
        let next = |batch: &mut Batch| {
            let run = batch.next_run()?;
            let transmit = batch.transmit(run);
            let lens = transmit.contents.chunks(transmit.segment).map(<[u8]>::len);
            assert!(
                transmit
                    .contents
                    .chunks(transmit.segment)
                    .zip(lens)
                    .all(|(datagram, len)| datagram[0] == len as u8),
                "cut where they were written"
            );
            Some((transmit.path.remote().port(), transmit.segment, transmit.datagrams()))
        };
        std::iter::from_fn(|| next(batch)).collect()
    }

    fn runs(lens: &[usize], max: usize) -> Vec<(usize, usize)> {
        let mut batch = Batch::new(max);
        for len in lens {
            put(&mut batch, 1, *len, Cargo::Video);
        }
        taken(&mut batch)
            .into_iter()
            .map(|(_, size, count)| (size, count))
            .collect()
    }

    #[test]
    fn equal_sizes_make_a_run_and_a_shorter_one_ends_it() {
        assert_eq!(runs(&[], 64), []);
        assert_eq!(runs(&[100], 64), [(100, 1)]);
        assert_eq!(runs(&[100, 100, 100], 64), [(100, 3)]);
        assert_eq!(runs(&[100, 100, 99, 99], 64), [(100, 3), (99, 1)]);
        assert_eq!(runs(&[100, 101, 101], 64), [(100, 1), (101, 2)]);
        assert_eq!(runs(&[100, 100, 100], 2), [(100, 2), (100, 1)]);
        assert_eq!(runs(&[100, 100], 1), [(100, 1), (100, 1)]);
        assert_eq!(
            runs(&[1_000; 70], 100),
            [(1_000, 65), (1_000, 5)],
            "a call has a bound in bytes"
        );
    }

    #[test]
    fn a_run_goes_one_way() {
        let mut batch = Batch::new(64);
        for port in [1, 1, 2, 1] {
            put(&mut batch, port, 100, Cargo::Video);
        }
        assert_eq!(taken(&mut batch), [(1, 100, 2), (2, 100, 1), (1, 100, 1)]);
    }

    #[test]
    fn a_batch_has_a_bound_in_bytes_and_in_runs() {
        let mut batch = Batch::new(64);
        let mut count = 0;
        while batch.space().is_some() {
            batch.commit(&mut Envelope::direct(path(1)), 1_200, Cargo::Video);
            count += 1;
        }
        assert_eq!(count, 81);
        batch.clear();
        assert!(batch.is_empty());
        for port in 0..RUNS as u16 {
            put(&mut batch, port, 10, Cargo::Video);
        }
        assert!(batch.space().is_none());
    }

    #[test]
    fn relayed_datagrams_are_wrapped_where_they_lie_and_share_a_run() {
        let channel = Framing::Channel(housecall_turn::ChannelNumber::new(0x4001).expect("in range"));
        let mut envelope = Envelope::relayed(path(1), channel);
        let mut batch = Batch::new(64);
        for len in [100_usize, 100, 50] {
            batch.space_in(&envelope).expect("room")[..len].fill(len as u8);
            batch.commit(&mut envelope, len, Cargo::Video);
        }
        // Written before the envelope was known.
        batch.space().expect("room")[..70].fill(70);
        batch.commit(&mut envelope, 70, Cargo::Urgent);
        batch.space().expect("room").fill(9);
        batch.commit(&mut Envelope::nowhere(), 9, Cargo::Urgent);
        let run = batch.next_run().expect("video");
        let transmit = batch.transmit(run);
        assert_eq!((transmit.segment, transmit.datagrams()), (104, 3));
        for (datagram, len) in transmit.contents.chunks(104).zip([100_u8, 100, 50]) {
            assert_eq!(datagram[..4], [0x40, 1, 0, len]);
            assert!(datagram.len() == 4 + usize::from(len) && datagram[4..].iter().all(|byte| *byte == len));
        }
        let run = batch.next_run().expect("control");
        let contents = batch.transmit(run).contents;
        assert_eq!((&contents[..4], contents.len()), (&[0x40, 1, 0, 70][..], 74));
        assert!(contents[4..].iter().all(|byte| *byte == 70));
        assert!(batch.next_run().is_none(), "what has no way is lost");
    }

    #[test]
    fn video_can_be_dropped_and_never_shares_a_run() {
        let mut batch = Batch::new(64);
        put(&mut batch, 1, 100, Cargo::Urgent);
        for len in [100, 100, 100, 200] {
            put(&mut batch, 1, len, Cargo::Video);
        }
        put(&mut batch, 2, 50, Cargo::Urgent);
        let (first, second) = (batch.next_run().unwrap(), batch.next_run().unwrap());
        assert_eq!((first.cargo, first.datagrams), (Cargo::Urgent, 1));
        assert_eq!((second.cargo, second.datagrams), (Cargo::Video, 3));
        assert_eq!(batch.drop_video(), 1, "what was taken out is not dropped");
        assert_eq!(taken(&mut batch), [(2, 50, 1)]);
        assert_eq!(batch.drop_video(), 0);
        put(&mut batch, 2, 50, Cargo::Urgent);
        assert_eq!(taken(&mut batch), [(2, 50, 1)], "what was taken out does not grow");
    }
}
