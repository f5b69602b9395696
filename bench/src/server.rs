//! The real server as a process of its own: started, asked for visits and tokens through its command line, watched, stopped.

use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::measure::Process;

/// The names of its media threads begin so.
pub(crate) const MEDIA_THREADS: &str = "media-";

/// Whether the server fits what it sends to each viewer's path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Adaptation {
    /// As it is delivered.
    #[default]
    On,
    /// `media.adaptation = false`.
    Off,
}

/// A port that was free may be taken before the server has it, by whatever else starts then: another is tried.
const STARTS: usize = 5;

/// For the links that a server prints when it listens. A debug build on a busy machine has been seen to take seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// What its TURN relay is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Relay {
    /// As it is delivered: hand-over.
    #[default]
    Delivered,
    /// `turn.relay = "hand-over-udp"`.
    HandOverUdp,
    /// `turn.relay = "public"`, towards peers on loopback.
    Public {
        /// What credentials are made of.
        secret: &'static str,
    },
}

/// How a server is started.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) shards: usize,
    pub(crate) adaptation: Adaptation,
    pub(crate) relay: Relay,
    /// The files of its certificate and key; without them it speaks no TLS.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
}

impl Options {
    /// As it is delivered, with so many media threads.
    pub(crate) fn shards(shards: usize) -> Self {
        Self {
            shards,
            adaptation: Adaptation::On,
            relay: Relay::Delivered,
            tls: None,
        }
    }
}

/// A started server.
pub(crate) struct Server {
    child: Child,
    binary: PathBuf,
    data: PathBuf,
    /// HTTP over TCP; media over UDP from the same port on.
    pub(crate) address: SocketAddr,
    /// Its general relay, if it was asked for.
    pub(crate) relay: SocketAddr,
    /// Whether HTTP is inside TLS.
    pub(crate) tls: bool,
}

/// The server's program: as told, or beside this one.
pub(crate) fn find_binary(told: Option<PathBuf>) -> Result<PathBuf> {
    let binary = match told {
        Some(path) => path,
        None => std::env::current_exe()?.with_file_name("housecall"),
    };
    if !binary.is_file() {
        let profile = if cfg!(debug_assertions) { "" } else { " --release" };
        bail!(
            "{} is not there. Build the server with the same profile: cargo build{profile} -p housecall, or name it with --server-bin",
            binary.display()
        );
    }
    Ok(binary)
}

impl Server {
    /// Starts `binary` on free ports with an empty data directory.
    pub(crate) fn start(binary: &Path, options: &Options) -> Result<Self> {
        let mut failures = Vec::new();
        while failures.len() < STARTS {
            match Self::try_start(binary, options) {
                Ok(server) => return Ok(server),
                Err(error) => failures.push(format!("{error:#}")),
            }
        }
        failures.dedup();
        bail!(
            "the server did not start, {STARTS} times: {}",
            failures.join("; then: ")
        )
    }

    fn try_start(binary: &Path, options: &Options) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let Options {
            shards,
            adaptation,
            relay,
            tls,
        } = options;
        let address = free_ports(*shards)?;
        // A build from before the setting does not know it, and can still be measured.
        let adaptation = match adaptation {
            Adaptation::On => "",
            Adaptation::Off => "adaptation = false\n",
        };
        let data = std::env::temp_dir().join(format!("housecall-bench-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&data)?;
        let general = free_ports(1)?;
        let relay = match relay {
            Relay::Delivered => String::new(),
            Relay::HandOverUdp => "[turn]\nrelay = \"hand-over-udp\"\n".to_owned(),
            Relay::Public { secret } => {
                let file = data.join("turn-secret");
                std::fs::write(&file, secret)?;
                std::fs::set_permissions(&file, Permissions::from_mode(0o600))?;
                format!(
                    "[turn]\nrelay = \"public\"\nlisten = \"{general}\"\nsecret_file = {file:?}\naddresses = [\"127.0.0.1\"]\n\
                     allow_peers = [\"127.0.0.0/8\"]\nkbps_per_allocation = 1000000\n"
                )
            }
        };
        let has_tls = tls.is_some();
        let tls = tls.as_ref().map_or_else(String::new, |(cert, key)| {
            format!("[tls]\ncert = {cert:?}\nkey = {key:?}\n")
        });
        let config = data.join("bench.toml");
        // The generator comes as a proxy does, in front of as many clients as it plays: limits per client stay as they are.
        std::fs::write(
            &config,
            format!(
                "listen = \"{address}\"\ntrusted_proxies = [\"127.0.0.1\"]\ndemo = true\n\
                 [media]\nshards = {shards}\n{adaptation}[limits]\nviewers_per_visit = 5000\n{relay}{tls}[log]\nfilter = \"warn\"\n"
            ),
        )?;
        let errors = data.join("stderr");
        let mut child = Command::new(binary)
            .args(["serve", "--config"])
            .arg(&config)
            .arg("--data")
            .arg(&data)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&errors)?)
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        let stdout = child.stdout.take().context("the server's output")?;
        let server = Self {
            child,
            binary: binary.to_owned(),
            data,
            address,
            relay: general,
            tls: has_tls,
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
        // A server that ends lets go of its output, which ends the wait.
        if is_ready.recv_timeout(PATIENCE).is_err() {
            let said = std::fs::read_to_string(&errors).unwrap_or_default();
            bail!("it printed no links, and said: {}", said.trim());
        }
        Ok(server)
    }

    /// The process, to be measured.
    pub(crate) fn process(&self) -> Process {
        Process::of(self.child.id())
    }

    /// A new visit's id.
    pub(crate) fn create_visit(&self) -> Result<String> {
        let text = self.run(&["visit", "create", "--json"])?;
        let json: serde_json::Value = serde_json::from_str(&text).context("the output of `visit create --json`")?;
        let visit = json.get("visit").and_then(serde_json::Value::as_str);
        Ok(visit
            .context("no visit id in the output of `visit create --json`")?
            .to_owned())
    }

    /// A bearer token for a visit.
    pub(crate) fn token(&self, visit: &str, role: &str) -> Result<String> {
        let arguments = [
            "token", "--visit", visit, "--role", role, "--name", "Bench", "--ttl", "12h",
        ];
        Ok(self.run(&arguments)?.trim().to_owned())
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
                arguments[0],
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

/// A port free for TCP, and for UDP together with those after it.
pub(crate) fn free_ports(count: usize) -> Result<SocketAddr> {
    for _ in 0..100 {
        let tcp = TcpListener::bind("127.0.0.1:0")?;
        let address = tcp.local_addr()?;
        let udp = |offset: usize| {
            let port = u16::try_from(usize::from(address.port()) + offset).ok()?;
            UdpSocket::bind((address.ip(), port)).ok()
        };
        if (0..count).map(udp).collect::<Option<Vec<_>>>().is_some() {
            return Ok(address);
        }
    }
    bail!("no ports are free for both TCP and UDP")
}
