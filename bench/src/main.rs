//! The instrument: starts the real server as a process of its own, loads it, prints tables and JSON lines, always beside a
//! floor of the same run.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

mod churn;
mod compare;
mod dtls;
mod feedback;
mod floor;
mod forward;
mod latency;
mod limit;
mod load;
mod measure;
mod offer;
mod peer;
mod pipe;
mod report;
mod rooms;
mod server;
mod smoke;
mod socket;
mod source;
mod srtp;
mod stats;
mod storm;
mod target;
mod turn;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};

/// Benchmarks of Housecall. Build both first: `cargo build --release -p housecall -p bench`.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The server's program. Default: `housecall` beside this one.
    #[arg(long, global = true)]
    server_bin: Option<PathBuf>,
    /// Append the results to a file, one JSON object a line; `-` is standard output.
    #[arg(long, global = true)]
    json: Option<PathBuf>,
    /// Offer only this SRTP profile. Default: all, of which the server takes GCM-256.
    #[arg(long, global = true, value_enum)]
    profile: Option<dtls::Profile>,
    /// Seconds of each measurement.
    #[arg(long, global = true, default_value_t = 10)]
    seconds: u64,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// One publisher, N viewers: server CPU per forwarded packet beside the floor.
    Forward {
        /// Numbers of viewers, one run each.
        #[arg(long, value_delimiter = ',', default_value = "10,100")]
        viewers: Vec<usize>,
        /// Packets per second from the publisher, 1,180 bytes each. Default: 250 even, 180 in bursts.
        #[arg(long)]
        rate: Option<u64>,
        /// How they are spaced.
        #[arg(long, value_enum, default_value = "even")]
        shape: forward::Shape,
        /// Media threads of the server, one run each; every thread has a publisher and its viewers.
        #[arg(long, value_delimiter = ',', default_value = "1")]
        shards: Vec<usize>,
        /// Raise the rate, from --rate or 500 on, until too much is lost, and print the highest one.
        #[arg(long)]
        find_limit: bool,
        /// The part that may be lost in that search.
        #[arg(long, default_value_t = 0.01)]
        max_loss: f64,
        /// Whether the server adapts what it sends to each path. `off` is for measuring. Default: on; off with --find-limit, because loss
        /// makes adaptation send less, and the search would measure that.
        #[arg(long, value_enum)]
        adaptation: Option<server::Adaptation>,
        /// Whether the viewers' packets wake a thread of the generator, which is charged to the server, or it looks from time to time.
        #[arg(long, value_enum, default_value = "woken")]
        receivers: load::Receivers,
        /// Two servers in turns, second by second, this one and another build of it, or `without-adaptation`: what the difference is.
        #[arg(long, value_name = "PROGRAM", conflicts_with_all = ["find_limit", "smoke", "whip"])]
        beside: Option<PathBuf>,
        /// A few seconds against the committed baseline, for CI: fails if forwarding has become dearer by more than a quarter.
        #[arg(long)]
        smoke: bool,
        /// The baseline. Default: the one in the source tree this was built from.
        #[arg(long, requires = "smoke")]
        baseline: Option<PathBuf>,
        /// Write the baseline instead of comparing with it.
        #[arg(long, requires = "smoke")]
        record: bool,
        #[command(flatten)]
        other: target::Elsewhere,
    },
    /// Rooms of two people who see and hear each other, over the pages' own signalling: server CPU per packet, ingress included.
    Rooms {
        /// Numbers of rooms, one run each.
        #[arg(long, value_delimiter = ',', default_value = "20,100")]
        rooms: Vec<usize>,
        /// What each side sends.
        #[arg(long, value_enum, default_value = "simulcast")]
        shape: rooms::Shape,
        /// Media threads of the server, one run each.
        #[arg(long, value_delimiter = ',', default_value = "1")]
        shards: Vec<usize>,
    },
    /// Added latency of forwarded audio and video at about half of one processor.
    Latency {
        /// So many rooms of two. Default: as many as keep a media thread busy by half.
        #[arg(long, conflicts_with = "viewers")]
        rooms: Option<usize>,
        /// Instead of rooms, one publisher with so many viewers.
        #[arg(long)]
        viewers: Option<usize>,
        /// How busy a media thread is to be, of one processor.
        #[arg(long, default_value_t = 0.5)]
        busy: f64,
        #[command(flatten)]
        other: target::Elsewhere,
    },
    /// Many people join while a stream goes on: processor time of a join, and what the stream's viewers notice.
    Storm {
        /// Viewers of the stream.
        #[arg(long, default_value_t = 10)]
        viewers: usize,
        /// Joins per second.
        #[arg(long, default_value_t = 200)]
        joins: u64,
    },
    /// Many people join and leave: afterwards the server must hold what it held before.
    Churn {
        /// How many.
        #[arg(long, default_value_t = 20_000)]
        joins: u64,
    },
    /// The TURN relay, beside Debian's coturn (`turnserver`) where it is installed.
    Turn {
        /// Only these parts.
        #[arg(long, value_enum, value_delimiter = ',')]
        only: Vec<turn::Part>,
        /// How many allocations are made and held: at most 8,000, the server's bound is 8,192.
        #[arg(long, default_value_t = 4_000)]
        allocations: usize,
        /// Requests a second of the flood of strangers.
        #[arg(long, default_value_t = 200_000)]
        flood: u64,
    },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // Joining is done on the runtime's threads, sending and receiving on others: those come first.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_start(|| {
            // Without the permission to be nice nothing is lost but some steadiness.
            let _ = rustix::process::nice(5);
        })
        .build()?;
    runtime.block_on(run(arguments))
}

