//! What a stream runs over: a socket, and perhaps TLS around it.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

/// A connection as the thread that carries its stream drives it. Nothing here waits: what cannot be done at once is
/// [`io::ErrorKind::WouldBlock`], and is tried again when the descriptor is ready.
pub trait Connection: Send {
    /// What is waited for: readable when [`Self::read`] has something, writable when [`Self::write`] takes something.
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// Reads what has come, with one call of the kernel at most. 0 once the peer has closed.
    ///
    /// # Errors
    /// Those of the socket, and [`io::ErrorKind::InvalidData`] for what is no TLS: the connection is over.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Whether it holds bytes that were read from the socket and not given out: the descriptor says nothing of them.
    fn has_more(&self) -> bool;

    /// Takes bytes to send, as many as it says. What is given at once is one TLS record, up to its longest.
    ///
    /// # Errors
    /// Those of the socket.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Gives the socket what was taken before.
    ///
    /// # Errors
    /// Those of the socket.
    fn flush(&mut self) -> io::Result<()>;

    /// Says goodbye, if there is a way to, as far as the socket takes it at once.
    fn close(&mut self);
}

/// A connection without TLS. Its socket must not block.
pub struct Plain<S>(pub S);

impl<S: Read + Write + AsFd + Send> Connection for Plain<S> {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }

    fn has_more(&self) -> bool {
        false
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }

    fn close(&mut self) {}
}
