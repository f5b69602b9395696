//! What is printed for whoever started the server. Everything else goes to the log.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;

use housecall_portal::StartLinks;

/// Who started the server, and reads what is printed.
pub(crate) enum Starter {
    /// A person at a terminal, or a program in a person's stead.
    Person,
    /// A service manager that is told when visits can be held, and runs it as this user.
    Manager { user: Option<String> },
}

impl Starter {
    pub(crate) fn from_environment() -> Self {
        match std::env::var_os("NOTIFY_SOCKET") {
            None => Self::Person,
            // systemd sets it for services that have a user of their own.
            Some(_) => Self::Manager {
                user: std::env::var("USER").ok(),
            },
        }
    }

    /// How a person calls this program for the same data.
    fn command(&self) -> String {
        match self {
            Self::Manager { user: Some(user) } if user != "root" => format!("sudo -u {user} housecall"),
            Self::Manager { .. } | Self::Person => "housecall".to_owned(),
        }
    }
}

/// What there is to tell.
pub(crate) struct Announcement<'a> {
    pub(crate) origin: &'a str,
    pub(crate) http: SocketAddr,
    pub(crate) media: &'a [SocketAddr],
    /// Where the public relay is, if there is one, and whether it speaks TLS.
    pub(crate) relay: Option<(SocketAddr, bool)>,
    pub(crate) data: &'a Path,
    pub(crate) links: Option<&'a StartLinks>,
    pub(crate) starter: Starter,
}

impl Announcement<'_> {
    /// Prints it. The links are secrets and go nowhere but here.
    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let origin = self.origin;
        writeln!(out, "\nHousecall is running.\n")?;
        if let Some(links) = self.links {
            writeln!(out, "  Clinician  {}", join_link(origin, links.clinician.expose()))?;
            writeln!(out, "  Patient    {}\n", join_link(origin, links.patient.expose()))?;
        }
        let media: Vec<String> = self.media.iter().map(|address| format!("UDP {address}")).collect();
        writeln!(out, "  Web        {origin}")?;
        writeln!(
            out,
            "  Listening  TCP {} (web), {} (media)",
            self.http,
            media.join(", ")
        )?;
        if let Some((address, has_tls)) = self.relay {
            let tls = if has_tls { ", TLS" } else { "" };
            writeln!(out, "  Relay      TURN {address} (UDP, TCP{tls})")?;
        }
        writeln!(out, "  Data       {}\n", self.data.display())?;
        if self.links.is_some() {
            writeln!(
                out,
                "Open the clinician's link in one browser tab and the patient's link in another, join as the patient,"
            )?;
            writeln!(
                out,
                "and let the patient in as the clinician. New links are printed at every start; old ones keep working."
            )?;
            let (data, command) = (self.data.display(), self.starter.command());
            writeln!(out, "Another visit: {command} visit create --data {data}")?;
        } else {
            writeln!(out, "Make a visit and a link for each person:")?;
            let (data, command) = (self.data.display(), self.starter.command());
            writeln!(out, "  {command} visit create --data {data}")?;
            writeln!(
                out,
                "  {command} token --data {data} --visit ID --role clinician --link"
            )?;
            writeln!(out, "  {command} token --data {data} --visit ID --role patient --link")?;
        }
        match self.starter {
            Starter::Person => writeln!(out, "Stop with Ctrl-C.")?,
            Starter::Manager { .. } => writeln!(
                out,
                "Stop with systemctl; the socket's unit too if there is one, or the next who connects starts it again."
            )?,
        }
        out.flush()
    }
}

/// The address that opens a visit as the holder of `token`. The fragment never leaves the browser.
fn join_link(origin: &str, token: &str) -> String {
    format!("{origin}/join#{token}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(starter: Starter) -> String {
        let mut out = Vec::new();
        let address = "[::]:443".parse().expect("an address");
        let announcement = Announcement {
            origin: "https://visits.example.org",
            http: address,
            media: &[address],
            relay: None,
            data: Path::new("/var/lib/housecall"),
            links: None,
            starter,
        };
        announcement.print(&mut out).expect("printed");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn whoever_reads_the_services_log_can_copy_the_commands() {
        let user = Some("housecall".to_owned());
        let log = told(Starter::Manager { user });
        assert!(log.contains("  sudo -u housecall housecall visit create --data /var/lib/housecall\n"));
        assert!(!log.contains("Ctrl-C"), "a service has no terminal");
        let terminal = told(Starter::Person);
        assert!(terminal.contains("  housecall visit create --data /var/lib/housecall\n"));
        assert!(terminal.ends_with("Stop with Ctrl-C.\n"));
    }
}
