//! Session descriptions: reads a client's offer, decides what is accepted, writes the answer (RFC 8866, RFC 8829).
//!
//! The client always offers and the server always answers, so there is no glare and no rollback. What was agreed is a
//! [`Session`], a plain value: the transport is configured from it and the next offer is compared with it.
//!
//! * `offer` reads: text to a typed offer, no decision;
//! * `negotiate` decides: which lines, codecs, layers and extensions are taken, and what contradicts the session;
//! * `extension` knows the header extensions;
//! * `write` prints the answer of a decided session;
//! * `session` holds the types.
//!
//! `docs/sdp.md` tells the rules and why they are so.

mod extension;
mod negotiate;
mod offer;
mod session;
mod write;

pub(crate) use negotiate::{AnswerParams, answer};
pub(crate) use session::{Encoding, Format, Formats, LayerOrder, MediaLine, Publishing, Receiving, Session};

#[cfg(test)]
mod tests;
