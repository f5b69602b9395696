//! The real server as a process of its own: started, asked for a visit and tokens through its command line, watched, stopped.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// A started server.
pub(crate) struct Server {
    child: Child,
    binary: PathBuf,
    data: PathBuf,
    /// HTTP over TCP and media over UDP.
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts `binary` on a free port with an empty data directory below `scratch`.
    pub(crate) fn start(binary: &Path, scratch: &Path) -> Result<Self> {
        let address = free_port()?;
        let data = scratch.join(format!("data-{}", address.port()));
        let mut child = Command::new(binary)
            .args(["serve", "--listen", &address.to_string(), "--data"])
            .arg(&data)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}; build it first: cargo build --release", binary.display()))?;
        let stdout = child.stdout.take().context("the server's output")?;
        let server = Self {
            child,
            binary: binary.to_owned(),
            data,
            address,
        };
        // The server prints its links once it listens. Keep reading, or it would block on a full pipe.
        let (ready, is_ready) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if line.contains("/join#") {
                    let _ = ready.send(());
                }
            }
        });
        is_ready
            .recv_timeout(Duration::from_secs(30))
            .context("the server did not print its links")?;
        Ok(server)
    }

    /// A new visit's id.
    pub(crate) fn create_visit(&self) -> Result<String> {
        let text = self.run(&["visit", "create", "--json"])?;
        let json: serde_json::Value = serde_json::from_str(&text).context("the output of `visit create --json`")?;
        let visit = json
            .get("visit")
            .or_else(|| json.get("id"))
            .and_then(serde_json::Value::as_str);
        Ok(visit
            .context("no visit id in the output of `visit create --json`")?
            .to_owned())
    }

    /// A bearer token that counts as admitted.
    pub(crate) fn token(&self, visit: &str) -> Result<String> {
        Ok(self
            .run(&["token", "--visit", visit, "--role", "guest", "--name", "Bench"])?
            .trim()
            .to_owned())
    }

    /// Processor time used so far by all threads, user and system.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        process_cpu(self.child.id())
    }

    /// Resident memory, bytes.
    pub(crate) fn memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1_024)
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.binary)
            .args(arguments)
            .arg("--data")
            .arg(&self.data)
            .output()?;
        if !output.status.success() {
            bail!(
                "`housecall {}` failed: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

/// Processor time of a process, or of this one with pid "self".
pub(crate) fn process_cpu(pid: impl std::fmt::Display) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The command name may hold spaces; fields are counted behind its closing bracket.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .context("an odd stat line")?
        .1
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}

/// A port free for both TCP and UDP on loopback.
fn free_port() -> Result<SocketAddr> {
    for _ in 0..50 {
        let tcp = TcpListener::bind("127.0.0.1:0")?;
        let address = tcp.local_addr()?;
        if UdpSocket::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no port is free for both TCP and UDP")
}
