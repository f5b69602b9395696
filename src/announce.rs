//! What is printed for whoever started the server. Everything else goes to the log.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;

use housecall_portal::StartLinks;

/// What there is to tell.
pub(crate) struct Announcement<'a> {
    pub(crate) origin: &'a str,
    pub(crate) http: SocketAddr,
    pub(crate) media: &'a [SocketAddr],
    /// Where the public relay is, if there is one, and whether it speaks TLS.
    pub(crate) relay: Option<(SocketAddr, bool)>,
    pub(crate) data: &'a Path,
    pub(crate) links: Option<&'a StartLinks>,
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
            let data = self.data.display();
            writeln!(out, "Another visit: housecall visit create --data {data}")?;
        } else {
            writeln!(
                out,
                "Make a visit and a link for each person (a token goes behind {origin}/join#):"
            )?;
            let data = self.data.display();
            writeln!(out, "  housecall visit create --data {data}")?;
            writeln!(out, "  housecall token --data {data} --visit ID --role clinician")?;
            writeln!(out, "  housecall token --data {data} --visit ID --role patient")?;
        }
        writeln!(out, "Stop with Ctrl-C.")?;
        out.flush()
    }
}

/// The address that opens a visit as the holder of `token`. The fragment never leaves the browser.
fn join_link(origin: &str, token: &str) -> String {
    format!("{origin}/join#{token}")
}
