//! What is measured: our server, or any other that speaks WHIP and WHEP.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::dtls::Profile;
use crate::measure::Process;
use crate::offer::{Line, Offer};
use crate::peer::Peer;
use crate::pipe::Way;
use crate::server::{MEDIA_THREADS, Options, Server};

/// Joins in flight at a time.
const JOINING: usize = 4;

/// Another server, to be set beside ours.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Elsewhere {
    /// Measure another server: where to POST a publisher's offer (WHIP). Needs --whep and --pid.
    #[arg(long, requires = "whep", requires = "pid")]
    pub(crate) whip: Option<String>,
    /// Where to POST a viewer's offer (WHEP).
    #[arg(long, requires = "whip")]
    pub(crate) whep: Option<String>,
    /// The other server's process.
    #[arg(long, requires = "whip")]
    pub(crate) pid: Option<u32>,
    /// A bearer token for it.
    #[arg(long, requires = "whip")]
    pub(crate) token: Option<String>,
}

/// Which of the two protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Whip,
    Whep,
}

/// A visit on our server, or just any on another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visit {
    pub(crate) id: String,
    pub(crate) token: String,
}

/// A server to be measured. Ours ends with it.
#[derive(Clone)]
pub(crate) struct Target {
    http: reqwest::Client,
    profile: Option<Profile>,
    way: Way,
    what: What,
}

#[derive(Clone)]
enum What {
    Ours(Arc<Server>),
    Other {
        whip: String,
        whep: String,
        pid: u32,
        token: Option<String>,
    },
}

/// Somebody who has joined.
pub(crate) struct Joined {
    pub(crate) peer: Peer,
    /// What to DELETE.
    pub(crate) session: Option<String>,
}

impl Target {
    /// Starts our server.
    pub(crate) fn ours(binary: &Path, options: &Options, profile: Option<Profile>) -> Result<Self> {
        Ok(Self {
            http: client()?,
            profile,
            way: Way::Direct,
            what: What::Ours(Arc::new(Server::start(binary, options)?)),
        })
    }

    /// The other server if one is named, else ours.
    pub(crate) fn new(other: &Elsewhere, binary: &Path, options: &Options, profile: Option<Profile>) -> Result<Self> {
        let (Some(whip), Some(whep), Some(pid)) = (&other.whip, &other.whep, other.pid) else {
            return Self::ours(binary, options, profile);
        };
        ensure!(options.shards == 1, "--shards is a setting of our server");
        Ok(Self {
            http: client()?,
            profile,
            way: Way::Direct,
            what: What::Other {
                whip: whip.clone(),
                whep: whep.clone(),
                pid,
                token: other.token.clone(),
            },
        })
    }

    /// Our server, or an explanation.
    pub(crate) fn server(&self) -> Result<&Server> {
        match &self.what {
            What::Ours(server) => Ok(server),
            What::Other { .. } => bail!("this needs our own server"),
        }
    }

    /// The SRTP profile peers insist on.
    pub(crate) fn profile(&self) -> Option<Profile> {
        self.profile
    }

    /// The same server, for peers that come another way.
    pub(crate) fn by(&self, way: Way) -> Self {
        Self { way, ..self.clone() }
    }

    /// How peers come.
    pub(crate) fn way(&self) -> &Way {
        &self.way
    }

    /// Its process and how its media threads are named: of another server, all threads count.
    pub(crate) fn process(&self) -> (Process, &'static str) {
        match &self.what {
            What::Ours(server) => (server.process(), MEDIA_THREADS),
            What::Other { pid, .. } => (Process::of(*pid), ""),
        }
    }

    /// A visit whose token may publish and watch.
    pub(crate) fn visit(&self) -> Result<Visit> {
        match &self.what {
            What::Ours(server) => {
                let id = server.create_visit()?;
                let token = server.token(&id, "guest")?;
                Ok(Visit { id, token })
            }
            What::Other { token, .. } => Ok(Visit {
                id: String::new(),
                token: token.clone().unwrap_or_default(),
            }),
        }
    }

