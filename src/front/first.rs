//! A connection whose first bytes were looked at, and are read again by whoever serves it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use housecall_turn::first_bytes::{FirstBytes, Protocol};
use housecall_turn::limits::FIRST_BYTES;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::metrics::Refused;

/// See the module.
pub(super) struct Begun<S> {
    stream: S,
    bytes: [u8; FIRST_BYTES],
    /// What of them is still to be read again.
    from: usize,
    to: usize,
}

impl<S> Begun<S> {
    pub(super) const fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The stream alone, for whoever has read those bytes again.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    /// The stream, and what of those bytes nobody has read again.
    pub(super) fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.bytes[self.from..self.to].to_vec())
    }
}

impl<S: AsyncRead + Unpin> Begun<S> {
    /// Reads until `tell` knows what it is.
    pub(super) async fn read(stream: S, tell: fn(&[u8]) -> FirstBytes) -> Result<(Self, Protocol), Refused> {
        let mut begun = Self {
            stream,
            bytes: [0; FIRST_BYTES],
            from: 0,
            to: 0,
        };
        loop {
            match tell(&begun.bytes[..begun.to]) {
                FirstBytes::Known(protocol) => return Ok((begun, protocol)),
                FirstBytes::Refused => return Err(Refused::Protocol),
                FirstBytes::More => {}
            }
            let read = begun.stream.read(&mut begun.bytes[begun.to..]).await;
            match read {
                // Also when it has seen all it may see and does not know.
                Ok(0) | Err(_) => return Err(Refused::Gone),
                Ok(read) => begun.to += read,
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.from < this.to {
            let again = &this.bytes[this.from..this.to];
            let len = again.len().min(buffer.remaining());
            buffer.put_slice(&again[..len]);
            this.from += len;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
