//! Starts the real program, waits until it says that it runs, and speaks to it from outside.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Guards against hanging for ever; nothing is measured by it. Debug builds on busy machines are slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How the last line begins that the server prints at start.
const LAST_LINE: &str = "Stop with ";

/// An address of loopback that no other test has. All others take ports of 127.0.0.1, so what is free here stays free until it is asked for,
/// on TCP and UDP.
pub(crate) fn own_address() -> Ipv4Addr {
    // Process ids of Linux have 22 bits.
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 | (high & 63), middle, low)
}

/// The program under test, with logs only of what is wrong.
pub(crate) fn housecall() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_housecall"));
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    run_reading(arguments, Stdio::null())
}

/// As [`run`], with something to read.
pub(crate) fn run_reading(arguments: &[&str], stdin: Stdio) -> Output {
    let mut child = housecall()
        .args(arguments)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    // What these commands print fits into a pipe, so they end without being read.
    if wait(&mut child, 4 * PATIENCE).is_none() {
        child.kill().expect("a child that did not end can be killed");
        panic!("{arguments:?} did not end");
    }
    child
        .wait_with_output()
        .expect("the output of an ended child can be read")
}

/// Runs a command that must succeed, on the data in `data`; returns its output without the line end.
pub(crate) fn command(data: &Path, arguments: &[&str]) -> String {
    let data = data.display().to_string();
    let output = run(&[arguments, &["--data", &data]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout).trim_end().to_owned()
}

/// Waits for the end of a child; `None` if it runs on after a long time.
fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < patience {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A running server. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// What it printed at start.
    pub(crate) printed: Vec<String>,
}

impl Server {
    /// Starts a server with the demo clinic on a free port of the loopback address.
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_on(data, "127.0.0.1:0")
    }

    /// As [`Self::start`], on a given address.
    pub(crate) fn start_on(data: &Path, listen: &str) -> Self {
        Self::start_with(data, &["--listen", listen])
    }

    /// Starts a server on the data in `data` with these arguments.
    pub(crate) fn start_with(data: &Path, arguments: &[&str]) -> Self {
        Self::spawn(housecall().arg("serve").args(arguments).arg("--data").arg(data))
    }

    /// As [`Self::start`], with its log in a file. `filter` as in `RUST_LOG`; `None`: the default.
    pub(crate) fn start_logged(data: &Path, filter: Option<&str>, log: File) -> Self {
        let mut command = housecall();
        if let Some(filter) = filter {
            command.env("RUST_LOG", filter);
        }
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--data"];
        Self::spawn(command.args(arguments).arg(data).stderr(log))
    }

    /// As [`Self::start_with`], with its log in a file.
    pub(crate) fn start_logged_with(data: &Path, arguments: &[&str], log: File) -> Self {
        let mut command = housecall();
        Self::spawn(command.arg("serve").args(arguments).arg("--data").arg(data).stderr(log))
    }

    /// Starts what becomes the program, and waits until it says that it runs.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (lines, printed) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // After the start nobody listens any more; reading on keeps the pipe empty.
                let _ = lines.send(line);
            }
        });
        // From here on the drop guard ends the program, also if it never says that it runs.
        let mut server = Self {
            child,
            printed: Vec::new(),
        };
        while server.printed.last().is_none_or(|line| !line.starts_with(LAST_LINE)) {
            let line = printed.recv_timeout(PATIENCE).unwrap_or_else(|_| {
                panic!(
                    "the server did not say that it runs; it printed:\n{}",
                    server.printed.join("\n")
                )
            });
            server.printed.push(line);
        }
        server
    }

    /// What follows a label at the start of a printed line.
    pub(crate) fn after(&self, label: &str) -> &str {
        self.printed
            .iter()
            .find_map(|line| line.trim_start().strip_prefix(label))
            .unwrap_or_else(|| panic!("no line begins with {label:?} in:\n{}", self.printed.join("\n")))
            .trim()
    }

    /// `http://localhost:PORT`
    pub(crate) fn origin(&self) -> &str {
        self.after("Web")
    }

    /// The address of the TCP listener.
    pub(crate) fn address(&self) -> &str {
        self.after("Listening  TCP")
            .split(' ')
            .next()
            .expect("a split has a first part")
    }

    /// The token in a printed join link.
    pub(crate) fn token(&self, whose: &str) -> &str {
        let link = self.after(whose);
        link.strip_prefix(self.origin())
            .and_then(|path| path.strip_prefix("/join#"))
            .unwrap_or_else(|| panic!("{link:?} is not a join link"))
    }

    /// Asks it to stop, as a service manager does.
    pub(crate) fn terminate(&self) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -TERM {id}");
    }

    /// Kills it without warning, as a power cut does.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the server runs until it is killed");
        self.child.wait().expect("a killed child can be waited for");
    }

    /// Waits until it has ended.
    pub(crate) fn ended(mut self) -> ExitStatus {
        wait(&mut self.child, PATIENCE).expect("the server did not end")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
