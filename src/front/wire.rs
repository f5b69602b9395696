//! TLS of a connection that carries media, driven by the media thread: one read of the socket brings all records that are there, and what is
//! written at once is one record. (A handshake is made elsewhere, on any thread; this takes it over.)

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use housecall_sfu::Connection;
use tokio_rustls::rustls::ServerConnection;

use super::limits::READ_AT_ONCE;

thread_local! {
    /// What all connections of a thread read into. Nothing stays in it.
    static RECORDS: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_AT_ONCE].into_boxed_slice());
}

/// See the module. Its socket must not block.
pub(super) struct TlsWire<S> {
    stream: S,
    tls: ServerConnection,
    /// Records that the library did not take yet: only behind one that was as long as it may be.
    left: Vec<u8>,
    /// Bytes that are ready to be read.
    plaintext: usize,
    /// The peer has said goodbye: behind what is ready there is nothing, whether the socket is closed or not.
    is_over: bool,
}

impl<S: Read + Write> TlsWire<S> {
    /// Takes over a connection whose handshake is done.
    pub(super) fn new(stream: S, mut tls: ServerConnection) -> Self {
        // What was read along with the handshake's end. What is wrong with it comes up again with what follows.
        let (plaintext, is_over) = tls.process_new_packets().map_or((0, false), |state| {
            (state.plaintext_bytes_to_read(), state.peer_has_closed())
        });
        Self {
            stream,
            tls,
            left: Vec::new(),
            plaintext,
            is_over,
        }
    }

    /// Gives the socket what the library has for it, as far as it takes that.
    fn drain(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            if self.tls.write_tls(&mut self.stream)? == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Reads the socket once, and decrypts what came. False if the peer has closed it.
    fn read_records(&mut self, most: usize) -> io::Result<bool> {
        if !self.left.is_empty() {
            let left = std::mem::take(&mut self.left);
            self.decrypt(&left)?;
            return Ok(true);
        }
        RECORDS.with_borrow_mut(|records| {
            let most = most.min(records.len());
            let came = self.stream.read(&mut records[..most])?;
            self.decrypt(&records[..came])?;
            Ok(came > 0)
        })
    }

    fn decrypt(&mut self, mut records: &[u8]) -> io::Result<()> {
        while !records.is_empty() {
            match self.tls.read_tls(&mut records) {
                // After the peer's goodbye nothing counts.
                Ok(0) => break,
                Ok(_) => {}
                // It holds as much as it will, and nothing of it can be read: a message of a handshake that never ends.
                Err(cause) if self.plaintext == 0 => return Err(io::Error::new(ErrorKind::InvalidData, cause)),
                // It holds as much plaintext as it will, and first that is to be read.
                Err(_) => {
                    self.left = records.to_vec();
                    break;
                }
            }
            match self.tls.process_new_packets() {
                Ok(state) => {
                    self.plaintext = state.plaintext_bytes_to_read();
                    self.is_over = state.peer_has_closed();
                }
                Err(cause) => {
                    // The peer is told why, if the socket takes it.
                    let _ = self.drain();
                    return Err(io::Error::new(ErrorKind::InvalidData, cause));
                }
            }
        }
        Ok(())
    }
}

impl<S: Read + Write + AsFd + Send> Connection for TlsWire<S> {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.plaintext == 0 && (self.is_over || !self.read_records(buffer.len())?) {
            return Ok(0);
        }
        let read = self.tls.reader().read(buffer)?;
        self.plaintext = self.plaintext.saturating_sub(read);
        Ok(read)
    }

    fn has_more(&self) -> bool {
        self.plaintext > 0 || !self.left.is_empty() || self.is_over
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // What was taken before goes first, so that no more than one piece waits here.
        self.drain()?;
        let taken = self.tls.writer().write(bytes)?;
        match self.drain() {
            Err(cause) if cause.kind() != ErrorKind::WouldBlock => Err(cause),
            _ => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.drain()
    }

    fn close(&mut self) {
        self.tls.send_close_notify();
        let _ = self.drain();
    }
}
