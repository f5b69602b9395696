//! `bench turn`: the relay, beside Debian's coturn in the same run.

mod accounts;
mod allocate;
mod calls;
mod certificate;
mod client;
mod coturn;
mod flow;
mod general;
mod handover;
mod messages;
mod strangers;
mod swap;
mod tls;
mod tunnel;
mod turns;
mod ways;

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;

pub(crate) use certificate::{NAME as TLS_NAME, client as tls_client};
pub(crate) use client::Client;
pub(crate) use messages::{CHANNEL_HEADER, Credentials, channel_header, channel_payload};
pub(crate) use ways::Ways;

/// One of the measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// What an allocation costs, and what the server holds for it.
    Allocation,
    /// What media costs more when it comes by the relay over UDP instead of directly.
    HandOver,
    /// What a packet costs by TURN over TLS.
    Tls,
    /// A flood of requests without credentials: what it leaves, and what media notices of it.
    Strangers,
    /// A change of the certificate while calls by TURN over TLS go on.
    Swap,
    /// Datagrams through the general relay.
    General,
}

impl Part {
    const ALL: [Self; 6] = [
        Self::Allocation,
        Self::HandOver,
        Self::Tls,
        Self::Strangers,
        Self::Swap,
        Self::General,
    ];
}

/// What to measure.
pub(crate) struct Plan {
    pub(crate) binary: PathBuf,
    /// Only these; none: all.
    pub(crate) only: Vec<Part>,
    pub(crate) allocations: usize,
    /// Requests a second of strangers.
    pub(crate) flood: u64,
    pub(crate) time: Duration,
    pub(crate) json: Option<PathBuf>,
}

/// Of which coturn and our public relay take credentials.
const SECRET: &str = "a-secret-of-the-bench-of-thirty-two-bytes-and-more";

/// Those of the client with this number, who shares a user with fifteen others.
fn credentials(number: usize) -> Credentials {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Credentials::minted(SECRET, &(number / 16).to_string(), unix.as_secs() + 3_600)
}

/// A directory for the files of a part, which goes with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("housecall-bench-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Measures and prints, one part after the other.
pub(crate) async fn run(plan: &Plan) -> Result<()> {
    for part in Part::ALL {
        if !plan.only.is_empty() && !plan.only.contains(&part) {
            continue;
        }
        match part {
            Part::Allocation => allocate::run(plan).await?,
            Part::HandOver => handover::run(plan).await?,
            Part::Tls => tls::run(plan).await?,
            Part::Strangers => strangers::run(plan).await?,
            Part::Swap => swap::run(plan).await?,
            Part::General => general::run(plan).await?,
        }
    }
    Ok(())
}