    /// Joins with these lines.
    pub(crate) async fn join(&self, how: How, visit: &Visit, lines: &[Line]) -> Result<Joined> {
        let offer = Offer::new(lines)?;
        let url = match (&self.what, how) {
            (What::Ours(server), How::Whip) => format!("http://{}/whip/{}", server.address, visit.id),
            (What::Ours(server), How::Whep) => format!("http://{}/whep/{}", server.address, visit.id),
            (What::Other { whip, .. }, How::Whip) => whip.clone(),
            (What::Other { whep, .. }, How::Whep) => whep.clone(),
        };
        let request = self
            .request(self.http.post(&url), visit)
            .header("content-type", "application/sdp")
            .body(offer.sdp.clone());
        let response = request.send().await.with_context(|| format!("POST {how:?}"))?;
        let status = response.status();
        let location = response.headers().get("location");
        let location = location.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let session = location.and_then(|location| Some(response.url().join(&location).ok()?.to_string()));
        let answer = response.text().await?;
        ensure!(status.as_u16() == 201, "{how:?} was answered with {status}: {answer}");
        let (profile, way) = (self.profile, self.way.clone());
        let peer = tokio::task::spawn_blocking(move || Peer::connect(offer, &answer, profile, &way)).await??;
        Ok(Joined { peer, session })
    }

    /// So many viewers of a visit; `joined` is told of each.
    pub(crate) async fn join_viewers(
        &self,
        visit: &Visit,
        lines: &'static [Line],
        count: usize,
        joined: &indicatif::ProgressBar,
    ) -> Result<Vec<Peer>> {
        let room = Arc::new(Semaphore::new(JOINING));
        let mut joining = JoinSet::new();
        for _ in 0..count {
            let (target, visit, room) = (self.clone(), visit.clone(), Arc::clone(&room));
            joining.spawn(async move {
                let _place = room.acquire_owned().await?;
                target.join(How::Whep, &visit, lines).await
            });
        }
        let mut peers = Vec::with_capacity(count);
        while let Some(result) = joining.join_next().await {
            peers.push(result??.peer);
            joined.inc(1);
        }
        Ok(peers)
    }

    /// Leaves.
    pub(crate) async fn leave(&self, visit: &Visit, session: &str) -> Result<()> {
        let response = self.request(self.http.delete(session), visit).send().await?;
        ensure!(
            response.status().is_success(),
            "DELETE was answered with {}",
            response.status()
        );
        Ok(())
    }

    /// With the token, and for our server as one of many clients behind a proxy.
    fn request(&self, request: reqwest::RequestBuilder, visit: &Visit) -> reqwest::RequestBuilder {
        let request = if visit.token.is_empty() {
            request
        } else {
            request.bearer_auth(&visit.token)
        };
        match self.what {
            What::Ours(_) => as_somebody(request),
            What::Other { .. } => request,
        }
    }

    /// The value of a series on our server's `/metrics`, e.g. `housecall_media_packets_total{kind="rtp_out"}`.
    pub(crate) async fn metric(&self, series: &str) -> Result<f64> {
        let url = format!("http://{}/metrics", self.server()?.address);
        let text = self.http.get(url).send().await?.error_for_status()?.text().await?;
        find_metric(&text, series).with_context(|| format!("no {series} on /metrics"))
    }
}

/// Puts an address of its own on a request: limits count per client, and each peer is one.
pub(crate) fn as_somebody(request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    request.header("x-forwarded-for", somebody())
}

/// An address that nobody had before.
pub(crate) fn somebody() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let [_, a, b, c] = NUMBER.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    format!("10.{a}.{b}.{c}")
}

fn client() -> Result<reqwest::Client> {
    let idle = std::time::Duration::from_secs(2);
    Ok(reqwest::Client::builder().no_proxy().pool_idle_timeout(idle).build()?)
}

fn find_metric(text: &str, series: &str) -> Option<f64> {
    text.lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
        .and_then(|value| value.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_found_by_its_whole_name() {
        let text = "# HELP a b\na_total{kind=\"x\"} 12\na_total{kind=\"xy\"} 13\na 4\n";
        assert_eq!(find_metric(text, "a_total{kind=\"x\"}"), Some(12.0));
        assert_eq!(find_metric(text, "a"), Some(4.0));
        assert_eq!(find_metric(text, "a_total"), None);
    }
}
