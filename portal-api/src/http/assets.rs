//! The files of the web client, embedded by `build.rs`.

/// A file, ready to be sent either way.
pub(super) struct Asset {
    /// The path of its address.
    pub(super) path: &'static str,
    /// Its media type.
    pub(super) content_type: &'static str,
    /// As it is.
    pub(super) plain: &'static [u8],
    /// Brotli.
    pub(super) brotli: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));
