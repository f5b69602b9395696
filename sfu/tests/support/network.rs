//! A network of its own for a test: a client, a router that does 1:1 NAT, and a server behind it, each in a network namespace.
//! Needs root, iproute2 and nftables.

#![allow(
    clippy::disallowed_methods,
    reason = "a test's threads, for a namespace is a property of a thread"
)]

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The server's addresses as the world sees them; both lead to [`SERVER`].
pub const PUBLIC: [&str; 2] = ["203.0.113.7", "203.0.113.8"];
/// The one address that the server has.
pub const SERVER: &str = "10.77.0.2";
const CLIENT: &str = "198.51.100.2";

/// Taken down when dropped.
pub struct Network {
    id: u32,
}

impl Network {
    /// Sets it up, or says what is missing.
    pub fn new() -> Result<Self, String> {
        let network = Self { id: std::process::id() };
        let [client, router, server] = ["client", "router", "server"].map(|who| network.name(who));
        // Names of interfaces have room for 15 characters; they are each in a namespace of their own from the start.
        network.ip(&format!("netns add {client}"))?;
        network.ip(&format!("netns add {router}"))?;
        network.ip(&format!("netns add {server}"))?;
        for (whose, inside, outside) in [(&client, CLIENT, "198.51.100.1"), (&server, SERVER, "10.77.0.1")] {
            let towards = if whose == &client { "out" } else { "in" };
            network.ip(&format!(
                "-n {router} link add {towards} type veth peer name net netns {whose}"
            ))?;
            network.ip(&format!("-n {router} address add {outside}/24 dev {towards}"))?;
            network.ip(&format!("-n {router} link set {towards} up"))?;
            network.ip(&format!("-n {whose} address add {inside}/24 dev net"))?;
            network.ip(&format!("-n {whose} link set net up"))?;
            network.ip(&format!("-n {whose} route add default via {outside}"))?;
        }
        let forward = format!("netns exec {router} tee /proc/sys/net/ipv4/ip_forward");
        run("ip", &forward, "1")?;
        let rules = format!(
            "table ip nat {{
                chain inwards {{
                    type nat hook prerouting priority dstnat;
                    ip daddr {{ {} }} dnat to {SERVER}
                }}
                chain outwards {{
                    type nat hook postrouting priority srcnat;
                    ip saddr {SERVER} snat to {}
                }}
            }}",
            PUBLIC.join(", "),
            PUBLIC[0]
        );
        run("ip", &format!("netns exec {router} nft -f -"), &rules)?;
        Ok(network)
    }

    /// Runs `work` where the server is. Threads and sockets made there stay there.
    pub fn in_server<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.inside("server", work)
    }

    /// Runs `work` where the client is, with its address.
    pub fn in_client<T: Send>(&self, work: impl FnOnce(&str) -> T + Send) -> T {
        self.inside("client", || work(CLIENT))
    }

    fn inside<T: Send>(&self, who: &str, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.name(who))).unwrap();
        let inside = || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        };
        std::thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn ip(&self, arguments: &str) -> Result<(), String> {
        run("ip", arguments, "")
    }

    fn name(&self, who: &str) -> String {
        format!("housecall-{}-{who}", self.id)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for who in ["client", "router", "server"] {
            // Those that were never made can't be taken away.
            let _ = self.ip(&format!("netns delete {}", self.name(who)));
        }
    }
}

fn run(program: &str, arguments: &str, input: &str) -> Result<(), String> {
    let failed = |why: String| format!("{program} {arguments}: {why} (needs root, iproute2 and nftables)");
    let mut child = Command::new(program)
        .args(arguments.split(' '))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|cause| failed(cause.to_string()))?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // A program that has ended already says why on stderr.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().map_err(|cause| failed(cause.to_string()))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}
