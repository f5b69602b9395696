//! Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1): which packets of a
//! transport arrived, and when, by the number their header extension carries.
//!
//! ```text
//!  base sequence (16) · status count (16) · reference time (24) · feedback count (8)
//!  packet chunks, 16 bits each: a run of one status, 14 one-bit statuses, or 7 two-bit statuses
//!  receive deltas, 8 bits ("small") or 16 bits signed ("large") for each packet received
//! ```

use super::{Reader, format, packet_type};
use crate::ids::Ssrc;
use crate::limits;

/// The unit of receive deltas: 250 µs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticks(pub(crate) i32);

impl Ticks {
    /// Microseconds in one tick.
    pub(crate) const MICROS: i64 = 250;

    /// In microseconds.
    pub(crate) const fn micros(self) -> i64 {
        self.0 as i64 * Self::MICROS
    }
}

/// What is said of one packet. The values are those of the two-bit symbols (§3.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Symbol {
    NotReceived = 0,
    SmallDelta = 1,
    LargeDelta = 2,
}

impl Symbol {
    /// `None` for the reserved value, whose delta size nobody defined.
    const fn from_bits(bits: u16) -> Option<Self> {
        match bits {
            0 => Some(Self::NotReceived),
            1 => Some(Self::SmallDelta),
            2 => Some(Self::LargeDelta),
            _ => None,
        }
    }

    const fn delta_bytes(self) -> usize {
        self as usize
    }

    /// A bit of its own, for sets of symbols.
    const fn kind(self) -> u8 {
        1 << self as u8
    }
}

/// One status chunk, being read.
#[derive(Clone, Copy, Debug)]
enum Chunk {
    /// §3.1.3: `left` times the same.
    Run { symbol: Symbol, left: u16 },
    /// §3.1.4: symbols of `width` bits at the top of `bits`.
    Vector { bits: u16, width: u32, left: u16 },
}

impl Chunk {
    const EMPTY: Self = Self::Run {
        symbol: Symbol::NotReceived,
        left: 0,
    };

    fn read(bits: u16) -> Option<Self> {
        Some(match bits >> 14 {
            0b10 => Self::Vector {
                bits: bits << 2,
                width: 1,
                left: 14,
            },
            0b11 => Self::Vector {
                bits: bits << 2,
                width: 2,
                left: 7,
            },
            _ => Self::Run {
                symbol: Symbol::from_bits(bits >> 13)?,
                left: bits & 0x1fff,
            },
        })
    }

    /// The next status; `None` at the end of the chunk. Reserved symbols were refused when the packet was parsed.
    fn next(&mut self) -> Option<Symbol> {
        match self {
            Self::Run { symbol, left } => {
                *left = left.checked_sub(1)?;
                Some(*symbol)
            }
            Self::Vector { bits, width, left } => {
                *left = left.checked_sub(1)?;
                let symbol = *bits >> (16 - *width);
                *bits <<= *width;
                Symbol::from_bits(symbol)
            }
        }
    }
}

/// A feedback packet as it was received. Its chunks and deltas were checked against its count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TransportFeedback<'a> {
    /// Number of the first packet reported on.
    pub(crate) base_sequence: u16,
    /// How many packets are reported on, received or not.
    pub(crate) status_count: u16,
    /// What the deltas start from: 24 bits on the reporter's clock, in units of 64 ms, wrapping.
    pub(crate) reference_time: u32,
    /// Counts feedback packets, wrapping: a gap means that feedback was lost.
    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "packets that no feedback tells of are not taken as lost, so a gap needs no notice"
        )
    )]
    pub(crate) feedback_count: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

/// The status of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// The packet's transport-wide number.
    pub(crate) sequence: u16,
    /// When it arrived, counted from the feedback's reference time; `None` if it had not arrived.
    pub(crate) arrival: Option<Ticks>,
}

impl<'a> TransportFeedback<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(body);
        // Who reports, and some stream of the transport: neither says which packets are meant.
        reader.u64()?;
        let base_sequence = reader.u16()?;
        let status_count = reader.u16()?;
        let reference_time = reader.u24()?;
        let feedback_count = reader.u8()?;
        if status_count == 0 || status_count > limits::TWCC_STATUSES_PER_FEEDBACK {
            return None;
        }
        let after_header = reader.0;
        let mut left = status_count;
        let mut delta_bytes = 0;
        while left > 0 {
            delta_bytes += match Chunk::read(reader.u16()?)? {
                Chunk::Run { symbol, left: run } => {
                    let run = run.min(left);
                    left -= run;
                    usize::from(run) * symbol.delta_bytes()
                }
                Chunk::Vector { bits, width, left: all } => {
                    let used = all.min(left);
                    left -= used;
                    let mut bytes = 0;
                    for place in 1..=u32::from(used) {
                        let symbol = bits >> (16 - place * width) & ((1 << width) - 1);
                        bytes += Symbol::from_bits(symbol)?.delta_bytes();
                    }
                    bytes
                }
            };
        }
        let chunks = &after_header[..after_header.len() - reader.0.len()];
        let deltas = reader.take(delta_bytes)?;
        Some(Self {
            base_sequence,
            status_count,
            reference_time,
            feedback_count,
            chunks,
            deltas,
        })
    }

    /// The packets reported on, in order of their numbers.
    pub(crate) fn statuses(&self) -> Statuses<'a> {
        Statuses {
            sequence: self.base_sequence,
            left: self.status_count,
            chunk: Chunk::EMPTY,
            chunks: Reader(self.chunks),
            deltas: Reader(self.deltas),
            elapsed: Ticks(0),
        }
    }
}

