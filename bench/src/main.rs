//! The instrument: starts the real server as a process of its own, loads it, prints tables and JSON lines, always beside a
//! baseline of the same run.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

mod floor;
mod forward;
mod generator;
mod peer;
mod server;
mod sink;
mod srtp;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};

/// Benchmarks of Housecall. Build the server first: `cargo build --release`.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The server's binary. Default: `housecall` beside this one.
    #[arg(long, global = true)]
    server: Option<PathBuf>,
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
        /// Packets per second from the publisher, 1,180 bytes each.
        #[arg(long, default_value_t = 250)]
        rate: u64,
        /// How they are spaced.
        #[arg(long, value_enum, default_value = "even")]
        shape: generator::Shape,
        /// Seconds of each measurement.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let binary = match arguments.server {
        Some(path) => path,
        None => std::env::current_exe()?.with_file_name("housecall"),
    };
    match arguments.what {
        What::Forward {
            viewers,
            rate,
            shape,
            seconds,
        } => {
            ensure!(rate > 0 && rate <= 100_000, "--rate must be between 1 and 100000");
            ensure!(viewers.iter().all(|count| *count > 0), "--viewers must be at least 1");
            let plan = forward::Plan {
                viewers,
                rate,
                shape,
                time: Duration::from_secs(seconds.max(1)),
            };
            forward::run(&plan, &binary).await
        }
    }
}
