//! The way of a peer's datagrams: straight to the server, or in ChannelData to its relay, which is on the same port.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use anyhow::Result;

use crate::turn::{CHANNEL_HEADER, Client, Ways, channel_header, channel_payload};

/// How a peer is to reach the server.
#[derive(Clone, Default)]
pub(crate) enum Way {
    /// From socket to socket.
    #[default]
    Direct,
    /// By the server's relay.
    Relayed(Arc<Ways>),
}

/// A connected socket, and what is around each datagram on it.
#[derive(Clone)]
pub(crate) struct Pipe {
    pub(crate) socket: Arc<UdpSocket>,
    wrapping: Wrapping,
}

/// See [`Pipe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrapping {
    None,
    ChannelData,
}

/// Room for a datagram with its wrapping.
const ROOM: usize = 2_048;

impl Pipe {
    /// Datagrams as they are.
    pub(crate) fn plain(socket: UdpSocket) -> Self {
        Self {
            socket: Arc::new(socket),
            wrapping: Wrapping::None,
        }
    }

    /// To `peer` by an allocation of its own.
    pub(crate) fn relayed(mut client: Client, peer: SocketAddr) -> Result<Self> {
        client.bind(peer)?;
        Ok(Self {
            socket: Arc::new(client.into_socket()?),
            wrapping: Wrapping::ChannelData,
        })
    }

    /// What goes in front of a datagram of this length.
    pub(crate) fn header(&self, len: usize) -> Option<[u8; CHANNEL_HEADER]> {
        match self.wrapping {
            Wrapping::None => None,
            Wrapping::ChannelData => Some(channel_header(len)),
        }
    }

    /// What is inside of a datagram; `None` if it was for the client of the relay.
    pub(crate) fn open<'a>(&self, datagram: &'a mut [u8]) -> Option<&'a mut [u8]> {
        match self.wrapping {
            Wrapping::None => Some(datagram),
            Wrapping::ChannelData => channel_payload(datagram),
        }
    }

    /// Sends one datagram.
    pub(crate) fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        let Some(header) = self.header(datagram.len()) else {
            return self.socket.send(datagram);
        };
        let mut wrapped = [0; ROOM];
        let len = CHANNEL_HEADER + datagram.len();
        let Some(room) = wrapped.get_mut(CHANNEL_HEADER..len) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        room.copy_from_slice(datagram);
        wrapped[..CHANNEL_HEADER].copy_from_slice(&header);
        self.socket.send(&wrapped[..len])
    }

    /// Receives one datagram and gives its length.
    pub(crate) fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let len = self.socket.recv(buffer)?;
            let start = match self.wrapping {
                Wrapping::None => return Ok(len),
                Wrapping::ChannelData => CHANNEL_HEADER,
            };
            if let Some(payload) = self.open(&mut buffer[..len]) {
                let end = start + payload.len();
                buffer.copy_within(start..end, 0);
                return Ok(end - start);
            }
        }
    }
}