/// Iterator over the packets of a [`TransportFeedback`].
pub(crate) struct Statuses<'a> {
    sequence: u16,
    left: u16,
    chunk: Chunk,
    chunks: Reader<'a>,
    deltas: Reader<'a>,
    elapsed: Ticks,
}

impl Iterator for Statuses<'_> {
    type Item = Status;

    fn next(&mut self) -> Option<Status> {
        self.left = self.left.checked_sub(1)?;
        let symbol = loop {
            match self.chunk.next() {
                Some(symbol) => break symbol,
                None => self.chunk = Chunk::read(self.chunks.u16()?)?,
            }
        };
        // At most 8,192 deltas of 15 bits and a sign: no overflow.
        let delta = match symbol {
            Symbol::NotReceived => None,
            Symbol::SmallDelta => Some(i32::from(self.deltas.u8()?)),
            Symbol::LargeDelta => Some(i32::from(self.deltas.u16()? as i16)),
        };
        let arrival = delta.map(|delta| {
            self.elapsed.0 += delta;
            self.elapsed
        });
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        Some(Status { sequence, arrival })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

/// Header, SSRCs and the fixed fields: what stands before the first chunk.
const FIXED: usize = 20;
/// Most statuses one run chunk holds: 13 bits.
const LONGEST_RUN: u16 = 0x1fff;
/// Most bytes of deltas one packet takes. What is built fits any datagram, so this is never the first limit to bite.
const DELTA_BYTES: usize = limits::MAX_DATAGRAM;

/// What every feedback packet says before its statuses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FeedbackHeader {
    /// Who reports.
    pub(crate) sender: Ssrc,
    /// A media SSRC the peer really sends: Chromium ignores feedback that names another.
    pub(crate) media: Ssrc,
    /// Number of the first packet reported on.
    pub(crate) base_sequence: u16,
    /// Counts feedback packets, wrapping.
    pub(crate) feedback_count: u8,
}

/// Why a status cannot go into the packet being built: end it, and begin another one with this status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Split {
    /// The buffer or the status count is full.
    NoRoom,
    /// More than 8.19 s lie between this arrival and the one before it.
    DeltaOutOfRange,
}

/// Builds one feedback packet in the caller's buffer, status by status.
pub(crate) struct FeedbackBuilder<'b> {
    out: &'b mut [u8],
    header: FeedbackHeader,
    /// Where the next chunk goes.
    chunks_end: usize,
    deltas: [u8; DELTA_BYTES],
    deltas_len: usize,
    statuses: u16,
    /// Reference time and the arrival before, both in ticks; none until a packet was received.
    clock: Option<(u32, u32)>,
    pending: Pending,
}

impl<'b> FeedbackBuilder<'b> {
    /// Begins a packet of at most `out` bytes.
    pub(crate) fn new(out: &'b mut [u8], header: FeedbackHeader) -> Self {
        Self {
            out,
            header,
            chunks_end: FIXED,
            deltas: [0; DELTA_BYTES],
            deltas_len: 0,
            statuses: 0,
            clock: None,
            pending: Pending::default(),
        }
    }

    /// Adds the next packet: `None` if it did not arrive, else when, in ticks of 250 µs on a clock that wraps at 32 bits.
    ///
    /// # Errors
    /// [`Split`] if it has to go into another packet; this one is unchanged.
    pub(crate) fn push(&mut self, arrival: Option<u32>) -> Result<(), Split> {
        let mut clock = self.clock;
        let (symbol, delta) = match arrival {
            None => (Symbol::NotReceived, 0),
            Some(at) => {
                let (reference, before) = clock.unwrap_or((at & !0xff, at & !0xff));
                clock = Some((reference, at));
                let delta = at.wrapping_sub(before) as i32;
                match (u8::try_from(delta), i16::try_from(delta)) {
                    (Ok(_), _) => (Symbol::SmallDelta, delta),
                    (_, Ok(_)) => (Symbol::LargeDelta, delta),
                    _ => return Err(Split::DeltaOutOfRange),
                }
            }
        };
        let flush = !self.pending.takes(symbol);
        // This chunk if it is full, the one that is pending afterwards, and all deltas must fit, rounded up to four.
        let chunk_bytes = if flush { 4 } else { 2 };
        let delta_bytes = self.deltas_len + symbol.delta_bytes();
        let length = (self.chunks_end + chunk_bytes + delta_bytes).next_multiple_of(4);
        let counts = self.statuses < limits::TWCC_STATUSES_PER_FEEDBACK;
        if length > self.out.len() || delta_bytes > DELTA_BYTES || !counts {
            return Err(Split::NoRoom);
        }
        if flush {
            let chunk = self.pending.take_full();
            self.write_chunk(chunk);
        }
        self.pending.add(symbol);
        self.statuses += 1;
        self.clock = clock;
        let place = &mut self.deltas[self.deltas_len..delta_bytes];
        match symbol {
            Symbol::NotReceived => {}
            Symbol::SmallDelta => place.copy_from_slice(&[delta as u8]),
            Symbol::LargeDelta => place.copy_from_slice(&(delta as i16).to_be_bytes()),
        }
        self.deltas_len = delta_bytes;
        Ok(())
    }