async fn run(arguments: Arguments) -> Result<()> {
    let binary = server::find_binary(arguments.server_bin)?;
    let time = Duration::from_secs(arguments.seconds.max(1));
    let (profile, json) = (arguments.profile, arguments.json);
    match arguments.what {
        What::Forward {
            viewers,
            rate,
            shape,
            shards,
            find_limit,
            max_loss,
            adaptation,
            receivers,
            beside,
            smoke,
            baseline,
            record,
            other,
        } => {
            if smoke {
                return smoke::run(binary, baseline, record).await;
            }
            ensure!(
                rate.is_none_or(|rate| (1..=100_000).contains(&rate)),
                "--rate must be between 1 and 100000"
            );
            ensure!(viewers.iter().all(|count| *count > 0), "--viewers must be at least 1");
            ensure!(shards.iter().all(|count| *count > 0), "--shards must be at least 1");
            ensure!(
                (0.0001..0.5).contains(&max_loss),
                "--max-loss must be between 0.0001 and 0.5"
            );
            let plan = forward::Plan {
                binary,
                other,
                viewers,
                rate,
                shape,
                shards,
                adaptation: adaptation.unwrap_or(if find_limit {
                    server::Adaptation::Off
                } else {
                    server::Adaptation::On
                }),
                receivers,
                profile,
                time,
                limit: find_limit.then_some(max_loss),
                json,
            };
            match beside {
                Some(beside) => compare::run(plan, &beside).await,
                None => forward::run(&plan).await,
            }
        }
        What::Rooms { rooms, shape, shards } => {
            ensure!(rooms.iter().all(|count| *count > 0), "--rooms must be at least 1");
            ensure!(shards.iter().all(|count| *count > 0), "--shards must be at least 1");
            let plan = rooms::Plan {
                binary,
                rooms,
                shape,
                shards,
                profile,
                time,
                json,
            };
            rooms::run(&plan).await
        }
        What::Latency {
            rooms,
            viewers,
            busy,
            other,
        } => {
            ensure!(
                other.whip.is_none() || viewers.is_some(),
                "another server is measured with --viewers"
            );
            ensure!((0.05..=1.0).contains(&busy), "--busy must be between 0.05 and 1");
            let plan = latency::Plan {
                binary,
                other,
                viewers,
                rooms,
                busy,
                profile,
                time,
                json,
            };
            latency::run(&plan).await
        }
        What::Storm { viewers, joins } => {
            ensure!(viewers > 0, "--viewers must be at least 1");
            ensure!((1..=5_000).contains(&joins), "--joins must be between 1 and 5000");
            let plan = storm::Plan {
                binary,
                viewers,
                joins_per_second: joins,
                profile,
                time,
                json,
            };
            storm::run(&plan).await
        }
        What::Churn { joins } => {
            ensure!(joins > 0, "--joins must be at least 1");
            let plan = churn::Plan {
                binary,
                joins,
                profile,
                json,
            };
            churn::run(&plan).await
        }
        What::Turn {
            only,
            allocations,
            flood,
        } => {
            ensure!(
                (100..=8_000).contains(&allocations),
                "--allocations must be between 100 and 8000"
            );
            let plan = turn::Plan {
                binary,
                only,
                allocations,
                flood: flood.max(1_000),
                time,
                json,
            };
            turn::run(&plan).await
        }
    }
}
