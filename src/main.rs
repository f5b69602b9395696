//! The program: arguments, logging, exit code.

mod args;
mod commands;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use args::{Cli, Command, Ops, Visit};
use housecall::Given;
use housecall::config::{Config, LogFormat, Written, log};

fn main() -> ExitCode {
    let command = Cli::parse().command();
    // To monitoring, 1 says that a probe found a bad way; here none was found.
    let failure = match command {
        Command::Probe(_) => ExitCode::from(2),
        _ => ExitCode::FAILURE,
    };
    match execute(command) {
        Ok(code) => code,
        Err(error) => {
            // The whole chain of causes, each after a colon. Nothing is left to do if stderr is gone too.
            let _ = writeln!(io::stderr(), "housecall: {error:#}");
            failure
        }
    }
}

fn execute(command: Command) -> anyhow::Result<ExitCode> {
    let config = match &command {
        Command::Serve(serve) | Command::Doctor(serve) => serve.config(),
        Command::Visit(Visit::Create(create)) => create.place.config(),
        Command::Visit(Visit::Revoke(revoke)) => revoke.place.config(),
        Command::Token(token) => token.place.config(),
        Command::Ops(Ops::Token(token)) => token.place.config(),
        Command::Ops(Ops::ProbeLink(link)) => link.place.config(),
        // Runs where no server is, and needs none.
        Command::Probe(_) => Written::without_file().check(),
    }?;
    // What is wrong with a way is what a probe prints; its client's own log would say it in between.
    if !matches!(command, Command::Probe(_)) {
        start_log(&config);
    }
    housecall::log_panics();

    let (out, hints) = (&mut io::stdout().lock(), &mut io::stderr());
    // Before there are threads: it is taken out of the environment.
    let given = match &command {
        Command::Serve(_) => Given::from_environment()?,
        _ => Given::default(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(async {
        match command {
            Command::Serve(_) => housecall::run(config, given, out, stop_signal()?).await?,
            Command::Doctor(_) => {
                let is_well = housecall::doctor(&config, out).await?;
                return anyhow::Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
            Command::Visit(Visit::Create(create)) => commands::create_visit(&config, &create, out, hints).await?,
            Command::Visit(Visit::Revoke(revoke)) => commands::revoke_visit(&config, &revoke, out).await?,
            Command::Token(token) => commands::token(&config, &token, out, hints).await?,
            Command::Ops(Ops::Token(token)) => commands::ops_token(&config, &token, out, hints).await?,
            Command::Ops(Ops::ProbeLink(link)) => commands::probe_link(&config, &link, out, hints).await?,
            Command::Probe(probe) => {
                let order = probe.order().context("the link cannot be read from standard input")?;
                return Ok(Box::pin(housecall::probe::probe(&order, out, hints)).await?);
            }
        }
        anyhow::Ok(ExitCode::SUCCESS)
    })?;
    // Whatever still runs by now was given its time already.
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(code)
}

/// Logs go to stderr: stdout is for what was asked for.
fn start_log(config: &Config) {
    let asked = std::env::var("RUST_LOG").ok().filter(|text| !text.trim().is_empty());
    let asked = asked.map(|text| log::filter(&text));
    let refused = asked.as_ref().and_then(|asked| asked.as_ref().err().cloned());
    // What the file says was checked when it was read.
    let filter = asked
        .and_then(Result::ok)
        .unwrap_or_else(|| EnvFilter::new(&config.log_filter));
    let logged = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match config.log_format {
        LogFormat::Text => logged.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => logged.json().init(),
    }
    if let Some(cause) = refused {
        let advice = log::ADVICE;
        tracing::warn!(cause, "RUST_LOG is not used, but log.filter. {advice}");
    }
}

/// Resolves at the first SIGTERM or SIGINT. The second one ends the process at once: whoever asks twice means it.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut next = async move || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(async move {
        next().await;
        tokio::spawn(async move {
            next().await;
            tracing::warn!("stopped at once, at the second request");
            std::process::exit(1);
        });
    })
}