    /// Ends the packet and gives its length, or `None` if no packet was received: such feedback has no meaning.
    pub(crate) fn finish(mut self) -> Option<usize> {
        let (reference, _) = self.clock?;
        let chunk = self.pending.take_last();
        self.write_chunk(chunk);
        let unpadded = self.chunks_end + self.deltas_len;
        let length = unpadded.next_multiple_of(4);
        let packet = &mut self.out[..length];
        packet[self.chunks_end..unpadded].copy_from_slice(&self.deltas[..self.deltas_len]);
        let padding = &mut packet[unpadded..];
        padding.fill(0);
        let padded = match padding {
            [.., last] => {
                *last = (length - unpadded) as u8;
                0x20
            }
            [] => 0,
        };
        let words = (length / 4 - 1) as u16;
        packet[0] = 0x80 | padded | format::TRANSPORT_WIDE;
        packet[1] = packet_type::TRANSPORT_FEEDBACK;
        packet[2..4].copy_from_slice(&words.to_be_bytes());
        packet[4..8].copy_from_slice(&self.header.sender.0.to_be_bytes());
        packet[8..12].copy_from_slice(&self.header.media.0.to_be_bytes());
        packet[12..14].copy_from_slice(&self.header.base_sequence.to_be_bytes());
        packet[14..16].copy_from_slice(&self.statuses.to_be_bytes());
        // A tick count without its lowest byte is the 24-bit reference time; the count of this packet takes that byte's place.
        packet[16..20].copy_from_slice(&(reference | u32::from(self.header.feedback_count)).to_be_bytes());
        Some(length)
    }

    fn write_chunk(&mut self, chunk: u16) {
        self.out[self.chunks_end..self.chunks_end + 2].copy_from_slice(&chunk.to_be_bytes());
        self.chunks_end += 2;
    }
}

/// Statuses not yet written: either any seven, or fourteen without a large delta, or a run of one kind.
struct Pending {
    /// The first `count` of them; a run of more than fourteen is all `symbols[0]`.
    symbols: [Symbol; 14],
    count: u16,
    /// Which kinds are among them, a bit each.
    kinds: u8,
}

impl Default for Pending {
    fn default() -> Self {
        Self {
            symbols: [Symbol::NotReceived; 14],
            count: 0,
            kinds: 0,
        }
    }
}

impl Pending {
    const fn is_run(&self) -> bool {
        self.kinds.count_ones() <= 1
    }

    const fn has_large(&self) -> bool {
        self.kinds & Symbol::LargeDelta.kind() != 0
    }

    /// Whether one more still leaves a single chunk able to hold them all.
    const fn takes(&self, symbol: Symbol) -> bool {
        if self.count < 7 {
            return true;
        }
        let kinds = self.kinds | symbol.kind();
        let no_large = kinds & Symbol::LargeDelta.kind() == 0;
        if self.count < 14 && no_large {
            return true;
        }
        self.count < LONGEST_RUN && kinds.count_ones() == 1
    }

    fn add(&mut self, symbol: Symbol) {
        if let Some(place) = self.symbols.get_mut(usize::from(self.count)) {
            *place = symbol;
        }
        self.kinds |= symbol.kind();
        self.count += 1;
    }

    /// Encodes a full chunk from the front and keeps the rest, which is at most six.
    fn take_full(&mut self) -> u16 {
        if self.is_run() {
            return self.take_run();
        }
        if self.count == 14 {
            self.take_vector(1)
        } else {
            self.take_vector(2)
        }
    }

    /// Encodes all there is; places of the chunk that are left over are beyond the packet's status count.
    fn take_last(&mut self) -> u16 {
        if self.is_run() {
            return self.take_run();
        }
        if self.has_large() {
            self.take_vector(2)
        } else {
            self.take_vector(1)
        }
    }

    fn take_run(&mut self) -> u16 {
        let chunk = (self.symbols[0] as u16) << 13 | self.count;
        self.count = 0;
        self.kinds = 0;
        chunk
    }

    fn take_vector(&mut self, width: usize) -> u16 {
        let count = usize::from(self.count);
        let taken = count.min(14 / width);
        let used = self.symbols[..taken]
            .iter()
            .fold(0, |bits, symbol| bits << width | *symbol as u16);
        let bits = used << (14 - taken * width);
        self.symbols.copy_within(taken..count, 0);
        self.count -= taken as u16;
        let left = &self.symbols[..count - taken];
        self.kinds = left.iter().fold(0, |kinds, symbol| kinds | symbol.kind());
        (0b10 | (width as u16 - 1)) << 14 | bits
    }
}
