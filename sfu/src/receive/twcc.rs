//! Notes when packets of a transport arrived, and makes transport-wide feedback of it
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).

use std::time::Instant;

use crate::ids::Ssrc;
use crate::limits;
use crate::rtcp::twcc::{FeedbackBuilder, FeedbackHeader, Ticks};
use crate::rtp::SequenceUnwrapper;

const WINDOW: u64 = limits::TWCC_WINDOW;

/// The smallest buffer that always takes some feedback: a full window of losses and one arrival.
const SMALLEST_FEEDBACK: usize = 32;

/// Arrivals at one transport.
///
/// Every feedback begins where the last one ended. A packet that comes after it was reported lost moves the beginning of the next one
/// back to itself, so what lies between is reported once more; senders ignore what they know.
#[derive(Debug)]
pub(crate) struct TwccRecorder {
    sender: Ssrc,
    sequences: SequenceUnwrapper,
    /// Arrival of each packet of the window, in ticks since the first; of meaning where `present` says so.
    ticks: Box<[u32; WINDOW as usize]>,
    present: [u64; WINDOW as usize / 64],
    span: Option<Span>,
    /// The number that would confirm that the sender began to count anew.
    restart: Option<u16>,
    feedback_count: u8,
    last_feedback: Option<Instant>,
    /// When feedback is due: set as long as something is unreported.
    due: Option<Instant>,
}

/// What is known of the numbers seen.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// When the first packet arrived: the zero of the ticks.
    epoch: Instant,
    /// Where the next feedback begins. Above `highest` when all is reported.
    next: u64,
    /// The highest number, which is always one that arrived.
    highest: u64,
}

impl TwccRecorder {
    /// For feedback sent as `sender`.
    pub(crate) fn new(sender: Ssrc) -> Self {
        Self {
            sender,
            sequences: SequenceUnwrapper::new(),
            ticks: Box::new([0; WINDOW as usize]),
            present: [0; WINDOW as usize / 64],
            span: None,
            restart: None,
            feedback_count: 0,
            last_feedback: None,
            due: None,
        }
    }

    /// A packet with this transport-wide number arrived. **Only for packets that were decrypted and stored, or hold nothing to
    /// store**: one that is acknowledged is never sent again.
    pub(crate) fn record(&mut self, sequence: u16, now: Instant) {
        let wide = self.sequences.peek(u64::from(sequence));
        match &mut self.span {
            None => self.start(wide, now),
            Some(span) if wide > span.highest => {
                if wide - span.highest >= WINDOW {
                    self.present.fill(0);
                } else {
                    for between in span.highest + 1..wide {
                        let (word, bit) = place(between);
                        self.present[word] &= !bit;
                    }
                }
                span.highest = wide;
                span.next = span.next.max(wide + 1 - WINDOW);
                self.note(wide, now);
            }
            Some(span) if wide + WINDOW <= span.highest => {
                // Far behind: a straggler of no interest, unless another one follows in order.
                if self.restart == Some(sequence) {
                    self.start(wide, now);
                } else {
                    self.restart = Some(sequence.wrapping_add(1));
                }
            }
            Some(span) => {
                let (word, bit) = place(wide);
                if self.present[word] & bit == 0 {
                    span.next = span.next.min(wide);
                    self.note(wide, now);
                }
            }
        }
    }

    fn start(&mut self, sequence: u64, now: Instant) {
        self.sequences = SequenceUnwrapper::new();
        let wide = self.sequences.unwrap(sequence & 0xffff);
        self.present.fill(0);
        let epoch = self.span.map_or(now, |span| span.epoch);
        self.span = Some(Span {
            epoch,
            next: wide,
            highest: wide,
        });
        self.note(wide, now);
    }

    /// Writes an arrival down; `span` covers it already.
    fn note(&mut self, sequence: u64, now: Instant) {
        let Some(span) = self.span else { return };
        self.sequences.unwrap(sequence & 0xffff);
        self.restart = None;
        // 64 bits of microseconds are half a million years; dividing 128 bits costs more than all the rest.
        let micros = now.saturating_duration_since(span.epoch).as_micros() as u64;
        let (word, bit) = place(sequence);
        self.present[word] |= bit;
        // Wraps after twelve days, as the reference time of 24 bits does.
        self.ticks[(sequence % WINDOW) as usize] = (micros / Ticks::MICROS as u64) as u32;
        let crowded = span.highest - span.next >= WINDOW / 2;
        let interval = if crowded {
            limits::TWCC_CROWDED_INTERVAL
        } else {
            limits::TWCC_INTERVAL
        };
        let due = self.last_feedback.map_or(now, |last| (last + interval).max(now));
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
    }

    /// Writes one feedback packet into `out`, if it is time, and gives its length. To be called until it gives `None`: what does not
    /// fit into one packet goes into the next.
    ///
    /// `media` is any SSRC on which this peer has sent media: Chromium ignores feedback that names another one. `out` must hold
    /// 32 bytes at least.
    pub(crate) fn poll_feedback(&mut self, now: Instant, media: Ssrc, out: &mut [u8]) -> Option<usize> {
        debug_assert!(out.len() >= SMALLEST_FEEDBACK, "the caller's buffer is a datagram's");
        if self.due.is_none_or(|due| now < due) {
            return None;
        }
        let span = self.span.as_mut()?;
        let header = FeedbackHeader {
            sender: self.sender,
            media,
            base_sequence: span.next as u16,
            feedback_count: self.feedback_count,
        };
        let mut builder = FeedbackBuilder::new(out, header);
        while span.next <= span.highest {
            let (word, bit) = place(span.next);
            let arrived = self.present[word] & bit != 0;
            let arrival = arrived.then(|| self.ticks[(span.next % WINDOW) as usize]);
            if builder.push(arrival).is_err() {
                break;
            }
            span.next += 1;
        }
        if span.next > span.highest {
            self.due = None;
            self.last_feedback = Some(now);
        }
        let length = builder.finish()?;
        self.feedback_count = self.feedback_count.wrapping_add(1);
        Some(length)
    }

    /// When [`Self::poll_feedback`] has something to do.
    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }
}

const fn place(sequence: u64) -> (usize, u64) {
    let bit = sequence % WINDOW;
    ((bit / 64) as usize, 1 << (bit % 64))
}
