//! The send batch: packets of one destination, sealed one behind the other in one buffer, cut into runs that one GSO call can
//! send. All datagrams of a GSO call have the same size; only the last may be shorter.

use crate::limits;
use crate::path::Path;

/// Bytes one batch can hold: what the kernel takes in one GSO call.
const CAPACITY: usize = 65_000;
/// Datagrams one batch can hold; Linux takes 64 to 128 segments in a call.
const DATAGRAMS: usize = 64;

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
    pub(crate) path: Path,
    start: usize,
    end: usize,
    segment: usize,
    cargo: Cargo,
}

/// See the module.
pub(crate) struct Batch {
    buffer: Box<[u8]>,
    lens: Vec<u16>,
    path: Option<Path>,
    /// Bytes filled.
    filled: usize,
    /// Bytes and datagrams already taken out as runs.
    taken: usize,
    taken_datagrams: usize,
    /// From this datagram on they are video: a member's audio is written before its video.
    video_from: Option<usize>,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self {
            buffer: vec![0; CAPACITY].into_boxed_slice(),
            lens: Vec::with_capacity(DATAGRAMS),
            path: None,
            filled: 0,
            taken: 0,
            taken_datagrams: 0,
            video_from: None,
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.lens.clear();
        self.path = None;
        self.filled = 0;
        self.taken = 0;
        self.taken_datagrams = 0;
        self.video_from = None;
    }

    /// What is committed from here on is video.
    pub(crate) fn begin_video(&mut self) {
        self.video_from.get_or_insert(self.lens.len());
    }

    /// Forgets the video that was not taken out yet; how many datagrams that was.
    pub(crate) fn drop_video(&mut self) -> usize {
        let Some(from) = self.video_from else { return 0 };
        let kept = from.max(self.taken_datagrams);
        let dropped = self.lens.len().saturating_sub(kept);
        self.lens.truncate(kept);
        dropped
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lens.is_empty()
    }

    /// Space for one more datagram to `path`, or `None` if the batch is full or holds another path's datagrams.
    pub(crate) fn space(&mut self, path: Path) -> Option<&mut [u8]> {
        let fits = self.buffer.len() - self.filled >= limits::MAX_PACKET && self.lens.len() < DATAGRAMS;
        // Space that was asked for and not used binds nobody.
        let same = self.lens.is_empty() || self.path == Some(path);
        if !(fits && same) {
            return None;
        }
        self.path = Some(path);
        let end = self.filled + limits::MAX_PACKET;
        Some(&mut self.buffer[self.filled..end])
    }

    /// Space for one datagram whose path is not known before it is written. The batch must be empty.
    pub(crate) fn first_space(&mut self) -> &mut [u8] {
        debug_assert!(self.is_empty(), "only the first datagram chooses the path");
        &mut self.buffer[..limits::MAX_PACKET]
    }

    /// Keeps the `len` bytes written into the first space, for `path`.
    pub(crate) fn commit_first(&mut self, path: Path, len: usize) {
        self.path = Some(path);
        self.commit(len);
    }

    /// Keeps the `len` bytes written into the last space.
    pub(crate) fn commit(&mut self, len: usize) {
        debug_assert!(len > 0 && len <= limits::MAX_PACKET);
        self.filled += len;
        self.lens.push(len as u16);
    }

    /// The next run of at most `max_segments` datagrams.
    pub(crate) fn next_run(&mut self, max_segments: usize) -> Option<Run> {
        let path = self.path?;
        let video_from = self.video_from.unwrap_or(usize::MAX);
        let (cargo, until) = if self.taken_datagrams < video_from {
            (Cargo::Urgent, video_from.min(self.lens.len()))
        } else {
            (Cargo::Video, self.lens.len())
        };
        let mut rest = self.lens[self.taken_datagrams..until]
            .iter()
            .map(|len| usize::from(*len));
        let segment = rest.next()?;
        let start = self.taken;
        let mut end = start + segment;
        let mut datagrams = 1;
        for len in rest {
            if datagrams == max_segments || len > segment {
                break;
            }
            end += len;
            datagrams += 1;
            if len < segment {
                break;
            }
        }
        self.taken = end;
        self.taken_datagrams += datagrams;
        Some(Run {
            path,
            start,
            end,
            segment,
            cargo,
        })
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

    fn runs(lens: &[usize], max: usize) -> Vec<(usize, usize)> {
        let mut batch = Batch::new();
        for len in lens {
            batch.space(path(1)).expect("room").fill(*len as u8);
            batch.commit(*len);
        }
        let mut runs = Vec::new();
        while let Some(run) = batch.next_run(max) {
            let transmit = batch.transmit(run);
            runs.push((transmit.segment, transmit.datagrams()));
        }
        runs
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
    }

    #[test]
    fn video_can_be_dropped_and_never_shares_a_run() {
        let mut batch = Batch::new();
        let put = |batch: &mut Batch, len: usize| {
            batch.space(path(1)).expect("room");
            batch.commit(len);
        };
        put(&mut batch, 100);
        batch.begin_video();
        for _ in 0..3 {
            put(&mut batch, 100);
        }
        batch.begin_video();
        put(&mut batch, 200);
        let next = |batch: &mut Batch| {
            let run = batch.next_run(64)?;
            let transmit = batch.transmit(run);
            Some((transmit.cargo, transmit.datagrams()))
        };
        assert_eq!(next(&mut batch), Some((Cargo::Urgent, 1)));
        assert_eq!(next(&mut batch), Some((Cargo::Video, 3)));
        assert_eq!(batch.drop_video(), 1);
        assert_eq!((next(&mut batch), batch.drop_video()), (None, 0));
        batch.clear();
        put(&mut batch, 100);
        assert_eq!(batch.drop_video(), 0, "a new batch has no video yet");
        assert_eq!(next(&mut batch), Some((Cargo::Urgent, 1)));
    }

    #[test]
    fn a_batch_holds_one_path_and_has_a_bound() {
        let mut batch = Batch::new();
        batch.space(path(2)).expect("room");
        batch.space(path(1)).expect("space that was not used binds nobody");
        batch.commit(10);
        assert!(batch.space(path(2)).is_none());
        let mut count = 1;
        while batch.space(path(1)).is_some() {
            batch.commit(1_200);
            count += 1;
        }
        assert_eq!(count, 54, "bytes are the bound for big datagrams");
        batch.clear();
        assert!(batch.is_empty() && batch.space(path(2)).is_some());
    }
}
