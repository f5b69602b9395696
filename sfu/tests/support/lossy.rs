//! A link that loses packets: a UDP relay between one client and the server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Stands in the way of the server's media towards one client. The client is told its address instead of the server's.
pub struct LossyLink {
    /// Where the client sends to.
    pub address: SocketAddr,
    /// Where the server sees the client.
    pub server_sees: SocketAddr,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    /// Per 10,000 SRTP packets.
    loss: AtomicU64,
    dropped: AtomicU64,
    passed: AtomicU64,
}

impl LossyLink {
    /// Relays between whoever writes to it first and `server`. Loses nothing until told to.
    pub async fn to(server: SocketAddr, seed: u64) -> Self {
        let client_side = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server_side = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        server_side.connect(server).await.unwrap();
        let address = client_side.local_addr().unwrap();
        let server_sees = server_side.local_addr().unwrap();
        let counts = Arc::new(Counts::default());
        let task = tokio::spawn(relay(client_side, server_side, counts.clone(), seed));
        Self {
            address,
            server_sees,
            counts,
            task,
        }
    }

    /// Loses this share of the media packets that go to the client (not STUN, DTLS or RTCP).
    pub fn lose(&self, share: f64) {
        self.counts.loss.store((share * 10_000.0) as u64, Ordering::Relaxed);
    }

    /// Media packets lost so far.
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// An answer that leads to this link instead of to the server.
    pub fn reroute(&self, answer: &str) -> String {
        let mut found = false;
        let lines = answer
            .lines()
            .filter_map(|line| match line.strip_prefix("a=candidate:") {
                None => Some(line.to_owned()),
                Some(_) if found => None,
                Some(candidate) => {
                    found = true;
                    let mut words: Vec<String> = candidate.split(' ').map(str::to_owned).collect();
                    words[4] = self.address.ip().to_string();
                    words[5] = self.address.port().to_string();
                    Some(format!("a=candidate:{}", words.join(" ")))
                }
            });
        lines.collect::<Vec<_>>().join("\r\n") + "\r\n"
    }
}

impl Drop for LossyLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(client_side: UdpSocket, server_side: UdpSocket, counts: Arc<Counts>, mut seed: u64) {
    let (mut up, mut down) = ([0; 2_048], [0; 2_048]);
    let mut client = None;
    loop {
        tokio::select! {
            Ok((length, from)) = client_side.recv_from(&mut up) => {
                client = Some(from);
                let _ = server_side.send(&up[..length]).await;
            }
            Ok(length) = server_side.recv(&mut down) => {
                let Some(client) = client else { continue };
                let datagram = &down[..length];
                if is_media(datagram) && random(&mut seed) % 10_000 < counts.loss.load(Ordering::Relaxed) {
                    counts.dropped.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                counts.passed.fetch_add(1, Ordering::Relaxed);
                let _ = client_side.send_to(datagram, client).await;
            }
        }
    }
}

/// RFC 7983 and RFC 5761 §4: SRTP, not SRTCP.
fn is_media(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, kind, ..] if !(192..=223).contains(kind))
}

/// xorshift64*: the same losses for the same seed and order of packets.
fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    seed.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
}
