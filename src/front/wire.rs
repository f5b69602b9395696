//! TLS of a connection that carries media: one read of the socket brings all records that are there, and what is written at once is one record.
//! (A handshake is made elsewhere, on any thread; this takes it over.)

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::rustls::ServerConnection;

use super::limits::READ_AT_ONCE;

thread_local! {
    /// What all connections of a thread read into. Nothing stays in it.
    static RECORDS: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_AT_ONCE].into_boxed_slice());
}

/// See the module.
pub(super) struct TlsWire<S> {
    stream: S,
    tls: ServerConnection,
    /// Records that the library did not take yet: only behind one that was as long as it may be.
    left: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsWire<S> {
    pub(super) const fn new(stream: S, tls: ServerConnection) -> Self {
        Self {
            stream,
            tls,
            left: Vec::new(),
        }
    }

    /// Writes what the library has for the socket, as far as that takes it.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            let mut socket = Socket {
                stream: &mut self.stream,
                cx,
            };
            match self.tls.write_tls(&mut socket) {
                Ok(0) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(cause) if cause.kind() == ErrorKind::WouldBlock => return Poll::Pending,
                Err(cause) => return Poll::Ready(Err(cause)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads the socket once, and decrypts what came. False if the peer has closed it.
    fn poll_records(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if !self.left.is_empty() {
            let left = std::mem::take(&mut self.left);
            self.decrypt(&left, cx)?;
            return Poll::Ready(Ok(true));
        }
        RECORDS.with_borrow_mut(|records| {
            let mut buffer = ReadBuf::new(records);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            let came = buffer.filled();
            self.decrypt(came, cx)?;
            Poll::Ready(Ok(!came.is_empty()))
        })
    }

    fn decrypt(&mut self, mut records: &[u8], cx: &mut Context<'_>) -> io::Result<()> {
        while !records.is_empty() {
            match self.tls.read_tls(&mut records) {
                // After the peer's goodbye nothing counts.
                Ok(0) => return Ok(()),
                Ok(_) => {}
                // It holds as much plaintext as it will, and first that is to be read.
                Err(_) => {
                    self.left = records.to_vec();
                    return Ok(());
                }
            }
            if let Err(cause) = self.tls.process_new_packets() {
                // The peer is told why, if the socket takes it.
                let _ = self.poll_drain(cx);
                return Err(io::Error::new(ErrorKind::InvalidData, cause));
            }
        }
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsWire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match this.tls.reader().read(buffer.initialize_unfilled()) {
                Ok(len) => {
                    buffer.advance(len);
                    return Poll::Ready(Ok(()));
                }
                Err(cause) if cause.kind() == ErrorKind::WouldBlock => {}
                Err(cause) => return Poll::Ready(Err(cause)),
            }
            if !ready!(this.poll_records(cx))? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsWire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // What was taken before goes first, so that no more than one piece waits here.
        ready!(self.poll_drain(cx))?;
        let taken = self.tls.writer().write(bytes)?;
        match self.poll_drain(cx) {
            Poll::Ready(Err(cause)) => Poll::Ready(Err(cause)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(taken)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tls.send_close_notify();
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A socket as the library wants one: it says [`ErrorKind::WouldBlock`], and the task is woken when it would not.
struct Socket<'a, 'b, S> {
    stream: &'a mut S,
    cx: &'a mut Context<'b>,
}

impl<S: AsyncWrite + Unpin> Write for Socket<'_, '_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        or_would_block(Pin::new(&mut *self.stream).poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        or_would_block(Pin::new(&mut *self.stream).poll_write_vectored(self.cx, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn or_would_block(polled: Poll<io::Result<usize>>) -> io::Result<usize> {
    match polled {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}
