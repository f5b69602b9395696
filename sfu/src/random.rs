//! Unpredictable numbers: SSRCs, first sequence numbers and timestamps (RFC 3550 §5.1, RFC 8108).

use aws_lc_rs::rand;

/// Sixty-four random bits.
///
/// # Panics
/// If the system's random source fails, after which nothing here would be safe to go on with.
pub(crate) fn u64() -> u64 {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).expect("the system's random source works");
    u64::from_ne_bytes(bytes)
}
