//! Live visits: messages, waiting room, admit, leave, resume. Knows no HTTP and no SQL.

#![expect(
    missing_docs,
    reason = "the message fields speak for themselves until the protocol page is written"
)]

pub mod message;
