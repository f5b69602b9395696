//! The receiving side of a transport: accounts of what came, requests for what did not, and the feedback that publishers need.
//!
//! One [`LayerReceiver`] for each primary SSRC, one [`TwccRecorder`] and one [`ReportSchedule`] for each transport, one
//! [`KeyFrameRequests`] for each published video track. A retransmission SSRC has no receiver of its own: [`rtx::read`] says which
//! packet it brings back, which then goes to its layer's [`LayerReceiver::handle_repaired`].
//!
//! Order of calls for a packet that was decrypted: the layer's `handle_packet` (or `handle_repaired`), and only if it was
//! accepted and stored, [`TwccRecorder::record`]: what a browser sees acknowledged, it never sends again.

mod key_frames;
mod layer;
#[cfg(test)]
mod layer_tests;
mod nack;
#[cfg(test)]
mod nack_tests;
mod rate;
pub(crate) mod rtx;
mod schedule;
mod twcc;
#[cfg(test)]
mod twcc_tests;

pub(crate) use key_frames::{Cause, KeyFrameRequests};
pub(crate) use layer::{LayerReceiver, Refused, Repair};
pub(crate) use schedule::ReportSchedule;
pub(crate) use twcc::TwccRecorder;
