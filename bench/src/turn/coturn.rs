//! Debian's coturn as a process of its own, set up for the same work as our server.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::certificate::Pair;
use crate::measure::Process;

const PROGRAM: &str = "turnserver";
/// Until it listens.
const PATIENCE: Duration = Duration::from_secs(10);

/// A started coturn.
pub(crate) struct Coturn {
    child: Child,
    directory: PathBuf,
    /// TURN over UDP and TCP.
    pub(crate) address: SocketAddr,
    /// TURN over TLS, if a certificate was given.
    pub(crate) tls: SocketAddr,
}

/// Its version, or `None` if it is not installed.
pub(crate) fn version() -> Option<String> {
    let output = Command::new(PROGRAM).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Some(find_version(&text).unwrap_or("unknown").to_owned())
}

/// What is said instead of its figures.
pub(crate) const MISSING: &str = "coturn is not installed (`turnserver` is not on the path; Debian: apt-get install coturn): its figures are missing";

fn find_version(text: &str) -> Option<&str> {
    text.split(|c: char| c.is_whitespace() || c == '-' || c == '\'')
        .find(|word| word.contains('.') && word.split('.').all(|part| part.parse::<u32>().is_ok()))
}

impl Coturn {
    /// Starts it on free ports.
    pub(crate) fn start(certificate: Option<&Pair>) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("housecall-coturn-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        let (address, tls) = (crate::server::free_ports(1)?, crate::server::free_ports(1)?);
        let mut command = Command::new(PROGRAM);
        // -n: no configuration file of the machine's. Everything else is as it is delivered, but for peers on loopback, which the
        // generator's are.
        command
            .args([
                "-n",
                "--no-cli",
                "--allow-loopback-peers",
                "--simple-log",
                "--log-file=/dev/null",
                "--no-stdout-log",
            ])
            .args([
                "--listening-ip=127.0.0.1",
                "--relay-ip=127.0.0.1",
                "--realm=bench",
                "--use-auth-secret",
            ])
            .arg(format!("--static-auth-secret={}", super::SECRET))
            .arg(format!("--listening-port={}", address.port()))
            .arg(format!("--tls-listening-port={}", tls.port()))
            .arg(format!("--pidfile={}", directory.join("pid").display()));
        match certificate {
            Some(pair) => {
                command.arg(format!("--cert={}", pair.cert.display()));
                command.arg(format!("--pkey={}", pair.key.display()));
            }
            None => {
                command.args(["--no-tls", "--no-dtls"]);
            }
        }
        let child = command
            .current_dir(&directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting turnserver")?;
        let mut coturn = Self {
            child,
            directory,
            address,
            tls,
        };
        let began = Instant::now();
        let waited_for = if certificate.is_some() { tls } else { address };
        while TcpStream::connect(waited_for).is_err() {
            if let Some(status) = coturn.child.try_wait()? {
                bail!("coturn ended at once: {status}");
            }
            if began.elapsed() > PATIENCE {
                bail!("coturn does not listen");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(coturn)
    }

    /// The process, to be measured.
    pub(crate) fn process(&self) -> Process {
        Process::of(self.child.id())
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_in_what_coturn_says() {
        assert_eq!(find_version("4.6.1\n"), Some("4.6.1"));
        assert_eq!(find_version("Version Coturn-4.5.2 'dan Eider'"), Some("4.5.2"));
        assert_eq!(find_version("0: : log file opened: /x.y\n"), None);
    }
}
