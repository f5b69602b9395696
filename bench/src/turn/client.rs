//! A client of a relay: a way to the server, an allocation on it, a channel. Blocking, for setting up; media goes another way.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::certificate::NAME;
use super::messages::{self, Access, Credentials};

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a client speaks to its server.
pub(crate) enum Link {
    Udp(UdpSocket),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Link {
    /// Over UDP, from an address of this machine's.
    pub(crate) fn udp(from: Ipv4Addr, server: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind((from, 0)).context("a UDP socket for a client")?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self::Udp(socket))
    }

    /// Over TLS.
    pub(crate) fn tls(server: SocketAddr, config: &Arc<ClientConfig>) -> Result<Self> {
        let mut socket = TcpStream::connect(server).context("a connection for a client")?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut tls = ClientConnection::new(Arc::clone(config), ServerName::try_from(NAME)?)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket).context("the TLS handshake")?;
        }
        Ok(Self::Tls(Box::new(StreamOwned::new(tls, socket))))
    }

    /// The certificate that the server showed.
    pub(crate) fn certificate(&self) -> Option<Vec<u8>> {
        match self {
            Self::Udp(_) => None,
            Self::Tls(stream) => Some(stream.conn.peer_certificates()?.first()?.to_vec()),
        }
    }

    pub(crate) fn send(&mut self, message: &[u8]) -> Result<()> {
        match self {
            Self::Udp(socket) => {
                socket.send(message)?;
            }
            Self::Tls(stream) => {
                stream.write_all(message)?;
                stream.flush()?;
            }
        }
        Ok(())
    }

    /// The next message.
    pub(crate) fn receive(&mut self) -> Result<Vec<u8>> {
        let mut buffer = vec![0; 2_048];
        match self {
            Self::Udp(socket) => {
                let len = socket.recv(&mut buffer).context("no answer from the relay")?;
                buffer.truncate(len);
            }
            Self::Tls(stream) => {
                stream
                    .read_exact(&mut buffer[..4])
                    .context("no answer from the relay")?;
                let len = messages::stream_message(&buffer[..4])?.context("a short header")?;
                ensure!(len <= buffer.len(), "an answer of {len} bytes");
                stream.read_exact(&mut buffer[4..len])?;
                buffer.truncate(len);
            }
        }
        Ok(buffer)
    }

    /// Sends a request and waits for its answer; payload that comes meanwhile is dropped.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>> {
        self.send(request)?;
        loop {
            let answer = self.receive()?;
            if answer.len() >= 20 && answer[8..20] == request[8..20] {
                return Ok(answer);
            }
        }
    }
}

/// A client with an allocation.
pub(crate) struct Client {
    pub(crate) link: Link,
    pub(crate) access: Access,
    /// The address its peers see.
    pub(crate) relayed: SocketAddr,
}

impl Client {
    /// Shows credentials and makes an allocation.
    pub(crate) fn allocate(mut link: Link, credentials: &Credentials) -> Result<Self> {
        let challenge = link.ask(&messages::allocate(None)?)?;
        let access = Access::from_challenge(&challenge, credentials)?;
        let answer = link.ask(&messages::allocate(Some(&access))?)?;
        Ok(Self {
            relayed: messages::relayed(&answer)?,
            link,
            access,
        })
    }

    /// The socket of a client over UDP.
    pub(crate) fn into_socket(self) -> Result<UdpSocket> {
        match self.link {
            Link::Udp(socket) => Ok(socket),
            Link::Tls(_) => anyhow::bail!("not over UDP"),
        }
    }

    /// Binds the channel to a peer.
    pub(crate) fn bind(&mut self, peer: SocketAddr) -> Result<()> {
        let answer = self.link.ask(&messages::bind(&self.access, peer)?)?;
        messages::check_success(&answer)?;
        Ok(())
    }
}

/// The address of the generator's clients with this number: 256 of each come from one prefix (/24), as servers count them.
pub(crate) fn home(number: usize) -> Ipv4Addr {
    let [_, a, b, _] = (number as u32 / 256 + 1).rotate_left(8).to_be_bytes();
    Ipv4Addr::new(127, a, b, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_come_from_many_prefixes_of_loopback() {
        assert_eq!(home(0), Ipv4Addr::new(127, 0, 1, 1));
        assert_eq!(home(255), home(0));
        assert_eq!(home(256), Ipv4Addr::new(127, 0, 2, 1));
        assert_eq!(home(256 * 255), Ipv4Addr::new(127, 1, 0, 1));
    }
}
